"""FID-infinity: what FID would be with endlessly many generated images.

Source: Chong and Forsyth, "Effectively Unbiased FID and Inception Score", CVPR 2020, arXiv:1911.07023. The bias of FID
is nearly linear in 1 / N of the generated images, with a slope that depends on the generator, so that even equal N do
not make two generators comparable. FID is taken of random subsets of several sizes, a line fitted against 1 / N, and
read off at 1 / N = 0. Theirs are 15 sizes from 5,000 to 50,000 of Inception features, of which the line is a good one
where N is well above the number of features.

The bias of the reference's own size stays in it: it is the same for every generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.frechet import check, frechet, gaussian


@dataclass(frozen=True)
class Extrapolation:
    """value: FID at 1 / N = 0; error: the standard error of that by the fit alone (subsets overlap, so that it is
    rather more); slope: of FID against 1 / N; sizes, values: the points of the fit.
    """

    value: float
    error: float
    slope: float
    sizes: tuple[int, ...]
    values: tuple[float, ...]


def fid_infinity(
    real_features: Tensor,
    fake_features: Tensor,
    *,
    points: int = 15,
    smallest: int | None = None,
    seed: int = 0,
) -> Extrapolation:
    """Extrapolated FID of generated features [M, D] to all real ones [N, D].

    points: sizes, evenly from `smallest` (None: 5000 as the paper, or half of the images if that is less) to M.
    Raises StylegraftError for wrong shapes, fewer than 3 points, and sizes that are not all different.
    """
    real, fake = check(real_features, "fid, first set"), check(fake_features, "fid, second set")
    first = min(5000, len(fake) // 2) if smallest is None else smallest
    sizes = torch.linspace(first, len(fake), points, dtype=torch.float64).round().long().tolist()
    if points < 3 or first < 2 or len(set(sizes)) < points or sizes != sorted(sizes):
        raise StylegraftError(
            f"fid-infinity: {points} sizes from {first} to {len(fake)} images; expected at least 3, all different, "
            "the smallest at least 2"
        )
    rng = torch.Generator().manual_seed(seed)
    fixed = gaussian(real)
    values = [
        frechet(fixed, gaussian(fake[torch.randperm(len(fake), generator=rng)[:size]])) for size in sizes
    ]
    value, slope, error = line([1 / size for size in sizes], values)
    return Extrapolation(value, error, slope, tuple(sizes), tuple(values))


def line(x: list[float], y: list[float]) -> tuple[float, float, float]:
    """Least squares y = value + slope x: value, slope, and the standard error of `value`."""
    xs, ys = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    away = xs - xs.mean()
    square = away.square().sum()
    slope = (away @ ys) / square
    value = ys.mean() - slope * xs.mean()
    scatter = (ys - value - slope * xs).square().sum() / (len(xs) - 2)
    error = (scatter * (1 / len(xs) + xs.mean() ** 2 / square)).sqrt()
    return float(value), float(slope), float(error)
