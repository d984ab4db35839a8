"""Which method, which space, when to stop: three sentences read off the table of a study, and what they rest on.

The rule is fixed before the numbers are seen: of the levels of quality in `results.LEVELS`, the highest that some
method reached in all its runs; where none reached any, the highest share of the way that two methods came to, or the
only one; at it, the most diversity; and what comes as near to it as the runs of one method differ among themselves is
named beside it. Diversity is the headline of intra-LPIPS, in which an empty cluster counts 0; where the mean without
such clusters puts another one first, that is said, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stylegraft.lab.results import (
    APART,
    LEVELS,
    NOT_MEASURED,
    WITHOUT_EMPTY,
    Group,
    Mean,
    Row,
    ends,
    mean,
    problems,
)

LEAST = 0.1  # of the way: nearer to the source than that nothing has been learnt
CHANCE = 0.01  # of new real images that are called near copies of a training image (`metrics.memorisation`)
QUESTIONS = "Which method, which space, when to stop"


def answers(rows: Sequence[Row]) -> list[str]:
    """For each source, target and number of shots: method, space, stopping, each a sentence; then the caveats."""
    told, found_of = list[str](), problems(rows)
    for (source, target, shots), found in found_of.items():
        head = [f"{target}, {shots} shots, from {source}:"] if len(found_of) > 1 else []
        told += [*head, *_of_problem(found)]
    return told + [_caveats(rows)]


def _of_problem(found: Sequence[Group]) -> list[str]:
    if not any(group.done for group in found):
        return [f"{QUESTIONS}: {NOT_MEASURED}."]
    at = best_level(found)
    if at is None:
        return [f"{QUESTIONS}: cannot be said: {_why_not(found)}.", *_on_their_way(1.0, found)]
    share, ranked = at
    lone = len(ranked) == 1 and sum(bool(group.done) for group in found) > 1
    advised, space = _space(ranked, found)
    arrived = {group.method for group, _, _ in ranked}
    late = dict.fromkeys(g.method for g in _going(share, found) if g.method not in arrived)
    return [
        _method(share, ranked, lone, list(late)),
        space,
        _stop(share, advised),
        *_on_their_way(share, found),
    ]


def best_level(found: Sequence[Group]) -> tuple[float, list[tuple[Group, Mean, Mean]]] | None:
    """The highest level that some group reached in all its runs, else the share that two methods came to, and (group,
    step, diversity) there, most diverse first. None where nothing left the source.
    """
    for share in (*reversed(LEVELS), *_shared(found)):
        reached = [(group, *at) for group in found if (at := group.reached(share))]
        if reached:
            return share, sorted(reached, key=lambda one: -one[2].value)
    return None


def _shared(found: Sequence[Group]) -> list[float]:
    """Shares of the way, whole percents from LEAST on: the highest that two methods came to, and that of the best."""
    best = dict[str, float]()
    for group in found:
        if group.done:
            best[group.method] = max(group.farthest(), best.get(group.method, 0.0))
    first, *others = sorted((math.floor(100 * share - 1e-9) / 100 for share in best.values()), reverse=True)
    return [share for share in (*others[:1], first) if share >= LEAST]


def _why_not(found: Sequence[Group]) -> str:
    if all(row.level(1.0) is None for group in found for row in group.done):
        return f"p(source) and p(real) are less than {APART:g} apart, so that p_target cannot tell how far a run came"
    return f"no method came {LEAST:.0%} of the way from the source to real images in all its runs"


def _going(share: float, found: Sequence[Group]) -> list[Group]:
    """Those that did not come to a level, and whose p_target was at its highest at the last step."""
    short = [g for g in found if g.done and g.farthest() and not (share in LEVELS and g.reached(share))]
    return [g for g in short if _rising(g)]


def _on_their_way(share: float, found: Sequence[Group]) -> list[str]:
    """What to do where there are such."""
    going = _going(share, found)
    if not going:
        return []
    end = max(row.points[-1]["step"] for g in going for row in g.done)
    return [
        f"Still on their way at their last step: {', '.join(g.name for g in going)}. Write `steps = {2 * end}` into "
        "the study file (where pictures were named, `study.toml` in the study's folder) and compare it again: finished "
        "cells are extended."
    ]


def _rising(group: Group) -> bool:
    values = [one.value for _, one in group.curve("quality")]
    return len(values) > 1 and values[-1] > max(values[:-1])


def alike(a: Mean, b: Mean) -> bool:
    """Whether two means are nearer than one run of each would differ, by their deviations; not of single runs."""
    spreads = [one.spread for one in (a, b) if one.spread is not None]
    return abs(a.value - b.value) <= math.hypot(*spreads) if spreads else False


def _method(
    share: float, ranked: Sequence[tuple[Group, Mean, Mean]], lone: bool, late: Sequence[str] = ()
) -> str:
    """lone: whether the others were run, and none came to this quality; late: methods that are still on their way to
    it, with which the question is open.
    """
    group, _, kept = ranked[0]
    row = group.done[0]
    near = [f"{g.name} ({m})" for g, _, m in ranked[1:] if alike(kept, m)]
    beside = f"; {', '.join(near)} cannot be told from it" if near else ""
    second = next((f"; next comes {g.name} ({m})" for g, _, m in ranked[1:]), "")
    share_of = f"{row.name('quality')} is {share:.0%} of the way from p(source) to p(real) ({ends(group)})"
    why = "alone comes so far in all its runs" if lone else "keeps most diversity at equal quality"
    early = (
        ""
        if share in LEVELS
        else f"no method came {LEVELS[0]:.0%} of the way in all its runs; at {share:.0%} "
    )
    if late:
        are = "is" if len(late) == 1 else "are"
        early = f"undecided, for {' and '.join(late)} {are} still on the way; so far, {early}"
    return (
        f"Which method: {early}{group.method} (in {group.space}) {why}, "
        f"{row.name('diversity')} {kept} where {share_of}{beside or second}.{_without_empty(share, ranked)}"
    )


def _without_empty(share: float, ranked: Sequence[tuple[Group, Mean, Mean]]) -> str:
    """Who keeps most by the mean without empty clusters, where that is another one."""
    found = {g.name: at[1] for g, _, _ in ranked if (at := g.reached(share, WITHOUT_EMPTY))}
    first = ranked[0][0].name
    best = max(found, key=lambda name: found[name].value, default=first)
    if first not in found or best == first or alike(found[best], found[first]):
        return ""
    return (
        " In that a training image counts 0 that fewer than two samples are nearest to; without those "
        f"{best} is ahead ({found[best]}; {first} {found[first]})."
    )


def _space(ranked: Sequence[tuple[Group, Mean, Mean]], found: Sequence[Group]) -> tuple[Group, str]:
    """The group that is advised, and why."""
    winner, _, best = ranked[0]
    own = [one for one in ranked if one[0].method == winner.method]
    if len({g.space for g in found if g.method == winner.method}) < 2:
        return winner, f"Which space: {winner.space}, the only one in which {winner.method} was run."
    small = min(
        (one for one in own if one[0] is winner or alike(best, one[2])), key=lambda one: _bytes(one[0])
    )
    told = ", ".join(f"{g.space} {m} in {_bytes(g) / 1000:.0f} KB" for g, _, m in own)
    if small[0] is winner:
        return winner, f"Which space: {winner.space}, by the same measure ({told})."
    return small[0], (
        f"Which space: {small[0].space} is the smallest that cannot be told from the best, {winner.space}, by the same "
        f"measure ({told})."
    )


def _stop(share: float, group: Group) -> str:
    steps = [at[0] for row in group.done if (at := row.reached(share))]
    spread = (
        f" ({min(steps):.0f} to {max(steps):.0f} over {len(steps)} runs)" if len(steps) > 1 else " (one run)"
    )
    step = sum(steps) / len(steps)
    last, at = group.last("diversity"), group.reached(share)
    end = max(row.points[-1]["step"] for row in group.done)
    assert last and at
    full, to = group.reached(share, WITHOUT_EMPTY), group.last("diversity", WITHOUT_EMPTY)
    beside = f", without empty clusters from {full[1].value:.3f} to {to.value:.3f}" if full and to else ""
    after = (
        f"; going on to step {end} takes diversity from {at[1].value:.3f} to {last.value:.3f}{beside}"
        if end > step
        else ""
    )
    where = f"{group.method} in {group.space} comes to that quality"
    return f"When to stop: at about step {step:.0f}{spread}, where {where}{_copies(share, group)}{after}."


def _copies(share: float, group: Group) -> str:
    """A word on memorisation there, where it is measured and above chance."""
    found = mean(
        at[1] for row in group.done if row.name("memorised") and (at := row.reached(share, "memorised"))
    )
    chance = CHANCE * max((row.result or {}).get("shots", {}).get("count", 0) for row in group.done)
    if not found or not chance or found.value <= chance:
        return ""
    return f" and {found.value:.0%} of its samples are near copies of training images (by chance up to {chance:.0%})"


def _bytes(group: Group) -> float:
    return sum((row.result or {})["bytes"] for row in group.done) / len(group.done)


def _caveats(rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.state == "done"]
    seeds, draws = ({getattr(row.cell, key) for row in done} for key in ("seed", "draw"))
    missing = len(rows) - len(done)
    parts = [f"{len(done)} of {len(rows)} runs (seeds: {len(seeds)}, draws of the shots: {len(draws)})"]
    if len(seeds) < 3 or len(draws) < 2:
        parts.append("fewer than 3 seeds and 2 draws: another choice of images can turn the order")
    if missing:
        parts.append(f"{NOT_MEASURED}, so that nothing is said of them: {missing} runs")
    parts.append(
        "± is one standard deviation over runs; p_target saturates and does not see copies of the shots"
    )
    return f"It rests on {'; '.join(parts)}."
