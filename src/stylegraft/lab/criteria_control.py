"""The criteria on Fix the Noise: its blend as a control, and what it keeps of the source (`lab.control` measures)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from stylegraft.lab.criteria import (
    BLEND,
    SWAP,
    Judged,
    Runs,
    at,
    less,
    mean,
    missing,
    named,
    over,
    scale,
    signed,
)
from stylegraft.lab.results import Row

LEAST = 0.9  # rank correlation from which a curve is called monotone
MOVES = 0.1  # of the distance at the far end: a control that moves less does nothing


def control(row: Row) -> dict[str, Any]:
    """What was measured of a run's control; empty where nothing was."""
    return (row.result or {}).get("control") or {}


def monotone(runs: Runs, target: str) -> list[Judged]:
    """The mean rank correlation of the distance to the source with the blend is at least 0.9, and the blend moves."""
    own = runs.of(BLEND, target)
    rank = over(own, lambda row: control(row).get("spearman"))
    rising = over(own, lambda row: control(row).get("rising"))
    curves = [control(row).get("distances") for row in own.values()]
    if rank is None or rising is None or not all(curves):
        return [missing(target, "the blend")]
    near, far = (sum(curve[i] for curve in curves if curve) / len(curves) for i in (0, -1))
    moves = far - near >= MOVES * far
    text = f"rank correlation {rank}, {rising.value:.0%} of the steps away from the source"
    text += f"; distance {near:.3f} to {far:.3f}" + ("" if moves else ": it moves next to nothing")
    return [Judged(target, rank.value >= LEAST and moves, text)]


def smoother(runs: Runs, target: str) -> list[Judged]:
    """The largest step over the mean step is smaller for the blend than for layer swapping in as many places."""
    blend, swap = ({k: control(row) for k, row in runs.of(m, target).items()} for m in (BLEND, SWAP))
    pairs = [(blend[key], swap[key]) for key in blend if key in swap]
    values = [(a.get("smoothness"), b.get("smoothness")) for a, b in pairs]
    if not pairs or any(None in pair for pair in values):
        return [missing(target, "the smoothness of both controls")]
    gap = mean(a - b for a, b in values if a is not None and b is not None)
    ends = [mean(pair[i] for pair in values) for i in (0, 1)]
    assert gap
    places = len(pairs[0][0]["amounts"])
    text = (
        f"largest step over mean step: blend {ends[0]}, layers {ends[1]}, in {places} places ({signed(gap)})"
    )
    return [Judged(target, less(gap), text)]


def keeps_more(runs: Runs, target: str, others: Sequence[str]) -> list[Judged]:
    """At its anchor fixnoise is nearer to the source than each of the others where those have its quality.

    Its quality is p_target with random noise, where it is the target. Another run is read where its p_target first
    comes to that, linear between two looks; one that never does, at its end, where it has moved less than it should.
    """
    own = runs.of(BLEND, target)
    qualities = {key: control(row).get("p_target random") for key, row in own.items()}
    near = over(own, at("correspondence"))
    if not own or None in qualities.values() or near is None:
        return [missing(target, "p_target of fixnoise with random noise")]
    told, against, short = {BLEND: near}, list[str](), list[str]()
    for name in others:
        their = runs.of(name, target)
        found = {key: where_as_good(their[key], q) for key, q in qualities.items() if key in their and q}
        gap = mean((own[key].last("correspondence") or 0.0) - one[0] for key, one in found.items())
        at_level = mean(one[0] for one in found.values())
        if gap is None or at_level is None:
            return [missing(target, f"correspondence of {name}")]
        told[name] = at_level
        against += [] if less(gap) else [f"{BLEND} - {name}: {signed(gap)}"]
        if missed := sum(not reached for _, reached in found.values()):
            short.append(f"{name} never comes to that in {missed} of {len(found)} runs: its end is taken")
    quality = mean(qualities.values())
    head = f"distance to the source at p_target {quality} (between {scale([own])}): {named(told)}"
    return [Judged(target, not against, "; ".join([head, *short, *against]))]


def where_as_good(row: Row, quality: float) -> tuple[float, bool]:
    """Correspondence where p_target first comes to this value, and whether it does."""
    p, c = str(row.name("quality")), str(row.name("correspondence"))
    points = [point for point in row.points if p in point and c in point]
    for a, b in pairwise(points):
        if a[p] < quality <= b[p]:
            return a[c] + (quality - a[p]) / (b[p] - a[p]) * (b[c] - a[c]), True
    return (points[0][c], True) if points[0][p] >= quality else (points[-1][c], False)
