"""Memorisation: how often a generated image is a training image over again.

Source: the check of few-shot papers by nearest training images (Ojha et al., CVPR 2021), with a threshold that
the domain itself gives (`fewshot_methods.md` 5.3). For each generated image the distance to its nearest training image
is taken, and

    share         = P(d(G(z), nearest shot) < t),   t the 1st percentile of d(real, real) over all pairs
    share_nearest = the same with t the 1st percentile of d(real, nearest other real)

over real images of a reference, `REAL` of them at most. Of two real images that have nothing to do with each other one
pair in a hundred is nearer than the first t; of k training images some may well be, so that new images of the domain
have a share above 1 % (up to some k %). The second t is far lower and near to a copy; it falls with the number of real
images, as their neighbours come nearer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import Distance, closest, pairwise

PERCENT = 0.01  # of the distances, which lie under the threshold
REAL = 256  # real images that the threshold is taken from, at most: in traces and in `evaluate` alike


@dataclass(frozen=True)
class Thresholds:
    """1st percentiles of the distances between real images: of all pairs, and of each image's nearest other one."""

    pairs: float
    nearest: float


@dataclass(frozen=True)
class Memorisation:
    """share, share_nearest: of `count` generated images whose nearest training image is under `threshold`,
    `threshold_nearest`; mean, median: of the nearest distances themselves. apart, which: these distances [N], float64,
    and the training image of each [N].
    """

    name: str
    share: float
    share_nearest: float
    threshold: float
    threshold_nearest: float
    mean: float
    median: float
    count: int
    apart: Tensor = field(compare=False, repr=False)
    which: Tensor = field(compare=False, repr=False)

    def __str__(self) -> str:
        """One phrase: the metric with its encoder, and what it was measured against."""
        return (
            f"{self.name} {100 * self.share:.1f} % of {self.count} images are under {self.threshold:.3f} from a "
            f"training image, {100 * self.share_nearest:.1f} % under {self.threshold_nearest:.3f} (median "
            f"{self.median:.3f})"
        )


def memorisation(
    generated: Tensor, shots: Tensor, reference: Tensor | Thresholds, distance: Distance, *, batch: int = 16
) -> Memorisation:
    """Share of generated images [N, C, H, W] that lie nearer to a training image [k, C, h, w] than 99 % of the pairs of
    real images do to each other.

    reference: real images [M, C, h, w] without the training images, or the thresholds that `real_thresholds` made of
    them. Images are uint8, or float in [-1, 1] (rounded to 256 levels).
    Raises StylegraftError for empty sets and for a reference of fewer than two images.
    """
    if not len(generated) or not len(shots):
        raise StylegraftError(
            f"memorised-{distance.name}: {len(generated)} images, {len(shots)} training images; "
            "expected some on both sides"
        )
    under = real_thresholds(reference, distance, batch=batch) if isinstance(reference, Tensor) else reference
    apart, which = closest(generated, shots, distance, batch=batch)
    return Memorisation(
        name=f"memorised-{distance.name}",
        share=float((apart < under.pairs).double().mean()),
        share_nearest=float((apart < under.nearest).double().mean()),
        threshold=under.pairs,
        threshold_nearest=under.nearest,
        mean=float(apart.mean()),
        median=float(apart.quantile(0.5)),
        count=len(apart),
        apart=apart,
        which=which,
    )


def real_thresholds(reference: Tensor, distance: Distance, *, batch: int = 16) -> Thresholds:
    """How near real images [M, C, H, W] come to each other; each is embedded as often as `diversity.pairwise` does."""
    if len(reference) < 2:
        raise StylegraftError(
            f"memorised-{distance.name}: a reference of {len(reference)} images, expected at least 2: the threshold "
            "is how near real images come to each other"
        )
    apart = pairwise(reference, distance, batch=batch)
    rows, columns = torch.triu_indices(*apart.shape, offset=1)
    pairs = apart[rows, columns].quantile(PERCENT)
    nearest = apart.fill_diagonal_(torch.inf).min(1).values.quantile(PERCENT)
    return Thresholds(float(pairs), float(nearest))
