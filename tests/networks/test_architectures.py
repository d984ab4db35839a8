"""Every architecture against a plain float64 re-implementation: outputs and gradients at 1e-9."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from . import naive
from .conftest import normal, toy_discriminator, toy_generator

GENERATORS = {
    "skip": {},
    "orig": {"variant": "orig"},
    "resnet": {"variant": "resnet"},
    "grey": {"img_channels": 1},
    "conditional": {"c_dim": 5},
    "latent sizes, depth, lr multiplier": {
        "z_dim": 7,
        "w_dim": 9,
        "mapping_layers": 5,
        "mapping_lr_multiplier": 0.3,
    },
    "4 px": {"resolution": 4},
}
DISCRIMINATORS = {
    "resnet": {},
    "orig": {"architecture": "orig"},
    "skip": {"architecture": "skip"},
    "grey": {"img_channels": 1},
    "conditional": {"c_dim": 5, "mapping_layers": 3},
    "no minibatch-std": {"mbstd_group_size": 1},
    "group larger than the batch": {"mbstd_group_size": 8},
}
B = 4


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def labels(c_dim):
    return F.one_hot(torch.arange(B) % c_dim, c_dim).double() if c_dim else None


def same_gradients(network, loss, state, naive_loss):
    found = torch.autograd.grad(
        loss, [p for _, p in network.named_parameters()], allow_unused=True, retain_graph=True
    )
    expected = torch.autograd.grad(
        naive_loss,
        [state[name] for name, _ in network.named_parameters()],
        allow_unused=True,
        retain_graph=True,
    )
    for (name, _), a, b in zip(network.named_parameters(), found, expected, strict=True):
        assert (a is None) == (b is None), name
        if b is not None:
            assert (a - b).norm() < 1e-9 * b.norm() + 1e-12, name


def state_of(network):
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("noise", ["const", "random", "none"])
@pytest.mark.parametrize("changes", GENERATORS.values(), ids=GENERATORS.keys())
def test_generator(changes, noise):
    g = toy_generator(**changes)
    k = {"variant": "skip", **g.config}
    p = state_of(g)
    z, c = normal(B, g.z_dim), labels(g.c_dim)
    maps = g.noise(noise, B, torch.Generator().manual_seed(5))
    image, taps = g(z, c, noise=maps, taps=g.tap_names)

    w = naive.mapping(p, "mapping", z, c, g.mapping.num_layers, k.get("mapping_lr_multiplier", 0.01))
    expected, expected_taps = naive.synthesis(p, k, w[:, None].expand(-1, g.num_ws, -1), maps)
    assert image.shape == (B, g.img_channels, g.resolution, g.resolution)
    assert relative(image, expected) < 1e-9
    assert taps.keys() == expected_taps.keys()
    for name, tap in taps.items():
        assert relative(tap, expected_taps[name]) < 1e-9, name
    same_gradients(g, (image * image).sum(), p, (expected * expected).sum())


@pytest.mark.parametrize("changes", DISCRIMINATORS.values(), ids=DISCRIMINATORS.keys())
def test_discriminator(changes):
    d = toy_discriminator(**changes)
    p = state_of(d)
    x = normal(B, d.img_channels, d.resolution, d.resolution).requires_grad_()
    logits, taps = d(x, labels(d.c_dim), taps=d.tap_names)
    expected, expected_taps = naive.discriminator(p, d.config, x, labels(d.c_dim))
    assert logits is not None
    assert logits.shape == (B, 1)
    assert relative(logits, expected) < 1e-9
    for name, tap in taps.items():
        assert relative(tap, expected_taps[name]) < 1e-9, name

    same_gradients(d, F.softplus(logits).sum(), p, F.softplus(expected).sum())
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    (expected_slope,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
    assert relative(slope, expected_slope) < 1e-9
    same_gradients(d, slope.square().sum(), p, expected_slope.square().sum())


def test_path_length_gradient_of_every_variant():
    for variant in ("skip", "orig", "resnet"):
        g = toy_generator(variant=variant)
        p = state_of(g)
        ws = normal(2, g.num_ws, g.w_dim).requires_grad_()
        maps = g.noise("const")
        images = g(ws=ws, noise=maps).image, naive.synthesis(p, {**g.config, "variant": variant}, ws, maps)[0]
        y = normal(*images[0].shape, seed=3)
        slopes = [torch.autograd.grad((image * y).sum(), ws, create_graph=True)[0] for image in images]
        assert relative(*slopes) < 1e-9
        lengths = [slope.square().sum(2).mean(1).sqrt().sum() for slope in slopes]
        same_gradients(g, lengths[0], p, lengths[1])
