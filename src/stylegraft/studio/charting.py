"""Charts of what was recorded, by the lab's own: quality and diversity along a traced run, and a study's views."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stylegraft.checkpoints.headers import from_json
from stylegraft.data.texts import values_of
from stylegraft.errors import StylegraftError
from stylegraft.lab.anatomy import Anatomy, Part
from stylegraft.lab.anatomy_page import FILES as ANATOMY
from stylegraft.lab.anatomy_page import heat_maps
from stylegraft.lab.charts import Point, Series, curves, heat_map, mile, scatter
from stylegraft.lab.trace import FILE, read_trace
from stylegraft.studio.workspace import Workspace

QUALITY, DIVERSITY = "p_target", "intra-lpips"
MOST_STUDY = 64 << 20  # bytes of a results.json


def named(points: Iterable[dict[str, Any]], role: str) -> str | None:
    """The first metric of this role among the points: `p_target-effnet-lite0`."""
    for point in points:
        for name, value in point.items():
            if (
                name.startswith(role)
                and isinstance(value, int | float)
                and name.rpartition("-")[2] not in ("spread", "empty")
            ):
                return name
    return None


def standing(run: Path) -> list[dict[str, str]]:
    """Quality against diversity, and each along the steps, of a run that was traced."""
    if not (run / FILE).is_file():
        return []
    points = [point for point in read_trace(run).points if point["weights"] == "ema"]
    quality, diversity = named(points, QUALITY), named(points, DIVERSITY)
    if quality is None or diversity is None:
        return []
    both = [point for point in points if quality in point and diversity in point]
    return [
        {
            "title": "Diversity against quality",
            "svg": path_chart("Diversity against quality", [("run", both)], quality, diversity),
        },
        *({"title": name, "svg": along(name, [("run", points)], name)} for name in (quality, diversity)),
    ]


def taken_apart(run: Path) -> list[dict[str, str]]:
    """The heat maps of `stylegraft anatomy` of a run: size and effect of each part, by group and resolution."""
    path = run / "anatomy" / ANATOMY[0]
    if not path.is_file() or path.stat().st_size > MOST_STUDY:
        return []
    told = from_json(path.read_text(encoding="utf-8"), path.name, "the anatomy of a run")
    found = []
    for one in told.get("domains", {}).values():
        parts = tuple(Part(**part) for part in one["parts"])
        found += heat_maps(Anatomy(parts, one["whole"], one["distance"], one["latents"]))
    return [{"title": "What moved where", "svg": svg} for svg in found]


def path_chart(title: str, rows: Sequence[tuple[str, Sequence[dict[str, Any]]]], x: str, y: str) -> str:
    """Where each run goes between quality (x) and diversity (y), its steps written beside."""
    series = [
        Series(name, [p[x] for p in points], [p[y] for p in points], labels=[mile(p["step"]) for p in points])
        for name, points in rows
        if points
    ]
    return curves(title, series, x, y)


def along(title: str, rows: Sequence[tuple[str, Sequence[dict[str, Any]]]], name: str) -> str:
    """A metric along the steps."""
    series = [
        Series(label, [p["step"] for p in points if name in p], [p[name] for p in points if name in p])
        for label, points in rows
    ]
    return curves(title, [s for s in series if s.x])


def study_charts(place: Workspace, folder: Path) -> dict[str, Any]:
    """Of a study's results.json: answers, a table, and for each source and target curves, Pareto chart and heat map."""
    path = folder / "results.json"
    if path.stat().st_size > MOST_STUDY:
        raise StylegraftError(f"{place.name(path)}: larger than {MOST_STUDY >> 20} MB")
    text = path.read_text(encoding="utf-8", errors="replace")
    told = from_json(text, place.name(path), "the study's results")
    with values_of(place.name(path)):
        return _charts(place, folder, told)


def _charts(place: Workspace, folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    cells = [
        c
        for c in told.get("cells", [])
        if isinstance(c, dict) and c.get("state") == "done" and c.get("points")
    ]
    problems: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        problems.setdefault((str(cell["target"]), str(cell["source"])), []).append(cell)
    return {
        "name": told.get("study", folder.name),
        "answers": [str(line) for line in told.get("answers", [])],
        "problems": [
            {"title": f"{target}, from {source}", "charts": problem(own)}
            for (target, source), own in problems.items()
        ],
        "page": place.name(folder / "results.html") if (folder / "results.html").is_file() else None,
        "pictures": [place.name(p) for p in sorted((folder / "pictures").glob("*.png"))[:20]]
        if (folder / "pictures").is_dir()
        else [],
    }


def problem(cells: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """The charts of the cells of one source and one target; seeds of one method and space are averaged."""
    points = [point for cell in cells for point in cell["points"]]
    quality, diversity = named(points, QUALITY), named(points, DIVERSITY)
    if quality is None or diversity is None:
        return []
    groups: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault(f"{cell['method']} {cell['space']}", []).append(cell)
    rows = [(name, averaged(own, (quality, diversity))) for name, own in groups.items()][:8]
    ends = [(name, way[-1]) for name, way in rows if way]
    title = "At the end: diversity against quality"
    levels = sorted(
        {key.rpartition(" at ")[2] for cell in cells for key in cell if key.startswith(f"{diversity} at ")}
    )
    values = [
        [mean([c.get(f"{diversity} at {level}") for c in groups[name]]) for level in levels]
        for name, _ in rows
    ]
    charts = [
        {
            "title": "Diversity against quality, along the runs",
            "svg": path_chart("Along the runs", rows, quality, diversity),
        },
        {"title": quality, "svg": along(quality, rows, quality)},
        {"title": diversity, "svg": along(diversity, rows, diversity)},
        {
            "title": title,
            "svg": scatter(
                title, [Point(n, p[quality], p[diversity], n) for n, p in ends], quality, diversity
            ),
        },
    ]
    if levels:
        heat = "Diversity where p_target comes to a share of the way"
        charts.append({"title": heat, "svg": heat_map(heat, [n for n, _ in rows], levels, values)})
    return charts


def averaged(cells: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The mean of the averaged weights' points over the seeds, at the steps that all of them have."""
    by_seed = [
        {p["step"]: p for p in c["points"] if p.get("weights", "ema") == "ema" and all(n in p for n in names)}
        for c in cells
    ]
    steps = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return [
        {"step": s, **{n: statistics.fmean(points[s][n] for points in by_seed) for n in names}} for s in steps
    ]


def mean(values: Iterable[Any]) -> float | None:
    """The mean of those that are numbers."""
    found = [v for v in values if isinstance(v, int | float)]
    return statistics.fmean(found) if found else None
