"""A discriminator on frozen VGG16 features (Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021).

It sees what is wrong from its first step on, where a StyleGAN2 discriminator of random weights needs thousands, and
costs the same whatever the size of the images. Here five small heads, one a feature map (relu1_2 to relu5_3), without
the paper's random mixing across maps; each has a logit for every place of an 8x8 grid, so that all maps count alike.
"""

from __future__ import annotations

from collections import abc
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.encoders.protocol import resize
from stylegraft.encoders.vgg16 import RELU_TAPS, VGG16Trunk, load_vgg16, normalise
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops
from stylegraft.networks.discriminator import Discriminator, DOutput

MAPS = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}  # channels
WIDTH = 64  # of the heads
GRID = 8  # logits a side
SEES = 256  # px that VGG16 looks at, at most; at least a quarter of its 224


class Head(nn.Module):
    """1x1, 3x3, 1x1 with leaky ReLUs, each kernel over its largest singular value: [B, C, r, r] -> [B, 1, r, r]."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Parameter(torch.randn(WIDTH, channels, 1, 1))
        self.second = nn.Parameter(torch.randn(WIDTH, WIDTH, 3, 3))
        self.last = nn.Parameter(torch.randn(1, WIDTH, 1, 1))
        self.bias = nn.Parameter(torch.zeros(2 * WIDTH + 1))

    def features(self, x: Tensor) -> Tensor:
        """Before the last layer: [B, WIDTH, r, r]."""
        first, second, _ = self.bias.split((WIDTH, WIDTH, 1))
        x = F.leaky_relu(ops.conv1x1(x, _bounded(self.first), first), ops.SLOPE)
        x = ops.conv2d(x, _bounded(self.second), padding=1) + second[:, None, None]
        return F.leaky_relu(x, ops.SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """From `features` [B, WIDTH, r, r] to logits [B, 1, r, r]."""
        return ops.conv1x1(x, _bounded(self.last), self.bias[-1:])


def _bounded(kernel: Tensor) -> Tensor:
    """The kernel over its largest singular value as a matrix [O, I k k] (spectral normalisation, exactly)."""
    return kernel / torch.linalg.matrix_norm(kernel.flatten(1), ord=2)


class Projected(nn.Module):
    """Image -> logits [B, 5, 8, 8], with the calls of `networks.Discriminator`.

    The trunk's weights are buffers: they are neither trained nor kept with a run.
    """

    c_dim = 0
    group_size = 1  # no minibatch-std

    def __init__(self, trunk: VGG16Trunk, resolution: int, img_channels: int = 3):
        super().__init__()
        self.config: dict[str, Any] = {
            "architecture": "projected",
            "resolution": resolution,
            "img_channels": img_channels,
        }
        self.resolution, self.img_channels = resolution, img_channels
        self.sees = max(SEES // 4, min(resolution, SEES))
        for layer in trunk.features.values():
            for name in ("weight", "bias"):
                value = layer.get_parameter(name).detach()
                delattr(layer, name)
                layer.register_buffer(name, value, persistent=False)
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: Head(channels) for name, channels in MAPS.items()})
        self.tap_names = tuple(MAPS)
        self.groups = {
            name: tuple(f"heads.{name}.{p}" for p, _ in head.named_parameters())
            for name, head in self.heads.items()
        }

    def forward(
        self,
        x: Tensor,
        c: Tensor | None = None,
        *,
        taps: abc.Collection[str] = (),
        stop: str | None = None,
        halves: int = 1,
    ) -> DOutput:
        """Logits, and the heads' features at the maps named in `taps`; images [B, img_channels, R, R]."""
        maps = self.trunk(normalise(resize(x, self.sees)), RELU_TAPS)
        kept: dict[str, Tensor] = {}
        logits = []
        for (name, head), features in zip(self.heads.items(), maps, strict=True):
            assert isinstance(head, Head)
            y = head.features(ops.normalise(features))
            if name in taps:
                kept[name] = y
            if name == stop:
                return DOutput(None, kept)
            logits.append(F.adaptive_avg_pool2d(head(y), GRID))
        return DOutput(torch.cat(logits, 1), kept)


Judge = Discriminator | Projected


def load_projected(resolution: int, img_channels: int) -> Projected:
    """With heads from torch's generator; raises StylegraftError where VGG16's weights are missing."""
    try:
        trunk = load_vgg16().trunk
    except StylegraftError as error:
        raise StylegraftError(f"judge=projected looks through VGG16: {error}") from error
    return Projected(trunk, resolution, img_channels)
