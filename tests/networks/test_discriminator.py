"""The discriminator's protocol: taps and early stop, halves, groups, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.networks import build_discriminator

from .conftest import normal, toy_discriminator


def test_halves_equal_separate_batches():
    d = toy_discriminator()
    fake, real = normal(4, 3, 16, 16), normal(4, 3, 16, 16, seed=1)
    both = d(torch.cat((fake, real)), halves=2).logits
    assert (both - torch.cat((d(fake).logits, d(real).logits))).abs().max() < 1e-9
    assert (both - d(torch.cat((fake, real))).logits).abs().max() > 1e-6


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_early_stop_gives_the_same_taps(architecture):
    d = toy_discriminator(architecture=architecture)
    x = normal(2, 3, 16, 16)
    full = d(x, taps=d.tap_names)
    assert tuple(full.taps) == d.tap_names
    for stop in d.tap_names:
        short = d(x, taps=d.tap_names, stop=stop)
        assert short.logits is None
        assert list(short.taps)[-1] == stop
        assert all(torch.equal(tap, full.taps[name]) for name, tap in short.taps.items())


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_every_parameter_is_in_exactly_one_top_group(architecture):
    d = toy_discriminator(architecture=architecture, c_dim=3)
    top = [name for group, names in d.groups.items() if "." not in group for name in names]
    assert sorted(top) == sorted(name for name, _ in d.named_parameters())
    assert set(d.groups) >= {"b16", "b16.fromrgb", "b16.conv0", "b16.conv1", "b8", "head", "mapping"}
    assert set(d.gains) == set(top)


def test_gains():
    d = toy_discriminator()
    assert d.gains["b16.conv0.weight"] == pytest.approx((8 * 9) ** -0.5)
    assert d.gains["b4.fc.weight"] == pytest.approx((12 * 16) ** -0.5)
    assert d.gains["b16.conv0.bias"] == 1.0


def test_frozen_lower_layers_get_no_gradient():
    """FreezeD: gradients reach neither the frozen blocks nor, through them, the image."""
    d = toy_discriminator()
    for name, p in d.named_parameters():
        p.requires_grad_(name not in d.groups["b16"])
    d(normal(2, 3, 16, 16)).logits.sum().backward()
    assert all((p.grad is None) == (name in d.groups["b16"]) for name, p in d.named_parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d(normal(3, 3, 16, 16)), "batch of 3: minibatch-std needs a multiple of its group size 2"),
        (lambda d: d(normal(2, 3, 16, 16), taps=["b64.conv0"]), 'no tap "b64.conv0"'),
        (lambda d: d(normal(2, 3, 8, 8)), r"expected \[B, 3, 16, 16\]"),
        (lambda d: d(normal(2, 1, 16, 16)), r"expected \[B, 3, 16, 16\]"),
        (lambda d: build_discriminator({**d.config, "architecture": "vit"}), '"vit" is unknown'),
        (lambda d: build_discriminator({**d.config, "resolution": 4}), "power of two of at least 8"),
        (lambda d: toy_discriminator(c_dim=3)(normal(2, 3, 16, 16)), "label c: found nothing"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(StylegraftError, match=message):
        call(toy_discriminator())
