"""Paint, print and a mirror: three filters on photographs, so that target domains of other distances can be made.

Each looks at one picture alone and draws nothing at random, so a picture's result depends on nothing but it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.data.pixels import to_float, to_uint8

# sRGB of the inks, from the darkest tone to the lightest.
INKS = ((38, 24, 74), (150, 33, 97), (232, 88, 62), (250, 178, 74), (252, 240, 205))
LUMA = (0.299, 0.587, 0.114)
WORKING_SIZE = 256  # pixels: smaller pictures are painted at this size and reduced, as pencil drawings are


@torch.no_grad()
def oil(images: Tensor, *, seed: int = 0) -> Tensor:
    """An oil painting: two passes of Kuwahara's filter, and colours half as strong again.

    images: uint8 [N, 1 or 3, R, R]. Returns uint8 [N, 3, R, R].
    Source: Kuwahara et al., 1976, Processing of RI-angiocardiographic images.
    """
    x = _enlarged(images)
    for share in (1 / 50, 1 / 80):
        x = kuwahara(x, round(share * x.shape[-1]))
    grey = _grey(x)
    return _reduced(grey + 1.5 * (x - grey), images)


@torch.no_grad()
def palette(images: Tensor, *, seed: int = 0) -> Tensor:
    """A screen print: every place takes one of five inks, by the rank of its tone in the picture.

    Ranks give each ink a fifth of the picture, whatever the light. images: uint8 [N, 1 or 3, R, R]. Returns uint8
    [N, 3, R, R].
    """
    x = _enlarged(images)
    tone = _grey(kuwahara(x, round(x.shape[-1] / 80)))[:, 0]
    shares = torch.arange(1, len(INKS)) / len(INKS)
    steps = torch.quantile(tone.flatten(1), shares.to(tone), dim=1)
    level = sum((tone >= step[:, None, None]).long() for step in steps)
    inks = to_float(torch.tensor(INKS, dtype=torch.uint8, device=images.device))
    return _reduced(inks[level].permute(0, 3, 1, 2), images)


@torch.no_grad()
def bulge(images: Tensor, *, seed: int = 0) -> Tensor:
    """A convex mirror: the picture at radius r (1 at the middle of a side) shows what was at r^1.6, the rim stays.

    images: uint8 [N, 1 or 3, R, R]. Returns uint8 [N, 3, R, R].
    """
    x = _colour(images)
    size = x.shape[-1]
    at = (torch.arange(size, device=x.device) + 0.5) * 2 / size - 1
    radius = (at[:, None] ** 2 + at[None] ** 2).sqrt()
    factor = torch.where(radius < 1, radius.clamp_min(1e-6) ** 0.6, torch.ones_like(radius))
    grid = torch.stack((at[None] * factor, at[:, None] * factor), -1)
    grid = grid.expand(len(x), -1, -1, -1)
    return to_uint8(F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False))


def kuwahara(x: Tensor, radius: int) -> Tensor:
    """Each pixel of [N, C, H, W] becomes the mean of that one of its four corner squares, of radius + 1 px a side, in
    which the luminance varies least.
    """
    side, (height, width) = radius + 1, x.shape[-2:]
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    grey = _grey(padded)
    mean, first, second = (F.avg_pool2d(v, side, 1) for v in (padded, grey, grey.square()))
    spread = second - first.square()
    corners = [(top, left) for top in (0, radius) for left in (0, radius)]
    cut = [(slice(None), slice(None), slice(t, t + height), slice(left, left + width)) for t, left in corners]
    best = torch.stack([spread[place] for place in cut]).argmin(0)
    means = torch.stack([mean[place] for place in cut])
    return means.gather(0, best[None].expand(1, *x.shape))[0]


def _colour(images: Tensor) -> Tensor:
    return to_float(images).expand(-1, 3, -1, -1)


def _enlarged(images: Tensor) -> Tensor:
    x, size = _colour(images), max(WORKING_SIZE, images.shape[-1])
    return F.interpolate(x, (size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def _reduced(x: Tensor, images: Tensor) -> Tensor:
    return to_uint8(F.interpolate(x, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False))


def _grey(x: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)
