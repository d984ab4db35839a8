"""The arithmetic that the networks share: convolution, FIR resampling, modulation, pointwise layers.

Tensors have the NCHW shape of the PyTorch API and lie in memory as channels_last. Everything can be differentiated to
any order; `convolution` says how. What each trick is worth on a step: benchmarks/speed/tricks.py, on one AVX2 core at
64/4096/256 and batch 4; channels innermost: 1.09 times as fast (D 1.15).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from stylegraft.networks.convolution import channels_last, conv2d, conv_transpose2d
from stylegraft.networks.fir import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
from stylegraft.networks.products import recorded

__all__ = [
    "EPS",
    "SLOPE",
    "SQRT2",
    "as_maps",
    "cast",
    "channels_last",
    "clamped",
    "clear_caches",
    "conv1x1",
    "conv2d",
    "conv_transpose2d",
    "demodulation",
    "derived",
    "downsample2d",
    "downsampling_conv2d",
    "filter2d",
    "in_cuda_graph",
    "kernel_energy",
    "linear",
    "modulated_conv2d",
    "modulated_rgb",
    "normalise",
    "random_kernel",
    "scaled",
    "setup_filter",
    "upfirdn2d",
    "upsample2d",
    "upsampling_conv2d",
]

SQRT2 = math.sqrt(2.0)
EPS = 1e-8  # inside the roots of demodulation, normalisation and minibatch-std (StyleGAN2)
SLOPE = 0.2  # of the leaky ReLU
# Of float16 maps in a network without a clamp: half of what float16 holds. StyleGAN2-ADA's 256 is for those trained so:
# maps of stylegan2-faces-64 reach 8,156, and its pictures would change.
BOUND = 2.0**15
# Numbers in one sample's map from which, without gradients, a kernel per sample is faster than scaling the map twice:
# 2-5 % of such a layer at batch 1, 16 % at batch 8 (64 channels, 256 px, one AVX-512 core); slower below.
LARGE = 1 << 21


def random_kernel(out_channels: int, in_channels: int, size: int) -> Tensor:
    """A normal kernel [O, I, k, k], channels_last as the convolution wants it: no copy of it on every call."""
    return channels_last(torch.randn(out_channels, in_channels, size, size))


# ---------------------------------------------------------------------------------------------------------------
# What is computed from a weight alone is remembered while that weight is frozen.

_Derived = tuple[weakref.ref, tuple[int, int], Tensor]
_derived: dict[tuple, _Derived] = {}


def derived(w: Tensor, function: Callable[..., Tensor], *args: Any) -> Tensor:
    """`function(w, *args)`, computed once for a weight that requires no gradient.

    A remembered value is used only for the same tensor object with the same version and storage. Writes that leave no
    trace there are fused optimiser steps, which are noticed by a hook, and writes through `.data`: after
    those call `clear_caches`. `function` must return a new tensor, not a view of `w`.
    """
    if w.requires_grad or w.is_inference() or torch.compiler.is_compiling():
        return function(w, *args)
    key, state = (id(w), function, args), (w._version, w.data_ptr())
    entry = _derived.get(key)
    if entry is not None and entry[0]() is w and entry[1] == state:
        return entry[2]
    with torch.inference_mode(False), torch.no_grad():
        value = function(w, *args)
    _derived[key] = (weakref.ref(w, lambda _: _derived.pop(key, None)), state, value)
    return value


def clear_caches() -> None:
    """Forget every value computed from a frozen weight."""
    _derived.clear()


def in_cuda_graph(x: Tensor) -> bool:
    """Whether a CUDA graph is being recorded, which cannot ask for a value."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def _forget_stepped(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
    """Forget what an optimiser has just changed: fused Adam writes parameters without raising their version."""
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for key in [key for key in _derived if key[0] in stepped]:
        del _derived[key]


register_optimizer_step_post_hook(_forget_stepped)


def scaled(w: Tensor, gain: float, dtype: torch.dtype | None = None) -> Tensor:
    """w * gain in a type of 16 bits, or its own (None), remembered while `w` is frozen."""
    if dtype is None or dtype == w.dtype:
        return w if gain == 1 else derived(w, torch.mul, gain)
    return derived(w, _narrowed, gain, dtype)


def _narrowed(w: Tensor, gain: float, dtype: torch.dtype) -> Tensor:
    return (w if gain == 1 else w * gain).to(dtype)


def kernel_energy(w: Tensor) -> Tensor:
    """Q of demodulation: [O, I, k, k] -> [O, I], the sum of squares over the kernel; remembered while `w` is frozen."""
    return derived(w, _energy)


def _energy(w: Tensor) -> Tensor:
    return w.square().sum((2, 3))


# ---------------------------------------------------------------------------------------------------------------
# Mixed precision (`precision`): a layer computes in the type of its maps, to which it takes all else.


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in this type; itself where it has it, so that nothing is recorded of a network in one type."""
    return x if x.dtype == dtype else x.to(dtype)


def as_maps(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Feature maps in the type of the block that they enter, in float16 within its bound."""
    return x if x.dtype == dtype else clamped(x, BOUND if dtype == torch.float16 else None).to(dtype)


def prenormalised(w: Tensor, s: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel [O, I, k, k], in float16, styles [B, I] and their demodulation [B, O] with the same d * conv(x * s, w).

    Kernels are over their largest entry and the root of their fan-in, styles over their largest (StyleGAN2-ADA), and d
    takes both back. What divides is a constant to autograd, which changes no derivative, since it cancels.
    """
    style = s.detach().abs().amax(1, keepdim=True).clamp(min=EPS)
    d = (d * style * derived(w, _reach)).clamp(max=torch.finfo(torch.float16).max)
    return derived(w, _over_reach), s / style, d


def _reach(w: Tensor) -> Tensor:
    """The largest entry of each kernel, [O, I, k, k] -> [O], times the root of its fan-in."""
    w = w.detach().flatten(1)
    return w.abs().amax(1).clamp(min=EPS) * w.shape[1] ** 0.5


def _over_reach(w: Tensor) -> Tensor:
    return (w / _reach(w)[:, None, None, None]).to(torch.float16)


# ---------------------------------------------------------------------------------------------------------------
# Modulation.


def modulated_conv2d(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    *,
    demodulate: bool = True,
    up: int = 1,
    f: Tensor | None = None,
    gain: float = 1.0,
    add: Tensor | None = None,
    after: Tensor | None = None,
) -> Tensor:
    """Convolution with kernels scaled per sample by styles (StyleGAN2, section 2.2); the map grows by `up`.

    x [B, I, r, r], w [O, I, k, k] with odd k, s [B, I] -> gain * d * conv(x * s, w) + add, where
    d_bo = (sum_i s_bi^2 sum_k w_oik^2 + 1e-8)^-1/2 is one matrix product: the activations are scaled and no kernel
    is built for a sample (G's phase 1.25 times as fast, path length 1.4, a step 1.15). With up = 2: a transposed
    convolution, then the FIR kernel `f`. `add` broadcasts.
    after [I] scales input channels by 1 + after without entering d (HyperDomainNet's domain modulation).
    d is found in the type of s and w, the product in that of x.
    """
    d = demodulation(s, kernel_energy(w), gain) if demodulate else s.new_full((1, 1), gain)
    if after is not None:
        s = s * (1 + after)
    if add is not None:
        add = cast(add, x.dtype)
    if up == 1 and not torch.is_grad_enabled() and not recorded() and x[0].numel() >= LARGE:
        kernels = cast(w * s[:, None, :, None, None] * d[:, :, None, None, None], x.dtype)
        y = torch.cat(
            [conv2d(a, k, padding=k.shape[2] // 2) for a, k in zip(x.split(1), kernels, strict=True)]
        )
        return y if add is None else y.add_(add)
    if x.dtype == torch.float16 != w.dtype:
        w, s, d = prenormalised(w, s, d)
    x, w = x * cast(s, x.dtype)[:, :, None, None], scaled(w, 1.0, x.dtype)
    y = conv2d(x, w, padding=w.shape[2] // 2) if up == 1 else upsampling_conv2d(x, w, f, up)
    d = cast(d, x.dtype)[:, :, None, None]
    return y * d if add is None else torch.addcmul(add, y, d)


def demodulation(s: Tensor, energy: Tensor, gain: float = 1.0) -> Tensor:
    """gain * d for styles s [B, I] and kernel energies [O, I]: [B, O]."""
    return torch.rsqrt(s.square() @ energy.t() + EPS) * gain


def upsampling_conv2d(x: Tensor, w: Tensor, f: Tensor | None, up: int = 2) -> Tensor:
    """Convolution of the map enlarged `up` times with FIR kernel f: [B, I, r, r] -> [B, O, up r, up r].

    Folding f into w would be one operation with four times the multiplications: 513 ms against 188 on CPU (512
    channels, 32 to 64 px, one AVX-512 core, torch 2.13).
    """
    y = conv_transpose2d(x, w.transpose(0, 1), stride=up)
    if f is None:
        raise ValueError("an up-sampling convolution needs its FIR kernel f")
    k, t = w.shape[2], f.shape[-1]
    before = k // 2 + (t + up - 1) // 2 - (k - 1)
    after = k // 2 + (t - up) // 2 - (k - up)
    return upfirdn2d(y, f, padding=(before, after, before, after), gain=up * up)


def downsampling_conv2d(x: Tensor, w: Tensor, f: Tensor, down: int = 2) -> Tensor:
    """Convolution of the map reduced `down` times with FIR kernel f: [B, I, r, r] -> [B, O, r / down, r / down]."""
    k, t = w.shape[2], f.shape[-1]
    before = k // 2 + (t - down + 1) // 2
    after = k // 2 + (t - down) // 2
    if k == 1:  # the FIR filter can drop at once the samples that the 1x1 would
        return conv1x1(upfirdn2d(x, f, down=down, padding=(before, after, before, after)), w)
    return conv2d(upfirdn2d(x, f, padding=(before, after, before, after)), w, stride=down)


def modulated_rgb(x: Tensor, w: Tensor, s: Tensor, bias: Tensor) -> Tensor:
    """Modulated 1x1 without demodulation: x [B, I, r, r], w [O, I, 1, 1], s [B, I], bias [O] -> [B, O, r, r].

    O is small, so here the kernel is built per sample: no pass over x. The result has the type of w.
    """
    kernels = (w.flatten(1) * s[:, None]).transpose(1, 2)
    rows = _rows(x).view(x.shape[0], -1, x.shape[1])
    if x.dtype == w.dtype:
        return _maps(torch.baddbmm(bias, rows, kernels), x)
    if x.dtype != torch.float16:
        return _maps((rows @ kernels.to(x.dtype)).to(w.dtype) + bias, x)
    # As `prenormalised`, with the product of both: no demodulation bounds it.
    largest = kernels.detach().abs().amax(1, keepdim=True).clamp(min=EPS) * x.shape[1] ** 0.5
    return _maps((rows @ (kernels / largest).to(x.dtype)).to(w.dtype) * largest + bias, x)


# ---------------------------------------------------------------------------------------------------------------
# Pointwise layers. What runs in place runs before the result is viewed as a map: in-place writes to a view cost a copy.


def conv1x1(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    gain: float = 1.0,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    lrelu: bool = False,
) -> Tensor:
    """gain * (1x1 convolution of x) + bias, or + residual, + noise, then leaky ReLU if asked; one matrix product.

    x [B, I, r, r], w [O, I, 1, 1], bias [O] or residual [B, O, r, r], noise [B or 1, 1, r, r] -> [B, O, r, r].
    With gradients 1.2 times as fast as torch's convolution and what comes after it (4 x 512 channels, 32 px, one AVX2
    core); a step of StyleGAN2 with it and `modulated_rgb` 1.08 times.
    """
    rows, kernel = _rows(x), scaled(w, 1.0, x.dtype).flatten(1).t()
    bias, noise = (one if one is None else cast(one, x.dtype) for one in (bias, noise))
    if residual is not None:
        y = torch.addmm(_rows(residual), rows, kernel, alpha=gain)
    elif bias is not None:
        y = torch.addmm(bias, rows, kernel, alpha=gain)
    else:
        y = rows @ (kernel * gain)
    if noise is not None:
        y = y.add_(noise.expand(x.shape[0], -1, -1, -1).reshape(-1, 1))
    return _maps(F.leaky_relu_(y, SLOPE) if lrelu else y, x)


def linear(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    weight_gain: float = 1.0,
    bias_gain: float = 1.0,
    lrelu: bool = False,
) -> Tensor:
    """Fully connected: x [B, I], w [O, I] -> weight_gain * x w^T + bias_gain * bias, without a scaled copy of w.

    With `lrelu`: leaky ReLU of gain sqrt 2, which is folded into the two gains.
    """
    g = SQRT2 if lrelu else 1.0
    if bias is None:
        y = (x * (weight_gain * g)) @ w.t()
    else:
        y = torch.addmm(bias, x, w.t(), alpha=weight_gain * g, beta=bias_gain * g)
    return F.leaky_relu_(y, SLOPE) if lrelu else y


def clamped(x: Tensor, bound: float | None) -> Tensor:
    """x within [-bound, bound]; x itself where there is no bound. Not in place: the activation before keeps x.

    float16 always has one, `BOUND` unless the layer's is given.
    """
    bound = BOUND if bound is None and x.dtype == torch.float16 else bound
    return x if bound is None else x.clamp(-bound, bound)


def normalise(x: Tensor) -> Tensor:
    """Each row of [B, C], each place of [B, C, r, r], divided by its root mean square over C."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPS)


def _rows(x: Tensor) -> Tensor:
    """[B, C, H, W] as the rows of a matrix [B H W, C]; a view where x is channels_last."""
    return channels_last(x).permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """Rows of C numbers as maps [B, C, H, W] with the B, H, W of `like`."""
    b, _, h, w = like.shape
    return rows.view(b, h, w, -1).permute(0, 3, 1, 2)
