"""The StyleGAN2 discriminator (Karras et al. 2020), with NVIDIA's parameter names."""

from __future__ import annotations

from collections import abc
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.errors import StylegraftError
from stylegraft.networks import batches, ops, precision, recompute
from stylegraft.networks.groups import group_parameters, module_gains
from stylegraft.networks.mapping import FullyConnected, Mapping
from stylegraft.networks.stylegan2 import HALF, resolutions, widths


class DOutput(NamedTuple):
    """logits: [B, 1], or None after an early stop; taps: {tap name: feature map}."""

    logits: Tensor | None
    taps: dict[str, Tensor]


class Conv(nn.Module):
    """Equalised convolution k x k, then leaky ReLU of gain sqrt 2 * `gain`, which is folded into kernel and bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        down: bool = False,
        gain: float = 1.0,
        clamp: float | None = None,
    ):
        super().__init__()
        self.clamp = None if clamp is None else clamp * gain
        self.weight = nn.Parameter(ops.random_kernel(out_channels, in_channels, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = (in_channels * kernel**2) ** -0.5
        self.gain = gain * ops.SQRT2
        self.down = down

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        """[B, I, r, r] -> [B, O, r, r], or half that size with `down`."""
        bias = ops.cast(self.bias * self.gain, x.dtype)
        if self.weight.shape[2] == 1:
            y = ops.conv1x1(x, self.weight, bias, gain=self.weight_gain * self.gain, lrelu=True)
            return ops.clamped(y, self.clamp)
        w = ops.scaled(self.weight, self.weight_gain * self.gain, x.dtype)
        x = ops.downsampling_conv2d(x, w, f) if self.down else ops.conv2d(x, w, padding=w.shape[2] // 2)
        return ops.clamped(F.leaky_relu_(x.add_(bias[:, None, None]), ops.SLOPE), self.clamp)


class Skip(nn.Module):
    """The straight branch of a residual block: half the size, then 1x1, added to the other branch."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.weight_gain = in_channels**-0.5

    def forward(self, x: Tensor, f: Tensor, residual: Tensor) -> Tensor:
        return ops.conv1x1(
            ops.downsample2d(x, f), self.weight, gain=self.weight_gain * HALF, residual=residual
        )


class Block(nn.Module):
    """The layers of one resolution above 4; None for those that an architecture does not have."""

    def __init__(
        self, r: int, channels: dict[int, int], img_channels: int, architecture: str, clamp: float | None
    ):
        super().__init__()
        width, below = channels[r], channels[r // 2]
        residual = architecture == "resnet"
        reads_image = architecture == "skip" or r == max(channels)
        self.fromrgb = Conv(img_channels, width, 1, clamp=clamp) if reads_image else None
        self.conv0 = Conv(width, width, 3, clamp=clamp)
        self.conv1 = Conv(width, below, 3, down=True, gain=HALF if residual else 1.0, clamp=clamp)
        self.skip = Skip(width, below) if residual else None


class Head(nn.Module):
    """4x4 maps -> [B, out_features]: minibatch-std, 3x3 convolution, two fully connected layers."""

    def __init__(
        self,
        channels: int,
        out_features: int,
        group_size: int,
        img_channels: int,
        architecture: str,
        clamp: float | None,
    ):
        super().__init__()
        self.group_size = group_size
        # The one convolution that NVIDIA leaves without a clamp.
        self.fromrgb = Conv(img_channels, channels, 1) if architecture == "skip" else None
        self.conv = Conv(channels + (1 if group_size > 1 else 0), channels, 3, clamp=clamp)
        self.fc = FullyConnected(channels * 16, channels, activation="lrelu")
        self.out = FullyConnected(channels, out_features)

    def forward(self, x: Tensor, f: Tensor, halves: int) -> Tensor:
        if self.group_size > 1:
            deviations = [batch_deviation(part, self.group_size) for part in x.chunk(halves)]
            x = torch.cat((x, torch.cat(deviations)), 1)
        return self.out(self.fc(self.conv(x, f).flatten(1)))


def batch_deviation(x: Tensor, group_size: int) -> Tensor:
    """`minibatch_std` of these samples [B, C, r, r], in the groups of the whole batch where processes share one."""
    batch = batches.shared()
    if batch is None:
        return minibatch_std(x, group_size)
    return batch.mine(minibatch_std(batch.whole(x), group_size))


def minibatch_std(x: Tensor, group_size: int) -> Tensor:
    """The mean standard deviation of each sample's group: [B, C, r, r] -> [B, 1, r, r] (Karras et al. 2018, section 3).

    A group is every n-th sample, n = B / group_size. Raises StylegraftError where the groups do not come out even.
    """
    b, _, h, w = x.shape
    size = min(group_size, b)
    if b % size:
        raise StylegraftError(f"batch of {b}: minibatch-std needs a multiple of its group size {size}")
    groups = x.permute(0, 2, 3, 1).reshape(size, b // size, -1)
    variance = (groups - groups.mean(0)).square().mean(0)
    deviation = (variance + ops.EPS).sqrt().mean(1)
    return deviation.repeat(size)[:, None, None, None].expand(-1, 1, h, w)


# Parameter name -> the groups it belongs to. Every parameter is in exactly one group without a dot.
_GROUPS = (
    (r"mapping\..*", ("mapping",)),
    (r"b4\..*", ("head",)),
    (r"(b\d+)\.(\w+)\..*", (r"\1", r"\1.\2")),
)


class Discriminator(nn.Module):
    """Image -> logits.

    config: resolution, img_channels (3), c_dim (0), channel_base (32768), channel_max (512), mbstd_group_size (4;
    1 or less: no minibatch-std), resample_filter ([1, 3, 3, 1]), conv_clamp (None, as in the generator) and
    architecture: "resnet" (the published networks), "skip" (the image is read at each resolution) or "orig". With
    c_dim > 0: mapping_layers (8), mapping_lr_multiplier (0.01) and cmap_dim (the width at 4 px) of the projection
    (Miyato and Koyama 2018).

    tap_names: the maps that `forward` can hand out; groups: {"b64", "b64.fromrgb", ..., "head": parameter names};
    gains: {parameter name: equalised-lr scale}.
    """

    f: Tensor

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        self.config = config
        self.architecture: str = config.get("architecture", "resnet")
        if self.architecture not in ("resnet", "skip", "orig"):
            raise StylegraftError(
                f'discriminator architecture "{self.architecture}" is unknown; expected "resnet", "skip" or "orig"'
            )
        self.resolution: int = config["resolution"]
        self.img_channels: int = config.get("img_channels", 3)
        self.c_dim: int = config.get("c_dim", 0)
        channels = widths(config)
        clamp: float | None = config.get("conv_clamp")
        self.resolutions = tuple(reversed(resolutions(self.resolution, least=8)[1:]))
        self.half_blocks = precision.half_blocks(self.resolution)
        for r in self.resolutions:
            self.add_module(f"b{r}", Block(r, channels, self.img_channels, self.architecture, clamp))
        self.cmap_dim: int = config.get("cmap_dim", channels[4]) if self.c_dim else 1
        self.b4 = Head(
            channels[4],
            self.cmap_dim,
            config.get("mbstd_group_size", 4),
            self.img_channels,
            self.architecture,
            clamp,
        )
        if self.c_dim:
            layers, rate = config.get("mapping_layers", 8), config.get("mapping_lr_multiplier", 0.01)
            sizes = 0, self.cmap_dim, self.c_dim
            self.mapping = Mapping(*sizes, layers=layers, lr_multiplier=rate, average=False)
        self.register_buffer(
            "f", ops.setup_filter(config.get("resample_filter", (1, 3, 3, 1))), persistent=False
        )
        names = [name for name, _ in self.named_parameters()]
        self.groups = group_parameters(names, _GROUPS)
        kinds = ("fromrgb", "conv0", "conv1")
        self.tap_names = tuple(
            f"b{r}.{kind}" for r in self.resolutions for kind in kinds if f"b{r}.{kind}" in self.groups
        )
        self.gains = module_gains(self)

    def forward(
        self,
        x: Tensor,
        c: Tensor | None = None,
        *,
        taps: abc.Collection[str] = (),
        stop: str | None = None,
        halves: int = 1,
        start: int | None = None,
    ) -> DOutput:
        """Logits [B, 1] and the feature maps named in `taps`, of images x [B, img_channels, R, R], labels c [B, c_dim].

        Layers are tapped after their activation, in a residual block before the sum. After the tap `stop` nothing
        more is computed. `halves` > 1: x is the concatenation of so many batches of one size, and minibatch-std
        looks at each alone. `start`: x is what `lower` made of images for the block of this resolution.
        """
        for name in (*taps, *([stop] if stop else [])):
            if name not in self.tap_names:
                raise StylegraftError(
                    f'this discriminator has no tap "{name}"; it has {", ".join(self.tap_names)}'
                )
        size = (self.width(start), start, start) if start else (self.img_channels, *[self.resolution] * 2)
        if x.ndim != 4 or tuple(x.shape[1:]) != size:
            raise StylegraftError(
                f"{'maps' if start else 'images'} have shape {list(x.shape)}; expected [B, {', '.join(map(str, size))}]"
            )
        kept: dict[str, Tensor] = {}
        y = x
        for name, y in self._walk(x, start):
            if name in taps:
                kept[name] = ops.cast(y, x.dtype)
            if name == stop:
                return DOutput(None, kept)
        y = self.b4(ops.cast(y, x.dtype), self.f, halves)
        if self.c_dim:
            y = (y * self.mapping(None, c)).sum(1, keepdim=True) * self.cmap_dim**-0.5
        return DOutput(y, kept)

    def lower(self, images: Tensor, r: int) -> Tensor:
        """What the block of resolution r < R reads (4: the head): images [B, img_channels, R, R] to maps [B, C, r, r].

        Not for the architecture "skip", whose blocks read the image as well.
        """
        return next(ops.cast(y, images.dtype) for name, y in self._walk(images) if name == f"b{r}")

    def width(self, r: int) -> int:
        """Channels of the maps that the block of resolution r reads."""
        return widths(self.config)[r]

    @property
    def group_size(self) -> int:
        """Of minibatch-std; 1: there is none."""
        return self.b4.group_size

    def block(self, r: int) -> Block:
        """The block of resolution r > 4."""
        return cast(Block, self.get_submodule(f"b{r}"))

    def _walk(self, image: Tensor, start: int | None = None) -> abc.Iterator[tuple[str, Tensor]]:
        """Every tap with its name, as far as the caller asks, and between the blocks what the next one reads, under its
        name; last the input of the head, without a name.
        """
        x: Tensor | None = image if start else None
        full = image.dtype
        half = precision.half() or full
        for r in self.resolutions:
            if start and r > start:
                continue
            block = self.block(r)
            dtype = half if r in self.half_blocks else full
            x = None if x is None else ops.as_maps(x, dtype)
            if block.fromrgb:
                rgb = block.fromrgb(ops.cast(image, dtype), self.f)
                yield f"b{r}.fromrgb", rgb
                x = rgb if x is None else x + rgb
            if self.architecture == "skip":
                image = ops.downsample2d(image, self.f)
            y = recompute.call(block.conv0, x, self.f)
            yield f"b{r}.conv0", y
            y = recompute.call(block.conv1, y, self.f)
            yield f"b{r}.conv1", y
            x = y = block.skip(x, self.f, residual=y) if block.skip else y
            yield f"b{r // 2}", y
        if self.b4.fromrgb:
            rgb = self.b4.fromrgb(image, self.f)
            x = rgb if x is None else ops.cast(x, full) + rgb
        assert x is not None
        yield "", x


def build_discriminator(config: dict[str, Any]) -> Discriminator:
    """A freshly initialised discriminator."""
    return Discriminator(config)
