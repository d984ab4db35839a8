"""Equal to the published networks in float32: each output and each whole gradient vector within 1e-4."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stylegraft.networks import ops

from .conftest import read

TOLERANCE = 1e-4


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


def gradient_error(loss, network: nn.Module, expected) -> float:
    """Relative L2 distance over all parameters; those without a golden gradient must not get one."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert set(expected) <= set(names)
    pairs = [
        (torch.zeros_like(p) if g is None else g, expected.get(name, torch.zeros_like(p)))
        for name, p, g in zip(names, parameters, found, strict=True)
    ]
    found, wanted = (torch.cat([g.flatten() for g in side]) for side in zip(*pairs, strict=True))
    return ((found - wanted).norm() / wanted.norm()).item()


def test_rows_of_w_plus(golden):
    g = golden.generator
    w = g.mapping(golden["in.z"])
    assert relative(g.ws(w), golden["out.ws"]) < TOLERANCE
    assert relative(g.ws(w, psi=0.7, cutoff=4), golden["out.ws_psi0.7_cutoff4"]) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("image_const", {"noise": "const"}),
        ("image_none", {"noise": "none"}),
        ("image_psi0.7_cutoff4_const", {"noise": "const", "psi": 0.7, "cutoff": 4}),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_images(golden, name, options, grad):
    with torch.set_grad_enabled(grad):
        image = golden.generator(golden["in.z"], **options).image
    assert relative(image, golden[f"out.{name}"]) < TOLERANCE


def test_logits_and_generator_loss(golden):
    logits = golden.discriminator(golden.generator(golden["in.z"], noise="const").image).logits
    assert relative(logits, golden["out.logits"]) < TOLERANCE
    loss = F.softplus(-logits).mean()
    assert relative(loss, golden["loss.G_main"]) < TOLERANCE
    assert gradient_error(loss, golden.generator, golden.gradients("G_main")) < TOLERANCE


def test_discriminator_loss(golden):
    """Fakes and reals in one batch, minibatch-std on each half: the same numbers as two passes."""
    fake = golden.generator(golden["in.z"], noise="const").image.detach()
    fake, real = golden.discriminator(torch.cat((fake, golden["in.real"])), halves=2).logits.chunk(2)
    loss = F.softplus(fake).mean() + F.softplus(-real).mean()
    assert relative(loss, golden["loss.D_main"]) < TOLERANCE
    assert gradient_error(loss, golden.discriminator, golden.gradients("D_main")) < TOLERANCE


def test_r1(golden):
    """Gradient penalty with gamma = 1: (1/2) E |dD/dx|^2."""
    x = golden["in.real"].requires_grad_()
    (slope,) = torch.autograd.grad(golden.discriminator(x).logits.sum(), x, create_graph=True)
    penalty = slope.square().sum((1, 2, 3))
    assert relative(penalty, golden["loss.r1_penalty"]) < TOLERANCE
    assert gradient_error(penalty.mean() / 2, golden.discriminator, golden.gradients("r1_gamma1")) < TOLERANCE


def test_path_length(golden):
    """E (|J^T y| - 0.3)^2 with y given (already divided by the resolution) and constant noise."""
    g = golden.generator
    ws = g.ws(g.mapping(golden["in.z"]))
    image = g(ws=ws, noise="const").image
    (slope,) = torch.autograd.grad((image * golden["in.pl_noise"]).sum(), ws, create_graph=True)
    lengths = slope.square().sum(2).mean(1).sqrt()
    assert relative(lengths, golden["loss.pl_lengths"]) < TOLERANCE
    assert gradient_error((lengths - 0.3).square().mean(), g, golden.gradients("pl_target0.3")) < TOLERANCE


@pytest.mark.parametrize("case", ["y0", "y1", "y2", "y3", "y4", "y5"])
def test_upfirdn2d(case):
    tensors, metadata = read("upfirdn2d")
    options = json.loads(metadata[case])
    f = tensors[options.pop("f")]
    assert relative(ops.upfirdn2d(tensors["x"], f, **options), tensors[case]) < 1e-6
