"""Fisher information: means of squared gradients of single samples, by number and by filter."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegraft.adaptation import importance, sampling
from stylegraft.adaptation.importance import by_filter, fisher, leaf_fisher, source_fisher
from stylegraft.adaptation.state import State

from .toys import after, fresh, toy


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_fisher_is_the_mean_of_squares_and_not_the_square_of_the_mean():
    x, y = normal(7, 3), normal(7, seed=1)
    leaves = {"a": normal(3, seed=2).requires_grad_(), "b": normal(seed=3).requires_grad_()}

    def verdict(k: int) -> Tensor:
        return torch.nn.functional.logsigmoid(y[k] * (x[k] @ leaves["a"]) + leaves["b"])

    found = fisher(verdict, leaves, 7)
    with torch.no_grad():  # d log sigmoid(u) = sigmoid(-u) du
        slope = torch.sigmoid(-(y * (x @ leaves["a"]) + leaves["b"]))
    single = slope[:, None] * y[:, None] * x
    assert torch.allclose(found["a"], single.square().mean(0), rtol=1e-12)
    assert torch.allclose(found["b"], slope.square().mean(), rtol=1e-12)
    assert float(found["a"].sum()) > 2 * float(single.mean(0).square().sum())


def test_what_a_verdict_does_not_see_has_none():
    leaves = {"seen": normal(2).requires_grad_(), "unseen": normal(2).requires_grad_()}
    assert not fisher(lambda k: leaves["seen"].sum(), leaves, 2)["unseen"].any()


def explicit(state: State, samples: int, name: str) -> tuple[Tensor, Tensor]:
    """Mean square and squared mean of d log sigmoid(D_S(G_S(z))) / d parameter, in float64, sample by sample."""
    G, D = copy.deepcopy(toy().generator).double(), copy.deepcopy(toy().discriminator)
    assert D is not None
    D, parameter = D.double(), G.get_parameter(name).requires_grad_()
    gradients = []
    for k in range(samples):
        seed = [sampling.seed_of(state.seed, state.step, f"importance.{s}", k) for s in ("z", "noise")]
        z, flat = (torch.randn(n, generator=torch.Generator().manual_seed(s)) for n, s in zip(
            (8, sum(r * r for r in G.noise_shapes.values())), seed, strict=True
        ))  # fmt: skip
        parts = flat.double().split([r * r for r in G.noise_shapes.values()])
        noise = {n: p.view(1, 1, r, r) for (n, r), p in zip(G.noise_shapes.items(), parts, strict=True)}
        logit = D(G(z[None].double(), noise=noise).image).logits
        gradients += torch.autograd.grad(-torch.log1p(torch.exp(-logit)).sum(), parameter)
    stack = torch.stack(gradients)
    return stack.square().mean(0), stack.mean(0).square()


@pytest.mark.parametrize("name", ["synthesis.b8.conv0.weight", "mapping.fc0.bias"])
def test_the_source_s_information_equals_an_explicit_one_in_float64(name: str):
    state = fresh("ewc", "full")
    found = source_fisher(state, 3)
    expected, wrong = explicit(state, 3, name)
    assert found.keys() == state.deltas.keys()
    assert torch.allclose(found[name].double(), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    assert not torch.allclose(expected, wrong, rtol=0.1)


def test_it_is_of_the_source_before_anything_is_learnt():
    """The run estimates it once, with D as it came, and keeps it."""
    state = after(3, "ewc", "affine", warmup=2)
    fresh_ = fresh("ewc", "affine", warmup=2)
    expected = source_fisher(fresh_, state.recipe.importance_samples)
    assert all(torch.equal(state.fisher[name], tensor) for name, tensor in expected.items())


def test_d_s_information_is_of_a_fake_and_a_real_image_at_once():
    state = after(2, "tgan", "affine")
    weight = state.discriminator.get_parameter("b8.conv0.weight").requires_grad_()
    found = leaf_fisher(state, "D", {"D.b8.conv0.weight": weight}, 2)["D.b8.conv0.weight"]
    student = importance.Adapted(state.generator, importance.effective(state.deltas, state.base))
    total = torch.zeros_like(weight)
    for k in range(2):
        with torch.no_grad():
            fake = importance.one_fake(state, student, 2, k)
        D = state.discriminator
        verdict = -(1 + D(fake).logits.exp()).log() - (1 + (-D(state.images[k : k + 1]).logits).exp()).log()
        total += torch.autograd.grad(verdict.sum(), weight)[0].square()
    assert torch.allclose(found, total / 2, rtol=1e-3, atol=1e-9)


def test_g_s_information_is_that_of_its_average():
    state = after(3, "tgan", "affine", ema_kimg=0.02)
    name = "synthesis.b8.conv0.affine.bias|dense|D"
    found = leaf_fisher(state, "G", {name: state.learners["G"][name]}, 2)[name]
    for leaf_name, leaf in state.learners["G"].items():
        leaf.data.copy_(state.ema[leaf_name])
    assert torch.equal(leaf_fisher(state, "G", {name: state.learners["G"][name]}, 2)[name], found)


def drawn(state: State, samples: int, k: int) -> Tensor:
    return importance.one_fake(state, state.generator, samples, k)


def test_the_draws_of_an_estimate_depend_on_seed_step_and_sample_alone():
    state = fresh("tgan", "affine")
    first = drawn(state, 5, 3)
    assert torch.equal(first, drawn(state, 50, 3)), "more samples change nothing of the first ones"
    assert torch.equal(first, drawn(fresh("rick", "full", batch=4), 5, 3))
    changes: list[Callable[[State], None]] = [
        lambda s: setattr(s, "step", 1),
        lambda s: setattr(s, "seed", 1),
    ]
    for change in changes:
        other = fresh("tgan", "affine")
        change(other)
        assert not torch.equal(first, drawn(other, 5, 3))
    assert not torch.equal(first, drawn(state, 5, 2))


def test_by_filter_equals_loops():
    found = {
        "k|dense|D": normal(4, 3, 3, 3).square(),
        "k|rank1|u": normal(4, seed=1).square(),
        "k|rank1|v": normal(27, seed=2).square(),
        "free": normal(5, 2, seed=3).square(),
        "other": normal(2, 2, seed=4).square(),
    }
    by = by_filter(found, ["k", "free"])
    assert by.keys() == {"k", "free"}
    for o in range(4):
        own = np.mean(
            [float(found["k|dense|D"][o, i, a, b]) for i in range(3) for a in range(3) for b in range(3)]
        )
        shared = np.mean([float(v) for v in found["k|rank1|v"]])
        assert float(by["k"][o]) == pytest.approx(own + float(found["k|rank1|u"][o]) + shared, rel=1e-12)
    for o in range(5):
        assert float(by["free"][o]) == pytest.approx((found["free"][o, 0] + found["free"][o, 1]).item() / 2)
    prefixed = by_filter({"D.k": found["free"]}, ["k"], "D.")
    assert torch.equal(prefixed["k"], by["free"])
