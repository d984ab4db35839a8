"""Every architecture against a plain float64 re-implementation: outputs and gradients at 1e-9."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from . import naive
from .conftest import normal, toy_discriminator, toy_generator, toy_mobile

GENERATORS = {
    "skip": (toy_generator, {}),
    "orig": (toy_generator, {"variant": "orig"}),
    "resnet": (toy_generator, {"variant": "resnet"}),
    "grey": (toy_generator, {"img_channels": 1}),
    "conditional": (toy_generator, {"c_dim": 5}),
    "latent sizes, depth, lr multiplier": (
        toy_generator,
        {"z_dim": 7, "w_dim": 9, "mapping_layers": 5, "mapping_lr_multiplier": 0.3},
    ),
    "4 px": (toy_generator, {"resolution": 4}),
    "clamped": (toy_generator, {"conv_clamp": 0.5}),
    "clamped, resnet": (toy_generator, {"conv_clamp": 0.5, "variant": "resnet"}),
    "mobile": (toy_mobile, {}),
    "mobile, grey": (toy_mobile, {"img_channels": 1}),
    "mobile, conditional": (toy_mobile, {"c_dim": 5}),
    "mobile, pixel head": (toy_mobile, {"resolution": 16}),
    "mobile, 8 px": (toy_mobile, {"resolution": 8, "channels": {"4": 4}}),
}
DISCRIMINATORS = {
    "resnet": {},
    "orig": {"architecture": "orig"},
    "skip": {"architecture": "skip"},
    "grey": {"img_channels": 1},
    "conditional": {"c_dim": 5, "mapping_layers": 3},
    "conditional, lr multiplier": {"c_dim": 5, "mapping_layers": 3, "mapping_lr_multiplier": 0.3},
    "no minibatch-std": {"mbstd_group_size": 1},
    "group larger than the batch": {"mbstd_group_size": 8},
    "clamped": {"conv_clamp": 0.5},
    "clamped, skip": {"conv_clamp": 0.5, "architecture": "skip"},
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


def require_clamped(taps, clamp):
    """The clamp, times the gain of a residual branch, is where many numbers of a map are held, and none is beyond."""
    for name, tap in taps.items() if clamp else ():
        most = tap.abs().max()
        if not name.endswith(".rgb") and name != "b4.fromrgb":  # images are sums; the other is left free
            assert most.item() in (clamp, clamp * math.sqrt(0.5)), name
            assert 0.05 < (tap.abs() == most).double().mean() < 0.95, name


def state_of(network):
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("noise", ["const", "random", "none"])
@pytest.mark.parametrize(("toy", "changes"), GENERATORS.values(), ids=GENERATORS.keys())
def test_generator(toy, changes, noise):
    g = toy(**changes)
    k = {"variant": "skip", **g.config}
    p = state_of(g)
    z, c = normal(B, g.z_dim), labels(g.c_dim)
    maps = g.noise(noise, B, torch.Generator().manual_seed(5))
    image, taps = g(z, c, noise=maps, taps=g.tap_names)

    w = naive.mapping(p, "mapping", z, c, g.mapping.num_layers, k.get("mapping_lr_multiplier", 0.01))
    synthesis = naive.SYNTHESIS[k["architecture"]]
    expected, expected_taps = synthesis(p, k, w[:, None].expand(-1, g.num_ws, -1), maps)
    assert image.shape == (B, g.img_channels, g.resolution, g.resolution)
    assert relative(image, expected) < 1e-9
    assert taps.keys() == expected_taps.keys()
    require_clamped(expected_taps, k.get("conv_clamp"))
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
    require_clamped(expected_taps, d.config.get("conv_clamp"))
    for name, tap in taps.items():
        assert relative(tap, expected_taps[name]) < 1e-9, name

    same_gradients(d, F.softplus(logits).sum(), p, F.softplus(expected).sum())
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    (expected_slope,) = torch.autograd.grad(expected.sum(), x, create_graph=True)
    assert relative(slope, expected_slope) < 1e-9
    same_gradients(d, slope.square().sum(), p, expected_slope.square().sum())


PATHS = ["skip", "orig", "resnet", "mobile"]


@pytest.mark.parametrize("name", PATHS)
def test_path_length_gradient(name):
    toy, changes = GENERATORS[name]
    g = toy(**changes)
    k = {"variant": "skip", **g.config}
    p = state_of(g)
    ws = normal(2, g.num_ws, g.w_dim).requires_grad_()
    maps = g.noise("const")
    images = g(ws=ws, noise=maps).image, naive.SYNTHESIS[k["architecture"]](p, k, ws, maps)[0]
    y = normal(*images[0].shape, seed=3)
    slopes = [torch.autograd.grad((image * y).sum(), ws, create_graph=True)[0] for image in images]
    assert relative(*slopes) < 1e-9
    lengths = [slope.square().sum(2).mean(1).sqrt().sum() for slope in slopes]
    same_gradients(g, lengths[0], p, lengths[1])


@pytest.mark.parametrize("name", PATHS)
def test_path_length_is_that_of_the_explicit_jacobian(name):
    """|J^T y| with J = d image / d ws in full, forward mode through the plain network: no double backward at all.

    Its derivative by a parameter vector is a central difference of two such lengths. w is short: J has a column for
    each of its numbers.
    """
    toy, changes = GENERATORS[name]
    g = toy(**{**changes, "w_dim": 6})
    k = {"variant": "skip", **g.config}
    p = {key: tensor.detach().clone() for key, tensor in g.state_dict().items()}
    ws, maps = normal(1, g.num_ws, g.w_dim), g.noise("const")
    y = normal(1, g.img_channels, g.resolution, g.resolution, seed=3)
    direction = {key: normal(*q.shape, seed=4 + i) for i, (key, q) in enumerate(g.named_parameters())}

    def explicit(h):
        moved = {**p, **{key: p[key] + h * d for key, d in direction.items()}}
        jacobian = torch.func.jacfwd(lambda ws: naive.SYNTHESIS[k["architecture"]](moved, k, ws, maps)[0])(ws)
        slope = torch.einsum("bchw,bchwnij->nij", y, jacobian)  # J^T y, [1, rows, w_dim]
        return slope.square().sum(2).mean(1).sqrt().sum()

    rows = ws.clone().requires_grad_()
    (slope,) = torch.autograd.grad((g(ws=rows, noise=maps).image * y).sum(), rows, create_graph=True)
    length = slope.square().sum(2).mean(1).sqrt().sum()
    assert length.item() == pytest.approx(explicit(0.0).item(), rel=1e-9)
    names, parameters = zip(*g.named_parameters(), strict=True)
    gradients = torch.autograd.grad(length, parameters, allow_unused=True)
    found = sum((gr * direction[key]).sum().item() for key, gr in zip(names, gradients) if gr is not None)
    h = 1e-7
    assert found == pytest.approx((explicit(h) - explicit(-h)).item() / (2 * h), rel=1e-5)
