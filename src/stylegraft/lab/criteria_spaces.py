"""The criteria on StyleDomain's spaces and on the number of shots (`lab.criteria` says how runs are compared)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from stylegraft.lab.criteria import (
    KID_DIGITS,
    SAME,
    Judged,
    Runs,
    Value,
    at,
    beyond,
    difference,
    diversities,
    gain,
    less,
    missing,
    more,
    named,
    none_of,
    over,
    scale,
    signed,
    way,
)
from stylegraft.lab.results import Mean

RECIPE = "ada"  # StyleDomain's few-shot half
SHOTS = (10, 25, 50, 100, 200)
PLUS = ("affine+", "affine-light+")
WHAT = "of the source's KID taken away"


def as_good(runs: Runs, target: str, spaces: Sequence[str], best: str = "full") -> list[Judged]:
    """None of the spaces takes away over 0.1 less of the source's KID than `best`, nor may, within its spread; where
    `best` itself takes away no more than 0.1 there is nothing to be as good as.
    """
    own = {name: runs.of(RECIPE, target, name) for name in (best, *spaces)}
    gains = {name: one for name, pairs in own.items() if (one := over(pairs, gain(runs.end)))}
    lags = {name: lag for name in spaces if (lag := difference(own[best], own[name], gain(runs.end)))}
    if len(lags) < len(spaces):
        return [missing(target, "KID")]
    late = {name: beyond(lag, SAME) for name, lag in lags.items()}
    shown = ", ".join(f"{name} {signed(lag)}{_LAG[late[name]]}" for name, lag in lags.items())
    idle = _idle(gains[best], best)
    return [
        Judged(
            target,
            None if idle else none_of(late.values()),
            f"{WHAT}: {named(gains)}; behind {best}: {shown}{idle}",
        )
    ]


def _idle(gained: Mean, name: str) -> str:
    """Why nothing can be held against runs that took so much of the source's KID away; empty if it can."""
    return "" if gained.value > SAME else f"; {name} itself takes no more than {SAME:g} away"


_LAG = {True: " (too much)", None: " (may be too much)", False: ""}


def behind(runs: Runs, target: str, space: str, best: str = "full") -> list[Judged]:
    """The space takes away more than 0.1 less of the source's KID than `best`, beyond the spread; for `best` as in
    `as_good`.
    """
    own = {name: runs.of(RECIPE, target, name) for name in (best, space)}
    gains = {name: one for name, pairs in own.items() if (one := over(pairs, gain(runs.end)))}
    lag = difference(own[best], own[space], gain(runs.end))
    if lag is None:
        return [missing(target, "KID")]
    idle = _idle(gains[best], best)
    text = f"{WHAT}: {named(gains)}; {space} is behind by {lag}{idle}"
    return [Judged(target, None if idle else more(lag) and lag.value > SAME, text)]


def close_gap(runs: Runs, target: str) -> list[Judged]:
    """There is a gap between full and affine, and neither plus-space has it."""
    (gap,), (closed,) = behind(runs, target, "affine"), as_good(runs, target, PLUS)
    why = f"; there is no gap of more than {SAME:g} to close" if gap.holds is False else ""
    return [Judged(target, gap.holds and closed.holds, f"{gap.text}; {closed.text}{why}")]


def narrower(runs: Runs, target: str, others: Sequence[str]) -> list[Judged]:
    """mapping has less diversity at the last step than each of the others; it cannot be said where it has not come 0.1
    of the way to the target, for who stays at the source keeps its diversity.
    """

    def judge(kind: str, where: str) -> Judged:
        own = {name: runs.of(RECIPE, target, name) for name in ("mapping", *others)}
        come = over(own["mapping"], way(runs.end))
        value = at("diversity", runs.end, kind)
        means = {name: one for name, pairs in own.items() if (one := over(pairs, value))}
        gaps = {name: gap for name in others if (gap := difference(own["mapping"], own[name], value))}
        if len(gaps) < len(others):
            return missing(where, f"intra-LPIPS{kind}")
        against = [f"mapping - {name}: {signed(gap)}" for name, gap in gaps.items() if not less(gap)]
        told = [named(means), *against]
        if come and come.value <= SAME:
            return Judged(
                where, None, "; ".join([*told, f"mapping has come {come} of the way, next to nothing"])
            )
        return Judged(where, not against, "; ".join(told))

    return diversities(runs, target, judge)


def pruned_alike(runs: Runs, target: str) -> list[Judged]:
    """Pruned offsets come at most 0.1 of the way less far than all of them, the spread included: p_target and KID."""
    whole, pruned = (runs.of(RECIPE, target, name) for name in ("stylespace-conv", "stylespace-sparse"))
    ends = [over(pairs, at("quality", runs.end)) for pairs in (whole, pruned)]
    told = f"p_target {ends[0]} whole, {ends[1]} pruned, between {scale([whole, pruned])}"
    judged = list[Judged]()
    values: dict[str, tuple[Value, str]] = {"p_target": (way(runs.end), told), "KID": (gain(runs.end), "")}
    for name, (value, shown) in values.items():
        lag = difference(whole, pruned, value)
        if lag is None:
            judged.append(missing(f"{target}, {name}", name))
            continue
        gained = over(whole, value)
        assert gained
        idle = "" if shown else _idle(gained, "the whole")
        pair = shown or f"{WHAT}: {gained} whole, {over(pruned, value)} pruned"
        text = f"{pair}; {signed(lag)} of the way is lost{idle}"
        judged.append(Judged(f"{target}, {name}", None if idle else none_of([beyond(lag, SAME)]), text))
    return judged


def more_shots(runs: Runs, target: str, spaces: Sequence[str] = ("full", *PLUS)) -> list[Judged]:
    """In each space KID is lower at 200 shots than at 10, and nowhere between rises by over 0.1 of the source's."""
    told, against = list[str](), list[str]()
    lost = list[bool | None]()
    for space in spaces:
        own = {k: runs.of(RECIPE, target, space, k) for k in SHOTS}
        whole = difference(own[SHOTS[-1]], own[SHOTS[0]], at("kid", runs.end))
        steps = list(pairwise(SHOTS))
        moves = {(a, b): one for a, b in steps if (one := difference(own[a], own[b], gain(runs.end)))}
        means = [one for k in SHOTS if (one := over(own[k], at("kid", runs.end)))]
        if whole is None or len(moves) < len(steps):
            return [missing(target, f"KID of {space} at step 0 and at {runs.end}")]
        told.append(f"{space} {' '.join(f'{one.value:.4f}' for one in means)}")
        for (a, b), move in moves.items():
            lost.append(beyond(move, SAME))
            if lost[-1] is not False:
                word = "loses" if lost[-1] else "may lose"
                against.append(
                    f"{space} {word} {signed(move).lstrip('+')} of the source's from {a} to {b} shots"
                )
        if not less(whole):
            lost.append(True)
            against.append(f"{space} is not lower at {SHOTS[-1]} than at {SHOTS[0]}")
    head = f"KID at {', '.join(map(str, SHOTS))} shots: {', '.join(told)}"
    return [Judged(target, none_of(lost), "; ".join([head, *against]))]


def plus_wins(runs: Runs, target: str, shots: Sequence[int]) -> list[Judged]:
    """At each of these numbers of shots both plus-spaces have a lower KID than full."""
    told, against = list[str](), list[str]()
    for k in shots:
        own = {space: runs.of(RECIPE, target, space, k) for space in ("full", *PLUS)}
        means = {space: one for space, pairs in own.items() if (one := over(pairs, at("kid", runs.end)))}
        gaps = {
            space: gap for space in PLUS if (gap := difference(own[space], own["full"], at("kid", runs.end)))
        }
        if len(gaps) < len(PLUS):
            return [missing(target, f"KID at {k} shots")]
        told.append(f"{k} shots: {named(means, KID_DIGITS)}")
        against += [
            f"{space} - full at {k}: {signed(gap, KID_DIGITS)}"
            for space, gap in gaps.items()
            if not less(gap)
        ]
    return [Judged(target, not against, "; ".join([*told, *against]))]
