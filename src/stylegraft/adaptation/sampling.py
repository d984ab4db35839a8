"""Keyed randomness: every random number of a run is a function of (seed, step, stream, sample index).

A sample's numbers depend neither on how the batch is split nor on how many processes share it, and a
resumed run draws exactly what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from stylegraft.adaptation.tape import Tape, Untaped

if TYPE_CHECKING:
    from stylegraft.domains.apply import Adapted
    from stylegraft.networks.generator import Generator


T = TypeVar("T")
CPU = torch.device("cpu")


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

    part: (k, n), the samples k, k + n, k + 2n, ... of the batch, where a step is done in n parts. tape: where the phase
    is recorded to be played again (`tape`); everything then passes by `fed` and `told`, and nothing else is drawn.
    """

    seed: int
    step: int
    batch: int
    device: torch.device
    prefix: str = ""
    part: tuple[int, int] = (0, 1)
    tape: Tape | None = None

    @property
    def host(self) -> Keyed:
        """The same draws on the CPU, of no tape."""
        return replace(self, device=CPU, tape=None)

    def at(self, step: int) -> Keyed:
        """The same draws of another step."""
        return replace(self, step=step)

    def fed(self, make: Callable[[Keyed], T]) -> T:
        """What `make` draws on the CPU, a tensor or several, moved to the device.

        make: a function of the draws it is given, and of nothing else that changes within a step.
        """
        if self.tape is not None:
            return self.tape.fed(self, make)
        return tree_map(lambda tensor: tensor.to(self.device), make(self.host))

    def told(self, name: Hashable, make: Callable[[Keyed], T]) -> T:
        """What `make` says of the draws on the CPU: no tensor, but a choice that decides what is computed. name: says
        which; two of one name are equal in every step.
        """
        return make(self.host) if self.tape is None else self.tape.told(self, name, make)

    def indices(self, count: int | None = None) -> list[int]:
        """Places in the whole batch (or in its first `count` samples) of the samples of this part."""
        first, step = self.part
        return list(range(self.batch if count is None else count))[first::step]

    def samples(self, stream: str, count: int | None = None) -> Draws:
        """Draws of each sample of this part of the batch (or of its first `count` samples)."""
        if self.tape is not None:
            raise Untaped(stream)
        name = f"{self.prefix}.{stream}"
        return Draws([seed_of(self.seed, self.step, name, i) for i in self.indices(count)], self.device)

    def shared(self, stream: str) -> Draws:
        """Draws of one row for the whole batch, the same in every part."""
        if self.tape is not None:
            raise Untaped(stream)
        return Draws([seed_of(self.seed, self.step, f"{self.prefix}.{stream}", 0)], self.device)

    def once(self, stream: str) -> float:
        """One uniform number in [0, 1) for the whole batch."""
        if self.tape is not None:
            raise Untaped(stream)
        return float(
            Draws(
                [seed_of(self.seed, self.step, f"{self.prefix}.{stream}", 0)], dtype=torch.float64
            ).uniform()
        )

    def choice(self, stream: str, names: Sequence[str]) -> str:
        """One of `names`, each as likely, for the whole batch."""
        return self.told((stream, *names), lambda draws: names[int(draws.once(stream) * len(names))])

    def choices(self, stream: str, names: Sequence[str]) -> list[str]:
        """One of `names` for each sample of this part of the batch, each as likely."""
        return self.told(
            (stream, *names),
            lambda draws: [names[int(u * len(names))] for u in draws.samples(stream).uniform().tolist()],
        )

    def spread(self, stream: str, names: Sequence[str]) -> tuple[list[str], Tensor]:
        """One of `names` for each sample, each as likely: (names, which of them is each sample's [B]). The names are
        those that come up; where the phase is taped all of them, so that one tape serves every choice.
        """
        if self.tape is not None:
            return [*names], self.fed(
                lambda draws: torch.tensor([names.index(name) for name in draws.choices(stream, names)])
            )
        chosen = self.choices(stream, names)
        up = [name for name in names if name in chosen]
        return up, torch.tensor([up.index(name) for name in chosen], device=self.device)


@dataclass(frozen=True)
class Latents:
    """z [B, z_dim]; where styles are mixed, the rows of W+ from `cutoff` on come from `other` [B, z_dim].

    cutoff: a number, or a tensor [] of it where the host is not to know.
    """

    z: Tensor
    other: Tensor | None = None
    cutoff: int | Tensor = 0

    def ws(self, generator: Generator | Adapted) -> Tensor:
        """Rows of W+ [B, num_ws, w_dim]; both latents pass the mapping in one batch."""
        n = generator.num_ws
        if self.other is None:
            return generator.mapping(self.z)[:, None].repeat(1, n, 1)
        first, second = generator.mapping(torch.cat((self.z, self.other)))[:, None].chunk(2)
        if isinstance(self.cutoff, Tensor):
            rows = torch.arange(n, device=first.device)[:, None]
            return torch.where(rows < self.cutoff, first, second)
        return torch.cat((first.expand(-1, self.cutoff, -1), second.expand(-1, n - self.cutoff, -1)), dim=1)


def labels(generator: Generator, numbers: Sequence[int]) -> Tensor | None:
    """One-hot classes [N, c_dim] of numbers, which go through the classes in turn; None where there are no classes."""
    if not generator.c_dim:
        return None
    classes = torch.tensor([number % generator.c_dim for number in numbers])
    return torch.nn.functional.one_hot(classes, generator.c_dim).to(generator.get_buffer("mapping.w_avg"))


def free(keyed: Keyed, stream: str, z_dim: int, count: int | None = None) -> Tensor:
    """Standard normal latents [B, z_dim]."""
    return keyed.fed(lambda draws: draws.samples(stream, count).normal(z_dim))


def mixed(
    keyed: Keyed, stream: str, generator: Generator, probability: float, count: int | None = None
) -> Latents:
    """Free latents with style mixing: one crossover a batch, uniform in 1 .. num_ws - 1, with this
    probability.
    """
    z, n = free(keyed, stream, generator.z_dim, count), generator.num_ws

    def cutoff(draws: Keyed) -> int:
        """n where nothing is mixed."""
        mixes = n > 1 and draws.once(f"{stream}.mix") < probability
        return 1 + int(draws.once(f"{stream}.cutoff") * (n - 1)) if mixes else n

    if keyed.tape is not None:  # the crossover is a tensor then, and one tape serves all
        other = free(keyed, f"{stream}.other", generator.z_dim, count)
        return Latents(z, other, keyed.fed(lambda draws: torch.tensor(cutoff(draws))))
    at = cutoff(keyed.host)
    return Latents(z) if at == n else Latents(z, free(keyed, f"{stream}.other", generator.z_dim, count), at)


def anchor_points(seed: int, count: int, z_dim: int) -> Tensor:
    """The anchor latents of a run [count, z_dim], drawn once (CDC, Ojha et al. 2021)."""
    return Draws([seed_of(seed, 0, "anchors", i) for i in range(count)]).normal(z_dim)


def near_anchors(keyed: Keyed, stream: str, anchors: Tensor, sigma: float) -> Latents:
    """A random anchor for each sample plus sigma times noise; no style mixing."""
    count, size = anchors.shape

    def drawn(draws: Keyed) -> tuple[Tensor, Tensor]:
        own = draws.samples(stream)
        return (own.uniform() * count).long(), sigma * own.normal(size)

    chosen, moved = keyed.fed(drawn)
    return Latents(anchors[chosen] + moved)


def disturbed(keyed: Keyed, stream: str, z_dim: int, share: float) -> Latents:
    """(1 - share) times one latent for the whole batch plus share times one of each sample's own (RSSA, Xiao et
    al. 2022).

    The mapping normalises z, so that the shorter sum is as likely a latent as any.
    """
    base = keyed.fed(lambda draws: draws.shared(f"{stream}.base").normal(z_dim))
    return Latents((1 - share) * base + share * free(keyed, stream, z_dim))


def kept(keyed: Keyed, stream: str, size: int, hidden: float) -> Tensor:
    """A mask [1, size] for the whole batch: 0 at round(hidden * size) random places, 1 / (share that is left) at
    the others.
    """
    order = keyed.fed(lambda draws: draws.shared(stream).uniform(size).argsort(1))
    gone = round(hidden * size)
    mask = torch.full_like(order, 1.0, dtype=torch.float32) * (size / (size - gone))
    return mask.scatter_(1, order[:, :gone], 0.0)


def random_noise(
    keyed: Keyed, stream: str, shapes: Mapping[str, int], count: int | None = None
) -> dict[str, Tensor]:
    """Standard normal noise maps of every layer: {layer: [B, 1, r, r]}."""
    sizes = [r * r for r in shapes.values()]
    maps = keyed.fed(lambda draws: draws.samples(stream, count).normal(sum(sizes))).split(sizes, dim=1)
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


def picked(keyed: Keyed, size: int) -> list[int]:
    """Which of `size` training images this part of the step sees."""
    order = data_order(keyed.seed, keyed.step, keyed.batch, size)
    return [order[i] for i in keyed.indices()]


def shown(keyed: Keyed, images: Tensor, xflip: bool) -> Tensor:
    """Those of the training images [N, C, R, R] that this part of the step sees, each mirrored or not: [B, C, R, R]."""
    size = len(images)
    seen = images[keyed.fed(lambda draws: torch.tensor(picked(draws, size)))]
    if not xflip:
        return seen
    return mirror(seen, keyed.fed(lambda draws: mirrored(draws.seed, draws.step, draws.indices())))


def mirror(images: Tensor, turned: Tensor) -> Tensor:
    """Images [B, C, R, R], those that are `turned` [B] mirrored left to right."""
    return torch.where(turned[:, None, None, None], images.flip(3), images)


def mirrored(seed: int, step: int, places: Sequence[int]) -> Tensor:
    """Which of the images at these places of the whole batch are mirrored, each with probability 1/2: [B], bool."""
    return Draws([seed_of(seed, step, "mirror", i) for i in places]).uniform() < 0.5
