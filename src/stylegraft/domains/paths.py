"""Three ways from the source to a domain, each as images along an amount a from 0 to 1.

    noise      n(a) = (1 - a) n_anchor + a n_random in the domain's network (Fix the Noise, Lee et al., CVPR 2023); at
               0 it is the domain on its anchor, which is like the source as far as the training held it there
    layers     from the finest block on, block after block is the domain's (layer swapping, Pinkney and Adler 2020);
               what belongs to no block, such as the mapping, comes with the first
    weights    theta + a Delta, the domain's strength (weight interpolation)

A path is an iterator of (a, images [N, C, R, R]) and renders when it is asked. What is rendered, and from which codes,
is the caller's: a `Draw` takes a network and noise maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from stylegraft.domains.apply import Adapted
from stylegraft.domains.domain import Domain
from stylegraft.networks.generator import Generator, Noise, blend_noise

AMOUNTS = tuple(i / 10 for i in range(11))

Network = Generator | Adapted
Draw = Callable[[Network, Noise], Tensor]
Way = Iterator[tuple[float, Tensor]]
Mode = Literal["linear", "vp", "slerp"]


def of_latents(z: Tensor, psi: float = 1.0, batch: int = 16) -> Draw:
    """Images of latents z [N, z_dim], each through the mapping of the network that is drawn."""

    @torch.no_grad()
    def draw(network: Network, noise: Noise) -> Tensor:
        return torch.cat([network(part, psi=psi, noise=noise).image for part in z.split(batch)])

    return draw


@torch.no_grad()
def noise_path(
    network: Network,
    draw: Draw,
    amounts: Sequence[float] = AMOUNTS,
    *,
    seed: int = 0,
    mode: Mode = "linear",
    layers: Sequence[str] | None = None,
    fixed: Mapping[str, float] | None = None,
) -> Way:
    """Noise from the network's own to random maps, which are drawn once, from `seed`, for all images and all a.

    layers: those that are blended, the others stay at the anchor; None: all. fixed: {layer: its amount, whatever a}.
    """
    anchor = network.noise("const")
    other = network.noise("random", 1, torch.Generator().manual_seed(seed))
    for a in amounts:
        at = {**dict.fromkeys(anchor if layers is None else layers, a), **(fixed or {})}
        yield a, draw(network, blend_noise(anchor, other, at, mode))


@torch.no_grad()
def layer_path(
    generator: Generator, domain: Domain, draw: Draw, amounts: Sequence[float] | None = None
) -> Way:
    """The blocks that are the domain's at a: the finest round(a n) of n; None: all n + 1 places of this control."""
    found = resolutions(generator)
    for a in amounts or [i / len(found) for i in range(len(found) + 1)]:
        blocks = round(a * len(found))
        network = domain.above(found[blocks - 1]).on(generator) if blocks else generator
        yield a, draw(network, generator.noise("const"))


@torch.no_grad()
def weight_path(generator: Generator, domain: Domain, draw: Draw, amounts: Sequence[float] = AMOUNTS) -> Way:
    """The domain at strength a; any finite number is one."""
    for a in amounts:
        yield a, draw((domain * a).on(generator) if a else generator, generator.noise("const"))


def resolutions(generator: Generator) -> list[int]:
    """Of its blocks, the finest first."""
    return sorted({layer.resolution for layer in generator.layers}, reverse=True)
