"""A recipe that could do nothing, or a field that would, is refused before anything is loaded; no row is."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.checks import EFFECTLESS, FIELDS, IDLE, RANGES, check, looking
from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import PAPERS, objectives
from stylegraft.adaptation.recipes import NEW_JUDGE, PAPER, SCALED, recipe
from stylegraft.adaptation.sorting import sorting
from stylegraft.adaptation.state import begin
from stylegraft.errors import StylegraftError

from .toys import RECIPES, pictures, small, toy

HOLD = ("cl1", "fm", "dist", "self_corr", "cross_corr", "structure", "l2sp", "ewc", "perp", "bsa_decay")


def alone(field: str) -> Recipe:
    """A row whose only term is this one, as `check` would not let it through."""
    weights = {"adv": 0.0, "r1_gamma": 0.0, "pl_weight": 0.0, "importance_samples": 2, "xflip": False}
    return replace(small("tgan"), **(weights | {field: 1.0}))


def learnt(row: Recipe, images: Tensor) -> dict[str, Tensor]:
    """What G has learnt of these images after one step from a place away from the source."""
    state, rng = begin(toy(), images, row, "full + w-offset@res"), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name in state.ema:
            leaf = state.learners["G"][name]
            leaf.add_(torch.randn(leaf.shape, generator=rng), alpha=0.1)
    next(train(state, 1))
    return {name: state.learners["G"][name].detach() for name in state.ema}


@pytest.mark.parametrize(
    "field", ["adv", "bsa_pixel", *HOLD]
)  # bsa_vgg looks as bsa_pixel does, through weights
def test_which_terms_look_at_the_training_images_is_what_the_fields_say(field: str):
    images, row = pictures().float() / 127.5 - 1, alone(field)
    one, other = learnt(row, images), learnt(row, -images)
    same = all(torch.equal(leaf, other[name]) for name, leaf in one.items())
    assert same == (field not in looking())


def test_every_term_of_g_that_needs_no_game_looks_or_holds():
    row = replace(small("tgan"), **{field: 1.0 for field in (*looking(), *HOLD, "bsa_emd")})
    names = {term.name for term in objectives(row) if term.owner == "G" and not term.lazy}
    weights = {"bsa_pixel": "pixel", "bsa_vgg": "vgg", "bsa_decay": "decay"}
    assert names == {weights.get(field, field) for field in (*looking(), *HOLD)} | {"emd"}


def test_every_file_of_terms_takes_part_the_game_first():
    names = [paper.__name__.rpartition(".")[2] for paper in PAPERS]
    assert names[0] == "adversarial" and names[1:] == sorted(names[1:])
    assert "features" not in names and {"dcl", "cdc", "bsa"} < set(names)


@pytest.mark.parametrize("field", HOLD)
def test_a_run_that_never_looks_at_its_images_is_refused(field: str):
    with pytest.raises(
        StylegraftError, match=r"adv is 0 and no term .* expected adv=1, or weight on bsa_pixel or bsa_vgg$"
    ):
        recipe("tgan", preset="paper", adv=0.0, **{field: 1.0})
    assert recipe("tgan", preset="paper", adv=0.0, bsa_pixel=1.0, **{field: 1.0}).adv == 0


def test_what_needs_a_game_is_refused_at_once_and_what_is_said_helps():
    with pytest.raises(StylegraftError) as error:
        recipe("dcl", adv=0.0)
    assert str(error.value).endswith("bsa_vgg, with --set cdc=no --set cl2=0 --set warmup=0")
    assert recipe("dcl", adv=0.0, cdc=False, cl2=0.0, warmup=0, bsa_pixel=1.0)
    with pytest.raises(StylegraftError) as error:
        recipe("adam", adv=0.0, bsa_pixel=1.0)
    settings = "--set warmup=0 --set lead_judge= --set partition= --set partition_judge= --set lead_reset=no"
    assert f"expected {settings} --set freeze_above=100, or adv=1" in str(error.value)
    changes: dict[str, Any] = {"lead_judge": "", "partition": "", "partition_judge": "", "lead_reset": False}
    assert recipe("adam", adv=0.0, bsa_pixel=1.0, warmup=0, freeze_above=100.0, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("adam", {"lead": 0}, "lead_reset is yes, which does nothing without lead: expected lead_reset=no, or lead"),
        ("minegan", {"lead_reset": True}, "lead_reset is yes.* without partition or partition_judge"),
        ("tgan", {"prune_below": 1.0}, "prune_below is 1, .* expected prune_below=0, or partition as well"),
        ("tgan", {"freeze_above": 40.0}, "freeze_above is 40, .* expected freeze_above=100, or partition as well"),
        ("tgan", {"partition_every": 50}, "partition_every is 50, .* expected partition_every=0"),
        ("tgan", {"lead": 5}, "lead is 5, which does nothing without lead_space or lead_judge or partition"),
        ("tgan", {"lead_space": "conv"}, "lead_space is conv, which does nothing without lead: expected lead_space=,"),
        ("tgan", {"tau": 0.1}, "tau is 0.1, which does nothing without cl1 or cl2: expected tau=0.07, or cl1 as well"),
        ("tgan", {"ada_p": 0.5}, "ada_p is 0.5, which does nothing without augment: expected ada_p=0, or augment"),
        ("tgan", {"drift": 0.1}, "drift is 0.1, which does nothing without l2sp or ewc"),
        ("dcl", {"cdc": False, "anchors": 4}, "anchors is 4, which does nothing without cdc: expected anchors=0"),
        ("tgan", {"bsa_jitter": 0.1}, "bsa_jitter is 0.1, which does nothing without bsa_pixel or bsa_vgg"),
        (
            "tgan",
            {"tau": 0.1, "anchors": 4},
            "tau is 0.1, .*; anchors is 4, .*: expected --set tau=0.07 --set anchors=0, or cl1 and cdc as well",
        ),
    ],
)  # fmt: skip
def test_a_field_without_effect_is_refused_by_name(name: str, changes: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        recipe(name, **changes)


def test_one_of_the_fields_it_needs_is_enough():
    for field in ("partition", "partition_judge"):
        assert recipe("tgan", **{field: "b*.conv*" if field[-1] == "e" else "conv"}, prune_below=1.0)


def test_what_a_row_brings_may_idle_when_its_term_is_switched_off():
    assert recipe("minegan", lead=0).lead_space == "miner"
    assert recipe("diffaugment", augment="none").ada_p == 1
    assert recipe("ewc", preset="paper", ewc=0.0).drift == 0


def test_numbers_are_at_least_zero_unless_the_table_says_otherwise():
    assert set(RANGES) | set(IDLE) <= FIELDS.keys()
    for field in ("lr_d", "fm", "warmup", "swap"):
        with pytest.raises(StylegraftError, match=f"{field} is -1.*, expected at least 0"):
            recipe("tgan", **{field: -1})
    with pytest.raises(StylegraftError, match="ada_target is 2.0, expected -1 to 1"):
        recipe("ada", ada_target=2)
    for field in ("lr", "tau"):
        with pytest.raises(StylegraftError, match=f"{field} is 0.0, expected more than 0"):
            recipe("dcl", **{field: 0})


def test_what_becomes_of_sorted_filters_is_what_the_recipe_does():
    adam, rick = recipe("adam"), recipe("rick")
    assert sorting(adam, "adam") == (
        "filters of conv, affine in G and b*.conv*, b*.skip in D are sorted by importance once, on 50 samples: those "
        "above the 50th percentile are modulated, the others tuned"
    )
    assert "those of G above the 50th percentile are frozen and those of D above" in sorting(adam, "full")
    assert sorting(rick, "full").endswith(
        "every 50 steps, on 5 samples: those above the 40th percentile are frozen, the lowest 0.1 % pruned for good, "
        "the others tuned"
    )
    assert sorting(recipe("tgan"), "full") == ""


def test_defaults_say_nothing_in_the_table():
    defaults = {field.name: field.default for field in fields(Recipe)}
    assert all(defaults[field] == without for field, without, _ in EFFECTLESS)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("preset", ["paper", "scaled"])
def test_every_row_is_accepted_with_every_judge(name: str, preset: str):
    assert SCALED.keys() <= PAPER.keys()
    row = recipe(name, preset=preset)
    if row.adv:
        assert check(replace(row, **NEW_JUDGE)) != row or row.discriminator == "all"
    if row.adv and not row.ewc:
        assert recipe(name, preset=preset, judge="projected").judge == "projected"
