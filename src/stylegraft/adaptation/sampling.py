"""Keyed randomness: every random number of a run is a function of (seed, step, stream, sample index).

A sample's numbers depend neither on how the batch is split nor on how many processes share it, and a
resumed run draws exactly what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stylegraft.domains.apply import Adapted
    from stylegraft.networks.generator import Generator


def seed_of(seed: int, step: int, stream: str, index: int) -> int:
    """Hash (seed, step, stream, index) to an integer in [0, 2^63), the same on every machine (blake2b).

    `stream` names the purpose ("z", "augment.real", ...), `index` the sample's place in the whole batch.
    """
    key = f"{seed}:{step}:{stream}:{index}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1


class Draws:
    """Independent random numbers for each of B samples, one CPU generator per sample.

    Numbers are drawn on the CPU and then moved to `device`, so that the device does not change them.
    (PyTorch's CPU generator keeps the low 32 bits of a seed; `seed_of` hashes, so these are as good as any.)
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu", dtype=torch.float32) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.device = device
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.generators)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), `[B, *shape]`."""
        draws = [torch.rand(shape, generator=g, dtype=self.dtype) for g in self.generators]
        return torch.stack(draws).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, `[B, *shape]`."""
        draws = [torch.randn(shape, generator=g, dtype=self.dtype) for g in self.generators]
        return torch.stack(draws).to(self.device)


# Latents and noise of a step
# -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keyed:
    """The draws of one phase (`prefix`) of one step; every stream is named.

    part: (k, n), the samples k, k + n, k + 2n, ... of the batch, where a step is done in n parts.
    """

    seed: int
    step: int
    batch: int
    device: torch.device
    prefix: str = ""
    part: tuple[int, int] = (0, 1)

    def indices(self, count: int | None = None) -> list[int]:
        """Places in the whole batch (or in its first `count` samples) of the samples of this part."""
        first, step = self.part
        return list(range(self.batch if count is None else count))[first::step]

    def samples(self, stream: str, count: int | None = None) -> Draws:
        """Draws of each sample of this part of the batch (or of its first `count` samples)."""
        name = f"{self.prefix}.{stream}"
        return Draws([seed_of(self.seed, self.step, name, i) for i in self.indices(count)], self.device)

    def shared(self, stream: str) -> Draws:
        """Draws of one row for the whole batch, the same in every part."""
        return Draws([seed_of(self.seed, self.step, f"{self.prefix}.{stream}", 0)], self.device)

    def once(self, stream: str) -> float:
        """One uniform number in [0, 1) for the whole batch."""
        return float(
            Draws(
                [seed_of(self.seed, self.step, f"{self.prefix}.{stream}", 0)], dtype=torch.float64
            ).uniform()
        )

    def choice(self, stream: str, names: Sequence[str]) -> str:
        """One of `names`, each as likely, for the whole batch."""
        return names[int(self.once(stream) * len(names))]

    def choices(self, stream: str, names: Sequence[str]) -> list[str]:
        """One of `names` for each sample of this part of the batch, each as likely."""
        here = replace(self, device=torch.device("cpu"))  # a meta device has no values to choose by
        return [names[int(u * len(names))] for u in here.samples(stream).uniform().tolist()]


@dataclass(frozen=True)
class Latents:
    """z [B, z_dim]; where styles are mixed, the rows of W+ from `cutoff` on come from `other` [B, z_dim]."""

    z: Tensor
    other: Tensor | None = None
    cutoff: int = 0

    def ws(self, generator: Generator | Adapted) -> Tensor:
        """Rows of W+ [B, num_ws, w_dim]; both latents pass the mapping in one batch."""
        n = generator.num_ws
        if self.other is None:
            return generator.mapping(self.z)[:, None].repeat(1, n, 1)
        first, second = generator.mapping(torch.cat((self.z, self.other)))[:, None].chunk(2)
        return torch.cat((first.expand(-1, self.cutoff, -1), second.expand(-1, n - self.cutoff, -1)), dim=1)


def labels(generator: Generator, numbers: Sequence[int]) -> Tensor | None:
    """One-hot classes [N, c_dim] of numbers, which go through the classes in turn; None where there are no classes."""
    if not generator.c_dim:
        return None
    classes = torch.tensor([number % generator.c_dim for number in numbers])
    return torch.nn.functional.one_hot(classes, generator.c_dim).to(generator.get_buffer("mapping.w_avg"))


def free(keyed: Keyed, stream: str, z_dim: int, count: int | None = None) -> Tensor:
    """Standard normal latents [B, z_dim]."""
    return keyed.samples(stream, count).normal(z_dim)


def mixed(
    keyed: Keyed, stream: str, generator: Generator, probability: float, count: int | None = None
) -> Latents:
    """Free latents with style mixing: one crossover a batch, uniform in 1 .. num_ws - 1, with this
    probability.
    """
    z = free(keyed, stream, generator.z_dim, count)
    if generator.num_ws < 2 or keyed.once(f"{stream}.mix") >= probability:
        return Latents(z)
    cutoff = 1 + int(keyed.once(f"{stream}.cutoff") * (generator.num_ws - 1))
    return Latents(z, free(keyed, f"{stream}.other", generator.z_dim, count), cutoff)


def anchor_points(seed: int, count: int, z_dim: int) -> Tensor:
    """The anchor latents of a run [count, z_dim], drawn once (CDC, Ojha et al. 2021)."""
    return Draws([seed_of(seed, 0, "anchors", i) for i in range(count)]).normal(z_dim)


def near_anchors(keyed: Keyed, stream: str, anchors: Tensor, sigma: float) -> Latents:
    """A random anchor for each sample plus sigma times noise; no style mixing."""
    draws = keyed.samples(stream)
    chosen = (draws.uniform() * len(anchors)).long()
    return Latents(anchors[chosen] + sigma * draws.normal(anchors.shape[1]))


def disturbed(keyed: Keyed, stream: str, z_dim: int, share: float) -> Latents:
    """(1 - share) times one latent for the whole batch plus share times one of each sample's own (RSSA, Xiao et
    al. 2022).

    The mapping normalises z, so that the shorter sum is as likely a latent as any.
    """
    base = keyed.shared(f"{stream}.base").normal(z_dim)
    return Latents((1 - share) * base + share * free(keyed, stream, z_dim))


def kept(keyed: Keyed, stream: str, size: int, hidden: float) -> Tensor:
    """A mask [1, size] for the whole batch: 0 at round(hidden * size) random places, 1 / (share that is left) at
    the others.
    """
    order = keyed.shared(stream).uniform(size).argsort(1)
    gone = round(hidden * size)
    mask = torch.full_like(order, 1.0, dtype=torch.float32) * (size / (size - gone))
    return mask.scatter_(1, order[:, :gone], 0.0)


def random_noise(
    keyed: Keyed, stream: str, shapes: Mapping[str, int], count: int | None = None
) -> dict[str, Tensor]:
    """Standard normal noise maps of every layer: {layer: [B, 1, r, r]}."""
    sizes = [r * r for r in shapes.values()]
    maps = keyed.samples(stream, count).normal(sum(sizes)).split(sizes, dim=1)
    return {layer: flat.reshape(-1, 1, r, r) for (layer, r), flat in zip(shapes.items(), maps, strict=True)}


# Data
# ------------------------------------------------------------------------------------------------------------


def data_order(seed: int, step: int, batch: int, size: int) -> list[int]:
    """Which images a step sees: positions step * batch, ... of an endless sequence of shuffled epochs."""
    indices = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, size)
        indices.append(_shuffled(seed, epoch, size)[place])
    return indices


@lru_cache(maxsize=2)  # an epoch is shuffled once, not for each of its images
def _shuffled(seed: int, epoch: int, size: int) -> list[int]:
    rng = torch.Generator().manual_seed(seed_of(seed, epoch, "order", 0))
    return torch.randperm(size, generator=rng).tolist()


def mirror(images: Tensor, seed: int, step: int, places: Sequence[int] | None = None) -> Tensor:
    """Mirror each image [B, C, R, R] left to right with probability 1/2; places: theirs in the whole batch."""
    places = range(len(images)) if places is None else places
    turned = mirrored(seed, step, places, images.device)
    return torch.where(turned[:, None, None, None], images.flip(3), images)


def mirrored(seed: int, step: int, places: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Which of the images at these places of the whole batch `mirror` turns: [B], bool."""
    draws = Draws([seed_of(seed, step, "mirror", i) for i in places], device)
    return draws.uniform() < 0.5
