"""Intra-cluster LPIPS: how much the images that imitate one training image differ among themselves.

Source: Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence", CVPR 2021, section 4. Each generated
image joins the training image nearest to it; of each cluster at most 50 members are taken; the distances of all their
pairs are averaged, and then the clusters. 0 is perfect memorisation.

Published numbers treat clusters without a pair in two ways, so both are given: as 0 (the headline: a generator that
forgets a training image must not gain by it) and left out. Members are drawn with a seed, several times. It rewards any
variation, also artefacts and images that never adapted: read it beside p_target.

The distance is squared and Euclidean between *embeddings*, as LPIPS is (`encoders.lpips`), so every image is embedded
once and pairs are products of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stylegraft.encoders.protocol import Encoder, resize
from stylegraft.errors import StylegraftError
from stylegraft.metrics.features import levels

CAP = 50  # members of a cluster
BYTES = 1 << 30  # of embeddings in memory at once


class Distance(Protocol):
    """A perceptual distance by embedding, such as `encoders.lpips.LPIPS`; results carry its name."""

    name: str

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """Images [B, C, H, W] in [-1, 1] to maps [B, ...] whose squared differences add up to the distance."""
        ...


class EncoderDistance:
    """1 - cosine of an encoder's features (half the squared distance of unit vectors); `cosine-effnet-lite0`."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = f"cosine-{encoder.name}"

    def embed(self, images: Tensor) -> list[Tensor]:
        """Unit features over the root of two, [B, dim]."""
        weights = (
            next(self.encoder.parameters(), images) if isinstance(self.encoder, torch.nn.Module) else images
        )
        features = self.encoder.encode(self.encoder.preprocess(images.to(weights.device))).flatten(1)
        return [torch.nn.functional.normalize(features, dim=1) / 2**0.5]


class At:
    """A distance of images that are first brought to one size, smaller or larger, which its name says."""

    def __init__(self, distance: Distance, size: int) -> None:
        self.distance, self.size = distance, size
        self.name = f"{distance.name}@{size}"

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """The distance's own embedding, at this size."""
        return self.distance.embed(resize(images, self.size))


class Resized(At):
    """A distance of images that are first made smaller, which its name says: `lpips-vgg@64`."""

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """The distance's own embedding, at this size; images that are smaller already stay as they are."""
        return self.distance.embed(resize(images, min(self.size, images.shape[-1])))


@dataclass(frozen=True)
class IntraDistance:
    """mean: over clusters, those without a pair as 0; spread: its standard deviation over the repeated draws of
    members. without_empty: the mean over clusters that have a pair (NaN if none has). sizes: members of each cluster
    before the cap, in the order of the training images. count: generated images.
    """

    name: str
    mean: float
    spread: float
    without_empty: float
    sizes: tuple[int, ...]
    count: int

    def __str__(self) -> str:
        """One phrase: the metric with its encoder and number of images."""
        sizes = ", ".join(map(str, self.sizes))
        return (
            f"{self.name} {self.mean:.3f} ± {self.spread:.3f} ({self.without_empty:.3f} without clusters that have no "
            f"pair; {self.count} images, clusters of {sizes})"
        )


@torch.no_grad()
def intra_lpips(
    generated: Tensor,
    shots: Tensor,
    distance: Distance,
    *,
    cap: int = CAP,
    repeats: int = 5,
    seed: int = 0,
    batch: int = 16,
    memory: int = BYTES,
) -> IntraDistance:
    """Intra-cluster distance of generated images [S, C, H, W] around the training images [k, C, h, w].

    Images are uint8, or float in [-1, 1] (rounded to 256 levels, as in a file). cap: members of a cluster that are
    compared; repeats: how often larger clusters draw theirs anew, from `seed`. The result depends neither on `batch`
    nor on `memory`, the bytes of embeddings held at once, but for rounding.
    Raises StylegraftError for empty sets or a cap below 2.
    """
    if not len(generated) or not len(shots) or cap < 2 or repeats < 1:
        raise StylegraftError(
            f"intra-{distance.name}: {len(generated)} images, {len(shots)} training images, cap {cap}, {repeats} "
            "repeats; expected images on both sides, a cap of at least 2, and at least 1 repeat"
        )
    cluster = nearest(generated, shots, distance, batch=batch, memory=memory)
    sizes = torch.bincount(cluster, minlength=len(shots)).tolist()
    rng = torch.Generator().manual_seed(seed)
    table: list[list[float]] = []  # [k][repeats]
    for k, size in enumerate(sizes):
        members = (cluster == k).nonzero()[:, 0]
        if size < 2:
            table.append([0.0] * repeats)
        elif size <= cap:
            table.append([mean_pairwise(generated[members], distance, batch, memory)] * repeats)
        else:
            draws = [torch.randperm(size, generator=rng)[:cap] for _ in range(repeats)]
            table.append(drawn(generated[members], draws, distance, batch, memory))
    values = torch.tensor(table, dtype=torch.float64)
    means = values.mean(0)
    paired = values[torch.tensor(sizes) >= 2]
    return IntraDistance(
        name=f"intra-{distance.name}",
        mean=float(means.mean()),
        spread=float(means.std(correction=1)) if repeats > 1 else 0.0,
        without_empty=float(paired.mean()),
        sizes=tuple(sizes),
        count=len(generated),
    )


@torch.no_grad()
def nearest(
    images: Tensor, shots: Tensor, distance: Distance, *, batch: int = 16, memory: int = BYTES
) -> Tensor:
    """Which training image [k, C, h, w] is nearest to each image [N, C, H, W], [N]; the first of equals."""
    return closest(images, shots, distance, batch=batch, memory=memory)[1]


@torch.no_grad()
def closest(
    images: Tensor,
    others: Tensor,
    distance: Distance,
    *,
    batch: int = 16,
    memory: int = BYTES,
) -> tuple[Tensor, Tensor]:
    """How far the nearest of `others` [k, C, h, w] is from each image [N, C, H, W], [N] float64, and which it is, [N];
    the first of equals.
    """
    best = torch.full((len(images),), torch.inf, dtype=torch.float64)
    found = torch.zeros(len(images), dtype=torch.long)
    for start, held in blocks(others, distance, batch, memory):
        for at, part in enumerate(images.split(batch)):
            rows = slice(at * batch, at * batch + len(part))
            apart = between(flat(distance, part), held)
            value, index = apart.min(1)
            closer = value < best[rows]
            best[rows] = torch.where(closer, value, best[rows])
            found[rows] = torch.where(closer, index + start, found[rows])
    return best, found


@torch.no_grad()
def pairwise(images: Tensor, distance: Distance, *, batch: int = 16, memory: int = BYTES) -> Tensor:
    """Distances [N, N], float64 and symmetric, between all images [N, C, H, W]; 0 to itself."""
    found = torch.zeros(len(images), len(images), dtype=torch.float64)
    for start, held in blocks(images, distance, batch, memory):
        stop = start + len(held[0])
        found[start:stop, start:stop] = between(held, held).triu(1)
        for at in range(stop, len(images), batch):
            found[start:stop, at : at + batch] = between(flat(distance, images[at : at + batch]), held).T
    return found + found.T


@torch.no_grad()
def mean_pairwise(images: Tensor, distance: Distance, batch: int = 16, memory: int = BYTES) -> float:
    """Mean distance over all unordered pairs of images [N, C, H, W], N at least 2."""
    count = len(images)
    if count < 2:
        raise StylegraftError(f"{distance.name}: pairs of {count} images, expected at least 2 images")
    total = 0.0
    for start, held in blocks(images, distance, batch, memory):
        total += float(between(held, held).triu(1).sum())
        for at in range(start + len(held[0]), count, batch):
            total += float(between(flat(distance, images[at : at + batch]), held).sum())
    return total / (count * (count - 1) / 2)


def drawn(
    images: Tensor, draws: Sequence[Tensor], distance: Distance, batch: int, memory: int
) -> list[float]:
    """`mean_pairwise` of each draw (rows of images [N, C, H, W]). Images that fit together are embedded once for all
    draws, which at five draws of 50 in 100 saves three of five passes of the network.
    """
    if len(images) > room(flat(distance, images[:1]), memory):
        return [mean_pairwise(images[rows], distance, batch, memory) for rows in draws]
    apart = pairwise(images, distance, batch=batch, memory=memory)
    return [float(apart[rows][:, rows].sum()) / (len(rows) * (len(rows) - 1)) for rows in draws]


def blocks(images: Tensor, distance: Distance, batch: int, memory: int) -> Iterator[tuple[int, list[Tensor]]]:
    """Embeddings of as many images at a time as fit, with the place of the first one."""
    at_once = room(flat(distance, images[:1]), memory)
    for start in range(0, len(images), at_once):
        parts = [flat(distance, part) for part in images[start : start + at_once].split(batch)]
        yield start, [torch.cat(levels) for levels in zip(*parts, strict=True)]


def room(one: Sequence[Tensor], memory: int) -> int:
    """How many embeddings like that of one image are held at once, at least 1."""
    size = sum(level.numel() * level.element_size() for level in one)
    return max(1, memory // (2 * size))  # as much again is in use while a part is embedded and compared


def flat(distance: Distance, images: Tensor) -> list[Tensor]:
    """Embeddings [B, d_l] of the levels, of images as a file would hold them."""
    return [level.flatten(1) for level in distance.embed(levels(images))]


def between(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Distances [A, B], float64, of two lists of embeddings [A, d_l] and [B, d_l].

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, with b's first row as the origin, so that what all images share costs no digits.
    Equal images are at 0 but for rounding: never below, and at exactly 0 where they are that first row.
    """
    total = torch.zeros(len(a[0]), len(b[0]), dtype=torch.float64)
    for x, y in zip(a, b, strict=True):
        origin = y[:1]
        x, y = x - origin, y - origin
        squares = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * (x @ y.T)
        total += squares.double().cpu()
    return total.clamp_min_(0)
