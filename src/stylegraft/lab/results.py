"""The table of a study: a row a cell, from what its run recorded and from nothing else. No torch is imported here.

Diversity is only worth comparing at equal quality: it is read off each run's curve where p_target first comes to a
level, 0.5, 0.7 and 0.9 of the way from the source's own images to real ones. A run that does not get there says so.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from stylegraft.adaptation.place import begun
from stylegraft.adaptation.rules import FOLDS
from stylegraft.atomic import write_json, write_text
from stylegraft.errors import StylegraftError
from stylegraft.lab.record import failure_of, place, result_of
from stylegraft.lab.study import ALL, Cell

LEVELS = (0.5, 0.7, 0.9)  # of the way from p(source) to p(real)
APART = 0.1  # p(real) - p(source) from which a level in between means anything
NOT_REACHED, NOT_MEASURED = "not reached", "not measured"
WITHOUT_EMPTY = "-without-empty"  # beside the name of diversity: the mean without empty clusters
ROLES = ("quality", "diversity", "kid", "correspondence", "memorised", "nearest-shot")


class Crossing(NamedTuple):
    """Where p_target first comes to a value. step, value: of another metric, both linear between the looks at the steps
    `since` and `until`; at the first look all three steps are its own.
    """

    step: float
    value: float
    since: int
    until: int


@dataclass(frozen=True)
class Row:
    """A cell and what is known of it. state: done, refused, failed, unfinished or not measured; error: why."""

    cell: Cell
    state: str
    error: str = ""
    result: Mapping[str, Any] | None = None

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """The trace of the averaged weights."""
        return self.result["points"] if self.result else ()

    def name(self, role: str) -> str | None:
        """The metric that has this role here."""
        return self.result["metrics"].get(role) if self.result else None

    def last(self, role: str, kind: str = "") -> float | None:
        """The value at the end of the run; kind: as of `at`."""
        return self.points[-1].get(f"{self.name(role)}{kind}") if self.points else None

    def at(self, role: str, step: int, kind: str = "") -> float | None:
        """The value at a look; kind: of the names beside the metric's, such as `-without-empty`."""
        name = f"{self.name(role)}{kind}"
        return next((point.get(name) for point in self.points if point["step"] == step), None)

    @property
    def anchors(self) -> tuple[float, float] | None:
        """p(source) and p(real), the two ends on which p_target is read."""
        told = (self.result or {}).get("anchors") or {}
        return (told["p_source"], told["p_real"]) if {"p_source", "p_real"} <= set(told) else None

    def level(self, share: float) -> float | None:
        """p_target at this share of the way; None where the probe cannot tell the two ends apart."""
        source, real = self.anchors or (0.0, 0.0)
        return source + share * (real - source) if real - source >= APART else None

    def way(self, step: int | None = None) -> float | None:
        """p_target as the share of the way from p(source) to p(real), at a look or, None, at the end."""
        value = self.last("quality") if step is None else self.at("quality", step)
        if value is None or self.anchors is None or self.level(0.0) is None:
            return None
        source, real = self.anchors
        return (value - source) / (real - source)

    def farthest(self) -> float:
        """The largest share of the way that p_target came; 0 where it cannot be said."""
        ways = [self.way(point["step"]) for point in self.points]
        return max((way for way in ways if way is not None), default=0.0)

    def crossing(self, quality: float, role: str = "diversity", kind: str = "") -> Crossing | None:
        """Where p_target first comes to this value; None if it never does. kind: as of `at`, of the other metric."""
        p, name = str(self.name("quality")), f"{self.name(role)}{kind}"
        points = [point for point in self.points if p in point and name in point]
        if points and points[0][p] >= quality:
            first = points[0]["step"]
            return Crossing(float(first), points[0][name], first, first)
        for a, b in pairwise(points):
            if a[p] < quality <= b[p]:
                t = (quality - a[p]) / (b[p] - a[p])
                step, value = (a[key] + t * (b[key] - a[key]) for key in ("step", name))
                return Crossing(step, value, a["step"], b["step"])
        return None

    def reached(self, share: float, role: str = "diversity", kind: str = "") -> tuple[float, float] | None:
        """Step and value of another metric where p_target first comes to a level; kind: as of `at`."""
        level = self.level(share)
        found = None if level is None else self.crossing(level, role, kind)
        return (found.step, found.value) if found else None


def read_rows(cells: Sequence[Cell], out: Path) -> list[Row]:
    """The rows of a study's cells. Raises StylegraftError when two were measured in different ways; that one target has
    a reference and another none is no such difference, for targets are not compared with each other.
    """
    rows = [_row(cell, place(out, cell)) for cell in cells]
    seen: dict[str, Row] = {}
    for row in rows:
        for role in ROLES:
            name, before = row.name(role), seen.get(role, row)
            if name:
                seen.setdefault(role, row)
            if name and str(before.name(role)).removesuffix(FOLDS) != name.removesuffix(FOLDS):
                raise StylegraftError(
                    f"{out}: {before.cell.key} was measured by {before.name(role)}, {row.cell.key} by {name}, which "
                    "cannot be compared; say encoder and samples under [trace], and remove the folder that is wrong"
                )
    return rows


def _row(cell: Cell, folder: Path) -> Row:
    if result := result_of(folder, cell):
        return Row(cell, "done", "", result)
    if why := failure_of(folder):
        return Row(cell, why["state"], why["error"])
    return Row(cell, "unfinished" if begun(folder) else NOT_MEASURED)


# As numbers
# --------------------------------------------------------------------------------------------


def numbers(row: Row) -> dict[str, Any]:
    """A row of the table by column; None where there is nothing to say."""
    cell, result = row.cell, row.result or {}
    told: dict[str, Any] = {
        "key": cell.key,
        "source": Path(cell.source).name,
        "method": cell.method.label,
        "space": cell.space,
        "target": cell.target.label,
        "shots": cell.shots or ALL,
        "draw": cell.draw,
        "seed": cell.seed,
        "state": row.state,
        "error": row.error or None,
        "steps": row.points[-1]["step"] if row.points else None,
    }
    told |= {name: row.last(role) for role in ROLES if (name := row.name(role))}
    source, real = row.anchors or (None, None)
    told |= {"p(source)": source, "p(real)": real}
    diversity = row.name("diversity")
    for share in LEVELS if diversity else ():
        found = row.reached(share)
        told[f"step at {share:g}"] = round(found[0]) if found else NOT_REACHED
        told[f"{diversity} at {share:g}"] = found[1] if found else NOT_REACHED
    kept = (
        "first step with p_target >= 0.9",
        "parameters",
        "bytes",
        "training seconds",
        "peak memory",
        "commit",
    )
    return told | {name: result.get(name) for name in kept}


def write_table(rows: Sequence[Row], path: Path) -> None:
    """The table as CSV; a cell that has not run has a row all the same."""
    lines = [numbers(row) for row in rows]
    columns = list(dict.fromkeys(name for line in sorted(lines, key=len, reverse=True) for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if v is None else v for name, v in line.items()} for line in lines)
    write_text(path, text.getvalue())


def write_numbers(name: str, rows: Sequence[Row], answers: Sequence[str], path: Path) -> None:
    """Everything as JSON: cells with their curves, groups, and the answers."""
    told = [{**numbers(row), "points": list(row.points)} for row in rows]
    summed = [group.numbers() for group in groups(rows)]
    write_json(
        path, {"study": name, "levels": LEVELS, "cells": told, "groups": summed, "answers": list(answers)}
    )


# Over draws and seeds
# --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """Mean over runs, and their standard deviation (None for a single one)."""

    value: float
    spread: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f}" + (f" ± {self.spread:.3f}" if self.spread is not None else "")


def mean(values: Iterable[float | None]) -> Mean | None:
    """Of those that are there; None of none."""
    found = [float(v) for v in values if v is not None]
    if not found:
        return None
    return Mean(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, len(found))


@dataclass(frozen=True)
class Group:
    """The runs of one source, method, space, target and number of shots: what differs is the draw and the seed."""

    source: str
    method: str
    space: str
    target: str
    shots: str
    rows: tuple[Row, ...]

    @cached_property
    def done(self) -> tuple[Row, ...]:
        """Those that have a result."""
        return tuple(row for row in self.rows if row.state == "done")

    @property
    def name(self) -> str:
        """Method and space."""
        return f"{self.method} · {self.space}"

    @property
    def problem(self) -> tuple[str, str, str]:
        """What is compared within one chart: source, target, shots."""
        return self.source, self.target, self.shots

    def last(self, role: str, kind: str = "") -> Mean | None:
        """At the end of the runs; kind: as of `Row.at`."""
        return mean(row.last(role, kind) for row in self.done)

    def reached(self, share: float, kind: str = "") -> tuple[Mean, Mean] | None:
        """Step and diversity at a level of quality, if all runs came to it; kind: as of `Row.at`."""
        found = [row.reached(share, kind=kind) for row in self.done]
        if not found or any(one is None for one in found):
            return None
        step, value = (mean(one[i] for one in found if one) for i in (0, 1))
        assert step and value
        return step, value

    def farthest(self) -> float:
        """The share of the way that all runs came to."""
        return min((row.farthest() for row in self.done), default=0.0)

    def curve(self, role: str, kind: str = "") -> list[tuple[int, Mean]]:
        """Mean of a metric over the runs at each step that all of them were looked at; kind: as of `Row.at`."""
        steps = [{p["step"]: p.get(f"{row.name(role)}{kind}") for p in row.points} for row in self.done]
        shared = sorted(set.intersection(*map(set, steps))) if steps else []
        found = [(step, mean(one[step] for one in steps)) for step in shared]
        return [(step, one) for step, one in found if one and one.count == len(self.done)]

    def state(self) -> str:
        """`6 of 6`, or why there is less."""
        count = f"{len(self.done)} of {len(self.rows)}"
        others = sorted({row.state for row in self.rows if row.state != "done"})
        return f"{count} ({', '.join(others)})" if others else count

    def numbers(self) -> dict[str, Any]:
        """For the JSON."""
        told: dict[str, Any] = {
            key: getattr(self, key) for key in ("source", "method", "space", "target", "shots")
        } | {"runs": len(self.rows), "done": len(self.done)}
        for role in ROLES:
            if found := self.last(role):
                told[str(self.done[0].name(role))] = vars(found)
        for share in LEVELS:
            found = self.reached(share)
            told[f"diversity at {share:g}"] = (
                vars(found[1]) if found else NOT_REACHED if self.done else NOT_MEASURED
            )
        return told


def groups(rows: Iterable[Row]) -> list[Group]:
    """Rows that differ in draw and seed alone, in the order of the study."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(row.cell.group, []).append(row)
    return [Group(Path(key[0]).name, *key[1:], rows=tuple(own)) for key, own in found.items()]


def problems(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Group]]:
    """Groups by source, target and shots: what can be compared with each other."""
    found: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups(rows):
        found.setdefault(group.problem, []).append(group)
    return found


# For reading
# --------------------------------------------------------------------------------------------

COLUMNS = ("method", "space", "runs", "p_target", "p(source)..p(real)", "diversity")
COLUMNS += (*(f"at {share:g}" for share in LEVELS), "KID", "step at 0.9")


def summary_row(g: Group) -> list[str]:
    """A group as a line under COLUMNS: means with their spread, `at 0.9` diversity at equal quality."""
    if not g.done:
        why = next((row.error for row in g.rows if row.error), NOT_MEASURED)
        return [g.method, g.space, g.state(), why, *[""] * (len(COLUMNS) - 4)]
    at = [g.reached(share) for share in LEVELS]
    return [
        g.method, g.space, g.state(), shown(g.last("quality")), ends(g), shown(g.last("diversity")),
        *(str(one[1]) if one else NOT_REACHED for one in at), shown(g.last("kid")),
        f"{at[-1][0].value:.0f}" if at[-1] else NOT_REACHED,
    ]  # fmt: skip


def ends(g: Group) -> str:
    """p(source)..p(real), between which p_target lies; the mean over runs, whose shots decide them where there is no
    reference.
    """
    pairs = [row.anchors for row in g.done if row.anchors]
    return (
        "..".join(f"{sum(pair[i] for pair in pairs) / len(pairs):.2f}" for i in (0, 1))
        if pairs
        else NOT_MEASURED
    )


def shown(one: Mean | None) -> str:
    """A mean, or that there is none."""
    return str(one) if one else NOT_MEASURED
