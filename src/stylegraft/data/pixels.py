"""Between the 256 levels of a file and the network's range [-1, 1]: the one place that says how."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(pixels: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]: x / 127.5 - 1."""
    return pixels.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] to the nearest level (clipped; NaN becomes black); uint8 ones as they are."""
    if images.dtype == torch.uint8:
        return images
    return (images.detach().float().nan_to_num(-1.0) * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
