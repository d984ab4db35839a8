"""The losses are what their papers say: against numpy and against explicit derivatives."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.loop import train
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.objectives.dcl import cl1, cl2, discriminator_taps, generator_taps
from stylegraft.adaptation.objectives.feature_matching import DEAD_NOISE, feature_matching, noise_effect
from stylegraft.adaptation.views import Views

from .toys import fresh, small, toy


def features(n: int, seed: int) -> Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).double()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


# DCL: Zhao et al. 2022, the two contrasts as `objectives/dcl.py` reads them


def test_cl1_is_the_equation():
    t, s, tau = features(4, 0).numpy(), features(4, 1).numpy(), 0.07
    terms = []
    for i in range(4):
        f = [math.exp(cosine(t[i], s[j]) / tau) for j in range(4)]
        terms.append(-math.log(f[i] / sum(f)))
    assert float(cl1(torch.tensor(t), torch.tensor(s), tau)) == pytest.approx(np.mean(terms), rel=1e-9)


def test_cl2_is_the_equation():
    t, s, x, tau = features(4, 0).numpy(), features(4, 1).numpy(), features(3, 2).numpy(), 0.07
    terms = []
    for i in range(4):
        positive = math.exp(cosine(t[i], s[i]) / tau)
        terms.append(-math.log(positive / (positive + sum(math.exp(cosine(t[i], r) / tau) for r in x))))
    found = cl2(torch.tensor(t), torch.tensor(s), torch.tensor(x), tau)
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-9)


def test_cl1_of_equal_generators_is_what_the_negatives_leave():
    s = features(4, 1)
    c = np.array([[cosine(a, b) for b in s.numpy()] for a in s.numpy()])
    off = ~np.eye(4, dtype=bool)
    expected = np.mean([np.log1p(np.exp((c[i][off[i]] - 1) / 0.07).sum()) for i in range(4)])
    assert float(cl1(s, s)) == pytest.approx(expected, rel=1e-9)


def test_cl1_does_not_see_scale_or_order():
    t, s = features(4, 0), features(4, 1)
    scale = torch.tensor([0.1, 1.0, 7.0, 30.0]).double()[:, None, None, None]
    assert float(cl1(t * scale, s)) == pytest.approx(float(cl1(t, s)), rel=1e-9)
    order = [2, 0, 3, 1]
    assert float(cl1(t[order], s[order])) == pytest.approx(float(cl1(t, s)), rel=1e-9)


def test_cl1_of_one_sample_is_zero():
    assert float(cl1(features(1, 0), features(1, 1))) == 0


def test_cl2_without_real_images_is_zero_and_source_as_real_raises_it():
    t, s = features(4, 0), features(4, 1)
    assert float(cl2(t, s, s[:0])) == 0
    for i in range(4):  # the negative is the positive itself: at least log 2 for this anchor
        assert float(cl2(t[i : i + 1], s[i : i + 1], s[i : i + 1])) == pytest.approx(math.log(2), rel=1e-9)
    assert float(cl2(t, s, s)) >= math.log(2)


def test_dcl_draws_its_taps_alone_and_never_the_4x4_map_of_g():
    state, seen = fresh("dcl"), {"G": set(), "D": set()}
    together = set()
    for state.step in range(60):
        of_g = Views(
            state, [term for term in objectives(state.recipe) if term.owner == "G" and not term.lazy]
        )
        of_d = Views(
            state, [term for term in objectives(state.recipe) if term.owner == "D" and not term.lazy]
        )
        (g,), (d,) = generator_taps(of_g), discriminator_taps(of_d)
        seen["G"].add(g)
        seen["D"].add(d)
        together.add((g, d))
    assert seen["G"] == {"b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"}
    assert seen["D"] == set(state.discriminator.tap_names)
    assert len(state.discriminator.tap_names) == len(set(state.discriminator.tap_names))
    assert len(together) > 15  # of 20: neither follows the other


def test_dcl_lets_each_contrast_teach_its_own_network():
    owners = {term.name: (term.owner, term.weight) for term in objectives(small("dcl"))}
    assert owners["cl1"] == ("G", 2.0)
    assert owners["cl2"] == ("D", 0.5)


# FixNoise: Lee et al. 2023, the loss of the anchored subspace


def test_feature_matching_is_the_equation():
    shapes = [(2, 5, 4, 4), (2, 3, 8, 8)]
    rng = np.random.default_rng(0)
    t, s = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    total = 0.0
    for z in range(2):
        for a, b in zip(t, s, strict=True):
            total += ((a[z] - b[z]) ** 2).sum(0).mean() / len(shapes) / 2
    found = feature_matching([torch.tensor(a) for a in t], [torch.tensor(b) for b in s])
    assert float(found) == pytest.approx(total, rel=1e-6)


def test_fixnoise_asks_nothing_of_the_source_itself():
    first = next(train(fresh("fixnoise", "full"), 1))
    assert first["G/fm"] == 0


def test_fixnoise_matches_only_at_the_anchor_with_the_adversarial_latents():
    state = fresh("fixnoise")
    views = Views(state, [term for term in objectives(state.recipe) if term.owner == "G" and not term.lazy])
    pair = views.anchored_pair
    assert set(pair.source.taps) == {"b4.conv1", "b8.conv1", "b16.conv1"}
    expected = state.generator(views.latents.z, noise="const").image
    assert torch.equal(pair.source.image, expected)


def test_dead_noise_is_noticed():
    alive = toy().generator
    assert noise_effect(alive) > DEAD_NOISE
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    loudest = 0.0
    for name, x in alive(z, taps=tuple(alive.noise_shapes)).taps.items():
        strength = alive.get_parameter(f"synthesis.{name}.noise_strength")
        loudest = max(loudest, abs(float(strength)) / float(x.square().mean().sqrt()))
    assert noise_effect(alive) == pytest.approx(loudest)
    dead = copy.deepcopy(alive)
    with torch.no_grad():
        for name in dead.groups["noise"]:
            dead.get_parameter(name).zero_()
    assert noise_effect(dead) == 0


# The game


def test_r1_is_the_squared_gradient_of_each_image():
    state = fresh("tgan")
    (term,) = [term for term in objectives(state.recipe) if term.name == "r1"]
    views = Views(state, [term])
    state.discriminator.requires_grad_(False)
    expected = 0.0
    real = views.real.double()
    judge = copy.deepcopy(state.discriminator).double()
    for i in range(4):  # minibatch-std couples the batch, so each image's gradient is taken in its batch
        x = real.clone().requires_grad_()
        judge(x).logits.sum().backward()
        assert x.grad is not None
        expected += float(x.grad[i].square().sum()) / 4 / 2
    assert float(term.loss(views).detach()) == pytest.approx(expected, rel=1e-4)
    assert term.scale == state.recipe.r1_gamma * state.recipe.r1_every


def test_path_length_is_the_norm_of_the_jacobian():
    state = fresh("tgan", "full")
    (term,) = [term for term in objectives(state.recipe) if term.name == "pl"]
    views = Views(state, [term])
    loss = term.loss(views)
    ws = views.paths[0].detach().double()
    y = views.keyed.samples("y", 2).normal(3, 16, 16).double() / 16
    noise = {name: maps.double() for name, maps in views._random_noise("noise", 2).items()}
    network = copy.deepcopy(state.generator).double()
    slopes, h = torch.zeros_like(ws), 1e-8
    for row in range(ws.shape[1]):
        for column in range(ws.shape[2]):
            step = torch.zeros_like(ws)
            step[:, row, column] = h
            ends = [(network(ws=ws + sign * step, noise=noise).image * y).sum((1, 2, 3)) for sign in (1, -1)]
            slopes[:, row, column] = (ends[0] - ends[1]) / (2 * h)
    lengths = slopes.square().sum(2).mean(1).sqrt()
    assert float(state.path_mean) == pytest.approx(
        float(lengths.mean()), rel=1e-4
    )  # the running mean starts here
    assert float(loss.detach()) == pytest.approx(float((lengths - lengths.mean()).square().mean()), rel=1e-2)
    assert term.scale == 2.0 * 4


def test_path_mean_follows_with_its_decay():
    state = fresh("tgan")
    (term,) = [term for term in objectives(state.recipe) if term.name == "pl"]
    term.loss(Views(state, [term]))
    first = float(state.path_mean)
    state.step = 4
    term.loss(views := Views(state, [term]))
    ws, images = views.paths
    (jacobian,) = torch.autograd.grad(
        (images * (views.keyed.samples("y", 2).normal(3, 16, 16) / 16)).sum(), ws
    )
    now = float(jacobian.square().sum(2).mean(1).sqrt().mean())
    assert float(state.path_mean) == pytest.approx(first + 0.01 * (now - first), rel=1e-5)
