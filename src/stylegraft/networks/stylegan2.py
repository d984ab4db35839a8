"""StyleGAN2 synthesis (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

Parameter names are NVIDIA's. Every gain of an activation is folded into the demodulation, the noise strength and the
bias, so that feature maps keep their published scale while bias and leaky ReLU run in place: with the same in D a step
of 64/4096/256 is 1.03 times as fast, R1 and path length 1.08 and 1.06 (batch 4, one AVX2 core; spread 0.93 to 1.16).
"""

from __future__ import annotations

from collections import abc
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.errors import StylegraftError
from stylegraft.networks import ops, precision, recompute
from stylegraft.networks.generator import Layer, Noise, Output, Synthesis
from stylegraft.networks.groups import module_gains
from stylegraft.networks.mapping import FullyConnected

HALF = 0.5**0.5  # gain of each branch of a residual block


def resolutions(resolution: int, least: int = 4) -> list[int]:
    """4, 8, ... up to `resolution`; StylegraftError unless it is a power of two from `least` on."""
    powers = [2**i for i in range(2, resolution.bit_length())]
    if resolution < least or powers[-1] != resolution:
        raise StylegraftError(f"resolution {resolution}: expected a power of two of at least {least}")
    return powers


def widths(config: abc.Mapping[str, Any]) -> dict[int, int]:
    """{resolution: channels}: min(channel_base / resolution, channel_max)."""
    base, most = config.get("channel_base", 32768), config.get("channel_max", 512)
    return {r: min(base // r, most) for r in resolutions(config["resolution"])}


class StyledConv(nn.Module):
    """Modulated 3x3, demodulation, noise, bias, leaky ReLU: [B, I, r / up, r / up] -> [B, O, r, r]."""

    noise_const: Tensor
    channel_gain: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
    ):
        super().__init__()
        self.up = up
        self.gain = gain * ops.SQRT2
        self.clamp = None if clamp is None else clamp * gain
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(ops.random_kernel(out_channels, in_channels, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        # What a domain may add to the gain of an input channel after demodulation; no file of a generator holds it.
        self.register_buffer("channel_gain", torch.zeros(in_channels), persistent=False)
        # What a domain may add to the row of W+ that the layer reads; `Generator.fold_w_offsets` makes it a bias.
        self.register_buffer("w_offset", torch.zeros(w_dim), persistent=False)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None, f: Tensor) -> Tensor:
        bias = ops.cast(self.bias * self.gain, x.dtype)[:, None, None]
        grain = bias if noise is None else noise * (self.noise_strength * self.gain)
        x = ops.modulated_conv2d(
            x, self.weight, style, up=self.up, f=f, gain=self.gain, add=grain, after=self.channel_gain
        )
        if noise is not None:
            x = x.add_(bias)
        return ops.clamped(F.leaky_relu_(x, ops.SLOPE), self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 without demodulation: [B, I, r, r] -> [B, img_channels, r, r].

    The style is the affine layer's output; the gain 1 / sqrt(I) multiplies it here (NVIDIA's convention of StyleSpace).
    """

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, clamp: float | None = None):
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = in_channels**-0.5
        self.register_buffer("w_offset", torch.zeros(w_dim), persistent=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        rgb = ops.modulated_rgb(x, self.weight, style * self.weight_gain, self.bias)
        return ops.clamped(rgb, self.clamp)


class Skip(nn.Module):
    """The straight branch of a residual block: 1x1, then twice the size: [B, I, r / 2, r / 2] -> [B, O, r, r]."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.weight_gain = in_channels**-0.5

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        return ops.upsample2d(ops.conv1x1(x, self.weight, gain=self.weight_gain * HALF), f)


class Block(nn.Module):
    """The layers of one resolution; None for those that an architecture or resolution does not have."""

    def __init__(
        self,
        r: int,
        channels: dict[int, int],
        img_channels: int,
        w_dim: int,
        variant: str,
        clamp: float | None = None,
    ):
        super().__init__()
        width = channels[r]
        above = channels.get(r // 2, 0)
        residual = variant == "resnet" and r > 4
        if r == 4:
            self.const = nn.Parameter(torch.randn(width, 4, 4))
        self.conv0 = StyledConv(above, width, w_dim, r, up=2, clamp=clamp) if r > 4 else None
        self.conv1 = StyledConv(width, width, w_dim, r, gain=HALF if residual else 1.0, clamp=clamp)
        with_image = variant == "skip" or r == max(channels)
        self.torgb = ToRGB(width, img_channels, w_dim, clamp) if with_image else None
        self.skip = Skip(above, width) if residual else None


class StyleGAN2Synthesis(Synthesis):
    """Style vectors and noise maps -> image.

    config: resolution, img_channels (3), w_dim (512), channel_base (32768), channel_max (512), resample_filter
    ([1, 3, 3, 1]), conv_clamp (None: none; what NVIDIA bounds the layers of networks trained in fp16 by, mostly 256)
    and variant: "skip" (an image at each resolution, summed; the published networks), "orig" (at the last only) or
    "resnet" (at the last only, residual blocks).
    """

    f: Tensor

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        self.variant: str = config.get("variant", "skip")
        if self.variant not in ("skip", "orig", "resnet"):
            raise StylegraftError(
                f'generator variant "{self.variant}" is unknown; expected "skip", "orig" or "resnet"'
            )
        channels = widths(config)
        self.resolutions = tuple(channels)
        self.half_blocks = precision.half_blocks(config["resolution"])
        for r in channels:
            sizes = config.get("img_channels", 3), config.get("w_dim", 512)
            self.add_module(f"b{r}", Block(r, channels, *sizes, self.variant, config.get("conv_clamp")))
        self.register_buffer(
            "f", ops.setup_filter(config.get("resample_filter", (1, 3, 3, 1))), persistent=False
        )
        self.layers = tuple(self._layers())
        self.num_ws = self.layers[-1].row + 1
        self.tap_names = tuple(self._tap_names())
        self.gains = module_gains(self)

    def _layers(self) -> abc.Iterator[Layer]:
        """In forward order. A toRGB shares its row of W+ with the first convolution of the next resolution."""
        row = 0
        for r in self.resolutions:
            block = self.block(r)
            for name, conv in (("conv0", block.conv0), ("conv1", block.conv1)):
                if conv:
                    yield Layer(f"b{r}.{name}", "conv", r, conv.weight.shape[1], row, noise=True)
                    row += 1
            if block.torgb:
                yield Layer(f"b{r}.torgb", "torgb", r, block.torgb.weight.shape[1], row, noise=False)

    def _tap_names(self) -> abc.Iterator[str]:
        for layer in self.layers:
            yield layer.name if layer.kind == "conv" else f"b{layer.resolution}.rgb"

    def block(self, r: int) -> Block:
        """The block of resolution r."""
        return cast(Block, self.get_submodule(f"b{r}"))

    def forward(
        self, styles: abc.Mapping[str, Tensor], noise: Noise, taps: abc.Collection[str] = ()
    ) -> Output:
        """Image [B, img_channels, R, R]; the feature maps and running images named in `taps`.

        A convolution is tapped after noise and activation, in a residual block before the sum; its scale there is
        that of the published network. Where the highest resolutions compute in 16 bits (`precision`), images and taps
        have the type of the weights as ever.
        """
        kept: dict[str, Tensor] = {}
        x = self.block(4).const[None]
        full = x.dtype
        half = precision.half() or full
        image: Tensor | None = None
        for r in self.resolutions:
            block = self.block(r)
            x = ops.as_maps(x, half if r in self.half_blocks else full)
            straight = block.skip(x, self.f) if block.skip else None
            for name, conv in ((f"b{r}.conv0", block.conv0), (f"b{r}.conv1", block.conv1)):
                if conv is None:
                    continue
                x = recompute.call(conv, x, styles[name], noise.get(name), self.f)
                if name in taps:
                    kept[name] = ops.cast(x, full)
            if straight is not None:
                x = x + straight
            if block.torgb:
                rgb = block.torgb(x, styles[f"b{r}.torgb"])
                if image is not None:
                    rgb = ops.upsample2d(image, self.f).add_(rgb)
                image = rgb
                if f"b{r}.rgb" in taps:
                    kept[f"b{r}.rgb"] = rgb
        assert image is not None
        return Output(image, kept)
