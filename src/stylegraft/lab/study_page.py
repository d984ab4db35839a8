"""The page of a study: answers, table, charts and pictures in one HTML file, from recorded data alone."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.atomic import write_text
from stylegraft.data.grids import save_grid
from stylegraft.domains.domain import Domain
from stylegraft.errors import StylegraftError
from stylegraft.lab import page
from stylegraft.lab.answers import answers
from stylegraft.lab.cell import source_of
from stylegraft.lab.charts import Line, Point, Series, curves, mile, scatter
from stylegraft.lab.record import place
from stylegraft.lab.results import (
    COLUMNS,
    LEVELS,
    WITHOUT_EMPTY,
    Group,
    Row,
    groups,
    numbers,
    problems,
    summary_row,
    write_numbers,
    write_table,
)
from stylegraft.lab.study import slug

CROWD = 8  # curves in one chart, at most: there are as many colours
PICTURED = 8  # latents
ROLES = (("quality", ""), ("diversity", ""), ("diversity", WITHOUT_EMPTY), ("kid", ""))  # drawn along the run
FILES = ("results.csv", "results.json", "results.html")


def write_results(name: str, rows: Sequence[Row], out: Path) -> list[str]:
    """Write the table as CSV, JSON and HTML into the study's folder; returns the answers."""
    told = answers(rows)
    write_table(rows, out / FILES[0])
    write_numbers(name, rows, told, out / FILES[1])
    write_text(out / FILES[2], html(name, rows, told, out))
    return told


def html(name: str, rows: Sequence[Row], told: Sequence[str], out: Path) -> str:
    """The page."""
    found = groups(rows)
    sections = [page.Section("Which method, which space, when to stop", [page.text(line) for line in told])]
    for (source, target, shots), own in problems(rows).items():
        title = f"{target}, {shots} shots, from {source}"
        done = [group for group in own if group.done]
        parts = [page.table(COLUMNS, map(summary_row, own)), page.text(NOTE)]
        if done:
            parts += [_along(few) for few in crowds(done)] + [
                _at_the_end(done),
                *_pictures(done, out, slug(title)),
            ]
        sections.append(page.Section(title, parts))
    if shots := over_shots(found):
        sections.append(page.Section("Quality against the number of shots", [page.row(*shots)]))
    every = [numbers(row) for row in rows]
    heads = list(dict.fromkeys(key for one in every for key in one))
    whole = page.table(heads, [[one.get(key) for key in heads] for one in every])
    sections.append(page.Section("Every run", [page.folded(f"{len(rows)} runs", whole)]))
    data = [{**numbers(row), "points": list(row.points)} for row in rows]
    return page.page(
        name, sections, lead=f"{sum(r.state == 'done' for r in rows)} of {len(rows)} runs.", data=data
    )


NOTE = (
    "Values are of the averaged weights, mean ± one standard deviation over draws and seeds. `at 0.5, 0.7, 0.9`: "
    "diversity where p_target first comes to that share of the way from p(source) to p(real), the mean p of the "
    "source's own samples and of real images; p_target means nothing without these two. A cell that has not run reads: "
    "not measured."
)


def crowds(found: Sequence[Group]) -> list[list[Group]]:
    """Groups that share a chart: all, or where they are too many, those of one space."""
    if len(found) <= CROWD:
        return [list(found)]
    spaces = dict.fromkeys(group.space for group in found)
    of_space = [[group for group in found if group.space == space] for space in spaces]
    return [one[i : i + CROWD] for one in of_space for i in range(0, len(one), CROWD)]


def _along(found: Sequence[Group]) -> str:
    """Quality and diversity along the run, and against each other."""
    row = found[0].done[0]
    quality, diversity = row.name("quality"), row.name("diversity")
    ends = [one.anchors for group in found for one in group.done if one.anchors]
    lines = [
        Line(sum(pair[i] for pair in ends) / len(ends), text)
        for i, text in ((1, "p(real)"), (0, "p(source)"))
        if ends
    ]
    first = [
        curves(
            f"{name}{kind} along the run",
            bands(found, role, kind),
            y=f"{name}{kind}",
            lines=lines if role == "quality" else (),
        )
        for role, kind in ROLES
        if (name := row.name(role)) and not (kind and same(found, kind))
    ]
    paths = [trail(group) for group in found]
    first.append(curves("Diversity against quality, along the run", paths, x=str(quality), y=str(diversity)))
    if equal := at_equal_quality(found):
        share = "share of the way from p(source) to p(real)"
        first.append(curves(f"Diversity at equal {quality}", equal, x=share, y=str(diversity)))
    return page.row(*first)


def same(found: Sequence[Group], kind: str) -> bool:
    """Whether the diversity of this kind says nothing new: no cluster was ever empty, or it was not measured."""
    curves_of = ((group.curve("diversity", kind), group.curve("diversity")) for group in found)
    return all(not own or own == headline for own, headline in curves_of)


def _at_the_end(found: Sequence[Group]) -> str:
    """Quality against diversity, and what they cost: of all groups, for a front of one space alone would be another."""
    drawn = [
        _pareto("At the end of the runs", found, "quality", "diversity", ("high", "high")),
        costs("Numbers that move", found, "parameters", 1),
        costs("Domain file, KB", found, "bytes", 1000),
    ]
    return page.row(*filter(None, drawn))


def bands(found: Sequence[Group], role: str, kind: str = "") -> list[Series]:
    """A metric along the run, a curve a group, with its spread; kind: of the names beside the metric's."""
    series = []
    for group in found:
        curve = group.curve(role, kind)
        band = [one.spread or 0.0 for _, one in curve] if len(group.done) > 1 else []
        series.append(
            Series(
                group.name,
                [step for step, _ in curve],
                [one.value for _, one in curve],
                low=[one.value - s for (_, one), s in zip(curve, band, strict=False)],
                high=[one.value + s for (_, one), s in zip(curve, band, strict=False)],
            )
        )
    return series


def trail(group: Group, kind: str = "") -> Series:
    """Diversity against quality along the run, the steps written beside; kind: as of `bands`, of diversity."""
    quality, diversity = dict(group.curve("quality")), dict(group.curve("diversity", kind))
    steps = [step for step in quality if step in diversity]
    return Series(
        group.name,
        [quality[step].value for step in steps],
        [diversity[step].value for step in steps],
        labels=[mile(step) for step in steps],
        tips=[f"{group.name}, step {step}: {quality[step]}, {diversity[step]}" for step in steps],
    )


def at_equal_quality(found: Sequence[Group]) -> list[Series]:
    """Diversity where all runs of a group first come to each level of quality, a curve a group that reached any, in its
    colour of the other charts.
    """
    series = []
    for i, group in enumerate(found):
        kept = [at and at[1] for at in map(group.reached, LEVELS)]
        low, high = ([one and one.value + sign * (one.spread or 0.0) for one in kept] for sign in (-1, 1))
        if any(kept):
            values = [one and one.value for one in kept]
            series.append(Series(group.name, LEVELS, values, low, high, colour=i))
    return series


def _pareto(title: str, found: Sequence[Group], x: str, y: str, better: tuple[str, str]) -> str:
    points = [
        Point(group.name, a.value, b.value, group.method, (a.spread or 0.0, b.spread or 0.0))
        for group in found
        if (a := group.last(x)) and (b := group.last(y))
    ]
    names = [str(found[0].done[0].name(role)) for role in (x, y)]
    return scatter(title, points, *names, better=better) if points else ""


def costs(title: str, found: Sequence[Group], key: str, unit: float) -> str:
    """A cost of the domain, by powers of ten, against KID; nothing of a single space, in which all cost the same."""
    if len({group.space for group in found}) < 2:
        return ""
    alone = len({group.method for group in found}) == 1  # which the legend names
    points = [
        Point(
            group.space if alone else group.name,
            group.done[0].result[key] / unit,
            kid.value,
            group.method,
            (0.0, kid.spread or 0.0),
        )
        for group in found
        if (kid := group.last("kid")) and group.done[0].result
    ]
    name = str(found[0].done[0].name("kid"))
    if not points:
        return ""
    return scatter(f"{title}, against KID", points, title, name, better=("low", "low"), log=True)


def over_shots(found: Sequence[Group]) -> list[str]:
    """KID and diversity, with and without empty clusters, against the number of shots, where a study has several."""
    charts = []
    for source, target in dict.fromkeys((g.source, g.target) for g in found):
        own = [g for g in found if (g.source, g.target) == (source, target) and g.done and g.shots.isdigit()]
        if len({g.shots for g in own}) < 2:
            continue
        for role, kind in ROLES[1:]:
            if kind and same(own, kind):
                continue
            series = []
            for name in dict.fromkeys(g.name for g in own):
                points = sorted(
                    (int(g.shots), v) for g in own if g.name == name and (v := g.last(role, kind))
                )
                if len(points) < 2:
                    continue  # a space or method of one number of shots is no curve
                low, high = ([v.value + sign * (v.spread or 0.0) for _, v in points] for sign in (-1, 1))
                series.append(Series(name, [x for x, _ in points], [v.value for _, v in points], low, high))
            metric = f"{own[0].done[0].name(role)}{kind}"
            if any(one.x for one in series):
                charts.append(curves(f"{metric} on {target}", series[:CROWD], x="shots", y=metric))
    return charts


# Pictures
# --------------------------------------------------------------------------------------------


def _pictures(found: Sequence[Group], out: Path, name: str) -> list[str]:
    """A row of pictures a group, all of the same latents, under the source's; nothing where no domain file is left."""
    source = source_of(found[0].rows[0].cell.source, "cpu")
    g = source.generator
    z = Draws([seed_of(0, 0, "lab.pictures", i) for i in range(PICTURED)]).normal(g.z_dim)
    images, labels = [render(g, z)], ["source"]
    for group in found:
        row = group.done[0]
        with contextlib.suppress(StylegraftError):  # a domain file that was moved away: its row is left out
            domain = Domain.load(place(out, row.cell) / "domain.safetensors")
            images.append(render(domain.on(g), z))
            labels.append(f"{group.name} {row.cell.key.rsplit('/', 2)[1]} s{row.cell.seed}")
    if len(images) == 1:
        return []
    path = out / "pictures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_grid(torch.cat(images), path, PICTURED, labels=labels)
    caption = (
        "The same latents through the source and through each domain at the end of its first run (psi 0.7)"
    )
    return [page.picture(path, caption, width=1100)]
