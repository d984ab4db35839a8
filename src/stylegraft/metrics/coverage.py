"""How much of the generated images is in the domain, and how much of the domain is in them, by nearest neighbours.

Each image stands for the ball B_k around its features that reaches to its k-th nearest neighbour of its own set.

    precision   share of generated images in some real image's ball       Kynkäänniemi et al., NeurIPS 2019,
    recall      share of real images in some generated image's ball       arXiv:1904.06991
    density     real images' balls that a generated image is in, over k   Naeem et al., ICML 2020,
    coverage    share of real images with a generated one in their ball   arXiv:2002.09797

One outlier among the real images has a huge ball, which precision counts and density hardly does; balls of generated
outliers raise recall, and coverage does not ask for them. Density may exceed 1. A domain covers itself by about
1 - 2^-k at equal counts. All four move with both counts: compare at equal ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.frechet import check

BLOCK = 2048  # rows of a matrix of distances held at a time


class PRDC(NamedTuple):
    """Precision, recall and coverage, 0 to 1, and density, from 0."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real_features: Tensor, fake_features: Tensor, k: int = 5) -> PRDC:
    """Precision, recall, density and coverage of generated features [M, D] among real ones [N, D].

    k: neighbours that a ball reaches to; 5 as Naeem et al. (Kynkäänniemi et al. took 3). Float64, in blocks of rows.
    Raises StylegraftError for wrong shapes, values that are not finite, or sets of k images or fewer.
    """
    real, fake = check(real_features, "prdc, real images"), check(fake_features, "prdc, generated images")
    if real.shape[1] != fake.shape[1]:
        raise StylegraftError(
            f"features of {real.shape[1]} and of {fake.shape[1]} numbers an image cannot be compared; "
            "same encoder on both sides?"
        )
    if not 1 <= k < min(len(real), len(fake)):
        raise StylegraftError(
            f"prdc: {k} neighbours in sets of {len(real)} and {len(fake)} images; "
            "expected at least 1, and more images than that on both sides"
        )
    origin = real.mean(0)  # far from it, squares cost digits
    real, fake = real - origin, fake - origin
    around_real, around_fake = radii(real, k), radii(fake, k)
    balls = torch.zeros(len(fake), dtype=torch.long)  # of real images, around each generated one
    recalled = covered = 0
    for rows, apart in distances(real, fake):
        inside = apart <= around_real[rows, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((apart <= around_fake).any(1).sum())
    return PRDC(
        precision=float((balls > 0).double().mean()),
        recall=recalled / len(real),
        density=float(balls.double().mean()) / k,
        coverage=covered / len(real),
    )


def radii(features: Tensor, k: int) -> Tensor:
    """Squared distance [N] from each row of features [N, D] to its k-th nearest other row."""
    found = []
    for rows, apart in distances(features, features):
        places = torch.arange(rows.start, rows.stop)
        apart[places - rows.start, places] = torch.inf
        found.append(apart.kthvalue(k, 1).values)
    return torch.cat(found)


def distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances [block, M] of rows of a [N, D] from those of b [M, D], and which rows, block by block."""
    squares = b.square().sum(1)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, min(start + BLOCK, len(a)))
        part = a[rows]
        yield rows, (part.square().sum(1)[:, None] + squares - 2 * part @ b.T).clamp_min_(0)
