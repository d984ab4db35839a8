"""What a mean step takes: every kind of every phase timed once, each by how often it comes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from time import perf_counter

from stylegraft.adaptation.loop import PHASES, phases, teach
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State
from stylegraft.adaptation.views import Objective, exit_at

Kind = tuple[str, int]  # a phase, and a step on which it is of this kind, counted from `costliest_step`


def kinds(recipe: Recipe) -> dict[Kind, float]:
    """{kind: its share of all steps}: phases differ by the terms that act (some only every few steps) and D's exit."""
    found = dict[Kind, float]()
    for phase, members in phases(objectives(recipe)).items():
        steps, met, cycle = Counter[int](), dict[tuple[str, ...], int](), _cycle(recipe, members)
        for step in range(cycle):
            if acting := acting_at(members, step):
                seen = exit_at(recipe, acting, step), *(term.name for term in acting)
                steps[met.setdefault(seen, step)] += 1
        found |= {(phase, step): count / cycle for step, count in steps.items()}
    return found


def acting_at(members: Sequence[Objective], step: int) -> list[Objective]:
    """Those terms of a phase that act in a step."""
    return [term for term in members if step % term.every == 0]


def _cycle(recipe: Recipe, members: Sequence[Objective]) -> int:
    """Steps after which the kinds of a phase come again: lazy phases take their exits in turns of their own."""
    every = math.lcm(*(term.every for term in members))
    if not recipe.cdc:
        return every
    lazy = any(term.lazy for term in members)
    return every * recipe.anchor_period if lazy else math.lcm(every, recipe.anchor_period)


def costliest_step(recipe: Recipe) -> int:
    """A step after warm-up and lead at which all cycles begin: all terms act, all exits are the anchors'."""
    cycle = math.lcm(*(_cycle(recipe, members) for members in phases(objectives(recipe)).values() if members))
    return cycle * (recipe.warmup + recipe.lead + 1)


def timed(state: State, often: Mapping[Kind, float]) -> dict[Kind, float]:
    """Seconds of one of each kind. The state is spoilt for anything else."""
    members, first = phases(objectives(state.recipe)), costliest_step(state.recipe)
    seconds = dict[Kind, float]()
    for phase, step in often:
        state.step = first + step
        started = perf_counter()
        teach(state, acting_at(members[phase], state.step), {})
        seconds[phase, step] = perf_counter() - started
    return seconds


def seconds_a_step(
    often: Mapping[Kind, float], seconds: Mapping[Kind, float], among: Sequence[str] = PHASES
) -> float:
    """Mean seconds of a step in these phases."""
    return math.fsum(share * seconds[kind] for kind, share in often.items() if kind[0] in among)
