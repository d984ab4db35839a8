"""MobileStyleGAN synthesis (Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for
High-Fidelity Image Synthesis", arXiv 2104.04767), cut at any hidden resolution.

Differences from StyleGAN2: depthwise-separable convolutions, up-sampling by an inverse Haar wavelet whose bands
are modulated first, demodulation folded into the kernels, no sqrt(2) after the activation, one image head.
Parameters are stored at unit scale and a published value is `stored * gain`, the gain being the RMS that the tensor
had in the file, so that one learning rate moves these layers as it moves StyleGAN2's.
"""

from __future__ import annotations

from collections import abc
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylegraft.errors import StylegraftError
from stylegraft.networks import ops, precision, recompute
from stylegraft.networks.generator import Layer, Noise, Output, Synthesis
from stylegraft.networks.groups import module_gains
from stylegraft.networks.haar import inverse_haar, merge
from stylegraft.networks.mapping import FullyConnected

Gains = abc.Mapping[str, float]


def activate(x: Tensor, bias: Tensor | None, noise: Tensor | None, strength: Tensor) -> Tensor:
    """Leaky ReLU of x + strength * noise + bias, in place; x [B, C, r, r], bias [C], noise [B or 1, 1, r, r]."""
    if bias is not None:
        x = x.add_(bias[:, None, None])
    if noise is not None:
        x = x.add_(noise * strength)
    return F.leaky_relu_(x, ops.SLOPE)


class Modulated(nn.Module):
    """What every layer here has: an affine map from a row of W+ to its style vector [B, channels]."""

    kind: Literal["conv", "up", "torgb"] = "conv"

    def __init__(self, channels: int, w_dim: int, gains: Gains):
        super().__init__()
        weight_gain, bias_gain = gains["affine.weight"], gains["affine.bias"]
        self.affine = FullyConnected(
            w_dim, channels, bias_init=1.0, weight_gain=weight_gain, bias_gain=bias_gain
        )
        # What a domain may add to the row of W+ that the layer reads; `Generator.fold_w_offsets` makes it a bias.
        self.register_buffer("w_offset", torch.zeros(w_dim), persistent=False)


class InputConv(Modulated):
    """The one dense layer, at 4x4: modulate, 3x3 convolution, noise, bias, leaky ReLU: [1, C, 4, 4] -> [B, C, 4, 4]."""

    noise_const: Tensor

    def __init__(self, channels: int, w_dim: int, gains: Gains):
        super().__init__(channels, w_dim, gains)
        self.weight = nn.Parameter(ops.random_kernel(channels, channels, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(4, 4))
        self.weight_gain, self.bias_gain = gains["weight"], gains["bias"]

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        x = x * (style * self.weight_gain)[:, :, None, None]
        x = ops.conv2d(x, self.weight, padding=1)
        return activate(x, self.bias * self.bias_gain, noise, self.noise_strength)


class SeparableConv(Modulated):
    """Modulate, 3x3 depthwise, 1x1 pointwise, noise, bias, leaky ReLU: [B, I, r, r] -> [B, O, r, r]."""

    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, r: int, w_dim: int, gains: Gains):
        super().__init__(in_channels, w_dim, gains)
        self.depthwise = nn.Parameter(torch.randn(in_channels, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(r, r))
        self.depthwise_gain, self.pointwise_gain, self.bias_gain = (
            gains["depthwise"],
            gains["pointwise"],
            gains["bias"],
        )

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        style, bias = style * (self.depthwise_gain * self.pointwise_gain), self.bias * self.bias_gain
        if not torch.is_grad_enabled():
            # The depthwise convolution commutes with the style, so that can scale the pointwise kernels instead of
            # the map: 309 -> 253 ms for a picture of 1024 px (two AVX-512 cores). With gradients it would be slower.
            x = ops.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
            x = ops.modulated_rgb(x, self.pointwise, style, bias)
            return activate(x, None, noise, self.noise_strength)
        x = ops.conv2d(x * style[:, :, None, None], self.depthwise, padding=1, groups=x.shape[1])
        noise = None if noise is None else noise * self.noise_strength
        return ops.conv1x1(x, self.pointwise, bias, noise=noise, lrelu=True)


class WaveletUp(Modulated):
    """Modulate the wavelet bands, then merge them: [B, 4C, r, r] -> [B, C, 2r, 2r]."""

    kind = "up"

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return merge(x * (style / 2)[:, :, None, None])


class ToRGB(Modulated):
    """Modulated 1x1 to `outputs` channels, [B, I, r, r] -> [B, outputs, r, r]: the image."""

    kind = "torgb"

    def __init__(self, channels: int, outputs: int, w_dim: int, gains: Gains):
        super().__init__(channels, w_dim, gains)
        self.weight = nn.Parameter(torch.randn(outputs, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain, self.bias_gain = gains["weight"], gains["bias"]

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return ops.modulated_rgb(x, self.weight, style * self.weight_gain, self.bias * self.bias_gain)


class WaveletToRGB(ToRGB):
    """The same to the image's wavelet bands, then the image of twice the size: [B, I, r, r] -> [B, C, 2r, 2r]."""

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return inverse_haar(super().forward(x, style))


class InputBlock(nn.Module):
    """The learned constant [C, 4, 4] and its convolution."""

    def __init__(self, channels: int, w_dim: int, gains: Gains):
        super().__init__()
        self.const = nn.Parameter(torch.randn(channels, 4, 4))
        self.const_gain = gains["const"]
        self.conv1 = InputConv(channels, w_dim, _under(gains, "conv1"))


class Block(nn.Module):
    """The layers of one hidden resolution r > 4, in forward order."""

    def __init__(self, in_channels: int, channels: int, r: int, w_dim: int, gains: Gains):
        super().__init__()
        self.up = WaveletUp(in_channels, w_dim, _under(gains, "up"))
        self.conv0 = SeparableConv(in_channels // 4, channels, r, w_dim, _under(gains, "conv0"))
        self.conv1 = SeparableConv(channels, channels, r, w_dim, _under(gains, "conv1"))


class MobileSynthesis(Synthesis):
    """Style vectors and noise maps -> image. Where the last hidden map has half the image's size, the head writes
    wavelet bands, as published; where it has the image's size, pixels, each of which has then seen its neighbours.

    config: resolution, img_channels (3), w_dim (512), channels {hidden resolution: width, a multiple of 4} and gains
    {parameter name: float}; those left out have the scale of a network that starts from scratch.
    """

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        widths = {int(r): int(c) for r, c in config["channels"].items()}
        w_dim, img_channels = config.get("w_dim", 512), config.get("img_channels", 3)
        gains = {**initial_gains(widths, w_dim), **config.get("gains", {})}
        self.hidden = tuple(sorted(widths))
        last = self.hidden[-1]
        if config["resolution"] not in (last, 2 * last) or self.hidden[0] != 4:
            raise StylegraftError(
                f"mobile generator of {config['resolution']} px, hidden maps {self.hidden}: expected 4 to its size, "
                "or to half of it"
            )
        self.b4 = InputBlock(widths[4], w_dim, _under(gains, "b4"))
        for r in self.hidden[1:]:
            self.add_module(f"b{r}", Block(widths[r // 2], widths[r], r, w_dim, _under(gains, f"b{r}")))
        head_class, outputs = (
            (ToRGB, img_channels) if config["resolution"] == last else (WaveletToRGB, 4 * img_channels)
        )
        head = head_class(widths[last], outputs, w_dim, _under(gains, f"b{last}.torgb"))
        self.get_submodule(f"b{last}").add_module("torgb", head)
        self.layers = tuple(self._layers())
        self.num_ws = len(self.layers)
        self.tap_names = tuple(layer.name for layer in self.layers if layer.kind == "conv")
        self.gains = module_gains(self)

    def _layers(self) -> abc.Iterator[Layer]:
        """In forward order, each with a row of W+ of its own."""
        row = 0
        for r in self.hidden:
            for part, module in self.get_submodule(f"b{r}").named_children():
                assert isinstance(module, Modulated)
                kind = module.kind
                yield Layer(f"b{r}.{part}", kind, r, module.affine.bias.numel(), row, noise=kind == "conv")
                row += 1

    def forward(
        self, styles: abc.Mapping[str, Tensor], noise: Noise, taps: abc.Collection[str] = ()
    ) -> Output:
        """Image [B, img_channels, R, R] and the feature maps named in `taps`, which are after noise and activation.

        Raises StylegraftError where 16 bits are asked for: nothing here is demodulated, so float16 would have no bound.
        """
        if precision.half():
            raise StylegraftError(
                "this generator has no layers that compute in 16 bits; expected fp32 or tf32"
            )
        kept: dict[str, Tensor] = {}
        x = (self.b4.const * self.b4.const_gain)[None]
        for layer in self.layers:
            module, style = self.get_submodule(layer.name), styles[layer.name]
            x = recompute.call(module, x, style, *((noise.get(layer.name),) if layer.noise else ()))
            if layer.name in taps:
                kept[layer.name] = x
        return Output(x, kept)


def initial_gains(widths: abc.Mapping[int, int], w_dim: int) -> dict[str, float]:
    """Gains of a network that starts from scratch: He's scale for kernels and affine weights, biases as they are.

    widths: {hidden resolution: channels}. Keys are parameter names inside the synthesis network.
    """
    last = max(widths)
    gains = {"b4.const": 1.0, "b4.conv1.weight": (9 * widths[4]) ** -0.5, "b4.conv1.bias": 1.0}
    gains |= {f"b{last}.torgb.weight": widths[last] ** -0.5, f"b{last}.torgb.bias": 1.0}
    modulated = ["b4.conv1", f"b{last}.torgb"]
    for r in sorted(widths)[1:]:
        for conv, fan_in in (("conv0", widths[r // 2] // 4), ("conv1", widths[r])):
            gains |= {
                f"b{r}.{conv}.depthwise": 1 / 3,
                f"b{r}.{conv}.pointwise": fan_in**-0.5,
                f"b{r}.{conv}.bias": 1.0,
            }
        modulated += [f"b{r}.up", f"b{r}.conv0", f"b{r}.conv1"]
    for layer in modulated:
        gains |= {f"{layer}.affine.weight": w_dim**-0.5, f"{layer}.affine.bias": 1.0}
    return gains


def _under(gains: Gains, prefix: str) -> dict[str, float]:
    """The entries below a dotted prefix, without it."""
    return {name[len(prefix) + 1 :]: gain for name, gain in gains.items() if name.startswith(prefix + ".")}
