"""Kernel distance KID (Binkowski et al., ICLR 2018, arXiv:1801.01401): MMD^2, kernel (x.y / D + 1)^3."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.frechet import check

BLOCK = 2048  # rows of a Gram matrix held at a time
FEWEST = 50  # real images without which a trace and `evaluate` give no KID: subsets of 25 say nothing


class KID(NamedTuple):
    """Mean over random subsets and their standard deviation (of one subset's estimate, not of the mean)."""

    mean: float
    spread: float


def too_few(real: int) -> str:
    """Why there is no KID against so many real images; empty if there is."""
    return f"{real} reference images, expected at least {FEWEST}" if real < FEWEST else ""


def kid(
    features_a: Tensor, features_b: Tensor, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> KID:
    """Mean and spread of the unbiased MMD^2 over random subsets of two feature sets [N, D] and [M, D].

    Subsets are drawn without replacement. `subset_size` None: 1000 (the paper's), or half of the smaller set
    if that is less, so that subsets differ and the spread means something. Unbiased, so maybe below zero.
    Raises StylegraftError for wrong shapes or a subset larger than a set.
    """
    a, b = check(features_a, "kid, first set"), check(features_b, "kid, second set")
    if a.shape[1] != b.shape[1]:
        raise StylegraftError(
            f"features of {a.shape[1]} and of {b.shape[1]} numbers an image cannot be compared; "
            "same encoder on both sides?"
        )
    smaller = min(len(a), len(b))
    size = max(2, min(1000, smaller // 2)) if subset_size is None else subset_size
    if not 2 <= size <= smaller or subsets < 1:
        raise StylegraftError(
            f"kid: {subsets} subsets of {size} images from sets of {len(a)} and {len(b)}; "
            f"a subset takes 2 to {smaller}"
        )
    generator = torch.Generator().manual_seed(seed)
    rows_a = _draw(len(a), subsets, size, generator)
    rows_b = _draw(len(b), subsets, size, generator)

    # One Gram matrix for all subsets, or one a subset: whichever is less arithmetic.
    together = max(len(a), len(b)) ** 2 <= subsets * size**2
    groups = [slice(0, subsets)] if together else [slice(i, i + 1) for i in range(subsets)]
    estimates = torch.cat([_mmd(a, b, rows_a[group], rows_b[group]) for group in groups])
    return KID(estimates.mean().item(), estimates.std(correction=0).item())


def _draw(count: int, subsets: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.stack([torch.randperm(count, generator=generator)[:size] for _ in range(subsets)])


def _mmd(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor) -> Tensor:
    """Unbiased MMD^2 [S] (Gretton et al., 2012, equation 3) of the subsets a[rows_a[s]], b[rows_b[s]]; rows
    [S, m].
    """
    (a, in_a), (b, in_b) = _members(a, rows_a), _members(b, rows_b)
    m = rows_a.shape[1]
    inside = sum(_gram_sums(x, x, i, i) - i @ _kernel_diagonal(x) for x, i in ((a, in_a), (b, in_b)))
    return inside / (m * (m - 1)) - 2 * _gram_sums(a, b, in_a, in_b) / m**2


def _members(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Only the rows that some subset uses, and the membership matrix [S, rows] of zeros and ones."""
    used, index = rows.unique(return_inverse=True)
    used, index = used.to(x.device), index.to(x.device)
    member = torch.zeros(len(rows), len(used), dtype=x.dtype, device=x.device)
    return x[used], member.scatter_(1, index, 1.0)


def _kernel_diagonal(x: Tensor) -> Tensor:
    return (x.square().sum(1) / x.shape[1] + 1) ** 3


def _gram_sums(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """Sum of the kernel over all pairs of each subset, [S]."""
    total = torch.zeros(len(in_x), dtype=x.dtype, device=x.device)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        gram = (x[rows] @ y.T).div_(x.shape[1]).add_(1).pow_(3)
        total += ((in_x[:, rows] @ gram) * in_y).sum(1)
    return total
