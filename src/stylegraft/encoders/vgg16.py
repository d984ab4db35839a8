"""VGG16's convolutions (Simonyan and Zisserman, 2015, arXiv:1409.1556), frozen, and its FID/KID features.

Layer numbers are torchvision's (`features.N`), so any file with those names fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints import assets
from stylegraft.encoders.protocol import Frozen, fill, resize
from stylegraft.networks import ops

# (number of the convolution in torchvision's Sequential, output channels); 0: a 2x2 max pooling
LAYERS = ((0, 64), (2, 64), 0, (5, 128), (7, 128), 0, (10, 256), (12, 256), (14, 256), 0,
          (17, 512), (19, 512), (21, 512), 0, (24, 512), (26, 512), (28, 512))  # fmt: skip
RELU_TAPS = (2, 7, 14, 21, 28)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3

# ImageNet's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225), in the units of images in [-1, 1]
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


def normalise(images: Tensor) -> Tensor:
    """Images [B, 1 or 3, H, W] in [-1, 1] to ImageNet's zero mean and unit deviation; grey is repeated."""
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    shift, scale = (
        torch.tensor(v, dtype=images.dtype, device=images.device)[:, None, None] for v in (SHIFT, SCALE)
    )
    return (images - shift) / scale


class VGG16Trunk(nn.Module):
    """The thirteen convolutions up to relu5_3."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        channels = 3
        for layer in LAYERS:
            if layer:
                self.features[str(layer[0])] = nn.Conv2d(channels, layer[1], 3, padding=1)
                channels = layer[1]

    def forward(self, x: Tensor, taps: Iterable[int] = (28,)) -> list[Tensor]:
        """Maps after the ReLU of the given convolutions; x [B, 3, H, W] normalised, at least 16 px."""
        wanted = set(taps)
        last, out = max(wanted), []
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in LAYERS:
            if not layer:
                x = F.max_pool2d(x, 2)
                continue
            # Not the module: the networks' convolution is 1.4 times as fast on a CPU (32 x 64 px, or 8 x 256 px).
            own = cast(nn.Conv2d, self.features[str(layer[0])])
            assert own.bias is not None
            x = F.relu_(ops.conv2d(x, own.weight, padding=1).add_(own.bias[:, None, None]))
            if layer[0] in wanted:
                out.append(x)
            if layer[0] == last:
                break
        return out


class VGG16(Frozen):
    """`vgg16`: the spatial mean of relu5_3, 512 numbers an image, after a bilinear resize to `size` px.

    The default of 128 px is a compromise: the network was trained at 224 px, which costs three times as much.
    Another size is another metric and says so in its name, e.g. `vgg16@224`.
    """

    dim = 512

    def __init__(self, tensors: Mapping[str, Tensor], size: int = 128) -> None:
        super().__init__()
        self.trunk = VGG16Trunk()
        self.digest = fill(self.trunk, tensors, "vgg16")
        self.size = size
        self.name = "vgg16" if size == 128 else f"vgg16@{size}"
        self.freeze()

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, size, size], normalised."""
        return normalise(resize(images, self.size))

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> features [B, 512]."""
        return self.trunk(x)[-1].mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> features [B, 512]."""
        return self.encode(self.preprocess(images))


def load_vgg16(size: int = 128, device: torch.device | str = "cpu", where: str = "") -> VGG16:
    """The encoder with its ImageNet weights, of the lpips asset or from `where`; StylegraftError without them."""
    tensors = {k: v for k, v in assets.tensors("lpips", "vgg.", where).items() if k.startswith("features.")}
    return VGG16(tensors, size).to(device)
