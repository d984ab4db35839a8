"""What a plan says of a step's time counts every term as often as it acts."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from stylegraft.adaptation import plan as planning
from stylegraft.adaptation import timing
from stylegraft.adaptation.loop import phases
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import PAPER, Recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import State
from stylegraft.adaptation.timing import acting_at, costliest_step, kinds, seconds_a_step, timed
from stylegraft.adaptation.views import Views

from .toys import RECIPES, fresh, pictures, small, toy

PERIODS = {"anchor_period": 3, "r1_every": 4, "pl_every": 2, "cross_every": 6}


def seen(row: Recipe, steps: int) -> Counter[tuple[str, str, tuple[str, ...]]]:
    """How often a phase comes at an exit with these terms, counted step by step on the views themselves."""
    state, found = fresh(row.name, row.space), Counter()
    state.recipe = row
    for state.step in range(steps):
        for phase, members in phases(objectives(row)).items():
            acting = [term for term in members if state.step % term.every == 0]
            if acting:
                found[phase, Views(state, acting).exit, tuple(term.name for term in acting)] += 1
    return found


@pytest.mark.parametrize("name", ["rssa", "dcl", "tgan", "bsa"])
def test_every_kind_of_phase_is_met_once_with_its_share_of_the_steps(name: str):
    row, steps = dataclasses.replace(small(name), **PERIODS), 72
    counted = seen(row, steps)
    often, members = kinds(row), phases(objectives(row))
    state = fresh(row.name, row.space)
    state.recipe = row
    found = {}
    for (phase, state.step), share in often.items():
        acting = acting_at(members[phase], state.step)
        key = phase, Views(state, acting).exit, tuple(term.name for term in acting)
        assert key not in found
        found[key] = share
    assert found == pytest.approx({key: count / steps for key, count in counted.items()})


def test_a_period_may_be_as_long_as_it_likes():
    often = kinds(small("rssa", r1_every=10**9, pl_every=7, cross_every=10**6 + 3))
    assert shares(often, "R1") == {0: pytest.approx(1 / 4e9), 10**9: pytest.approx(3 / 4e9)}
    for phase in ("D", "G"):
        assert sum(shares(often, phase).values()) == pytest.approx(1)


def test_a_step_weighs_the_kinds_of_its_phases():
    row = small("rssa", anchor_period=4, r1_every=16, pl_every=8, cross_every=6)
    often = kinds(row)
    assert shares(often, "G") == pytest.approx(
        {0: 1 / 12, 1: 8 / 12, 4: 2 / 12, 6: 1 / 12}  # anchors and disturbance, neither, anchors, disturbance
    )
    seconds = {kind: {"D": 1.0, "R1": 16.0, "G": 2.0, "PL": 24.0}[kind[0]] for kind in often}
    assert seconds_a_step(often, seconds) == pytest.approx(1 + 1 + 2 + 3)
    assert seconds_a_step(often, seconds, ("D", "R1")) == pytest.approx(2)
    dear = seconds | {kind: 14.0 for kind in often if kind[0] == "G" and kind[1] in (0, 6)}
    assert seconds_a_step(often, dear) == pytest.approx(7 + 12 / 6)


def shares(often: dict[timing.Kind, float], phase: str) -> dict[int, float]:
    return {step: share for (name, step), share in often.items() if name == phase}


@pytest.mark.parametrize("name", RECIPES)
def test_the_costliest_step_has_all_terms_and_lies_behind_the_stages(name: str):
    row = small(name, warmup=3 if PAPER[name].adv else 0)
    step = costliest_step(row)
    assert step >= row.warmup + row.lead
    for members in phases(objectives(row)).values():
        assert acting_at(members, step) == members


def test_a_plan_times_each_kind_once(monkeypatch: pytest.MonkeyPatch):
    state, taught = fresh("rssa", "stylespace"), []
    monkeypatch.setattr(
        timing, "teach", lambda state, acting, stats, graphs: taught.append([term.name for term in acting])
    )
    often = kinds(state.recipe)
    assert timed(state, often).keys() == often.keys()
    assert len(taught) == len(often)
    assert ["adv", "self_corr", "cross_corr"] in taught and ["adv", "self_corr"] in taught


def test_a_dry_run_counts_the_rare_term_of_rssa(monkeypatch: pytest.MonkeyPatch):
    """On a clock on which only the disturbance takes time."""

    def clock(state: State, often: dict[timing.Kind, float]) -> dict[timing.Kind, float]:
        terms = phases(objectives(state.recipe))
        return {
            (phase, step): 6.0 * ("cross_corr" in [term.name for term in acting_at(terms[phase], step)])
            for phase, step in often
        }

    monkeypatch.setattr(planning, "timed", clock)
    plan = adapt(toy(), pictures(), recipe="rssa", space="stylespace", dry_run=True, quiet=True).plan
    assert plan is not None
    assert plan.seconds == pytest.approx(6.0 / 6)
