"""The criteria on Fix the Noise: its blend as a control, and what it keeps of the source (`lab.control` measures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    moves, reach = _moves([control(row) for row in own.values()])
    text = f"rank correlation {rank}, {rising.value:.0%} of the steps away from the source; distance {reach}"
    return [Judged(target, rank.value >= LEAST and moves, text)]


def _moves(controls: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Whether the mean distance grows by more than next to nothing, and from where to where."""
    near, far = (sum(one["distances"][i] for one in controls) / len(controls) for i in (0, -1))
    moves = far - near >= MOVES * far
    return moves, f"{near:.3f} to {far:.3f}" + ("" if moves else ": it moves next to nothing")


def smoother(runs: Runs, target: str) -> list[Judged]:
    """The largest step over the mean step is smaller for the blend than for layer swapping in as many places. Where one
    of them moves next to nothing it cannot be said.
    """
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
    for name, i in (("blend", 0), ("layers", 1)):
        moves, reach = _moves([pair[i] for pair in pairs])
        if not moves:  # a ratio of steps that are all noise
            return [Judged(target, None, f"{text}; distance of the {name} {reach}")]
    return [Judged(target, less(gap), text)]


def keeps_more(runs: Runs, target: str, others: Sequence[str]) -> list[Judged]:
    """At its anchor fixnoise is nearer to the source than each of the others where those have its quality there.

    Another run is read where its p_target first comes to that; one that never does, at its last step, where it has
    moved less than it should. Where the others come to what fixnoise has with random noise is told beside it.
    """
    own = runs.of(BLEND, target)
    if any(row.points[-1]["step"] != runs.end for row in own.values()):
        return [missing(target, f"a domain of {BLEND} that is its step {runs.end}")]
    told = list[str]()
    against = list[str]()
    for where in ("anchor", "random"):
        qualities = {key: control(row).get(f"p_target {where}") for key, row in own.items()}
        near, quality = over(own, at("correspondence", runs.end)), mean(qualities.values())
        if near is None or quality is None or None in qualities.values():
            return [missing(target, f"p_target of {BLEND}, {where},")]
        found, short = {BLEND: near}, list[str]()
        for name in others:
            their = runs.of(name, target)
            pairs = [
                (own[key], their[key], q) for key, q in qualities.items() if key in their and q is not None
            ]
            read = [(a.at("correspondence", runs.end), *where_as_good(b, q, runs.end)) for a, b, q in pairs]
            gap = mean(a - b for a, b, _ in read if a is not None and b is not None)
            theirs = mean(b for _, b, _ in read)
            if gap is None or theirs is None or gap.count < len(own):
                return [missing(target, f"correspondence of {name}")]
            found[name] = theirs
            if where == "anchor" and not less(gap):
                against.append(f"{BLEND} - {name}: {signed(gap)}")
            if missed := sum(not reached for _, _, reached in read):
                short.append(f"{name} never comes to that in {missed} of {len(read)} runs: its end is taken")
        head = f"at p_target {quality} ({_PLACE[where]}, between {scale([own])}): {named(found)}"
        told.append("; ".join([head, *short]))
    return [Judged(target, not against, "; ".join([f"distance to the source {told[0]}", *against, told[1]]))]


_PLACE = {"anchor": "its own there", "random": "its own with random noise, not judged by"}


def where_as_good(row: Row, quality: float, end: int) -> tuple[float | None, bool]:
    """Correspondence where p_target first comes to this value, else at the last step, and whether it does."""
    found = row.crossing(quality, "correspondence")
    return (found.value, True) if found and found.step <= end else (row.at("correspondence", end), False)
