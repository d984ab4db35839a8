"""Winograd's F(4x4, 3x3): 3x3 convolutions with a quarter of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. Along an axis four outputs y of a kernel
g of three taps are y = A^T [(G g) * (B^T d)], where d are the six inputs they see: six products in place of twelve. In
two axes the products of a tile are 36 in place of 144, and over all tiles 36 matrix products over the channels:

    correlate     Y = A^T [ sum_i U_oi * V_i ] A          V = B^T d B, U = G g G^T
    transpose     the same with the kernel turned round, and its channels exchanged
    kernel        dg = G^T [ sum_tiles (A dY A^T) * V ] G

Maps have the NCHW shape of PyTorch and lie in memory as channels_last; kernels are [O, I, 3, 3]; the step is 1, the
padding 1, height and width are multiples of 4. Float32 or float64, on a CPU. What is made on the way lies in memory
that is kept for the next call (36 numbers for each pair of channels and 80 MiB): fresh memory costs half as
much time as the products.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 4  # outputs of a tile, along an axis
SEEN = TILE + 2  # inputs that they see
# Where the polynomials are evaluated, and at infinity. With these the error of C is 1.3 times that of a direct
# convolution at its largest, 1.9 in the mean square; with 0, 1, -1, 2, -2 it is 4.7 and 2.9 (256 channels, float32).
# With fewer channels it is more: 2.7 in the mean square at 96.
POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2))
CHUNK = 1 << 22  # numbers of a scratch map, 16 MiB


class Kept(threading.local):
    """Memory of a thread, by name, precision and device."""

    def __init__(self) -> None:
        self.maps: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}


_kept = Kept()


@contextmanager
def anew() -> Iterator[None]:
    """Inside, this thread begins without scratch; what it had comes back after it."""
    before, _kept.maps = _kept.maps, {}
    try:
        yield
    finally:
        _kept.maps = before


class Matrices(NamedTuple):
    """The transforms of one axis."""

    outputs: Tensor  # A^T [4, 6]
    taps: Tensor  # G [6, 3]
    turned: Tensor  # G [6, 3] of a kernel turned round
    inputs: Tensor  # B^T [6, 6]


def toom_cook(points: Sequence[Fraction], outputs: int = TILE) -> tuple[list[list[Fraction]], ...]:
    """A^T [m, n], G [n, r], B^T [n, n] of F(m, r) with m + r - 1 = n = len(points) + 1, the last point at infinity.

    A polynomial product is interpolated from its values (Toom-Cook), and the transpose of that is the filter: A and G
    evaluate at the points, B^T holds the coefficients of Lagrange's polynomials, whose denominators are G's.
    """
    n = len(points) + 1
    r = n + 1 - outputs
    apart = [math.prod(p - q for q in points if q != p) for p in points]
    a = [*([p**k for k in range(outputs)] for p in points), _last(outputs)]
    g = [*([p**k / d for k in range(r)] for p, d in zip(points, apart, strict=True)), _last(r)]
    b = [*([*_vanishing([q for q in points if q != p]), Fraction(0)] for p in points), _vanishing(points)]
    return [list(row) for row in zip(*a, strict=True)], g, b


def _last(size: int) -> list[Fraction]:
    """A polynomial's value at infinity is its last coefficient."""
    return [Fraction(k == size - 1) for k in range(size)]


def _vanishing(points: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, the lowest first, of the polynomial that is 0 at these points and begins with 1."""
    result = [Fraction(1)]
    for p in points:
        result = [
            low - p * high for low, high in zip([Fraction(0), *result], [*result, Fraction(0)], strict=True)
        ]
    return result


@cache
def matrices(dtype: torch.dtype, device: torch.device) -> Matrices:
    """The transforms in a precision, on a device."""
    with torch.inference_mode(False), torch.no_grad():
        a, g, b = (
            torch.tensor([[float(x) for x in row] for row in m], dtype=dtype, device=device)
            for m in toom_cook(POINTS)
        )
        return Matrices(a, g, g.flip(1).contiguous(), b)


def fits(height: int, width: int) -> bool:
    """Whether maps of this size are tiles without a rest."""
    return height % TILE == 0 and width % TILE == 0


def correlate(x: Tensor, w: Tensor) -> Tensor:
    """Cross-correlation: [B, I, H, W], [O, I, 3, 3] -> [B, O, H, W]."""
    return _filtered(x, _spectrum(w, matrices(w.dtype, w.device).taps).transpose(1, 2))


def transpose(y: Tensor, w: Tensor) -> Tensor:
    """Its adjoint in x: [B, O, H, W], [O, I, 3, 3] -> [B, I, H, W]."""
    return _filtered(y, _spectrum(w, matrices(w.dtype, w.device).turned))


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Its adjoint in w: [B, I, H, W], [B, O, H, W] -> [O, I, 3, 3]."""
    m = matrices(x.dtype, x.device)
    i, o = x.shape[1], y.shape[1]
    made = _tiles(y.permute(0, 2, 3, 1))
    total = scratch("kernel", x, SEEN**2, o, i)
    for k, chunk in enumerate(_chunks(x, max(i, o))):
        v = _transformed(m.inputs, _seen(x, *chunk), "seen").view(SEEN**2, -1, i)
        d = _transformed(m.outputs.t(), made[:, :, *chunk], "made").view(SEEN**2, -1, o).transpose(1, 2)
        torch.baddbmm(total, d, v, beta=min(k, 1), out=total)
    result = _blank(x, o, i, 3, 3)
    taps = _transformed(m.taps.t(), total.view(SEEN, SEEN, o, i), "seen")
    return result.copy_(taps.view(3, 3, o, i).permute(2, 3, 0, 1))


def _filtered(x: Tensor, spectrum: Tensor) -> Tensor:
    """[B, I, H, W] by a transformed kernel [36, I, O] -> [B, O, H, W]."""
    m = matrices(x.dtype, x.device)
    (b, i, height, width), o = x.shape, spectrum.shape[2]
    # No view of another tensor: what a Function returns as one may not be written in place.
    result = _blank(x, b, o, height, width)
    made = _tiles(result.permute(0, 2, 3, 1))
    for chunk in _chunks(x, max(i, o)):
        v = _transformed(m.inputs, _seen(x, *chunk), "seen").view(SEEN**2, -1, i)
        products = torch.bmm(v, spectrum, out=scratch("made", x, SEEN**2, v.shape[1], o))
        tiles = _transformed(m.outputs, products.view(SEEN, SEEN, -1), "seen")
        made[:, :, *chunk].copy_(tiles.view(made[:, :, *chunk].shape))
    return result


def _blank(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _spectrum(w: Tensor, taps: Tensor) -> Tensor:
    """A kernel [O, I, 3, 3] at the 36 points: [36, O, I]."""
    o, i = w.shape[:2]
    return _transformed(taps, w.permute(2, 3, 0, 1), "kernel").view(SEEN**2, o, i)


def _transformed(matrix: Tensor, tiles: Tensor, name: str) -> Tensor:
    """matrix [m, s] on both axes of tiles [s, s, ...]: [m, m, the rest in one], in the scratch of this name."""
    m, s = matrix.shape
    rest = tiles[0, 0].numel()
    if not tiles.is_contiguous():
        tiles = scratch("copied", tiles, *tiles.shape).copy_(tiles)
    rows = torch.mm(matrix, tiles.view(s, s * rest), out=scratch("rows", tiles, m, s * rest)).view(m, s, rest)
    return torch.bmm(matrix.expand(m, m, s), rows, out=scratch(name, tiles, m, m, rest))


def _seen(x: Tensor, images: slice, rows: slice) -> Tensor:
    """What each of these tiles sees of maps with a border of zeros: [6, 6, B, rows, W / 4, C], overlapping views of one
    copy.
    """
    top, bottom = TILE * rows.start, min(TILE * rows.stop, x.shape[2])
    shown = x[images, :, max(top - 1, 0) : bottom + 1].permute(0, 2, 3, 1)
    b, height, width, c = shown.shape
    padded = scratch("padded", x, b, bottom - top + 2, width + 2, c).zero_()
    first = 0 if top else 1
    padded[:, first : first + height, 1:-1] = shown
    image, row, column, one = padded.stride()
    sizes = SEEN, SEEN, b, (bottom - top) // TILE, width // TILE, c
    return padded.as_strided(
        sizes, (row, column, image, TILE * row, TILE * column, one), padded.storage_offset()
    )


def _tiles(y: Tensor) -> Tensor:
    """Maps [B, H, W, C] by tiles: [4, 4, B, H / 4, W / 4, C], a view of them."""
    return y.unflatten(2, (-1, TILE)).unflatten(1, (-1, TILE)).permute(2, 4, 0, 1, 3, 5)


def _chunks(x: Tensor, channels: int) -> Iterator[tuple[slice, slice]]:
    """Tiles in parts, each with its 36 numbers of so many channels in a scratch map."""
    images, _, height, width = x.shape
    return chunks(x, images, height // TILE, width // TILE * SEEN**2 * channels)


def chunks(x: Tensor, images: int, rows: int, a_row: int) -> Iterator[tuple[slice, slice]]:
    """Whole images, or some rows of one, of so many numbers that they fill a scratch map; of x without values the first
    ones alone, since no others are larger.
    """
    held = max(1, CHUNK // a_row)
    for image in range(0, images, max(1, held // rows)):
        for row in range(0, rows, min(rows, held)):
            yield slice(image, image + max(1, held // rows)), slice(row, row + min(rows, held))
            if x.is_meta:
                return


def scratch(name: str, like: Tensor, *shape: int) -> Tensor:
    """Memory of this thread under a name, to be written over: what the last call put there is lost."""
    size, key = math.prod(shape), (name, like.dtype, like.device)
    kept = _kept.maps.get(key)
    if kept is None or kept.numel() < size:
        with torch.inference_mode(False):
            kept = _kept.maps[key] = torch.empty(size, dtype=like.dtype, device=like.device)
    return kept[:size].view(shape)
