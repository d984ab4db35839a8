"""The criteria of `lab.claims`: each looks at finished runs on one target and says whether a claim holds there.

Every criterion was written before a run was looked at. Runs are compared with those of the same draw of the shots and
the same seed; a difference counts where its mean over these pairs is larger than its standard deviation over them.
Diversity is judged twice, by the headline of intra-LPIPS and by the mean without empty clusters (`-without-empty`):
the headline counts a cluster without a pair as 0, and can rise while every cluster grows narrower. No torch is imported
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stylegraft.lab.results import APART, LEVELS, Mean, Row, mean

PLAIN = ("tgan", "ada", "freezed", "ewc")
KEEPING = ("cdc", "dcl")  # made to keep diversity
METHODS = (*PLAIN, *KEEPING)
BLEND, SWAP = "fixnoise", "ui2i-whole"  # the control by noise; the one by layers, of ui2i with `swap=0`
OWN = {SWAP: "synthesis + affine", "freezeg": "late@16"}  # the spaces of those that are not in full
DIVERSITIES = ("", "-without-empty")
LATE = 500  # the paper's first look after step 0
STARTED = 100  # by this step what starts at once has started
SAME = 0.1  # of the way: two that are no further apart are as good
KID_DIGITS = 4
RISE = 0.01  # of intra-LPIPS: less is no rise, whatever its spread
Pairs = Mapping[tuple[int, int], Row]  # by draw and seed


@dataclass(frozen=True)
class Judged:
    """where: the target, and the metric where there are two. holds: None where it cannot be said. text: the numbers."""

    where: str
    holds: bool | None
    text: str


@dataclass(frozen=True)
class Runs:
    """The finished runs that a claim rests on."""

    rows: tuple[Row, ...]

    def of(self, method: str, target: str, space: str = "", shots: int = 10) -> Pairs:
        """Those of a method in a space (its own in `OWN`, else full), by draw and seed."""
        kind = (method, space or OWN.get(method, "full"), target, shots)
        return {
            (one.draw, one.seed): row
            for row in self.rows
            if (one := row.cell) and (one.method.label, one.space, one.target.label, one.shots) == kind
        }


# Values of a run, and differences over runs
# --------------------------------------------------------------------------------------------

Value = Callable[[Row], float | None]


def at(role: str, step: int | None = None, kind: str = "") -> Value:
    """A metric by its role at a look, None being the last; kind: of the names beside it, such as `-without-empty`."""

    def value(row: Row) -> float | None:
        name = f"{row.name(role)}{kind}"
        points = row.points if step is None else [p for p in row.points if p["step"] == step]
        return points[-1].get(name) if points else None

    return value


def gain(row: Row) -> float | None:
    """The share of the source's KID that the run has taken away: 0 as the source, 1 as the target's own images."""
    first, last = at("kid", 0)(row), at("kid")(row)
    return 1 - last / first if first and last is not None else None


def way(row: Row) -> float | None:
    """p_target at the end, from p(source), 0, to p(real), 1; None where the probe cannot tell the two apart."""
    last = row.last("quality")
    if row.level(1.0) is None or last is None or row.anchors is None:
        return None
    source, real = row.anchors
    return (last - source) / (real - source)


def over(runs: Pairs, value: Value) -> Mean | None:
    """Mean over runs, if every one has the value."""
    found = [value(row) for row in runs.values()]
    return mean(found) if found and None not in found else None


def difference(a: Pairs, b: Pairs, value: Value) -> Mean | None:
    """Mean of a - b over pairs of equal draw and seed, if every one has both values."""
    pairs = [(value(a[key]), value(b[key])) for key in a if key in b]
    if not pairs or any(None in pair for pair in pairs):
        return None
    return mean(x - y for x, y in pairs if x is not None and y is not None)


def more(one: Mean) -> bool:
    """Whether a difference is above zero by more than it differs over runs; of a single pair nobody knows."""
    return one.spread is not None and one.value > one.spread


def less(one: Mean) -> bool:
    """The same, below zero."""
    return one.spread is not None and -one.value > one.spread


def looks(runs: Iterable[Pairs], since: int = 0) -> list[int]:
    """The steps, from `since` on, at which all of them were looked at."""
    steps = [{p["step"] for p in row.points} for pairs in runs for row in pairs.values()]
    return sorted(step for step in set.intersection(*steps) if step >= since) if steps else []


def scale(runs: Iterable[Pairs]) -> str:
    """The ends of p_target, without which it says nothing."""
    ends = [row.anchors for pairs in runs for row in pairs.values() if row.anchors]
    told = [mean(pair[i] for pair in ends) for i in (0, 1)]
    return " and ".join(
        f"p({name}) {one.value:.3f}" if one else f"p({name}) unknown"
        for name, one in zip(("source", "real"), told, strict=True)
    )


def signed(one: Mean, digits: int = 3) -> str:
    """A difference for reading."""
    spread = "" if one.spread is None else f" ± {one.spread:.{digits}f}"
    return f"{one.value:+.{digits}f}{spread}"


def named(values: Mapping[str, Mean], digits: int = 3) -> str:
    """`tgan 0.500 ± 0.010, ...`."""
    return ", ".join(f"{name} {signed(one, digits).lstrip('+')}" for name, one in values.items())


def missing(where: str, what: str) -> Judged:
    """A criterion that has nothing to go by."""
    return Judged(where, None, f"{what} is not in every run")


def diversities(target: str, judge: Callable[[str, str], Judged]) -> list[Judged]:
    """A criterion on diversity, by both of its numbers."""
    return [judge(kind, f"{target}, {kind.strip('-') or 'headline'}") for kind in DIVERSITIES]


# C: A Closer Look at Few-shot Image Generation
# --------------------------------------------------------------------------------------------


def converge(runs: Runs, target: str, methods: Sequence[str] = METHODS, most: float = 0.05) -> list[Judged]:
    """At the end, the means of p_target differ by no more than this share of the way from p(source) to p(real)."""
    own = {name: runs.of(name, target) for name in methods}
    ways = {name: found for name, pairs in own.items() if (found := over(pairs, way))}
    if len(ways) < len(own):
        text = f"{scale(own.values())}: less than {APART:g} apart in some run, where nothing between means anything"
        return [Judged(target, None, text)]
    apart = max(one.value for one in ways.values()) - min(one.value for one in ways.values())
    ends = {name: found for name, pairs in own.items() if (found := over(pairs, at("quality")))}
    text = f"p_target at the end: {named(ends)}, between {scale(own.values())}; {apart:.3f} of the way apart"
    return [Judged(target, apart <= most, text)]


def pace(
    runs: Runs, target: str, judge: Callable[[Mapping[str, Pairs], Value], tuple[bool, str]]
) -> list[Judged]:
    """A criterion on the steps to quality: to the highest of the levels that all runs of tgan come to. A run that never
    comes to it counts with its last step.
    """
    own = {name: runs.of(name, target) for name in ("tgan", *KEEPING)}
    level = next((k for k in reversed(LEVELS) if all(r.reached(k) for r in own["tgan"].values())), None)
    if level is None:
        return [Judged(target, None, f"tgan does not come half of the way ({scale(own.values())})")]

    def steps(row: Row) -> float:
        found = row.reached(level)
        return found[0] if found else float(row.points[-1]["step"])

    told = {name: f"{one.value:.0f}" for name, pairs in own.items() if (one := over(pairs, steps))}
    holds, text = judge(own, steps)
    shown = ", ".join(f"{name} {step}" for name, step in told.items())
    return [
        Judged(
            target, holds, f"steps to {level:.0%} of the way between {scale(own.values())}: {shown}; {text}"
        )
    ]


def slower(runs: Runs, target: str) -> list[Judged]:
    """cdc and dcl both come later than tgan."""

    def judge(own: Mapping[str, Pairs], steps: Value) -> tuple[bool, str]:
        lags = {name: lag for name in KEEPING if (lag := difference(own[name], own["tgan"], steps))}
        shown = ", ".join(f"{name} {lag.value:+.0f} ± {lag.spread or 0:.0f}" for name, lag in lags.items())
        return len(lags) == len(KEEPING) and all(map(more, lags.values())), f"after tgan: {shown}"

    return pace(runs, target, judge)


def as_fast(runs: Runs, target: str, factor: float = 1.15) -> list[Judged]:
    """cdc and dcl both need no more than this many times tgan's steps."""

    def judge(own: Mapping[str, Pairs], steps: Value) -> tuple[bool, str]:
        found = {name: one.value for name in own if (one := over(own[name], steps))}
        times = {name: found[name] / max(found["tgan"], 1.0) for name in KEEPING}
        shown = ", ".join(f"{name} {one:.2f}" for name, one in times.items())
        return all(one <= factor for one in times.values()), f"over tgan's: {shown}"

    return pace(runs, target, judge)


def falls(runs: Runs, target: str) -> list[Judged]:
    """Of every method: lower at step 100 than at 0, and no rise between two looks above 0.01 and its spread."""

    def judge(kind: str, where: str) -> Judged:
        against, ends = list[str](), list[str]()
        for name in METHODS:
            own = runs.of(name, target)
            steps = looks([own])

            def change(a: int, b: int, own: Pairs = own) -> Mean | None:
                before, after = at("diversity", a, kind), at("diversity", b, kind)
                pairs = [(before(row), after(row)) for row in own.values()]
                return None if any(None in p for p in pairs) else mean(y - x for x, y in pairs)  # pyright: ignore[reportOperatorIssue]

            begun = next((step for step in steps if step >= STARTED), steps[-1])
            first = change(steps[0], begun)
            moves = [(a, b, move) for a, b in pairwise(steps) if (move := change(a, b))]
            if first is None or len(moves) < len(steps) - 1:
                return missing(where, f"intra-LPIPS{kind} of {name}")
            if not less(first):
                against.append(f"{name} is not lower at {begun} ({signed(first)})")
            against += [
                f"{name} rises from {a} to {b} ({signed(m)})"
                for a, b, m in moves
                if more(m) and m.value > RISE
            ]
            start, end = (over(own, at("diversity", s, kind)) for s in (steps[0], steps[-1]))
            ends.append(f"{name} {start and start.value:.3f} to {end and end.value:.3f}")
        return Judged(where, not against, "; ".join([", ".join(ends), *against]))

    return diversities(target, judge)


def order(runs: Runs, target: str) -> list[Judged]:
    """At every look from step 500 on: dcl above cdc, cdc above each of the other four."""

    def judge(kind: str, where: str) -> Judged:
        own = {name: runs.of(name, target) for name in METHODS}
        told, against = list[str](), list[str]()
        for step in looks(own.values(), LATE):
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

    return diversities(target, judge)


def plain_alike(runs: Runs, target: str, most: float = 0.03) -> list[Judged]:
    """At every look from step 500 on the means of the four others lie within this."""

    def judge(kind: str, where: str) -> Judged:
        own = {name: runs.of(name, target) for name in PLAIN}
        widths = dict[int, float]()
        for step in looks(own.values(), LATE):
            found = [over(pairs, at("diversity", step, kind)) for pairs in own.values()]
            values = [one.value for one in found if one]
            if len(values) < len(own):
                return missing(where, f"intra-LPIPS{kind} at step {step}")
            widths[step] = max(values) - min(values)
        text = ", ".join(f"within {width:.3f} at {step}" for step, width in widths.items())
        return Judged(where, all(width <= most for width in widths.values()), text)

    return diversities(target, judge)


def gap_shrinks(runs: Runs, target: str, suffix: str = "") -> list[Judged]:
    """dcl is above cdc at step 500, and by less at the end."""

    def judge(kind: str, where: str) -> Judged:
        dcl, cdc = (runs.of(name + suffix, target) for name in ("dcl", "cdc"))
        late = at("diversity", LATE, kind)
        early, last = difference(dcl, cdc, late), difference(dcl, cdc, at("diversity", None, kind))

        def later(row: Row) -> float | None:
            a, b = at("diversity", None, kind)(row), late(row)
            return None if a is None or b is None else a - b

        change = difference(dcl, cdc, later)
        if early is None or last is None or change is None:
            return missing(where, f"intra-LPIPS{kind} at step {LATE}")
        text = (
            f"dcl - cdc: {signed(early)} at {LATE}, {signed(last)} at the end, a change of {signed(change)}"
        )
        return Judged(where, more(early) and less(change), text)

    return diversities(target, judge)


def room(runs: Runs, target: str, suffix: str = "", least: float = 0.1) -> list[Judged]:
    """At the end dcl has lost at least this share of what the source has."""

    def judge(kind: str, where: str) -> Judged:
        def lost(row: Row) -> float | None:
            first, last = at("diversity", 0, kind)(row), at("diversity", None, kind)(row)
            return 1 - last / first if first and last is not None else None

        found = over(runs.of("dcl" + suffix, target), lost)
        if found is None:
            return missing(where, f"intra-LPIPS{kind} of dcl")
        return Judged(where, more(found) and found.value >= least, f"dcl has lost {found} of the source's")

    return diversities(target, judge)


def no_better(runs: Runs, target: str, names: Sequence[str] = ("ewc", *KEEPING)) -> list[Judged]:
    """None of them has a lower KID at the end than tgan."""
    own = {name: runs.of(name, target) for name in ("tgan", *names)}
    means = {name: one for name, pairs in own.items() if (one := over(pairs, at("kid")))}
    gaps = {name: gap for name in names if (gap := difference(own[name], own["tgan"], at("kid")))}
    if len(gaps) < len(names):
        return [missing(target, "KID")]
    better = [name for name, gap in gaps.items() if less(gap)]
    text = f"KID at the end: {named(means, KID_DIGITS)}" + (
        f"; lower than tgan's: {', '.join(better)}" if better else ""
    )
    return [Judged(target, not better, text)]
