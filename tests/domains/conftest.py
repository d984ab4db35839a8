"""Toy networks and domains: every parameter alive, 16 px, 8 channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import SPACES, Delta, Domain, start
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


REFUSED = {("mobile", "hdn")}  # its kernels hold their demodulation
# every space on every architecture that has it, for the fixture `generator`
PAIRS = [(a, s) for a in ARCHITECTURES for s in SPACES if (a, s) not in REFUSED]


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


def parts_of(deltas: Mapping[str, Sequence[Delta]]) -> list[Tensor]:
    """Every tensor once, also where several deltas share it."""
    parts = [part for terms in deltas.values() for term in terms for part in term.parts.values()]
    return list({id(part): part for part in parts}.values())


def base_of(generator: Generator) -> dict[str, str]:
    return describe_base(Source("toy", generator, None, {"licence": "none"}))


@pytest.fixture
def make_domain() -> Callable[..., Domain]:
    """make(generator, space, seed): a domain with every part random, as if trained."""

    def make(generator: Generator, space: str = "stylespace", seed: int = 0, scale: float = 0.3) -> Domain:
        rng = torch.Generator().manual_seed(seed)
        deltas = start(space, generator, rng)
        for part in parts_of(deltas):
            part.normal_(std=scale, generator=rng)
        return Domain(deltas, {"space": space, "seed": seed}, base_of(generator))

    return make


@pytest.fixture
def zero_domain() -> Callable[..., Domain]:
    def make(generator: Generator, space: str) -> Domain:
        return Domain(
            start(space, generator, torch.Generator().manual_seed(0)), {"space": space}, base_of(generator)
        )

    return make
