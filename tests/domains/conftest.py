"""Toy networks and domains: every parameter alive, 16 px, 8 channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import Delta, Domain, start
from stylegraft.networks.generator import Generator, build_generator

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "stylegan2": {
        "architecture": "stylegan2",
        "resolution": 16,
        "img_channels": 3,
        "z_dim": 8,
        "w_dim": 8,
        "c_dim": 0,
        "channel_base": 128,
        "channel_max": 8,
        "mapping_layers": 2,
    },
    "mobile": {
        "architecture": "mobile",
        "resolution": 16,
        "img_channels": 3,
        "z_dim": 8,
        "w_dim": 8,
        "c_dim": 0,
        "channels": {"4": 8, "8": 8},
        "mapping_layers": 2,
    },
}


def toy(architecture: str, seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    generator = build_generator(ARCHITECTURES[architecture])
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_()
    return generator.eval().requires_grad_(False)


@pytest.fixture(params=ARCHITECTURES)
def generator(request: pytest.FixtureRequest) -> Generator:
    return toy(request.param)


@pytest.fixture
def stylegan2() -> Generator:
    return toy("stylegan2")


@pytest.fixture
def make_toy() -> Callable[..., Generator]:
    return toy


def base_of(generator: Generator) -> dict[str, str]:
    return describe_base(Source("toy", generator, None, {"licence": "none"}))


@pytest.fixture
def make_domain() -> Callable[..., Domain]:
    """make(generator, space, seed): a domain with every part random, as if trained."""

    def make(generator: Generator, space: str = "stylespace", seed: int = 0, scale: float = 0.3) -> Domain:
        rng = torch.Generator().manual_seed(seed)
        deltas = {
            name: tuple(
                Delta(
                    t.coefficient,
                    t.form,
                    {k: scale * torch.randn(p.shape, generator=rng) for k, p in t.parts.items()},
                )
                for t in terms
            )
            for name, terms in start(space, generator, rng).items()
        }
        return Domain(deltas, {"space": space, "seed": seed}, base_of(generator))

    return make


@pytest.fixture
def zero_domain() -> Callable[..., Domain]:
    def make(generator: Generator, space: str) -> Domain:
        return Domain(
            start(space, generator, torch.Generator().manual_seed(0)), {"space": space}, base_of(generator)
        )

    return make
