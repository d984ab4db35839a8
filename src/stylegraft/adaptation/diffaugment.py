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

from collections.abc import Mapping

import torch
from torch import Tensor

from stylegraft.adaptation.transforms import Randomness


def decided(p: float, draws: Randomness, names: frozenset[str], height: int, width: int) -> dict[str, Tensor]:
    """What those transforms of DiffAugment that are in `names` do to images of this size, each with probability p per
    sample: a shift or a factor [B], rows and columns to take [B, H], [B, W], a mask [B, 1, H, W].
    """
    plan = {}
    if "diff-brightness" in names:
        gate, u = draws.uniform(2).unbind(1)
        plan["diff-brightness"] = torch.where(gate < p, u - 0.5, 0)
    if "diff-saturation" in names:
        gate, u = draws.uniform(2).unbind(1)
        plan["diff-saturation"] = torch.where(gate < p, 2 * u, 1)
    if "diff-contrast" in names:
        gate, u = draws.uniform(2).unbind(1)
        plan["diff-contrast"] = torch.where(gate < p, u + 0.5, 1)
    if "diff-translation" in names:
        plan |= origins(p, draws, height, width)
    if "diff-cutout" in names:
        plan["diff-cutout"] = outside(p, draws, height, width)
    return plan


def applied(images: Tensor, plan: Mapping[str, Tensor]) -> Tensor:
    """The images `[B, C, H, W]` after what was decided; they may leave the range. Differentiable to any order."""
    x = images
    if "diff-brightness" in plan:
        x = x + per_sample(x, plan["diff-brightness"])
    if "diff-saturation" in plan:
        x = about(x.mean(1, keepdim=True), x, plan["diff-saturation"])
    if "diff-contrast" in plan:
        x = about(x.mean((1, 2, 3), keepdim=True), x, plan["diff-contrast"])
    if "diff-rows" in plan:
        x = translated(translated(x, plan["diff-rows"], 2), plan["diff-columns"], 3)
    if "diff-cutout" in plan:
        x = x * plan["diff-cutout"].to(x)
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


def origins(p: float, draws: Randomness, height: int, width: int) -> dict[str, Tensor]:
    """The row [B, H] and the column [B, W] from which each comes: an image moves by its own whole number of pixels, at
    most an eighth of its size; some lie outside.
    """
    gate, *u = draws.uniform(3).unbind(1)
    x, y = (
        torch.where(gate < p, pick(t, -half_up(n / 8), half_up(n / 8)), 0)
        for t, n in zip(u, (width, height), strict=True)
    )
    return {
        name: torch.arange(size).to(shift) - shift[:, None]
        for name, shift, size in (("diff-rows", y, height), ("diff-columns", x, width))
    }


def translated(images: Tensor, origin: Tensor, dim: int) -> Tensor:
    """Images whose rows (dim 2) or columns (3) are those of `origin` [B, H or W]; zero where it lies outside."""
    size = images.shape[dim]
    shape = (-1, 1, size, 1) if dim == 2 else (-1, 1, 1, size)
    inside = ((origin >= 0) & (origin < size)).view(shape).to(images)
    origin = origin.clamp(0, size - 1).view(shape).to(images.device)
    return images.gather(dim, origin.expand_as(images)) * inside


def outside(p: float, draws: Randomness, height: int, width: int) -> Tensor:
    """False [B, 1, H, W] in a box of half the image's size."""
    gate, *u = draws.uniform(3).unbind(1)
    far = []
    for t, size in zip(u, (width, height), strict=True):
        side = half_up(size / 2)
        first = pick(t, -(side // 2), size - (side + 1) // 2)[:, None]
        place = torch.arange(size).to(first)
        far.append((place < first) | (place >= first + side))
    x, y = far
    return x[:, None, None, :] | y[:, None, :, None] | (gate >= p)[:, None, None, None]
