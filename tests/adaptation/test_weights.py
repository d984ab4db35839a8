"""Penalties on the distance to the source are their papers' equations, and mean the same in every form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.objectives.ewc import elastic
from stylegraft.adaptation.recipes import PAPER
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.views import Views
from stylegraft.checkpoints import Source
from stylegraft.errors import StylegraftError

from .toys import fresh, pictures, small, toy


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DRIFT = {"a": normal(3, 2), "b": normal(4, seed=1)}
F = {"a": normal(3, 2, seed=2).square(), "b": normal(4, seed=3).square()}


def by_hand(drift: dict[str, Tensor], fisher: dict[str, Tensor] | None = None) -> float:
    total = 0.0
    for name, d in drift.items():
        for i, x in enumerate(d.flatten().tolist()):
            total += (1.0 if fisher is None else float(fisher[name].flatten()[i])) * x * x
    return total


def test_without_a_reference_they_are_the_papers_sums():
    assert float(elastic(DRIFT)) == pytest.approx(by_hand(DRIFT), rel=1e-12)
    assert float(elastic(DRIFT, F)) == pytest.approx(by_hand(DRIFT, F), rel=1e-12)


def test_with_a_reference_they_are_shares_of_the_penalty_there():
    mass = sum(float(f.sum()) for f in F.values())
    assert float(elastic(DRIFT, F, 0.02)) == pytest.approx(by_hand(DRIFT, F) / (0.02**2 * mass), rel=1e-12)
    assert float(elastic(DRIFT, None, 0.02)) == pytest.approx(by_hand(DRIFT) / (0.02**2 * 10), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_the_calibrated_form_is_one_where_every_number_moved_by_the_reference(scale: float):
    """Whatever the size of the network and of the information; the plain form is far from that."""
    signs = {name: 0.05 * d.sign() for name, d in DRIFT.items()}
    assert float(elastic(signs, {n: scale * f for n, f in F.items()}, 0.05)) == pytest.approx(1, rel=1e-9)
    assert float(elastic(signs, None, 0.05)) == pytest.approx(1, rel=1e-9)


def test_no_information_is_no_penalty():
    nothing = {name: torch.zeros_like(f) for name, f in F.items()}
    assert float(elastic(DRIFT, nothing, 0.02)) == 0


def loss_of(state: State, name: str) -> Tensor:
    terms = [term for term in objectives(state.recipe) if term.owner == "G" and not term.lazy]
    return next(term for term in terms if term.name == name).loss(Views(state, terms))


@pytest.mark.parametrize("name", ["l2sp", "ewc"])
def test_the_same_move_costs_the_same_in_low_rank_and_in_dense_form(name: str):
    parameter = "synthesis.b8.conv0.weight"
    low, dense = (fresh(name, space) for space in ("lowrank:2(conv@8.kernel)", "conv@8.kernel"))
    for state in (low, dense):
        state.fisher = {n: normal(*state.base[n].shape).square().float() for n in state.deltas}
    U, V = low.learners["G"][f"{parameter}|lowrank|U"], low.learners["G"][f"{parameter}|lowrank|V"]
    with torch.no_grad():
        U.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        leaf = dense.learners["G"][f"{parameter}|dense|D"]
        leaf.copy_((U @ V).view_as(leaf))
    one, other = (float(loss_of(state, name).detach()) for state in (low, dense))
    assert one == pytest.approx(other, rel=1e-5)
    drift = {n: torch.zeros_like(dense.base[n]).double() for n in dense.deltas}
    drift[parameter] = leaf.detach().double()
    expected = elastic(
        drift, dense.fisher if name == "ewc" else None, dense.recipe.drift
    )  # in float64, from the delta itself
    assert one == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", ["l2sp", "ewc"])
def test_at_the_source_there_is_neither_penalty_nor_pull(name: str):
    state = fresh(name, "affine")
    state.fisher = {n: torch.ones_like(state.base[n]) for n in state.deltas}
    loss = loss_of(state, name)
    assert float(loss.detach()) == 0
    for slope in torch.autograd.grad(loss, list(state.learners["G"].values())):
        assert not slope.any()


@pytest.mark.parametrize("name", ["l2sp", "ewc"])
def test_they_hold_the_generator_nearer_to_the_source(name: str):
    def distance(**changes) -> float:
        state = fresh(name, "affine", pl_weight=0.0, **changes)
        for _ in train(state, 8):
            pass
        return sum(float(leaf.detach().square().sum()) for leaf in state.learners["G"].values())

    assert distance(**{name: 30.0, "drift": 0.002}) < 0.7 * distance(**{name: 1e-9})


def test_the_paper_s_weight_goes_with_the_paper_s_sum():
    row = PAPER["ewc"]
    assert (row.ewc, row.drift, row.importance_samples) == (5e8, 0.0, 2000)


def test_ewc_without_the_source_s_own_discriminator_is_refused():
    lone = Source("lone", toy().generator)
    with pytest.raises(StylegraftError, match="this source has none; expected .* l2sp"):
        begin(lone, pictures().float() / 127.5 - 1, small("ewc"), "full")
