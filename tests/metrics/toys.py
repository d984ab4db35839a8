"""Pictures, a distance and an encoder that are small enough to check by eye."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.encoders.lpips import CHANNELS, LPIPS
from stylegraft.encoders.vgg16 import VGG16Trunk


class Pixels:
    """Squared difference of the pixels, on two levels."""

    name = "pixels"

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images * 0.7, images.mean(1, keepdim=True) * 0.4]


class Means:
    """An encoder: the mean of each channel."""

    name, digest, dim = "means", "0", 3

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def encode(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def random_lpips() -> LPIPS:
    """LPIPS on a VGG16 of random weights."""
    rng = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VGG16Trunk().state_dict().items()}
    weights = {name: torch.randn(shape, generator=rng) * 0.05 for name, shape in shapes.items()}
    weights |= {f"lin{i}": torch.rand(c, generator=rng) / c for i, c in enumerate(CHANNELS["vgg"])}
    return LPIPS("vgg", weights)


def pictures(count: int, seed: int = 0, size: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=rng, dtype=torch.uint8)


def apart(a: Tensor, b: Tensor) -> float:
    """The distance of two pictures, written out."""
    a, b = (x.double() / 127.5 - 1 for x in (a, b))
    return float((0.7 * (a - b)).square().sum() + (0.4 * (a.mean(0) - b.mean(0))).square().sum())


def flat(values: list[int]) -> Tensor:
    """Plain pictures of these levels."""
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
