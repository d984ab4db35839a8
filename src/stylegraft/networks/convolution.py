"""Convolution that can be differentiated to any order, grouped or not, at one convolution a term of the product rule.

C(x, w) = y, its adjoint in x: T(y, w) = x, its adjoint in w: K(x, y) = w. All three are bilinear and each one's
derivatives are the other two, so they are closed under differentiation. PyTorch's own double backward emits one
convolution for every group instead, thousands in one R1 step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from stylegraft.networks import products
from stylegraft.networks.products import Geometry


class Correlate(Function):
    """C: [B, I, H, W], [O, I / groups, k, k] -> [B, O, h, w]."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
        return products.correlate(x, w, geometry)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, w, ctx.geometry = inputs
        ctx.x_size, ctx.w_size = x.shape[2:], w.shape
        _save_partners(ctx, x, w)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (dy,) = grads
        x, w = ctx.saved_tensors
        dx = Transpose.apply(dy, w, ctx.geometry, ctx.x_size) if _wanted(ctx, 0) else None
        dw = Kernel.apply(x, dy, ctx.geometry, ctx.w_size) if _wanted(ctx, 1) else None
        return dx, dw, None


class Transpose(Function):
    """T: [B, O, h, w], [O, I / groups, k, k] -> [B, I, *size]."""

    @staticmethod
    def forward(y: Tensor, w: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
        return products.transpose(y, w, geometry, size)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        y, w, ctx.geometry, _ = inputs
        ctx.w_size = w.shape
        _save_partners(ctx, y, w)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (dx,) = grads
        y, w = ctx.saved_tensors
        dy = Correlate.apply(dx, w, ctx.geometry) if _wanted(ctx, 0) else None
        dw = Kernel.apply(dx, y, ctx.geometry, ctx.w_size) if _wanted(ctx, 1) else None
        return dy, dw, None, None


class Kernel(Function):
    """K: [B, I, H, W], [B, O, h, w] -> [O, I / groups, k, k]."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
        return channels_last(products.kernel(x, y, geometry, size))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, y, ctx.geometry, _ = inputs
        ctx.x_size = x.shape[2:]
        _save_partners(ctx, x, y)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        (dw,) = grads
        x, y = ctx.saved_tensors
        dx = Transpose.apply(y, dw, ctx.geometry, ctx.x_size) if _wanted(ctx, 0) else None
        dy = Correlate.apply(x, dw, ctx.geometry) if _wanted(ctx, 1) else None
        return dx, dy, None, None


def _save_partners(ctx, a: Tensor, b: Tensor) -> None:
    """Keep of a bilinear function's arguments only those that some derivative will need."""
    ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b if ctx.needs_input_grad[0] else None)


def _wanted(ctx, index: int) -> bool:
    """Whether the running backward pass uses this gradient.

    `needs_input_grad` of a Python function stays True under `autograd.grad(..., inputs=[x])`, and R1 would compute
    every weight gradient for nothing. The engine knows better; it refuses to answer only about leaves that were
    asked for.
    """
    if not ctx.needs_input_grad[index]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[index][0])
    except (AttributeError, RuntimeError):
        return True


def call(function: type[Function], *args: Any) -> Tensor:
    """`function` of these arguments; without gradients its forward alone, which every exporter can record."""
    return function.apply(*args) if torch.is_grad_enabled() else function.forward(*args)


def channels_last(x: Tensor) -> Tensor:
    """The same tensor, laid out with its channels innermost."""
    return x.contiguous(memory_format=torch.channels_last)


def conv2d(x: Tensor, w: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> Tensor:
    """Cross-correlation as torch's: x [B, I, H, W], w [O, I / groups, k, k] -> [B, O, h, w]."""
    return call(Correlate, channels_last(x), w, Geometry((stride, stride), (padding, padding), groups))


def conv_transpose2d(
    x: Tensor, w: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1, output_padding: int = 0
) -> Tensor:
    """Transposed convolution as torch's: x [B, I, h, w], w [I, O / groups, k, k] -> [B, O, H, W]."""
    size = [
        (n - 1) * stride + k - 2 * padding + output_padding
        for n, k in zip(x.shape[2:], w.shape[2:], strict=True)
    ]
    return call(Transpose, channels_last(x), w, Geometry((stride, stride), (padding, padding), groups), size)
