"""Mixed precision, as StyleGAN2-ADA has it: the blocks of the four highest resolutions compute in 16 bits, all else in
float32.

Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (implementation details). What
stays in float32: weights, mapping, styles and demodulation, the running image, D's last layers, and every output. A
layer computes in the type of the maps that it gets and takes its weights to it, so that nothing here is asked in a
backward pass. float16 ends at 65,504, so there (`ops`) styles and kernels are over their largest entry before the
product, which the demodulation takes back, and maps are held: by the network's own clamp, the paper's 256, or by
`ops.BOUND` where it was trained without, whose maps may be larger. bfloat16 has float32's range and needs neither. No
loss is scaled, as in the paper (benchmarks/results/precision.json: the gradients' directions are float32's).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch

from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.contexts import holding

PRECISIONS: dict[str, torch.dtype | None] = {
    "fp32": None,
    "tf32": None,  # float32 everywhere, of which the matrix units of NVIDIA's GPUs read 19 bits
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
TOP = 4  # resolutions that compute in 16 bits

_HALF: ContextVar[torch.dtype | None] = ContextVar("half", default=None)


@contextmanager
def computing(precision: str) -> Iterator[None]:
    """Inside, networks compute so; "fp32" leaves torch as it is, which on CUDA lets convolutions use TF32.

    Raises StylegraftError for a name that is not in `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise StylegraftError(f"precision {precision!r}{nearest(precision, PRECISIONS)}; expected {known}")
    with holding(_HALF, PRECISIONS[precision]), _tf32() if precision == "tf32" else nullcontext():
        yield


@contextmanager
def _tf32() -> Iterator[None]:
    """Inside, matrix products and convolutions on CUDA use TF32; torch's own switches come back after it."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # pyright: ignore
    before = products.fp32_precision, convolutions.fp32_precision
    products.fp32_precision = convolutions.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision, convolutions.fp32_precision = before


def half() -> torch.dtype | None:
    """The type of 16 bits in which the highest resolutions compute now; None: they do not."""
    return _HALF.get()


def half_blocks(resolution: int) -> tuple[int, ...]:
    """The resolutions that may: the four highest, but not 4 px."""
    return tuple(r for r in (resolution >> i for i in range(TOP)) if r > 4)
