"""Toy sources of both architectures: 16 px, 8 channels, every parameter alive."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import Recipe, recipe
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints import Source
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SIZES = {"resolution": 16, "img_channels": 3, "z_dim": 8, "w_dim": 8, "c_dim": 0, "mapping_layers": 2}
GENERATORS: dict[str, dict[str, Any]] = {
    "stylegan2": {"architecture": "stylegan2", "channel_base": 128, "channel_max": 8, **SIZES},
    "mobile": {"architecture": "mobile", "channels": {"4": 8, "8": 8}, **SIZES},
}
DISCRIMINATOR = {
    "resolution": 16,
    "img_channels": 3,
    "channel_base": 128,
    "channel_max": 8,
    "mbstd_group_size": 4,
}
RECIPES = ("tgan", "ada", "freezed", "fixnoise", "dcl", "cdc", "rssa", "maskedd", "freezesg", "weditgan")
# What a method goes without on an architecture that lacks it: MobileStyleGAN has no running images.
WITHOUT: dict[str, dict[str, dict[str, Any]]] = {"mobile": {"freezesg": {"structure": 0.0}}}


@cache
def toy(architecture: str = "stylegan2") -> Source:
    """One source for all tests: nothing may change it, and the contract tests look."""
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[architecture])
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_(std=0.1)
    return Source(
        f"toy-{architecture}",
        generator.eval().requires_grad_(False),
        build_discriminator(DISCRIMINATOR).eval(),
    )


@cache
def pictures(count: int = 10) -> Tensor:
    """Smooth random images [N, 3, 16, 16], uint8."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 4, 4, generator=rng) * 255
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear").round().to(torch.uint8)


def small(name: str, **changes: Any) -> Recipe:
    """A recipe on toys: no warm-up, an ADA that is on within a few steps, a FreezeD that freezes something at 16 px."""
    own: dict[str, Any] = {
        "freezed": {"discriminator": "upto-8"},
        "ada": {"ada_kimg": 0.05},
        "fixnoise": {"ada_kimg": 0.05},
        "freezesg": {"batch": 4, "ada_kimg": 0.05, "discriminator": "upto-8"},
        "weditgan": {"ada_kimg": 0.05, "perp": 1e-4},
    }
    return recipe(name, **{"warmup": 0, "lr": 0.002, **own.get(name, {}), **changes})


def fresh(
    name: str = "tgan", space: str = "affine-light+", architecture: str = "stylegan2", **changes: Any
) -> State:
    """A state before its first step."""
    images = pictures().float() / 127.5 - 1
    changes = WITHOUT.get(architecture, {}).get(name, {}) | changes
    return begin(toy(architecture), images, small(name, **changes), space)


def after(steps: int, *args: Any, **changes: Any) -> State:
    """A state after so many steps."""
    state = fresh(*args, **changes)
    for _ in train(state, steps):
        pass
    return state
