"""StyleGAN2 as one writes it down from the papers: what the library's own networks are timed against.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (sections 2.2 and 4, appendix B), and
for the equalised learning rate and minibatch-std Karras et al., ICLR 2018. Each formula is an operation of its own, in
PyTorch's NCHW: kernels are modulated sample by sample as one tensor [B, O, I, k, k], whose squares give the
demodulation; FIR filters insert zeros, pad and convolve; bias, leaky ReLU and gain are separate; derivatives of any
order are PyTorch's. So a user's StyleGAN2 behaves without custom CUDA kernels.

`grouped`: the modulated kernels are used in one grouped convolution; else the maps are scaled before and after a plain
one. Parameter names are those of the library, so that its weights load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-8
HALF = 0.5**0.5


def widths(config: Mapping[str, Any]) -> dict[int, int]:
    """{resolution: channels}."""
    powers = [2**i for i in range(2, int(math.log2(config["resolution"])) + 1)]
    return {r: min(config["channel_base"] // r, config["channel_max"]) for r in powers}


def biased(x: Tensor, bias: Tensor, gain: float = 2**0.5) -> Tensor:
    """gain * leaky ReLU (slope 0.2) of x + bias, channel by channel."""
    x = x + bias.view(1, -1, *[1] * (x.ndim - 2))
    x = F.leaky_relu(x, 0.2)
    return x * gain


def filtered(
    x: Tensor, f: Tensor, before: int, after: int, up: int = 1, down: int = 1, gain: float = 1.0
) -> Tensor:
    """Zeros between the samples, padding, FIR filter gain * f [4, 4] of sum 1 (times up^2), every `down`-th sample."""
    if up > 1:
        x = F.pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1))
        x = x.flatten(4, 5).flatten(2, 3)
    x = F.pad(x, (before, after, before, after))
    kernel = (f * (gain * up**2)).flip((0, 1)).repeat(x.shape[1], 1, 1, 1)
    x = F.conv2d(x, kernel, groups=x.shape[1])
    return x[:, :, ::down, ::down] if down > 1 else x


def modulated(
    x: Tensor,
    weight: Tensor,
    s: Tensor,
    f: Tensor,
    *,
    up: bool = False,
    demodulate: bool = True,
    grouped: bool,
) -> Tensor:
    """Convolution with the kernels w_bijk = s_bi w_ijk, each scaled to unit norm by `demodulate` (equations 1 to 3)."""
    b, o, k = len(x), len(weight), weight.shape[2]
    if grouped or demodulate:
        kernels = weight[None] * s[:, None, :, None, None]  # [B, O, I, k, k]
    if demodulate:
        d = (kernels.square().sum((2, 3, 4)) + EPS).rsqrt()  # [B, O]
    if grouped:
        if demodulate:
            kernels = kernels * d[:, :, None, None, None]
        x = x.reshape(1, -1, *x.shape[2:])
        if up:
            y = F.conv_transpose2d(x, kernels.transpose(1, 2).flatten(0, 1), stride=2, groups=b)
        else:
            y = F.conv2d(x, kernels.flatten(0, 1), padding=k // 2, groups=b)
        y = y.reshape(b, o, *y.shape[2:])
        return filtered(y, f, 1, 1, gain=4) if up else y
    x = x * s[:, :, None, None]
    if up:
        y = filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), f, 1, 1, gain=4)
    else:
        y = F.conv2d(x, weight, padding=k // 2)
    return y * d[:, :, None, None] if demodulate else y


class Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0, lrelu: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.weight_gain, self.bias_gain, self.lrelu = rate / inputs**0.5, rate, lrelu

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        bias = self.bias if self.bias_gain == 1 else self.bias * self.bias_gain
        return biased(x @ weight.t(), bias) if self.lrelu else torch.addmm(bias, x, weight.t())


class Mapping8(nn.Module):
    def __init__(self, dim: int, layers: int):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            self.add_module(f"fc{i}", Dense(dim, dim, rate=0.01, lrelu=True))
        self.register_buffer("w_avg", torch.empty(dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * (z.square().mean(1, keepdim=True) + EPS).rsqrt()
        for i in range(self.layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


class StyledConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, w_dim: int, r: int, up: bool):
        super().__init__()
        self.r, self.up = r, up
        self.affine = Dense(w_dim, inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.noise_strength = nn.Parameter(torch.empty([]))
        self.register_buffer("noise_const", torch.empty(r, r))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, f: Tensor, grouped: bool) -> Tensor:
        y = modulated(x, self.weight, self.affine(w), f, up=self.up, grouped=grouped)
        if noise is None:
            noise = torch.randn(len(x), 1, self.r, self.r, device=x.device)
        return biased(y + noise * self.noise_strength, self.bias)


class ToRGB(nn.Module):
    def __init__(self, inputs: int, w_dim: int):
        super().__init__()
        self.affine = Dense(w_dim, inputs)
        self.weight = nn.Parameter(torch.empty(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.empty(3))
        self.gain = inputs**-0.5

    def forward(self, x: Tensor, w: Tensor, f: Tensor, grouped: bool) -> Tensor:
        s = self.affine(w) * self.gain
        y = modulated(x, self.weight, s, f, demodulate=False, grouped=grouped)
        return y + self.bias[:, None, None]


class GeneratorBlock(nn.Module):
    def __init__(self, r: int, channels: dict[int, int], w_dim: int):
        super().__init__()
        if r == 4:
            self.const = nn.Parameter(torch.empty(channels[4], 4, 4))
        else:
            self.conv0 = StyledConv(channels[r // 2], channels[r], w_dim, r, up=True)
        self.conv1 = StyledConv(channels[r], channels[r], w_dim, r, up=False)
        self.torgb = ToRGB(channels[r], w_dim)


class Synthesis(nn.Module):
    f: Tensor

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        channels = widths(config)
        self.resolutions = tuple(channels)
        self.num_ws = 2 * len(channels)
        for r in channels:
            self.add_module(f"b{r}", GeneratorBlock(r, channels, config["w_dim"]))
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("f", torch.outer(taps, taps), persistent=False)

    def forward(self, ws: Tensor, noise: Mapping[str, Tensor] | None, grouped: bool) -> Tensor:
        row, image = 0, None
        x = self.get_submodule("b4").const[None].repeat(len(ws), 1, 1, 1)
        for r in self.resolutions:
            block = self.get_submodule(f"b{r}")
            for name in ("conv0", "conv1") if r > 4 else ("conv1",):
                grain = None if noise is None else noise[f"b{r}.{name}"]
                x = block.get_submodule(name)(x, ws[:, row], grain, self.f, grouped)
                row += 1
            rgb = block.torgb(x, ws[:, row], self.f, grouped)
            image = rgb if image is None else filtered(image, self.f, 2, 1, up=2) + rgb
        return image


class Generator(nn.Module):
    """noise: {"b8.conv0": [B or 1, 1, r, r], ...}, or None to draw it; `paths`: W+ carries a gradient."""

    def __init__(self, config: Mapping[str, Any], grouped: bool):
        super().__init__()
        self.grouped = grouped
        self.mapping = Mapping8(config["z_dim"], config.get("mapping_layers", 8))
        self.synthesis = Synthesis(config)

    def constants(self) -> dict[str, Tensor]:
        """The noise maps that the weights bring."""
        ends = ".noise_const"
        return {
            n.removesuffix(ends): b[None, None] for n, b in self.synthesis.named_buffers() if n.endswith(ends)
        }

    def forward(
        self,
        z: Tensor,
        other: Tensor | None = None,
        cutoff: int = 0,
        noise: Mapping[str, Tensor] | None = None,
        paths: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Images [B, 3, R, R] and the rows of W+ [B, num_ws, w_dim]; rows from `cutoff` on are those of `other`."""
        ws = self.mapping(z)[:, None].repeat(1, self.synthesis.num_ws, 1)
        if other is not None:
            second = self.mapping(other)[:, None].repeat(1, self.synthesis.num_ws, 1)
            ws = torch.cat((ws[:, :cutoff], second[:, cutoff:]), 1)
        if paths and not ws.requires_grad:
            ws.requires_grad_()
        return self.synthesis(ws, noise, self.grouped), ws


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, k: int, *, down: bool = False, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, k, k))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.weight_gain, self.gain, self.down = (inputs * k * k) ** -0.5, gain * 2**0.5, down

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        if self.down:
            y = F.conv2d(filtered(x, f, 2, 2), weight, stride=2)
        else:
            y = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        return biased(y, self.bias, self.gain)


class Skip(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))
        self.gain = inputs**-0.5

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        return F.conv2d(filtered(x, f, 1, 1, down=2), self.weight * self.gain) * HALF


class DiscriminatorBlock(nn.Module):
    def __init__(self, r: int, channels: dict[int, int]):
        super().__init__()
        self.fromrgb = Conv(3, channels[r], 1) if r == max(channels) else None
        self.conv0 = Conv(channels[r], channels[r], 3)
        self.conv1 = Conv(channels[r], channels[r // 2], 3, down=True, gain=HALF)
        self.skip = Skip(channels[r], channels[r // 2])

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        x = self.fromrgb(x, f) if self.fromrgb else x
        return self.skip(x, f) + self.conv1(self.conv0(x, f), f)


class Head(nn.Module):
    def __init__(self, channels: int, group: int):
        super().__init__()
        self.group = group
        self.conv = Conv(channels + 1, channels, 3)
        self.fc = Dense(channels * 16, channels, lrelu=True)
        self.out = Dense(channels, 1)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        b, c, h, w = x.shape
        size = min(self.group, b)
        groups = x.reshape(size, b // size, c, h, w)
        deviation = ((groups - groups.mean(0)).square().mean(0) + EPS).sqrt().mean((1, 2, 3))
        x = torch.cat((x, deviation.repeat(size).view(b, 1, 1, 1).expand(b, 1, h, w)), 1)
        return self.out(self.fc(self.conv(x, f).flatten(1)))


class Discriminator(nn.Module):
    """Images [B, 3, R, R] -> logits [B, 1]; residual blocks, minibatch-std over groups of `group`."""

    f: Tensor

    def __init__(self, config: Mapping[str, Any], group: int):
        super().__init__()
        channels = widths(config)
        self.resolutions = tuple(reversed([r for r in channels if r > 4]))
        for r in self.resolutions:
            self.add_module(f"b{r}", DiscriminatorBlock(r, channels))
        self.b4 = Head(channels[4], group)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("f", torch.outer(taps, taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for r in self.resolutions:
            x = self.get_submodule(f"b{r}")(x, self.f)
        return self.b4(x, self.f)
