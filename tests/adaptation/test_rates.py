"""Learning-rate warm-up and the average's half life are what they say."""

from __future__ import annotations

from typing import Any

import pytest

from stylegraft.adaptation.plan import averages, describe
from stylegraft.adaptation.rates import ema_beta, ema_half_life, judge_rate, learning_rate, learning_rate_at
from stylegraft.adaptation.recipes import fit, recipe
from stylegraft.domains import SPACES
from stylegraft.errors import StylegraftError

from .toys import fresh


def test_the_generators_rate_rises_linearly_from_its_first_step():
    row = recipe("tgan", lr_warmup=4, warmup=10)
    full = learning_rate(row, "affine-light+")
    rates = [learning_rate_at(row, "affine-light+", step) / full for step in (9, 10, 11, 12, 13, 14, 1000)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1])


def test_without_a_rise_the_rate_is_whole_from_the_first_step():
    row = recipe("tgan")
    assert row.lr_warmup == 0
    assert all(learning_rate_at(row, "full", step) == row.lr for step in (0, 1, 100))
    with pytest.raises(StylegraftError, match="lr_warmup is -1"):
        recipe("tgan", lr_warmup=-1)


def test_the_half_life_of_the_average_is_stated_in_steps():
    """The papers' 1.25 kimg is 312 steps at batch 4: after so many, half of the source is left."""
    row = recipe("dcl", preset="paper")
    assert ema_half_life(row) == 312.5
    assert ema_beta(row) ** ema_half_life(row) == pytest.approx(0.5)
    assert averages(row) == "EMA half life 312 steps (1,250 images)"
    assert averages(recipe("dcl", ema_kimg=0.0)) == "no average of G"


def test_an_average_that_lags_behind_a_whole_run_is_warned_of():
    def said(**changes: Any) -> str:
        return "\n".join(describe(fresh("tgan", **changes), "affine-light+"))

    assert "EMA half life 50 steps (200 images)" in said()
    assert "warning" not in said()
    lagging = said(ema_kimg=1.25, steps=200)
    assert "warning: the averaged G lags" in lagging
    assert "an ema_kimg of at most 0.16" in lagging


def test_the_plan_says_how_often_images_are_augmented():
    def said(name: str, **changes: Any) -> str:
        return "\n".join(describe(fresh(name, **changes), "affine-light+"))

    assert "augmented (bgc), p from 0, towards sign 0.6, at most 0.8, 0 to 1 in 12 steps" in said("ada")
    assert "augmented (bgc), p fixed at 0.3" in said("ada", ada_mode="fixed", ada_p=0.3)
    assert "augmented (bgc), p from 0.1, at most 0.8" in said("ada", ada_mode="ramp", ada_p=0.1)
    assert "augmented (diffaugment), always" in said("diffaugment")


def rates(name: str, space: str, **changes: Any) -> list[float]:
    """Adam's steps in D, without its correction for lazy R1."""
    state = fresh(name, space, r1_gamma=0.0, **changes)
    return sorted({group["lr"] for group in state.optimizers["D"].param_groups if group["params"]})


def test_deltas_of_d_move_at_the_rate_of_their_forms_and_all_else_at_its_own():
    assert rates("fsgan", "singular-values") == [pytest.approx(0.04)]
    assert rates("fsgan", "singular-values", discriminator="all") == [0.002]
    assert rates("fsgan", "singular-values", discriminator="singular(all) + head") == [0.002], (
        "the most careful"
    )
    assert rates("fsgan", "singular-values", cdc=True) == [0.002, pytest.approx(0.04)], (
        "a patch head is no delta"
    )
    said = "\n".join(describe(fresh("fsgan", "singular-values", cdc=True), "singular-values"))
    assert "D: policy singular(all) moves" in said
    assert "; Adam 0.04, the head 0.002" in said


def test_a_new_d_moves_at_the_rate_of_weights():
    for preset in ("paper", "scaled"):
        assert judge_rate(recipe("fsgan", preset=preset), ["singular"]) == pytest.approx(
            {"paper": 0.002, "scaled": 0.04}[preset]
        )
        assert fit(recipe("fsgan", preset=preset), 10, judged=False).lr_d == 0.002
        assert recipe("fsgan", preset=preset, judge="projected").lr_d == 0.002
        assert fit(recipe("fsgan", preset=preset, lr_d=0.01), 10, judged=False).lr_d == 0.01
    assert fit(recipe("freezed", preset="paper"), 10, judged=False).lr_d == 0.001


@pytest.mark.parametrize(
    ("name", "paper", "scaled"), [("bsa", 0.03, 0.01), ("weditgan", 0.0025, 0.0025), ("fsgan", 0.002, 0.01)]
)
def test_a_rate_is_in_units_of_full_and_the_product_is_the_paper_s(name: str, paper: float, scaled: float):
    for preset, product in (("paper", paper), ("scaled", scaled)):
        row = recipe(name, preset=preset)
        assert learning_rate(row, row.space) == pytest.approx(product)
        assert learning_rate(row, "full") <= 0.003


def test_an_expression_has_the_rate_of_the_space_that_it_spells():
    row = recipe("tgan")
    for space in ("style-mult", "hdn", "hdn-before", "w-offset", "w-offset@res"):
        assert learning_rate(row, space) == learning_rate(row, SPACES[space].moves) > row.lr
