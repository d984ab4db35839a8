"""Learning-rate warm-up and the average's half life are what they say."""

from __future__ import annotations

from typing import Any

import pytest

from stylegraft.adaptation.plan import averages, describe
from stylegraft.adaptation.recipes import ema_beta, ema_half_life, learning_rate, learning_rate_at, recipe
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
