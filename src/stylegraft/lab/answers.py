"""Which method, which space, when to stop: three sentences read off the table of a study, and what they rest on.

The rule is fixed before the numbers are seen: of the levels of quality in `results.LEVELS`, the highest that some
method reached in all its runs; at it, the most diversity; and what comes as near to it as the runs of one method differ
among themselves is named beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from stylegraft.lab.results import LEVELS, NOT_MEASURED, Group, Mean, Row, ends, problems


def answers(rows: Sequence[Row]) -> list[str]:
    """For each source, target and number of shots: method, space, stopping, each a sentence; then the caveats."""
    told, found_of = list[str](), problems(rows)
    for (source, target, shots), found in found_of.items():
        head = [f"{target}, {shots} shots, from {source}:"] if len(found_of) > 1 else []
        told += [*head, *_of_problem(found)]
    return told + [_caveats(rows)]


def _of_problem(found: Sequence[Group]) -> list[str]:
    if not any(group.done for group in found):
        return [f"Which method, which space, when to stop: {NOT_MEASURED}."]
    at = best_level(found)
    if at is None:
        return [
            "Which method, which space, when to stop: cannot be said: no method came half of the way from the source "
            "to real images in all its runs; expected more `steps` in the study, or pictures nearer to the source's."
        ]
    share, ranked = at
    lone = len(ranked) == 1 and sum(bool(group.done) for group in found) > 1
    return [_method(share, ranked, lone), _space(ranked, found), _stop(share, ranked[0][0])]


def best_level(found: Sequence[Group]) -> tuple[float, list[tuple[Group, Mean, Mean]]] | None:
    """The highest level that some group reached in all its runs, and (group, step, diversity) there, most diverse
    first.
    """
    for share in reversed(LEVELS):
        reached = [(group, *at) for group in found if (at := group.reached(share))]
        if reached:
            return share, sorted(reached, key=lambda one: -one[2].value)
    return None


def alike(a: Mean, b: Mean) -> bool:
    """Whether two means are nearer than the runs of either differ among themselves; of single runs nobody knows."""
    spreads = [one.spread for one in (a, b) if one.spread is not None]
    return abs(a.value - b.value) <= max(spreads) if spreads else False


def _method(share: float, ranked: Sequence[tuple[Group, Mean, Mean]], lone: bool) -> str:
    """lone: whether the others were run, and none came to this quality."""
    group, _, kept = ranked[0]
    row = group.done[0]
    near = [f"{g.name} ({m})" for g, _, m in ranked[1:] if alike(kept, m)]
    beside = f"; {', '.join(near)} cannot be told from it" if near else ""
    second = next((f"; next comes {g.name} ({m})" for g, _, m in ranked[1:]), "")
    share_of = f"{row.name('quality')} is {share:.0%} of the way from p(source) to p(real) ({ends(group)})"
    why = "alone comes so far in all its runs" if lone else "keeps most diversity at equal quality"
    return (
        f"Which method: {group.method} (in {group.space}) {why}, "
        f"{row.name('diversity')} {kept} where {share_of}{beside or second}."
    )


def _space(ranked: Sequence[tuple[Group, Mean, Mean]], found: Sequence[Group]) -> str:
    winner, _, best = ranked[0]
    own = [one for one in ranked if one[0].method == winner.method]
    if len({g.space for g in found if g.method == winner.method}) < 2:
        return f"Which space: {winner.space}, the only one in which {winner.method} was run."
    small = min(
        (one for one in own if one[0] is winner or alike(best, one[2])), key=lambda one: _bytes(one[0])
    )
    told = ", ".join(f"{g.space} {m} in {_bytes(g) / 1000:.0f} KB" for g, _, m in own)
    if small[0] is winner:
        return f"Which space: {winner.space}, by the same measure ({told})."
    return (
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
    after = (
        f"; going on to step {end} takes diversity from {at[1].value:.3f} to {last.value:.3f}"
        if end > step
        else ""
    )
    where = f"{group.method} in {group.space} comes to that quality"
    return f"When to stop: at about step {step:.0f}{spread}, where {where}{after}."


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
