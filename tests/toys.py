"""Toy networks with every parameter alive, 16 px, and random domains on them, as if trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import SPACES, Delta, Domain, start
from stylegraft.domains.apply import w_avg_shift
from stylegraft.domains.spaces import moves_mapping
from stylegraft.networks.generator import Generator, build_generator

SMALL = {"resolution": 16, "img_channels": 3, "z_dim": 8, "w_dim": 8, "c_dim": 0, "mapping_layers": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "stylegan2": {**SMALL, "architecture": "stylegan2", "channel_base": 128, "channel_max": 8},
    "mobile": {**SMALL, "architecture": "mobile", "channels": {"4": 8, "8": 8}},
}
REFUSED = {("mobile", "hdn")}  # its kernels hold their demodulation
# every space on every architecture that has it
PAIRS = [(a, s) for a in ARCHITECTURES for s in SPACES if (a, s) not in REFUSED]


def toy(architecture: str, seed: int = 0) -> Generator:
    """A frozen generator of random numbers."""
    torch.manual_seed(seed)
    generator = build_generator(ARCHITECTURES[architecture])
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_()
    return generator.eval().requires_grad_(False)


def parts_of(deltas: Mapping[str, Sequence[Delta]]) -> list[Tensor]:
    """Every tensor once, also where several deltas share it."""
    parts = [part for terms in deltas.values() for term in terms for part in term.parts.values()]
    return list({id(part): part for part in parts}.values())


def base_of(generator: Generator) -> dict[str, str]:
    """What a domain file says of it."""
    return describe_base(Source("toy", generator, None, {"licence": "none"}))


def random_domain(
    generator: Generator, space: str = "stylespace", seed: int = 0, scale: float = 0.3
) -> Domain:
    """A domain with every part random, the mean of w left as it is."""
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, generator, rng)
    for part in parts_of(deltas):
        part.normal_(std=scale, generator=rng)
    return Domain(deltas, {"space": space, "seed": seed}, base_of(generator))


def domain_of(generator: Generator, space: str, seed: int = 0, scale: float = 0.3) -> Domain:
    """A random domain, with the mean of w where the mapping moves."""
    domain = random_domain(generator, space, seed, scale)
    if not moves_mapping(domain.deltas):
        return domain
    return domain.with_w_avg(w_avg_shift(generator, domain.effective(generator), samples=100))
