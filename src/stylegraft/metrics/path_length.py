"""Perceptual path length: how much an image changes by a small step between two latents.

Source: Karras et al., "A Style-Based Generator Architecture", CVPR 2019, arXiv:1812.04948, section 4.1:

    PPL = E 1 / e^2  d(G(x(t)), G(x(t + e))),   e = 1e-4

along the great circle between two latents z, or the straight line between two w. As the metric of StyleGAN2 does, the
mean leaves out what is below the 1st and above the 99th percentile, t = 0 ("end") in w is the usual variant, and images
above 256 px are averaged down to it. Low is smooth. A generator that always draws one image has 0: not a quality alone.

Images stay as the network gives them, neither clipped nor rounded to 256 levels, which a step of 1e-4 would not cross.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.errors import StylegraftError
from stylegraft.metrics.correspondence import apart
from stylegraft.metrics.diversity import Distance

LARGEST = 256  # px; LPIPS was learnt on small images
TRIM = (0.01, 0.99)


@dataclass(frozen=True)
class PathLength:
    """mean over `kept` of `count` steps, and its standard error; the name says space, place of the steps, crop and
    distance, such as `ppl-w-end-lpips-vgg`.
    """

    name: str
    mean: float
    error: float
    count: int
    kept: int


@torch.no_grad()
def path_length(
    network: Any,
    distance: Distance,
    *,
    space: Literal["z", "w"] = "w",
    place: Literal["end", "full"] = "end",
    crop: bool = False,
    epsilon: float = 1e-4,
    count: int = 50_000,
    seed: int = 0,
    batch: int = 16,
    device: torch.device | str = "cpu",
) -> PathLength:
    """PPL of a network of the `Generator` protocol, at psi 1, with its own fixed noise; labels are drawn at random.

    place: of t, 0 ("end") or uniform in [0, 1) ("full"). crop: the centre of an aligned face, rows 3/8 to 7/8 and
    columns 2/8 to 6/8, as StyleGAN did with FFHQ; StyleGAN2 does not. count: the papers' 50,000.
    Raises StylegraftError for an unknown space or place, fewer than two steps, or a step that is not positive.
    """
    if space not in ("z", "w") or place not in ("end", "full") or count < 2 or not epsilon > 0:
        raise StylegraftError(
            f"path length: space {space!r}, place {place!r}, {count} steps of {epsilon:g}; expected z or w, end or "
            "full, at least 2 steps of more than 0"
        )
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randn(count, 2, network.z_dim, generator=rng)
    t = torch.rand(count, 1, generator=rng) if place == "full" else torch.zeros(count, 1)
    classes = torch.randint(max(1, network.c_dim), (count,), generator=rng)
    values = []
    for part, at, label in zip(ends.split(batch), t.split(batch), classes.split(batch), strict=True):
        a, b = part.to(device).unbind(1)
        at = at.to(device)
        c = F.one_hot(label, network.c_dim).float().to(device) if network.c_dim else None
        if space == "w":
            a, b = network.mapping(a, c), network.mapping(b, c)
            images = [network(w=torch.lerp(a, b, t)).image for t in (at, at + epsilon)]
        else:
            images = [network(slerp(a, b, t), c).image for t in (at, at + epsilon)]
        values.append(apart(*(distance.embed(ready(image, crop)) for image in images)) / epsilon**2)
    steps = torch.cat(values)
    low, high = (
        steps.quantile(TRIM[0], interpolation="lower"),
        steps.quantile(TRIM[1], interpolation="higher"),
    )
    kept = steps[(steps >= low) & (steps <= high)]
    name = f"ppl-{space}-{place}{'-crop' if crop else ''}-{distance.name}"
    error = float(kept.std(correction=0)) / len(kept) ** 0.5
    return PathLength(name, float(kept.mean()), error, count, len(kept))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The point [B, z] at t [B, 1] of the great circle from a to b, all on the sphere of radius sqrt(z), where normal
    latents are and where the mapping puts them.
    """
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    across = F.normalize(b - (a * b).sum(1, keepdim=True) * a, dim=1)
    angle = t * (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    return (angle.cos() * a + angle.sin() * across) * a.shape[1] ** 0.5


def ready(images: Tensor, crop: bool) -> Tensor:
    """The part [B, 3, h, w] of images [B, C, R, R] that is looked at, at most 256 px."""
    side = images.shape[-1]
    if crop:
        images = images[:, :, 3 * side // 8 : 7 * side // 8, 2 * side // 8 : 6 * side // 8]
    if images.shape[-1] > LARGEST:
        images = F.avg_pool2d(images, images.shape[-1] // LARGEST)
    return images.expand(-1, 3, -1, -1)
