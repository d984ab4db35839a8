"""Memorisation: how often a generated image is a training image over again.

Source: the check of few-shot papers by nearest training images (Ojha et al., CVPR 2021), with a threshold that
the domain itself gives. For each generated image the distance to its nearest training image is taken, and

    share = P(d(G(z), nearest shot) < t),   t = the 1st percentile of d(real, nearest other real)

over the real images of a reference. One image in a hundred of the domain is nearer than t to another one: a generator
with a share far above that copies, if its reference is of the size of its training set or larger. The larger the
reference, the nearer its images are to each other, and the lower is t: compare shares at one reference only.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import Distance, closest

PERCENT = 0.01  # of real images, which lie under the threshold


@dataclass(frozen=True)
class Memorisation:
    """share: of `count` generated images whose nearest training image is under `threshold`; mean, median: of the
    nearest distances themselves.
    """

    name: str
    share: float
    threshold: float
    mean: float
    median: float
    count: int

    def __str__(self) -> str:
        """One phrase: the metric with its encoder, and what it was measured against."""
        return (
            f"{self.name} {100 * self.share:.1f} % of {self.count} images are under {self.threshold:.3f} from a "
            f"training image (median {self.median:.3f})"
        )


def memorisation(
    generated: Tensor, shots: Tensor, reference: Tensor | float, distance: Distance, *, batch: int = 16
) -> Memorisation:
    """Share of generated images [N, C, H, W] that lie nearer to a training image [k, C, h, w] than real ones do to
    each other.

    reference: real images [M, C, h, w] without the training images, or the threshold that `real_threshold` made of
    them. Images are uint8, or float in [-1, 1] (rounded to 256 levels).
    Raises StylegraftError for empty sets and for a reference of fewer than two images.
    """
    if not len(generated) or not len(shots):
        raise StylegraftError(
            f"memorised-{distance.name}: {len(generated)} images, {len(shots)} training images; "
            "expected some on both sides"
        )
    threshold = (
        real_threshold(reference, distance, batch=batch) if isinstance(reference, Tensor) else reference
    )
    apart, _ = closest(generated, shots, distance, batch=batch)
    return Memorisation(
        name=f"memorised-{distance.name}",
        share=float((apart < threshold).double().mean()),
        threshold=float(threshold),
        mean=float(apart.mean()),
        median=float(apart.quantile(0.5)),
        count=len(apart),
    )


def real_threshold(reference: Tensor, distance: Distance, *, batch: int = 16) -> float:
    """The 1st percentile of the distances from each real image [M, C, H, W] to the nearest other one."""
    if len(reference) < 2:
        raise StylegraftError(
            f"memorised-{distance.name}: a reference of {len(reference)} images, expected at least 2: the threshold "
            "is how near real images come to each other"
        )
    apart, _ = closest(reference, reference, distance, others_too=True, batch=batch)
    return float(apart.quantile(PERCENT))
