"""The three products of a convolution, each by the way that is fastest here.

C(x, w) = y, its adjoint in x: T(y, w) = x, its adjoint in w: K(x, y) = w. PyTorch has them from cuDNN or oneDNN. On a
CPU there are two more ways: `winograd`, with a quarter of the multiplications, and for K one matrix product over copied
patches, since on cores without AVX-512 oneDNN takes up to seven times as long for it as for C.
`benchmarks/convolutions.py` times all of them at every layer of a StyleGAN2 (docs/speed.md); the bounds below are where
the lines cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from stylegraft.networks import winograd
from stylegraft.networks.contexts import holding


class Geometry(NamedTuple):
    """Steps and zero padding (y, x), and groups, of a convolution; the same for its adjoints."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int


class Bounds(NamedTuple):
    """From how many channels, the fewer of in and out, and how many pixels of all samples a way is taken."""

    channels: float = float("inf")
    pixels: float = float("inf")


class Ways(NamedTuple):
    """Where C and T, and K, go by tiles; where else K goes by patches."""

    tiles: Bounds = Bounds()
    kernel_tiles: Bounds = Bounds()
    kernel_patches: Bounds = Bounds()


EXACT = (torch.float32, torch.float64)
DEVICES = ("cpu", "meta")  # meta: so that a forecast of memory counts what a CPU will hold on the way
# A fake tensor says that it is on a CPU, and would get into scratch that is kept.
PLAIN = (Tensor, torch.nn.Parameter)
THEIRS = Ways()  # PyTorch's alone
OURS = {
    "AVX2": Ways(Bounds(256, 1024), Bounds(64, 1024), Bounds(64, 0)),
    # Not timed with this code: narrower than a prototype's bounds, by which D's phase took 0.78, G's 0.83 of the time
    # at 64/16384/512 (one AVX-512 core, torch 2.13).
    "AVX512": Ways(Bounds(256, 4096), Bounds(256, 4096), Bounds(256, 0)),
}
HERE = OURS.get(torch.backends.cpu.get_cpu_capability(), THEIRS)
_WAYS: ContextVar[Ways] = ContextVar("ways", default=HERE)


def going(ways: Ways) -> AbstractContextManager[None]:
    """Inside, these ways are gone."""
    return holding(_WAYS, ways)


def recorded() -> bool:
    """Whether a graph is being recorded, which shall hold plain convolutions, and nothing done sample by sample."""
    return torch.compiler.is_compiling() or torch._C._is_tracing()


def now() -> Ways:
    """The ways that are gone. The compiler cannot read a ContextVar, so first whether it is at work."""
    return THEIRS if recorded() else _WAYS.get()


def arithmetic(device: torch.device) -> str | None:
    """The ways on a device as text, with which a result's last bits are others; None: PyTorch's alone."""
    if device.type != "cpu" or HERE == THEIRS:
        return None
    bounds = HERE._asdict().items()
    return ", ".join(f"{name} from {channels:g} x {pixels:g}" for name, (channels, pixels) in bounds)


def correlate(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """C: [B, I, H, W], [O, I / groups, k, k] -> [B, O, h, w]."""
    if _by_tiles(x, w.shape, geometry, x.shape, now().tiles):
        return winograd.correlate(x, w)
    stride, padding, groups = geometry
    return torch.conv2d(x, w, None, stride, padding, 1, groups)


def transpose(y: Tensor, w: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """T: [B, O, h, w], [O, I / groups, k, k] -> [B, I, *size]."""
    if _by_tiles(y, w.shape, geometry, y.shape, now().tiles):
        return winograd.transpose(y, w)
    stride, padding, groups = geometry
    axes = zip(size, y.shape[2:], stride, w.shape[2:], padding, strict=True)
    extra = [n - ((m - 1) * step + k - 2 * p) for n, m, step, k, p in axes]
    return torch.conv_transpose2d(y, w, None, stride, padding, extra, groups)


def kernel(x: Tensor, y: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """K: [B, I, H, W], [B, O, h, w] -> size = [O, I / groups, k, k]."""
    ways = now()
    if _by_tiles(x, size, geometry, y.shape, ways.kernel_tiles):
        return winograd.kernel(x, y)
    if _within(x, size, geometry, y.shape, ways.kernel_patches):
        return kernel_by_patches(x, y, geometry, size)
    stride, padding, groups = geometry
    w = x.new_empty(()).expand(size)  # only its shape is read
    needed = (False, True, False)
    return torch.ops.aten.convolution_backward(
        y, x, w, None, stride, padding, [1, 1], False, [0, 0], groups, needed
    )[1]


def kernel_by_patches(x: Tensor, y: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """K without groups: y as [O, B h w] times the matrix [B h w, k k I], a row of which is what an output sees."""
    (o, i, height, width), (b, _, rows, columns) = size, y.shape
    (step_y, step_x), (pad_y, pad_x), _ = geometry
    x, y = x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1)
    if pad_y or pad_x:
        x = torch.nn.functional.pad(x, (0, 0, pad_x, pad_x, pad_y, pad_y))
    image, row, column, one = x.stride()
    seen = x.as_strided(
        (b, rows, columns, height, width, i), (image, step_y * row, step_x * column, row, column, one)
    )
    result = x.new_zeros(o, i, height, width).contiguous(memory_format=torch.channels_last)
    total = result.permute(0, 2, 3, 1).view(o, -1)
    for chunk in winograd.chunks(x, b, rows, columns * height * width * i):
        total.addmm_(y[chunk].reshape(-1, o).t(), seen[chunk].reshape(-1, height * width * i))
    return result


def _within(x: Tensor, size: Sequence[int], geometry: Geometry, made: Sequence[int], bounds: Bounds) -> bool:
    """Whether a convolution is above the bounds, on a CPU (or its forecast), not in 16 bits, without groups.

    size: the kernel's shape; made: that of y.
    """
    if x.device.type not in DEVICES or x.dtype not in EXACT or type(x) not in PLAIN or geometry.groups > 1:
        return False
    return min(size[:2]) >= bounds.channels and made[0] * made[2] * made[3] >= bounds.pixels


def _by_tiles(
    x: Tensor, size: Sequence[int], geometry: Geometry, made: Sequence[int], bounds: Bounds
) -> bool:
    """Whether this is one that `winograd` knows, above the bounds."""
    if not _within(x, size, geometry, made, bounds):
        return False
    return geometry[:2] == ((1, 1), (1, 1)) and tuple(size[2:]) == (3, 3) and winograd.fits(*made[2:])
