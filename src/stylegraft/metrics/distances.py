"""Perceptual distances between corresponding images."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.encoders.lpips import LPIPS
from stylegraft.errors import StylegraftError
from stylegraft.metrics.features import levels


def paired_lpips(model: LPIPS, images_a: Tensor, images_b: Tensor, batch: int = 32) -> Tensor:
    """LPIPS [N] between image i of both sets [N, 1 or 3, H, W], uint8 or float in [-1, 1] (rounded to 256
    levels, as in a file).

    Raises StylegraftError when the sets differ in shape or are empty.
    """
    if images_a.shape != images_b.shape or len(images_a) == 0:
        raise StylegraftError(
            f"paired LPIPS of images {list(images_a.shape)} and {list(images_b.shape)}; "
            "both sets must have one shape, with images in it"
        )
    device = next(model.parameters()).device
    with torch.no_grad():
        pairs = zip(images_a.split(batch), images_b.split(batch), strict=True)
        return torch.cat([model(levels(a.to(device)), levels(b.to(device))).cpu() for a, b in pairs])
