"""Toy networks and domains as fixtures: every parameter alive, 16 px, 8 channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stylegraft.domains import Domain, start
from stylegraft.networks.generator import Generator

from ..toys import ARCHITECTURES, base_of, random_domain, toy


@pytest.fixture(params=ARCHITECTURES)
def generator(request: pytest.FixtureRequest) -> Generator:
    return toy(request.param)


@pytest.fixture
def stylegan2() -> Generator:
    return toy("stylegan2")


@pytest.fixture
def make_toy() -> Callable[..., Generator]:
    return toy


@pytest.fixture
def make_domain() -> Callable[..., Domain]:
    """make(generator, space, seed): a domain with every part random, as if trained."""
    return random_domain


@pytest.fixture
def zero_domain() -> Callable[..., Domain]:
    def make(generator: Generator, space: str) -> Domain:
        return Domain(
            start(space, generator, torch.Generator().manual_seed(0)), {"space": space}, base_of(generator)
        )

    return make
