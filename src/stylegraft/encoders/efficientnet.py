"""EfficientNet-Lite0 (Tan and Le, ICML 2019, arXiv:1905.11946; "Lite": no squeeze-excitation, ReLU6), frozen,
ImageNet weights.

Batch normalisation is folded into the convolutions when the weights are read, so the network has no mode and
no state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints import assets
from stylegraft.encoders.protocol import Frozen, fill, resize
from stylegraft.errors import StylegraftError

# expansion, kernel, stride of the first block, output channels, blocks (table 1 of the paper; Lite0 is B0
# with a fixed stem and head)
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280
EPSILON = 1e-3  # of the batch normalisation


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: output ceil(n / stride), the odd pixel of padding at the
    right and the bottom.
    """

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """[B, C, H, W] -> [B, O, ceil(H / stride), ceil(W / stride)]."""
        k, s = self.kernel_size[0], self.stride[0]
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n in x.shape[-2:]]
        if total[0] == total[1] and total[0] % 2 == 0:
            return F.conv2d(x, self.weight, self.bias, self.stride, total[0] // 2, groups=self.groups)
        x = F.pad(x, [p for n in reversed(total) for p in (n // 2, n - n // 2)])
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class Block(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise, project 1x1, and the sum where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(Frozen):
    """`effnet-lite0`: pooled features, 1280 numbers an image, after a bilinear resize to 224 px."""

    name = "effnet-lite0"
    dim = HEAD
    size = 224

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = SameConv2d(3, STEM, 3, 2)
        blocks, channels = [], STEM
        for expansion, kernel, stride, outputs, repeats in STAGES:
            for i in range(repeats):
                blocks.append(Block(channels, outputs, expansion, kernel, stride if i == 0 else 1))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv2d(channels, HEAD, 1)
        fill(self, fold(tensors), self.name)
        self.digest = assets.digest(tensors)
        self.freeze()

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, 224, 224], (value of 0..255 - 127) / 128."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return (resize(images, self.size) * 127.5 + 0.5) / 128

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> pooled features [B, 1280]."""
        (last,) = deque(self.maps(x), maxlen=1)
        return last.mean((2, 3))

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """Preprocessed images -> the maps [B, C, H, W] behind the stem and each of the 16 blocks, and of the head."""
        x = F.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)))
        yield x
        for block in self.blocks:
            x = block(x)
            yield x
        yield F.relu6(self.head(x))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> features [B, 1280]."""
        return self.encode(self.preprocess(images))


def fold(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the published names to ours, each batch normalisation folded into the convolution before it."""
    pairs = [("_conv_stem", "_bn0", "stem"), ("_conv_head", "_bn1", "head")]
    for i in range(sum(stage[4] for stage in STAGES)):
        if i:
            pairs.append((f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", f"blocks.{i}.expand"))
        pairs.append((f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", f"blocks.{i}.depthwise"))
        pairs.append((f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", f"blocks.{i}.project"))
    left = dict(tensors)
    out: dict[str, Tensor] = {}
    try:
        for convolution, norm, name in pairs:
            weight = left.pop(f"{convolution}.weight").double()
            gamma, beta, mean, variance = (
                left.pop(f"{norm}.{part}").double()
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = gamma / (variance + EPSILON).sqrt()
            out[f"{name}.weight"] = (weight * scale[:, None, None, None]).float()
            out[f"{name}.bias"] = (beta - mean * scale).float()
        for part in ("weight", "bias"):
            left.pop(f"_fc.{part}")  # of the 1000 ImageNet classes, which nothing here asks for
    except KeyError as missing:
        raise StylegraftError(
            f"effnet-lite0 weights: no tensor {missing}; found {len(tensors)} others"
        ) from None
    if left:
        raise StylegraftError(f"effnet-lite0 weights: unknown tensor {min(left)!r}")
    return out


def load_effnet(device: torch.device | str = "cpu", where: str = "") -> EfficientNetLite0:
    """The encoder with its ImageNet weights, of the effnet asset or from `where`; StylegraftError when they are
    missing.
    """
    return EfficientNetLite0(assets.tensors("effnet", where=where)).to(device)
