"""A second judge of the build, on frozen VGG16 features (Sauer et al., "Projected GANs Converge Faster", 2021).

It sees what is wrong from its first step on, where the StyleGAN2 discriminator needs thousands; it is not shipped.
EfficientNet's features judge the result (`measure.py`) and are kept out of the build for that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from stylegraft.encoders.lpips import LPIPS, distance
from stylegraft.encoders.vgg16 import RELU_TAPS

WIDTHS = (64, 128, 256, 512, 512)  # of the five maps
WIDTH = 64


def quick() -> contextlib.AbstractContextManager:
    """bfloat16 for frozen convolutions where the processor has matrix tiles (2.3 times as fast), else nothing."""
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.autocast("cpu", torch.bfloat16) if tiles else contextlib.nullcontext()


def maps(perceptual: LPIPS, images: Tensor) -> list[Tensor]:
    """The five VGG16 maps of images [B, 3, R, R] in [-1, 1], float32."""
    with quick():
        found = perceptual.trunk(perceptual.preprocess(images), RELU_TAPS)
    return [x.float() for x in found]


def paired(perceptual: LPIPS, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Mean LPIPS of two sets of `maps`."""
    return distance(perceptual.weigh(a), perceptual.weigh(b)).mean()


def unit(x: Tensor) -> Tensor:
    """Features of length 1 at each place."""
    return x / (x.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10)


class Critic(nn.Module):
    """Five small heads, each with a logit for every place of its map; their mean loss counts."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width, WIDTH, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(WIDTH, 1, 1)),
            )
            for width in WIDTHS
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits [B, 1, h, w] of each map."""
        pairs = zip(self.heads, features, strict=True)
        return [head(unit(x) * x.shape[1] ** 0.5) for head, x in pairs]

    def fooled(self, features: Sequence[Tensor]) -> Tensor:
        """The generator's hinge loss: minus the mean logit."""
        return -torch.stack([x.mean() for x in self(features)]).mean()

    def error(self, fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
        """Its own hinge loss."""
        both = zip(self(fake), self(real), strict=True)
        return torch.stack([F.relu(1 + f).mean() + F.relu(1 - r).mean() for f, r in both]).mean()
