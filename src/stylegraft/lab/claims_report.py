"""Claim, measured, verdict: as Markdown, as JSON with every run behind it, and as charts for the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stylegraft.atomic import write_json, write_text
from stylegraft.lab import control
from stylegraft.lab.charts import Line, Series, curves, save_chart
from stylegraft.lab.claims import ANSWERS, Verdict
from stylegraft.lab.claims_history import INTRO, history
from stylegraft.lab.compare import listed
from stylegraft.lab.criteria import BLEND, DIVERSITIES, LATE, LONG, METHODS, SWAP, known_as
from stylegraft.lab.criteria_spaces import RECIPE
from stylegraft.lab.record import place
from stylegraft.lab.results import Group, Row, ends, groups, mean, read_rows
from stylegraft.lab.study import Study
from stylegraft.lab.study_page import CROWD, bands, costs, over_shots, trail

FEW = 4  # curves with a label at each step of `mile`


def rows_of(study: Study, folder: Path) -> list[Row]:
    """The rows of a study from its kept cells (`lab.keeping`), each with its control."""
    found = read_rows(listed(study), folder)
    return [
        replace(row, result={**row.result, "control": told})
        if row.result and (told := control.read(place(folder, row.cell)))
        else row
        for row in found
    ]


# The tables
# --------------------------------------------------------------------------------------------


def write(study: Study, rows: Sequence[Row], verdicts: Sequence[Verdict], path: Path) -> None:
    """PATH.md and PATH.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path.with_name(f"{path.name}.md"), markdown(study, rows, verdicts))
    told: dict[str, Any] = {
        "study": study.name,
        "source": Path(study.source).stem,
        "runs": len(rows),
        "done": sum(row.state == "done" for row in rows),
        "claims": [one.numbers() for one in verdicts],
        "cells": [_cell(row) for row in rows],
    }
    write_json(path.with_name(f"{path.name}.json"), told)


def _cell(row: Row) -> dict[str, Any]:
    result = row.result or {}
    told = {"key": row.cell.key, "state": row.state, "draw": row.cell.draw, "seed": row.cell.seed}
    kept = {key: result[key] for key in ("steps", "training seconds", "commit", "machine") if key in result}
    source, real = row.anchors or (None, None)
    last = {name: row.last(role) for role in ("quality", "diversity", "kid") if (name := row.name(role))}
    return told | kept | ({**last, "p(source)": source, "p(real)": real} if result else {})


def markdown(study: Study, rows: Sequence[Row], verdicts: Sequence[Verdict]) -> str:
    """The tables for reading."""
    done = [row for row in rows if row.state == "done"]
    parts = [
        f"# Claims on {Path(study.source).stem}",
        f"Written by `stylegraft claims` from {len(done)} of {len(rows)} runs of the study `{study.name}`. ± is one "
        "standard deviation over runs. docs/claims.md says what is asked and how.",
        "| claim | | measured | verdict |\n|---|---|---|---|\n" + "\n".join(map(_line, verdicts)),
        "## When a claim holds\n\n"
        + "\n".join(f"- **{one.claim.id}** {one.claim.criterion} ({one.claim.by})" for one in verdicts),
        "\n".join([f"## What was changed\n\n{INTRO}", *map(_changed, history().items())]),
        "## The ends of p_target\n\n| target | p(source)..p(real) |\n|---|---|\n"
        + "\n".join(f"| {target} | {told} |" for target, told in _ends(done).items()),
        "## Which code, where\n\n| runs | commit | machine |\n|---|---|---|\n"
        + "\n".join(
            f"| {count} | {commit} | {where} |" for (commit, where), count in _machines(done).items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _line(one: Verdict) -> str:
    rest = (
        [f"{one.there} runs: seeds {_few(one.seeds)}, draws of the shots {_few(one.draws)}"]
        if one.rows
        else []
    )
    told = "<br>".join([*one.measured, *rest]).replace("|", "\\|")
    return f"| {one.claim.id} | {one.claim.says} | {told} | **{one.answer}** |"


def _changed(dated: tuple[str, list[str]]) -> str:
    when, lines = dated
    return "\n".join([f"\n{when}\n", *(f"- {line}" for line in lines)])


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _ends(done: Sequence[Row]) -> dict[str, str]:
    targets = dict.fromkeys(row.cell.target.label for row in done)
    own = {t: [row for row in done if row.cell.target.label == t] for t in targets}
    return {target: ends(Group("", "", "", target, "", tuple(found))) for target, found in own.items()}


def _machines(done: Sequence[Row]) -> Counter[tuple[str, str]]:
    found = Counter[tuple[str, str]]()
    for row in done:
        machine = (row.result or {}).get("machine") or {}
        where = ", ".join(f"{key} {value}" for key, value in machine.items() if value is not None)
        found[str((row.result or {}).get("commit") or "unknown"), where] += 1
    return found


# The charts
# --------------------------------------------------------------------------------------------


def write_charts(rows: Sequence[Row], folder: Path, prefix: str) -> list[Path]:
    """Every chart that has a run of a method that claims know, as FOLDER/PREFIX-NAME-TARGET.svg; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [group for group in groups(rows) if group.done and known_as(group.rows[0].cell.method)]
    written = []
    for target in dict.fromkeys(group.target for group in found):
        own = [group for group in found if group.target == target]
        for name, svg in _charts(target, own):
            written.append(folder / f"{prefix}-{name}-{target}.svg")
            save_chart(svg, written[-1])
    return written


def _charts(target: str, own: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """(name, SVG) of a target."""
    ten = [group for group in own if group.shots == "10"]
    short = [group for group in ten if group.space == "full" and group.method in METHODS]
    longer = [group for group in ten if group.method.endswith(LONG)]
    for mark, few in (("", short), (LONG, longer)):
        if few:
            yield from ((name + mark, svg) for name, svg in _of_methods(target, few))
    spaces = _of_the_same_draws([group for group in ten if group.method == RECIPE])
    if len(spaces) > 1 and (svg := costs(f"Numbers that move, {target}", spaces, "parameters", 1)):
        yield "spaces", svg
    shots = over_shots(_of_the_same_draws([group for group in own if group.method == RECIPE]))
    kid = own[0].done[0].name("kid")  # no diversity: 200 samples leave most of 200 clusters without a pair
    yield from (("kid-shots", svg) for svg in shots if f"{kid} on {target}" in svg)
    if paths := [one for group in ten if group.method in (BLEND, SWAP) and (one := _control(group))]:
        yield (
            "control",
            curves(f"Way from the source, {target}", paths, x="control", y="distance to the source"),
        )


def _of_the_same_draws(found: Sequence[Group]) -> list[Group]:
    """With the runs of those draws alone that every group has: of another one numbers differ, whatever the space."""
    draws = [{row.cell.draw for row in group.done} for group in found]
    shared = set[int]().union(*draws).intersection(*draws)
    kept = [replace(g, rows=tuple(row for row in g.rows if row.cell.draw in shared)) for g in found]
    return [group for group in kept if group.done]


def _of_methods(target: str, few: Sequence[Group]) -> Iterator[tuple[str, str]]:
    row = few[0].done[0]
    scale = [mean(pair[i] for group in few for one in group.done if (pair := one.anchors)) for i in (1, 0)]
    lines = [Line(one.value, name) for one, name in zip(scale, ("p(real)", "p(source)"), strict=True) if one]
    shown = few[:CROWD]
    for role, kind in (("quality", ""), *(("diversity", kind) for kind in DIVERSITIES), ("kid", "")):
        if name := row.name(role):
            lined = lines if role == "quality" else ()
            yield (
                role + kind,
                curves(f"{name}{kind}, {target}", bands(shown, role, kind), y=name, lines=lined),
            )
    ends = "".join(f", {line.name} {line.value:.2f}" for line in reversed(lines))
    x, y = f"{row.name('quality')}{ends}", str(row.name("diversity"))
    for kind in DIVERSITIES:
        paths = [trail(group, kind) for group in shown]
        if len(paths) > FEW:  # one step of each is enough there: its end is the line's
            paths = [
                replace(one, labels=[told * (told == str(LATE)) for told in one.labels]) for one in paths
            ]
        yield f"path{kind}", curves(f"Diversity{kind} against quality, {target}", paths, x=x, y=y)


def _control(group: Group) -> Series | None:
    """The mean curve of a control, with its spread."""
    told = [found for row in group.done if (found := (row.result or {}).get("control"))]
    if not told:
        return None
    points = [mean(values) for values in zip(*(one["distances"] for one in told), strict=True)]
    kept = [one for one in points if one]
    edge: Callable[[int], list[float]] = lambda sign: [p.value + sign * (p.spread or 0.0) for p in kept]  # noqa: E731
    name = {BLEND: "noise blended", SWAP: "layers swapped"}[group.method]
    return Series(
        f"{name} ({group.method})", told[0]["amounts"], [one.value for one in kept], edge(-1), edge(1)
    )


def summary(verdicts: Sequence[Verdict]) -> str:
    """One line: how many claims have which answer."""
    count = Counter(one.answer for one in verdicts)
    return ", ".join(f"{count[word]} {word}" for word in ANSWERS if count[word])
