"""The double-differentiable operations: equal to PyTorch's at 1e-9, any order of derivative, few convolutions."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from stylegraft.networks import ops, products

from . import naive
from .conftest import normal
from .counting import Count

CONVOLUTIONS = {
    "3x3": ((2, 2, 3, 4), (3, 2, 3, 3), {"padding": 1}),
    "stride 2": ((2, 2, 5, 5), (3, 2, 3, 3), {"stride": 2}),
    "stride 2, a row left over": ((1, 2, 4, 6), (3, 2, 3, 3), {"stride": 2}),
    "depthwise": ((2, 3, 3, 4), (3, 1, 3, 3), {"padding": 1, "groups": 3}),
    "depthwise 4x4, stride 2": ((1, 3, 4, 4), (3, 1, 4, 4), {"padding": 1, "stride": 2, "groups": 3}),
    "grouped": ((2, 4, 3, 2), (6, 2, 3, 3), {"padding": 1, "groups": 2}),
}
TRANSPOSED = {
    "stride 2": ((2, 2, 2, 3), (2, 3, 3, 3), {"stride": 2}),
    "padding": ((1, 3, 2, 3), (3, 2, 4, 4), {"stride": 2, "padding": 1}),
    "output padding": ((1, 2, 2, 2), (2, 2, 3, 3), {"stride": 2, "output_padding": 1}),
    "depthwise": ((2, 3, 2, 3), (3, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
}


def check_any_order(ours, theirs, shapes):
    x, w = (normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))
    y, expected = ours(x, w), theirs(x, w)
    assert (y - expected).abs().max() < 1e-9
    assert gradcheck(ours, (x, w))
    assert gradgradcheck(ours, (x, w))


@pytest.mark.parametrize(("x", "w", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_conv2d(x, w, options):
    check_any_order(lambda x, w: ops.conv2d(x, w, **options), lambda x, w: F.conv2d(x, w, **options), (x, w))


@pytest.mark.parametrize(("x", "w", "options"), TRANSPOSED.values(), ids=TRANSPOSED.keys())
def test_conv_transpose2d(x, w, options):
    check_any_order(
        lambda x, w: ops.conv_transpose2d(x, w, **options),
        lambda x, w: F.conv_transpose2d(x, w, **options),
        (x, w),
    )


def test_third_derivative():
    """R1 of a penalty: three passes through the same three functions."""
    grads = []
    for conv in (ops.conv2d, F.conv2d):
        x, w = normal(1, 2, 5, 5).requires_grad_(), normal(3, 2, 3, 3, seed=1).requires_grad_()
        y = conv(x, w, stride=2).pow(4).sum()
        for _ in range(2):
            (slope,) = torch.autograd.grad(y, x, create_graph=True)
            y = slope.square().sum()
        grads.append(torch.autograd.grad(y, (x, w)))
    for a, b in zip(*grads, strict=True):
        assert (a - b).norm() < 1e-9 * b.norm()


@pytest.mark.parametrize("groups", [1, 8, 64])
def test_double_backward_of_grouped_convolution_is_a_few_convolutions(groups):
    x, w = normal(1, 64, 4, 4).requires_grad_(), normal(64, 64 // groups, 3, 3, seed=1).requires_grad_()
    with products.going(products.THEIRS), Count() as count:
        y = ops.conv2d(x, w, padding=1, groups=groups)
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        torch.autograd.grad(slope.square().sum(), (x, w))
    # C; T for the slope; then C and K of T, T and K of C.
    assert count.convolutions == 6


def test_no_weight_gradient_that_nobody_asked_for():
    x, w = normal(1, 4, 6, 6).requires_grad_(), normal(4, 4, 3, 3).requires_grad_()
    y = ops.conv2d(x, w).sum()
    with Count() as count:
        torch.autograd.grad(y, x)
    assert count.calls.get("convolution_backward", 0) == 0
    assert count.convolutions == 1


def test_frozen_weight_keeps_no_activation():
    """With a frozen kernel the input of a convolution is not saved for backward."""
    x = normal(1, 4, 6, 6).requires_grad_()
    scaled = x * 2
    seen = weakref.ref(scaled)
    y = ops.conv2d(scaled, normal(4, 4, 3, 3))
    del scaled
    gc.collect()
    assert seen() is None or not any(seen() is t for t in y.grad_fn.saved_tensors)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (2, 1, 2, 1), (3, 3, 0, 4), (-1, 2, 5, -2)])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3)])
def test_upfirdn2d(up, down, pads, flip):
    x, f = normal(2, 2, 6, 7).requires_grad_(), normal(4, 3, seed=1)

    def ours(x):
        return ops.upfirdn2d(x, f, up=up, down=down, padding=pads, gain=1.7, flip_filter=flip)

    expected = naive.upfirdn2d(x, f, up, down, pads, 1.7, flip)
    assert ours(x).shape == expected.shape
    assert (ours(x) - expected).abs().max() < 1e-9
    dy = normal(*expected.shape, seed=2)
    a, b = (torch.autograd.grad((y * dy).sum(), x)[0] for y in (ours(x), expected))
    assert (a - b).abs().max() < 1e-9


def test_upfirdn2d_any_order():
    x, f = normal(1, 2, 4, 4).requires_grad_(), ops.setup_filter([1, 3, 3, 1])
    for options in (
        {"up": 2, "padding": (2, 1)},
        {"down": 2, "padding": 1},
        {"up": 3, "down": 2, "padding": (4, -1, 0, 3)},
    ):
        assert gradgradcheck(lambda x, o=options: ops.upfirdn2d(x, f, **o).square(), (x,))


def test_separable_filter_is_its_outer_product():
    x, taps = normal(1, 2, 16, 13), torch.arange(1.0, 13)
    f = ops.setup_filter(taps)
    assert f.shape == (12,)
    for run in (ops.upsample2d, ops.downsample2d, ops.filter2d):
        full = run(x, torch.outer(f, f), padding=3, flip_filter=True)
        assert (run(x, f, padding=3, flip_filter=True) - full).abs().max() < 1e-6


def test_resampling_keeps_constants_and_sizes():
    f, x = ops.setup_filter(), torch.ones(1, 3, 12, 12)
    for y, size in ((ops.upsample2d(x, f), 24), (ops.downsample2d(x, f), 6), (ops.filter2d(x, f), 12)):
        assert y.shape == (1, 3, size, size)
        assert torch.allclose(y[:, :, 2:-2, 2:-2], torch.ones(1, 3, size - 4, size - 4), atol=1e-6)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [1, 2])
def test_modulated_conv2d(up, demodulate, grad):
    x, w, s = normal(3, 4, 6, 6), normal(5, 4, 3, 3, seed=1), normal(3, 4, seed=2) + 1
    expected = naive.modulated(x, w, s, demodulate, up)
    with torch.set_grad_enabled(grad):
        y = ops.modulated_conv2d(
            x, w, s, demodulate=demodulate, up=up, f=ops.setup_filter(), gain=0.7, add=s.new_ones(1)
        )
    assert (y - (expected * 0.7 + 1)).abs().max() < 1e-9


def test_modulated_conv2d_of_large_maps(monkeypatch):
    """Without gradients large maps take kernels per sample: the same numbers."""
    x, w, s, add = normal(3, 4, 6, 6), normal(5, 4, 3, 3, seed=1), normal(3, 4, seed=2), normal(3, 1, 6, 6)
    for demodulate in (True, False):
        y = ops.modulated_conv2d(x, w, s, demodulate=demodulate, gain=0.7, add=add)
        monkeypatch.setattr(ops, "LARGE", 1)
        with torch.no_grad():
            assert (
                ops.modulated_conv2d(x, w, s, demodulate=demodulate, gain=0.7, add=add) - y
            ).abs().max() < 1e-9
        monkeypatch.undo()


def test_modulated_conv2d_any_order():
    x, w, s = (
        normal(2, 2, 2, 3).requires_grad_(),
        normal(2, 2, 3, 3).requires_grad_(),
        normal(2, 2).requires_grad_(),
    )
    f = ops.setup_filter()
    for up in (1, 2):
        assert gradgradcheck(lambda x, w, s, up=up: ops.modulated_conv2d(x, w, s, up=up, f=f), (x, w, s))


def test_pointwise_layers():
    x, w, bias, residual = normal(2, 3, 4, 5), normal(6, 3, 1, 1), normal(6), normal(2, 6, 4, 5)
    y = F.conv2d(x, w)
    assert (ops.conv1x1(x, w) - y).abs().max() < 1e-9
    assert (ops.conv1x1(x, w, gain=3, residual=residual) - (3 * y + residual)).abs().max() < 1e-9
    expected = F.leaky_relu(2 * y + bias[:, None, None], 0.2)
    assert (ops.conv1x1(x, w, bias, gain=2, lrelu=True) - expected).abs().max() < 1e-9
    s = normal(2, 3, seed=4)
    expected = naive.modulated(x, w, s, demodulate=False) + bias[:, None, None]
    assert (ops.modulated_rgb(x, w, s, bias) - expected).abs().max() < 1e-9


def test_activations_stay_channels_last():
    x = normal(2, 8, 8, 8).float()
    w, f = normal(8, 8, 3, 3).float(), ops.setup_filter()
    for y in (
        ops.conv2d(x, w),
        ops.modulated_conv2d(x, w, x[:, :, 0, 0], up=2, f=f),
        ops.upfirdn2d(x, f, down=2),
        ops.conv1x1(x, w[:, :, :1, :1]),
    ):
        assert y.is_contiguous(memory_format=torch.channels_last)
