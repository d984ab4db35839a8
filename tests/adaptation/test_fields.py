"""A recipe that could do nothing, or a field that would, is refused before anything is loaded; no row is."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from stylegraft.adaptation.fields import EFFECTLESS, MOVES, Recipe, check
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import NEW_JUDGE, PAPER, SCALED, recipe
from stylegraft.adaptation.state import begin
from stylegraft.errors import StylegraftError

from .toys import RECIPES, pictures, small, toy

HOLD = ("fm", "dist", "self_corr", "cross_corr", "structure", "l2sp", "ewc", "perp", "bsa_decay")
SHOWN = (
    "cl1",
    "bsa_pixel",
)  # of MOVES; bsa_vgg looks as bsa_pixel does, through weights that may not be here


def alone(field: str) -> Recipe:
    """A row whose only term is this one, as `check` would not let it through."""
    return replace(
        small("tgan"), **{"adv": 0.0, "r1_gamma": 0.0, "pl_weight": 0.0, "importance_samples": 2, field: 1.0}
    )


@pytest.mark.parametrize("field", [*SHOWN, *HOLD])
def test_which_terms_move_g_from_the_source_is_what_the_table_says(field: str):
    row, images = alone(field), pictures().float() / 127.5 - 1
    state = begin(toy(), images, row, "full + w-offset@res")
    assert [term.owner for term in objectives(row)] == ["G"]
    gradient = next(train(state, 1))["G/grad"]
    assert gradient > 0.01 if field in MOVES else gradient < 1e-6, gradient  # dist: the rounding of a softmax


def test_every_term_of_g_that_needs_no_game_is_in_the_table_or_holds():
    row = replace(small("tgan"), **{field: 1.0 for field in (*MOVES, *HOLD, "bsa_emd")})
    names = {term.name for term in objectives(row) if term.owner == "G" and not term.lazy}
    weights = {"bsa_pixel": "pixel", "bsa_vgg": "vgg", "bsa_decay": "decay"}
    assert names == {weights.get(field, field) for field in (*MOVES, *HOLD)} | {"emd"}


@pytest.mark.parametrize("field", HOLD)
def test_what_could_never_move_is_refused(field: str):
    with pytest.raises(
        StylegraftError, match=r"adv is 0 and no term .* expected adv=1, or weight on cl1, bsa_p"
    ):
        recipe("tgan", preset="paper", adv=0.0, **{field: 1.0})
    assert recipe("tgan", preset="paper", adv=0.0, cl1=1.0, **{field: 1.0}).adv == 0


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("adam", {"lead": 0}, "lead_reset is yes, which does nothing without lead: expected lead_reset=no, or lead"),
        ("minegan", {"lead_reset": True}, "lead_reset is yes.* without partition or partition_judge"),
        ("tgan", {"prune_below": 1.0}, "prune_below is 1, .* expected prune_below=0, or partition as well"),
        ("tgan", {"freeze_above": 40.0}, "freeze_above is 40, .* expected freeze_above=100, or partition as well"),
        ("tgan", {"partition_every": 50}, "partition_every is 50, .* expected partition_every=0"),
    ],
)  # fmt: skip
def test_a_field_without_effect_is_refused_by_name(name: str, changes: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        recipe(name, **changes)


def test_one_of_the_fields_it_needs_is_enough():
    for field in ("partition", "partition_judge"):
        assert recipe("tgan", **{field: "b*.conv*" if field[-1] == "e" else "conv"}, prune_below=1.0)


def test_defaults_say_nothing_in_the_table():
    defaults = {field.name: field.default for field in fields(Recipe)}
    assert all(defaults[field] == without for field, without, _ in EFFECTLESS)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("preset", ["paper", "scaled"])
def test_every_row_is_accepted_with_every_judge(name: str, preset: str):
    assert name in SCALED and name in PAPER
    row = recipe(name, preset=preset)
    if row.adv:
        assert check(replace(row, **NEW_JUDGE)) != row or row.discriminator == "all"
    if row.adv and not row.ewc:
        assert recipe(name, preset=preset, judge="projected").judge == "projected"
