"""Correspondence: how far an image of the target generator is from the source's image of the same latent.

    E_z d(G_s(z), G_t(z))

with the same noise in both, and d a perceptual distance that the name carries (`correspondence-lpips-vgg`). 0 is the
source itself. It says nothing of the target: an image that never adapted is nearest. Read it at equal p_target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import Distance, flat


@dataclass(frozen=True)
class Correspondence:
    """mean and spread (standard deviation) of the distance over `count` pairs; `name` carries the distance."""

    name: str
    mean: float
    spread: float
    count: int

    def __str__(self) -> str:
        """One phrase: the metric with its encoder and number of pairs."""
        return f"{self.name} {self.mean:.3f} ± {self.spread:.3f} over {self.count} pairs"


def correspondence(
    source_images: Tensor, target_images: Tensor, distance: Distance, *, batch: int = 16
) -> Correspondence:
    """Distance between image i of both sets [N, C, H, W], uint8 or float in [-1, 1] (rounded to 256 levels).

    Raises StylegraftError when the sets differ in shape or are empty.
    """
    values = paired(source_images, target_images, distance, batch=batch)
    name = f"correspondence-{distance.name}"
    return Correspondence(name, float(values.mean()), float(values.std(correction=0)), len(values))


@torch.no_grad()
def paired(images_a: Tensor, images_b: Tensor, distance: Distance, *, batch: int = 16) -> Tensor:
    """Distances [N], float64, between image i of both sets [N, C, H, W], as `correspondence`."""
    if images_a.shape != images_b.shape or len(images_a) == 0:
        raise StylegraftError(
            f"{distance.name}: pairs of images {list(images_a.shape)} and {list(images_b.shape)}; "
            "both sets must have one shape, with images in it"
        )
    pairs = zip(images_a.split(batch), images_b.split(batch), strict=True)
    return torch.cat([apart(flat(distance, a), flat(distance, b)) for a, b in pairs])


def apart(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Distances [B], float64 on the CPU, of row i of two lists of embeddings [B, ...]."""
    levels = [(x - y).flatten(1).square().sum(1).cpu().double() for x, y in zip(a, b, strict=True)]
    return torch.stack(levels).sum(0)
