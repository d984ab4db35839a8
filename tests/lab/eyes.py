"""Toy eyes, a toy source and toy runs of it for the lab."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation import rules
from stylegraft.adaptation.run import Run, adapt
from stylegraft.checkpoints import Source
from stylegraft.lab import panel
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SAMPLES = 24


class Eye:
    """An encoder and a distance: a coarse picture of 4 x 4 pixels. `seen` counts the images that it embedded."""

    name, digest, dim = "toy", "0" * 64, 48

    def __init__(self) -> None:
        self.seen = 0

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def encode(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)

    def embed(self, images: Tensor) -> list[Tensor]:
        self.seen += len(images)
        return [self.encode(images) / self.dim**0.5]


def use_toy_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of others: what a panel looks through is `Eye`."""
    monkeypatch.setattr(rules, "_first", lambda encoders, who: next(iter(encoders)))
    monkeypatch.setattr(panel, "load_encoder", lambda name, device: Eye())
    monkeypatch.setattr(panel, "load_lpips", lambda net, device: Eye())
    monkeypatch.setattr(panel, "lpips_here", lambda: None)


@cache
def source() -> Source:
    sizes = {"resolution": 16, "img_channels": 3, "channel_base": 128, "channel_max": 8}
    torch.manual_seed(0)
    generator = build_generator(
        {"architecture": "stylegan2", "z_dim": 8, "w_dim": 8, "c_dim": 0, "mapping_layers": 2, **sizes}
    )
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return Source(
        "toy",
        generator.eval().requires_grad_(False),
        build_discriminator({**sizes, "mbstd_group_size": 4}).eval(),
    )


def smooth(count: int, seed: int = 1) -> Tensor:
    """Smooth random images [N, 3, 16, 16], uint8."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear").round().to(torch.uint8)


def go(out: Path, steps: int = 6, **options: Any) -> Run:
    """A short run of the toy."""
    base = {"recipe": "tgan", "space": "affine", "every": 3, "quiet": True, "warmup": 2, "lr": 0.01}
    base |= {"augment": "bgc", "ada_kimg": 0.05}
    return adapt(source(), smooth(6), steps=steps, out=out, **{**base, **options})
