"""DiffAugment: the same few, differentiable changes to every image that the discriminator sees, real or fake.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, arXiv 2006.10738,
section 3.3 and appendix (policy "color, translation, cutout"). Images are in [-1, 1], H x W.

The paper applies each always (p = 1). Here each is gated like ADA's transforms, so that p may be less. Draws (u:
uniform in [0, 1), the gate first), in this order, for the transforms in use only, fired or not:

    name              draws      when fired
    diff-brightness   u, u       add U(-1/2, 1/2)
    diff-saturation   u, u       difference to the pixel's mean over the channels times U(0, 2)
    diff-contrast     u, u       difference to the image's mean times U(1/2, 3/2)
    diff-translation  u, u, u    move by whole pixels, uniform in -s .. s, s = round(size / 8), for x, y; zero
                                 (mid grey) comes in
    diff-cutout       u, u, u    zero a box of round(size / 2) pixels a side, its first pixel uniform in
                                 -floor(side / 2) .. size - ceil(side / 2), for x, y; it may reach over the edge
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.adaptation.transforms import Randomness


def diff_augment(images: Tensor, p: float, draws: Randomness, names: frozenset[str]) -> Tensor:
    """Apply those transforms of DiffAugment that are in `names`, each with probability p per sample.

    images: `[B, C, H, W]`; the result has the same shape and may leave the range. Differentiable to any order.
    """
    x = images
    if "diff-brightness" in names:
        gate, u = draws.uniform(2).unbind(1)
        x = x + per_sample(x, torch.where(gate < p, u - 0.5, 0))
    if "diff-saturation" in names:
        gate, u = draws.uniform(2).unbind(1)
        x = about(x.mean(1, keepdim=True), x, torch.where(gate < p, 2 * u, 1))
    if "diff-contrast" in names:
        gate, u = draws.uniform(2).unbind(1)
        x = about(x.mean((1, 2, 3), keepdim=True), x, torch.where(gate < p, u + 0.5, 1))
    if "diff-translation" in names:
        x = translate(x, p, draws)
    if "diff-cutout" in names:
        x = cut_box(x, p, draws)
    return x


def per_sample(images: Tensor, values: Tensor) -> Tensor:
    """Values `[B]` to `[B, 1, 1, 1]`, of the images' type and device."""
    return values.to(images)[:, None, None, None]


def about(mean: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Scale what differs from `mean` by a factor `[B]`; a factor of 1 returns the value exactly."""
    return images + per_sample(images, factor - 1) * (images - mean)


def half_up(x: float) -> int:
    """Nearest whole number, halves upwards."""
    return int(x + 0.5)


def pick(u: Tensor, low: int, high: int) -> Tensor:
    """u in [0, 1) to whole numbers low .. high, each as likely."""
    return low + (u * (high - low + 1)).floor().long().clamp_max(high - low)


def translate(images: Tensor, p: float, draws: Randomness) -> Tensor:
    """Move each image by its own whole number of pixels, at most an eighth of its size; zero comes in."""
    height, width = images.shape[2:]
    gate, *u = draws.uniform(3).unbind(1)
    x, y = (
        torch.where(gate < p, pick(t, -half_up(n / 8), half_up(n / 8)), 0)
        for t, n in zip(u, (width, height), strict=True)
    )
    moved = images
    for shift, dim, shape in ((y, 2, (-1, 1, height, 1)), (x, 3, (-1, 1, 1, width))):
        size = images.shape[dim]
        origin = torch.arange(size).to(shift) - shift[:, None]
        inside = ((origin >= 0) & (origin < size)).view(shape).to(images)
        origin = origin.clamp(0, size - 1).view(shape).to(images.device)
        moved = moved.gather(dim, origin.expand_as(images)) * inside
    return moved


def cut_box(images: Tensor, p: float, draws: Randomness) -> Tensor:
    """Zero a box of half the image's size."""
    gate, *u = draws.uniform(3).unbind(1)
    outside = []
    for t, size in zip(u, (images.shape[3], images.shape[2]), strict=True):
        side = half_up(size / 2)
        first = pick(t, -(side // 2), size - (side + 1) // 2)[:, None]
        place = torch.arange(size).to(first)
        outside.append((place < first) | (place >= first + side))
    x, y = outside
    kept = x[:, None, None, :] | y[:, None, :, None] | (gate >= p)[:, None, None, None]
    return images * kept.to(images)
