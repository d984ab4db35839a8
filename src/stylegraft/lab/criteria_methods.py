"""The criteria on A Closer Look at Few-shot Image Generation (`lab.criteria` says how runs are compared)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from stylegraft.lab.criteria import (
    CLOSE,
    KEEPING,
    KID_DIGITS,
    LATE,
    METHODS,
    PLAIN,
    RISE,
    SAME,
    STARTED,
    Judged,
    Pairs,
    Runs,
    Value,
    at,
    beyond,
    difference,
    diversities,
    gain,
    kind_of,
    less,
    looks,
    missing,
    more,
    named,
    none_of,
    over,
    scale,
    signed,
    taken,
    way,
)
from stylegraft.lab.results import APART, LEVELS, Crossing, Mean, Row, mean

BLIND = f"less than {APART:g} apart in some run, where nothing between means anything"


def blind(runs: Iterable[Pairs]) -> bool:
    """Whether the probe of some run cannot tell the two ends of p_target apart."""
    return any(row.level(1.0) is None for pairs in runs for row in pairs.values())


def converge(runs: Runs, target: str, methods: Sequence[str] = METHODS, most: float = 0.05) -> list[Judged]:
    """At the last step, the means of p_target differ by at most this share of the way from p(source) to p(real)."""
    own = {name: runs.of(name, target) for name in methods}
    ways = {name: found for name, pairs in own.items() if (found := over(pairs, way(runs.end)))}
    if blind(own.values()):
        return [Judged(target, None, f"{scale(own.values())}: {BLIND}")]
    if len(ways) < len(own):
        return [missing(target, f"p_target at step {runs.end}")]
    apart = max(one.value for one in ways.values()) - min(one.value for one in ways.values())
    ends = {name: found for name, pairs in own.items() if (found := over(pairs, at("quality", runs.end)))}
    text = (
        f"p_target at {runs.end}: {named(ends)}, between {scale(own.values())}; {apart:.3f} of the way apart"
    )
    return [Judged(target, apart <= most, text)]


def pace(
    runs: Runs, target: str, judge: Callable[[Mapping[str, Pairs], Value], tuple[bool | None, str]]
) -> list[Judged]:
    """A criterion on the steps to quality: to the highest of the levels that all runs of tgan come to. A run that never
    comes to it counts with the last step.

    A crossing is taken on the line between two looks where they are at most CLOSE apart. Between others it may be
    anywhere: the criterion is then tried with tgan's at the first of the two looks and the others' at the second, and
    the other way round, and nothing is said unless all agree.
    """
    own = {name: runs.of(name, target) for name in ("tgan", *KEEPING)}
    if blind(own.values()):
        return [Judged(target, None, f"{scale(own.values())}: {BLIND}")]
    level = next((k for k in reversed(LEVELS) if all(r.reached(k) for r in own["tgan"].values())), None)
    if level is None:
        return [Judged(target, None, f"tgan does not come half of the way ({scale(own.values())})")]

    def crossing(row: Row) -> Crossing | None:
        return row.crossing(row.level(level) or 0.0)

    def late(pairs: Pairs) -> str:
        """How many runs do not come to it, whose steps are the last one: of these the mean is a lower bound."""
        never = sum((one := crossing(row)) is None or one.step > runs.end for row in pairs.values())
        return f" (not reached by {never} of {len(pairs)} runs)" if never else ""

    def steps(row: Row, first: str | None = None) -> float:
        """first: whether `tgan` or the `others` are said to cross as early as they may."""
        found = crossing(row)
        if found is None or found.step > runs.end:
            return float(runs.end)
        if first is None or found.until - found.since <= CLOSE:
            return found.step
        early = (kind_of(row)[0] == "tgan") == (first == "tgan")
        return float(found.since if early else found.until)

    told = {
        name: f"{one.value:.0f}{late(pairs)}" for name, pairs in own.items() if (one := over(pairs, steps))
    }
    holds, text = judge(own, steps)
    sides = {judge(own, partial(steps, first=first))[0] for first in ("tgan", "others")}
    widths = [
        one.until - one.since for pairs in own.values() for row in pairs.values() if (one := crossing(row))
    ]
    wide = "" if sides == {holds} else f"; between looks that are {max(widths)} steps apart"
    shown = ", ".join(f"{name} {step}" for name, step in told.items())
    head = f"steps to {level:.0%} of the way between {scale(own.values())}: {shown}; {text}"
    return [Judged(target, None if wide else holds, head + wide)]


def slower(runs: Runs, target: str) -> list[Judged]:
    """cdc and dcl both come later than tgan."""

    def judge(own: Mapping[str, Pairs], steps: Value) -> tuple[bool, str]:
        lags = {name: lag for name in KEEPING if (lag := difference(own[name], own["tgan"], steps))}
        shown = ", ".join(f"{name} {_steps(lag)}" for name, lag in lags.items())
        return len(lags) == len(KEEPING) and all(map(more, lags.values())), f"after tgan: {shown}"

    return pace(runs, target, judge)


def as_fast(runs: Runs, target: str, factor: float = 1.15) -> list[Judged]:
    """Neither cdc nor dcl needs more than this many times tgan's steps, nor may, within its spread."""

    def judge(own: Mapping[str, Pairs], steps: Value) -> tuple[bool | None, str]:
        found = {name: one.value for name in own if (one := over(own[name], steps))}
        lags = {name: lag for name in KEEPING if (lag := difference(own[name], own["tgan"], steps))}
        late = {name: beyond(lag, (factor - 1) * found["tgan"]) for name, lag in lags.items()}
        shown = ", ".join(
            f"{name} {found[name] / max(found['tgan'], 1.0):.2f} ({_steps(lag)}{_LATE[late[name]]})"
            for name, lag in lags.items()
        )
        return none_of(late.values()), f"over tgan's: {shown}"

    return pace(runs, target, judge)


_LATE = {True: ", later", None: ", may be later", False: ""}


def _steps(lag: Mean) -> str:
    return f"{lag.value:+.0f} ± {lag.spread or 0:.0f}"


def falls(runs: Runs, target: str) -> list[Judged]:
    """Of every method: lower at step 100 than at 0, and no rise between two looks above 0.01 and its spread."""

    def judge(kind: str, where: str) -> Judged:
        against, ends = list[str](), list[str]()
        for name in METHODS:
            own = runs.of(name, target)
            steps = looks([own])
            if not {0, STARTED} <= set(steps):
                return missing(where, f"a look of {name} at step 0 and at {STARTED}")

            def change(a: int, b: int, own: Pairs = own) -> Mean | None:
                before, after = at("diversity", a, kind), at("diversity", b, kind)
                pairs = [(before(row), after(row)) for row in own.values()]
                return None if any(None in p for p in pairs) else mean(y - x for x, y in pairs)  # pyright: ignore[reportOperatorIssue]

            first = change(0, STARTED)
            moves = [(a, b, move) for a, b in pairwise(steps) if (move := change(a, b))]
            if first is None or len(moves) < len(steps) - 1:
                return missing(where, f"intra-LPIPS{kind} of {name}")
            if not less(first):
                against.append(f"{name} is not lower at {STARTED} ({signed(first)})")
            against += [
                f"{name} rises from {a} to {b} ({signed(m)})"
                for a, b, m in moves
                if more(m) and m.value > RISE
            ]
            start, end = (over(own, at("diversity", s, kind)) for s in (steps[0], steps[-1]))
            ends.append(f"{name} {start and start.value:.3f} to {end and end.value:.3f}")
        return Judged(where, not against, "; ".join([", ".join(ends), *against]))

    return diversities(runs, target, judge)


def order(runs: Runs, target: str) -> list[Judged]:
    """At every look from step 500 on: dcl above cdc, cdc above each of the other four."""

    def judge(kind: str, where: str) -> Judged:
        own = {name: runs.of(name, target) for name in METHODS}
        told, against = list[str](), list[str]()
        steps = looks(own.values(), LATE)
        if not {LATE, runs.end} <= set(steps):
            return missing(where, f"a look at step {LATE} and at {runs.end}")
        for step in steps:
            value = at("diversity", step, kind)
            means = {name: one for name, pairs in own.items() if (one := over(pairs, value))}
            gaps = [("dcl", "cdc"), *(("cdc", name) for name in PLAIN)]
            found = [(a, b, gap) for a, b in gaps if (gap := difference(own[a], own[b], value))]
            if len(found) < len(gaps):
                return missing(where, f"intra-LPIPS{kind} at step {step}")
            ranked = dict(sorted(means.items(), key=lambda one: -one[1].value))
            told.append(f"at {step}: {named(ranked)}")
            against += [f"{a} - {b} at {step}: {signed(gap)}" for a, b, gap in found if not more(gap)]
        return Judged(where, not against, "; ".join([*told, *against]))

    return diversities(runs, target, judge)


def plain_alike(runs: Runs, target: str, most: float = 0.03) -> list[Judged]:
    """At every look from step 500 on the means of the four others lie within this."""

    def judge(kind: str, where: str) -> Judged:
        own = {name: runs.of(name, target) for name in PLAIN}
        widths = dict[int, float]()
        steps = looks(own.values(), LATE)
        if not {LATE, runs.end} <= set(steps):
            return missing(where, f"a look at step {LATE} and at {runs.end}")
        for step in steps:
            found = [over(pairs, at("diversity", step, kind)) for pairs in own.values()]
            values = [one.value for one in found if one]
            if len(values) < len(own):
                return missing(where, f"intra-LPIPS{kind} at step {step}")
            widths[step] = max(values) - min(values)
        text = ", ".join(f"within {width:.3f} at {step}" for step, width in widths.items())
        return Judged(where, all(width <= most for width in widths.values()), text)

    return diversities(runs, target, judge)


def gap_shrinks(runs: Runs, target: str, suffix: str = "") -> list[Judged]:
    """dcl is above cdc at step 500, and by less at the last step."""

    def judge(kind: str, where: str) -> Judged:
        dcl, cdc = (runs.of(name + suffix, target) for name in ("dcl", "cdc"))
        late, end = at("diversity", LATE, kind), at("diversity", runs.end, kind)
        early, last = difference(dcl, cdc, late), difference(dcl, cdc, end)

        def later(row: Row) -> float | None:
            a, b = end(row), late(row)
            return None if a is None or b is None else a - b

        change = difference(dcl, cdc, later)
        if early is None or last is None or change is None:
            return missing(where, f"intra-LPIPS{kind} at step {LATE} and at {runs.end}")
        text = f"dcl - cdc: {signed(early)} at {LATE}, {signed(last)} at {runs.end}, a change of {signed(change)}"
        return Judged(where, more(early) and less(change), text)

    return diversities(runs, target, judge)


def room(runs: Runs, target: str, suffix: str = "", least: float = 0.1) -> list[Judged]:
    """At the last step dcl has lost at least this share of what the source has."""

    def judge(kind: str, where: str) -> Judged:
        found = over(runs.of("dcl" + suffix, target), taken("diversity", runs.end, kind))
        if found is None:
            return missing(where, f"intra-LPIPS{kind} of dcl at step 0 and at {runs.end}")
        text = "has lost" if found.value >= 0 else "has gained"
        text = f"dcl {text} {replace(found, value=abs(found.value))} of the source's"
        return Judged(where, more(found) and found.value >= least, text)

    return diversities(runs, target, judge)


def no_better(runs: Runs, target: str, names: Sequence[str] = ("ewc", *KEEPING)) -> list[Judged]:
    """None of them takes away over 0.1 more of the source's KID than tgan, nor may, within its spread."""
    own = {name: runs.of(name, target) for name in ("tgan", *names)}
    kid, taken_away = at("kid", runs.end), gain(runs.end)
    means = {name: one for name, pairs in own.items() if (one := over(pairs, kid))}
    leads = {name: lead for name in names if (lead := difference(own[name], own["tgan"], taken_away))}
    if len(leads) < len(names):
        return [missing(target, f"KID at step 0 and at {runs.end}")]
    better = {name: beyond(lead, SAME) for name, lead in leads.items()}
    shown = ", ".join(f"{name} {signed(lead)}{_LEAD[better[name]]}" for name, lead in leads.items())
    text = f"KID at {runs.end}: {named(means, KID_DIGITS)}; taken away of the source's, over tgan: {shown}"
    return [Judged(target, none_of(better.values()), text)]


_LEAD = {True: " (better)", None: " (may be better)", False: ""}
