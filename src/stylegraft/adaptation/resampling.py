"""Alias-free affine resampling and the wavelet filters of adaptive discriminator augmentation (ADA).

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676,
appendix B: the geometric transformations and the image-space filter bank. Everything is linear in the images
and twice differentiable with respect to them, so R1 can be taken through it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.networks import ops

# Orthonormal low-pass filters with sum sqrt(2): the least asymmetric Daubechies wavelets of 2 and 6 vanishing
# moments. SYM6 was computed by spectral factorisation; the tests check both against their defining equations.
SYM2 = tuple((a + b * math.sqrt(3)) / (4 * math.sqrt(2)) for a, b in ((1, -1), (3, -1), (3, 1), (1, 1)))
SYM6 = (
    0.015404109327044804, 0.003490712084222153, -0.11799011114851989, -0.04831174258569753,
    0.49105594192797336, 0.7876411410286509, 0.33792942172816554, -0.07263752278637625,
    -0.021060292512370814, 0.04472490177078132, 0.0017677118642539836, -0.007800708325032377,
)  # fmt: skip
HALF_SUPPORT = len(SYM6) // 4  # pixels of the image that SYM6 reaches to each side, at twice the resolution


@lru_cache
def sym6(device: torch.device, dtype: torch.dtype) -> Tensor:
    """SYM6 scaled to unit sum, `[12]`."""
    with torch.inference_mode(False):  # cached tensors must serve autograd whoever asked first
        return torch.tensor(SYM6, dtype=torch.float64).div(math.sqrt(2)).to(device, dtype)


@lru_cache
def filter_bank(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Four zero-phase frequency bands that add up to the unit impulse, `[4, 43]`, lowest band first.

    With lo(z) = H(z) H(1/z) / 2 and hi(z) = H(-z) H(-1/z) / 2 of sym2 (lo + hi = 1), an octave splits into
    lo and hi, and its lower half again at twice the tap distance:
    band 3 = hi(z), band 2 = lo(z) hi(z^2), band 1 = lo(z) lo(z^2) hi(z^4), band 0 = lo(z) lo(z^2) lo(z^4).
    """
    with torch.inference_mode(False):
        h = torch.tensor(SYM2, dtype=torch.float64)
        lo = _convolve(h, h.flip(0)) / 2
        hi = (
            lo * torch.tensor([-1.0, 1.0]).repeat(4)[: len(lo)]
        )  # z -> -z; the centre tap, at 3, keeps its sign
        bank = torch.zeros(4, 43, dtype=torch.float64)
        lower = torch.ones(1, dtype=torch.float64)
        for level in range(3):
            _add_centred(bank[3 - level], _convolve(lower, _stretch(hi, 2**level)))
            lower = _convolve(lower, _stretch(lo, 2**level))
        _add_centred(bank[0], lower)
        return bank.to(device, dtype)


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    return F.conv1d(a[None, None], b.flip(0)[None, None], padding=len(b) - 1)[0, 0]


def _stretch(h: Tensor, factor: int) -> Tensor:
    """H(z^factor): the taps of h with factor - 1 zeros between them."""
    out = h.new_zeros((len(h) - 1) * factor + 1)
    out[::factor] = h
    return out


def _add_centred(row: Tensor, taps: Tensor) -> None:
    start = (len(row) - len(taps)) // 2
    row[start : start + len(taps)] += taps


def warp(images: Tensor, inverse: Tensor, margin: tuple[int, int] | None = None) -> Tensor:
    """Move images by an affine map between two sym6 filters at twice the resolution (appendix B, steps 33-47).

    images: `[B, C, H, W]`. inverse: `[B, 3, 3]`, output pixel -> input pixel, origin at the image centre, x to
    the right and y downwards. Beyond the image lies its mirror image, as far as one reflection goes, then zero.

    margin: mirrored pixels to add (left and right, top and bottom). None takes the fewest that give the picture
    of the largest margin (W - 1, H - 1), so that a sample's picture does not depend on the rest of its batch.
    At 64 px on CPU this halves the time. It reads `inverse` on the host: keep that on the CPU to avoid a device
    sync. Where shapes have to be fixed (CUDA graphs), take `theta_of` and `resample`.
    """
    height, width = images.shape[2:]
    margin = sufficient_margin(inverse, height, width) if margin is None else margin
    return resample(images, theta_of(inverse, height, width, margin), margin)


def theta_of(inverse: Tensor, height: int, width: int, margin: tuple[int, int]) -> Tensor:
    """The map of `warp` in the units of affine_grid, in which a canvas spans [-1, 1]: `[B, 2, 3]`."""
    # SYM6 is centred on tap 5, not 5.5: pixel i becomes 2i, half a fine pixel off its place, hence the 1/2.
    mx, my = margin
    to_fine = inverse.new_tensor([[2, 0, -0.5], [0, 2, -0.5], [0, 0, 1]])
    to_unit = torch.diag(inverse.new_tensor([1 / (width + 2 * mx), 1 / (height + 2 * my), 1]))
    from_unit = torch.diag(inverse.new_tensor([width + 2 * HALF_SUPPORT, height + 2 * HALF_SUPPORT, 1]))
    return (to_unit @ to_fine @ inverse @ torch.linalg.inv(to_fine) @ from_unit)[:, :2]


def resample(images: Tensor, theta: Tensor, margin: tuple[int, int]) -> Tensor:
    """`warp` by a map of `theta_of` of the same margin; it asks the host for nothing."""
    height, width = images.shape[2:]
    mx, my = margin
    like = {"device": images.device, "dtype": images.dtype}
    x = F.pad(images, (mx, mx, my, my), mode="reflect")
    x = ops.upfirdn2d(x, sym6(**like), up=2, padding=(6, 5, 6, 5), gain=4)  # input pixel i -> 2i
    rows, columns = 2 * (height + 2 * HALF_SUPPORT), 2 * (width + 2 * HALF_SUPPORT)
    grid = F.affine_grid(theta.to(**like), [len(x), x.shape[1], rows, columns], align_corners=False)
    return ops.upfirdn2d(bilinear(x, grid), sym6(**like), down=2, padding=(-1, -1, -1, -1), flip_filter=True)


def sufficient_margin(inverse: Tensor, height: int, width: int) -> tuple[int, int]:
    """Smallest mirror margin (x, y) beyond which the result of `warp` no longer changes, at most size - 1.

    The corners of the resampled canvas, moved back into the input, need half a pixel for bilinear
    interpolation and three for the up-sampling filter around them.
    """
    half = inverse.new_tensor([(width - 1) / 2, (height - 1) / 2])
    x, y = (half + HALF_SUPPORT).tolist()
    corners = inverse.new_tensor([[-x, x, -x, x], [-y, -y, y, y], [1, 1, 1, 1]])
    reach = (inverse @ corners)[:, :2].abs().amax(dim=(0, 2))
    mx, my = (reach + HALF_SUPPORT + 0.5 - half).ceil().int().tolist()
    return min(max(mx, 0), width - 1), min(max(my, 0), height - 1)


def bilinear(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear lookup, zero outside: `[B, C, H, W]` at grid `[B, h, w, 2]` in [-1, 1] -> `[B, C, h, w]`.

    Twice differentiable in `images`; PyTorch's own operator is so from 2.12 on. The grid gets no gradient.
    """
    if torch.__version__ >= "2.12":  # a TorchVersion: compares as a version, not as a string
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _Lookup.apply(images, grid)


class _Lookup(torch.autograd.Function):
    """y = A x, A the bilinear lookup at a fixed grid: linear, so its derivative is the adjoint, `_Scatter`."""

    @staticmethod
    def forward(ctx, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = x.shape[2:]
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx, *grad: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(grad[0], grid, ctx.size), None


class _Scatter(torch.autograd.Function):
    """x = A' y, the adjoint of `_Lookup`."""

    @staticmethod
    def forward(ctx, y: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        x = y.new_zeros(*y.shape[:2], *size)
        mask = [True, False]  # gradient of the image only
        return torch.ops.aten.grid_sampler_2d_backward(y.contiguous(), x, grid, 0, 0, False, mask)[0]

    @staticmethod
    def backward(ctx, *grad: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Lookup.apply(grad[0], grid), None, None
