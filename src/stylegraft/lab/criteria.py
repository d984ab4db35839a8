"""How the criteria of `lab.claims` compare runs; they are in `criteria_methods`, `criteria_spaces`, `criteria_control`.

Each looks at finished runs on one target and says whether a claim holds there.

Every criterion was written before a run was looked at (`lab.claims_history`: what was changed since). Runs are compared
with those of the same draw of the shots and the same seed; a difference counts where its mean over these pairs is
larger than its standard deviation over them.
Diversity has two numbers, the headline of intra-LPIPS and the mean without empty clusters (`-without-empty`). The
headline counts a cluster without a pair as 0. Where the source has such a cluster it begins too low, and rises as that
fills while every cluster may grow narrower: there the other number judges alone, and the headline is told beside it.
Where the source has none, both judge. No torch is imported here.

Whatever is said of a step is read at a look at that step (`Claim.steps`), and cannot be said where a run has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from stylegraft.lab.results import WITHOUT_EMPTY, Mean, Row, mean
from stylegraft.lab.study import Method

PLAIN = ("tgan", "ada", "freezed", "ewc")
KEEPING = ("cdc", "dcl")  # made to keep diversity
METHODS = (*PLAIN, *KEEPING)
BLEND, SWAP = "fixnoise", "ui2i-whole"  # the control by noise; the one by layers, of ui2i with `swap=0`
OWN = {SWAP: "synthesis + affine", "freezeg": "late@16"}  # the spaces of those that are not in full
LONG = "-3000"  # of methods whose runs go on to step 3,000, as the paper's do
CHANGED: Mapping[str, tuple[str, Mapping[str, object]]] = {  # what claims call a recipe with changes
    SWAP: ("ui2i", {"swap": 0}),
    **{f"{name}{LONG}": (name, {"steps": 3000}) for name in ("tgan", *KEEPING)},
}
DIVERSITIES = ("", WITHOUT_EMPTY)
LATE = 500  # the paper's first look after step 0
STARTED = 100  # by this step what starts at once has started
SAME = 0.1  # of the way: two that are no further apart are as good
KID_DIGITS = 4
RISE = 0.01  # of intra-LPIPS: less is no rise, whatever its spread
CLOSE = 100  # steps between two looks up to which a crossing is taken on the line between them
Kind = tuple[str, str, str, int]  # method, space, target, shots
Pairs = Mapping[tuple[int, int], Row]  # by draw and seed


@dataclass(frozen=True)
class Judged:
    """where: the target, and the metric where there are two. holds: None where it cannot be said. text: the numbers.
    beside: told, and not judged by.
    """

    where: str
    holds: bool | None
    text: str
    beside: bool = False


@dataclass(frozen=True)
class Runs:
    """The finished runs that a claim rests on, of one source, and the steps that it is about."""

    rows: tuple[Row, ...]
    steps: tuple[int, ...]

    @property
    def end(self) -> int:
        """The last step that the claim is about."""
        return self.steps[-1]

    def unseen(self, target: str) -> list[int]:
        """The steps of the claim at which some run on the target was not looked at."""
        seen = [{p["step"] for p in row.points} for row in self.rows if row.cell.target.label == target]
        return [step for step in self.steps if not all(step in one for one in seen)]

    def empty(self, target: str) -> int:
        """How many clusters of the source, at step 0, have no pair: the most over the draws of the shots."""
        own = [row for row in self.rows if row.cell.target.label == target]
        first = [point for row in own for point in row.points if point["step"] == 0]
        return max((sum(count < 2 for count in point["clusters"]) for point in first), default=0)

    def of(self, method: str, target: str, space: str = "", shots: int = 10) -> Pairs:
        """Those of a method in a space (its own in `OWN`, else full), by draw and seed."""
        kind = (method, space or OWN.get(method, "full"), target, shots)
        return {(row.cell.draw, row.cell.seed): row for row in self.rows if kind_of(row) == kind}


def kind_of(row: Row) -> Kind:
    """What its claims know a run by."""
    cell = row.cell
    return known_as(cell.method), cell.space, cell.target.label, cell.shots


def method_of(label: str) -> Method:
    """What claims mean by a method: the recipe of this name as it is, or what `CHANGED` says."""
    recipe, changes = CHANGED.get(label, (label, {}))
    return Method(label, recipe, tuple(changes.items()))


def known_as(method: Method) -> str:
    """What claims call it: its label, if it is what they mean by that; else nothing, it is another method."""
    meant = method_of(method.label)
    same = method.recipe == meant.recipe and dict(method.changes) == dict(meant.changes)
    return method.label if same else ""


# Values of a run, and differences over runs
# --------------------------------------------------------------------------------------------

Value = Callable[[Row], float | None]


def at(role: str, step: int, kind: str = "") -> Value:
    """A metric by its role at a look; kind: of the names beside it, such as `-without-empty`."""
    return lambda row: row.at(role, step, kind)


def taken(role: str, step: int, kind: str = "") -> Value:
    """The share of what the source has of a metric that is gone at a look. Of KID: 1 is the target's own images."""

    def value(row: Row) -> float | None:
        first, last = row.at(role, 0, kind), row.at(role, step, kind)
        return 1 - last / first if first and last is not None else None

    return value


def gain(step: int) -> Value:
    """The share of the source's KID that the run has taken away."""
    return taken("kid", step)


def way(step: int) -> Value:
    """p_target from p(source), 0, to p(real), 1; None where the probe cannot tell the two apart."""
    return lambda row: row.way(step)


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


def beyond(one: Mean, most: float) -> bool | None:
    """Whether a difference is above `most`, and above zero by more than its spread; None where it may be."""
    if one.spread is None:
        return None
    if one.value > most and more(one):
        return True
    return False if one.value + one.spread <= most else None


def none_of(found: Iterable[bool | None]) -> bool | None:
    """Whether none is so: False if one is, else None if one may be."""
    told = list(found)
    return False if True in told else None if None in told or not told else True


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


def diversities(runs: Runs, target: str, judge: Callable[[str, str], Judged]) -> list[Judged]:
    """A criterion on diversity, by both numbers; where the source has an empty cluster, the headline is beside."""
    judged = [judge(kind, f"{target}, {kind.strip('-') or 'headline'}") for kind in DIVERSITIES]
    if empty := runs.empty(target):
        many = f"{empty} cluster{'s' * (empty > 1)} of the source {'are' if empty > 1 else 'is'} empty"
        headline = replace(judged[0], where=f"{judged[0].where}, not judged by ({many})", beside=True)
        return [*judged[1:], headline]
    return judged
