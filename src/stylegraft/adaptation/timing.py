"""What a mean step takes: every kind of every phase timed once, each by how often it comes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from time import perf_counter

from stylegraft.adaptation.graphs import graphs_of
from stylegraft.adaptation.loop import PHASES, acting_at, phases, teach
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State
from stylegraft.adaptation.views import Objective, exit_at

Kind = tuple[str, int]  # a phase, and a step on which it is of this kind, counted from `costliest_step`


def kinds(recipe: Recipe) -> dict[Kind, float]:
    """{kind: its share of all steps}: phases differ by the terms that act (some only every few steps) and D's exit."""
    found = dict[Kind, float]()
    for phase, members in phases(objectives(recipe)).items():
        met, shares = dict[tuple[str, ...], int](), dict[int, Fraction]()
        for step, share in meetings(_periods(recipe, members)):
            if acting := acting_at(members, step):
                first = met.setdefault((exit_at(recipe, acting, step), *(term.name for term in acting)), step)
                shares[first] = shares.get(first, Fraction(0)) + share
        found |= {(phase, step): float(share) for step, share in shares.items()}
    return found


def meetings(periods: Collection[int]) -> list[tuple[int, Fraction]]:
    """(first step, share of all steps) of every set of periods that a step can be a multiple of, in order of steps.

    Counted by inclusion and exclusion, because a period can be long. Step 0 is a multiple of all.
    """
    sets = [chosen for n in range(len(periods) + 1) for chosen in combinations(sorted(periods), n)]
    found = list[tuple[int, Fraction]]()
    for chosen in sets:
        first = math.lcm(*chosen)
        others = [period for period in periods if period not in chosen]
        if any(first % period == 0 for period in others):
            continue  # whoever meets these meets that one as well
        larger = [more for n in range(len(others) + 1) for more in combinations(others, n)]
        share = sum((Fraction((-1) ** len(more), math.lcm(first, *more)) for more in larger), Fraction(0))
        found.append((first if others else 0, share))
    return sorted(found)


def _periods(recipe: Recipe, members: Sequence[Objective]) -> set[int]:
    """What the kind of a phase hangs on: of which of these a step is a multiple. Lazy phases take their exits in turns
    of their own.
    """
    exits = {(term.every if term.lazy else 1) * recipe.anchor_period for term in members if recipe.cdc}
    return {term.every for term in members} | exits


def costliest_step(recipe: Recipe) -> int:
    """A step after warm-up and lead at which all cycles begin: all terms act, all exits are the anchors'."""
    cycle = math.lcm(
        *(n for members in phases(objectives(recipe)).values() for n in _periods(recipe, members))
    )
    return cycle * (recipe.warmup + recipe.lead + 1)


def timed(state: State, often: Mapping[Kind, float]) -> dict[Kind, float]:
    """Seconds of one of each kind. The state is spoilt for anything else."""
    members, first = phases(objectives(state.recipe)), costliest_step(state.recipe)
    seconds, graphs = dict[Kind, float](), graphs_of(state)
    for phase, step in often:
        state.step = first + step
        for _ in range(3 if graphs else 1):  # taped, recorded, replayed
            started = perf_counter()
            teach(state, acting_at(members[phase], state.step), {}, graphs)
            seconds[phase, step] = perf_counter() - started
    return seconds


def seconds_a_step(
    often: Mapping[Kind, float], seconds: Mapping[Kind, float], among: Sequence[str] = PHASES
) -> float:
    """Mean seconds of a step in these phases."""
    return math.fsum(share * seconds[kind] for kind, share in often.items() if kind[0] in among)
