"""LPIPS v0.1 (Zhang et al., CVPR 2018, arXiv:1801.03924): a perceptual distance between two images.

    d(a, b) = sum over five layers l of the mean over pixels of  w_l . (a_l / |a_l| - b_l / |b_l|)^2

The heads w_l are not negative, so d is the squared Euclidean distance between *embeddings*
sqrt(w_l / pixels) a_l / |a_l|. `embed` gives those, and whoever needs all pairs of a set (intra-LPIPS) or
compares with one fixed image many times (a training loss) embeds each image once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints import assets
from stylegraft.encoders.protocol import Frozen, fill
from stylegraft.encoders.vgg16 import RELU_TAPS, VGG16Trunk, normalise
from stylegraft.errors import StylegraftError

CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
SMALLEST = {"vgg": 16, "alex": 35}  # px; below it a pooling has nothing left


class AlexNetTrunk(nn.Module):
    """The five convolutions of AlexNet (Krizhevsky, 2014, arXiv:1404.5997), torchvision's layer numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({
            "0": nn.Conv2d(3, 64, 11, stride=4, padding=2),
            "3": nn.Conv2d(64, 192, 5, padding=2),
            "6": nn.Conv2d(192, 384, 3, padding=1),
            "8": nn.Conv2d(384, 256, 3, padding=1),
            "10": nn.Conv2d(256, 256, 3, padding=1),
        })  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five feature maps after each ReLU."""
        out = []
        x = x.contiguous(memory_format=torch.channels_last)
        for name, convolution in self.features.items():
            if name in ("3", "6"):
                x = F.max_pool2d(x, 3, stride=2)
            x = F.relu(convolution(x), inplace=True)
            out.append(x)
        return out


class LPIPS(Frozen):
    """`lpips-vgg` or `lpips-alex`; forward(a, b) gives one distance for each pair of images."""

    def __init__(self, net: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        if net not in CHANNELS:
            raise StylegraftError(f"LPIPS network {net!r} is unknown; there are: {', '.join(CHANNELS)}")
        self.net, self.name = net, f"lpips-{net}"
        self.trunk: nn.Module = VGG16Trunk() if net == "vgg" else AlexNetTrunk()
        self.heads = nn.ParameterDict(
            {f"lin{i}": nn.Parameter(torch.empty(c)) for i, c in enumerate(CHANNELS[net])}
        )
        parts = nn.Module()  # the file's names: features.N.weight, features.N.bias, linI
        parts.features = self.trunk.features
        for name, head in self.heads.items():
            parts.register_parameter(name, head)
        self.digest = fill(parts, tensors, self.name)
        for name, head in self.heads.items():
            if (head < 0).any():
                raise StylegraftError(
                    f"{self.name} weights: head {name!r} has negative values; LPIPS heads have none"
                )
        self.freeze()

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1], taken at their own size, normalised."""
        if min(images.shape[-2:]) < SMALLEST[self.net]:
            raise StylegraftError(
                f"{self.name}: images of {images.shape[-1]}x{images.shape[-2]}, "
                f"the smallest it can take is {SMALLEST[self.net]} px"
            )
        return normalise(images)

    def embed(self, images: Tensor) -> list[Tensor]:
        """Five maps [B, C_l, H_l, W_l] whose squared differences, summed over everything, are the LPIPS
        distance. They are on the device of the weights, wherever the images are.
        """
        x = self.preprocess(images.to(self.heads["lin0"].device))
        return self.weigh(self.trunk(x, RELU_TAPS) if self.net == "vgg" else self.trunk(x))

    def weigh(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """`embed`, from the trunk's five maps, for those who need these themselves."""
        out = []
        for value, head in zip(maps, self.heads.values(), strict=True):
            # The clamp changes no value (1e-20 is the square of the paper code's epsilon) and keeps the
            # root's slope finite at zero.
            norm = value.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt()
            weight = (head / value[0, 0].numel()).sqrt()[:, None, None]
            out.append(value * weight / (norm + 1e-10))
        return out

    def forward(self, a: Tensor, b: Tensor | Sequence[Tensor]) -> Tensor:
        """Distances [B]; `b` is images like `a`, or their `embed` computed before."""
        return distance(self.embed(a), self.embed(b) if isinstance(b, Tensor) else b)


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """LPIPS distances [B] of two embeddings."""
    total = (a[0] - b[0]).square().sum((1, 2, 3))
    for x, y in zip(a[1:], b[1:], strict=True):
        total = total + (x - y).square().sum((1, 2, 3))
    return total


def load_lpips(net: str = "vgg", device: torch.device | str = "cpu", where: str = "") -> LPIPS:
    """LPIPS v0.1 with the authors' heads; net "vgg" or "alex". Weights of the lpips asset, or from `where` (a path or a
    name of the hub). Raises StylegraftError, saying how to get them, when weights are missing.
    """
    return LPIPS(net, assets.tensors("lpips", f"{net}.", where)).to(device)
