"""How evenly a control takes images from the source to the target.

For a generator trained with Fix the Noise (Lee et al., CVPR 2023, arXiv:2204.14079) the control is the blend of noise
n(a) = (1 - a) n_anchor + a n_random, from the anchor, where it keeps the source, to noise where it is the target. The
paper shows pictures and has no number for it; these are ours:

    distance to the source at a     d(G_s(z, n_anchor), G_t(z, n(a)))
    rising      share of the steps of single images that lead away from the source
    spearman    rank correlation of that distance with a, mean over images
    smoothness  the largest mean step d(G_t(z, n(a_i)), G_t(z, n(a_i+1))) over the mean of all: 1 is even, a switch
                that does everything in one of n steps has n

Any control can be measured, such as layer swapping: `degree` takes images along a path (`domains.paths`). A control
that does nothing is perfectly smooth: look at the distances themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.correspondence import paired
from stylegraft.metrics.diversity import Distance


@dataclass(frozen=True)
class Degree:
    """amounts: places of the control; distances: mean distance to the source at each; steps: mean distance between
    neighbours, one less. smoothness is NaN where nothing moves. count: images.
    """

    name: str
    amounts: tuple[float, ...]
    distances: tuple[float, ...]
    steps: tuple[float, ...]
    rising: float
    spearman: float
    smoothness: float
    count: int


@torch.no_grad()
def degree(
    source: Tensor, path: Iterable[tuple[float, Tensor]], distance: Distance, *, batch: int = 16
) -> Degree:
    """The curve of images along a path: (amount, images [N, C, H, W]) from source-like to target-like.

    source [N, C, H, W]: the source's images of the same latents. Images are uint8 or float in [-1, 1] (rounded to 256
    levels). Raises StylegraftError for a path of fewer than two places or other shapes.
    """
    amounts: list[float] = []
    curve: list[Tensor] = []
    steps: list[float] = []
    before = None
    for amount, images in path:
        amounts.append(float(amount))
        curve.append(paired(source, images, distance, batch=batch))
        if before is not None:
            steps.append(float(paired(before, images, distance, batch=batch).mean()))
        before = images
    if len(amounts) < 2:
        raise StylegraftError(f"degree-{distance.name}: a path of {len(amounts)} places, expected at least 2")
    values = torch.stack(curve, 1)  # [N, places]
    mean_step = sum(steps) / len(steps)
    return Degree(
        name=f"degree-{distance.name}",
        amounts=tuple(amounts),
        distances=tuple(values.mean(0).tolist()),
        steps=tuple(steps),
        rising=float((values.diff(dim=1) > 0).double().mean()),
        spearman=float(spearman(torch.tensor(amounts, dtype=torch.float64).expand_as(values), values).mean()),
        smoothness=max(steps) / mean_step if mean_step else float("nan"),
        count=len(source),
    )


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation [N] of the rows of two matrices [N, P]; equal values share a rank; 0 where a row is constant."""
    x, y = (ranks(values) for values in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    size = (x.square().sum(1) * y.square().sum(1)).sqrt()
    return torch.where(size > 0, (x * y).sum(1) / size.clamp_min(1e-12), 0.0)


def ranks(values: Tensor) -> Tensor:
    """Rank [N, P] of each value in its row of [N, P], float64; equal values have their mean rank."""
    less = values[:, None, :] < values[:, :, None]
    equal = values[:, None, :] == values[:, :, None]
    return less.double().sum(2) + (equal.double().sum(2) - 1) / 2
