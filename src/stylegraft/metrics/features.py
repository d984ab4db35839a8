"""Features of a set of images, whatever the batch they came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.encoders.protocol import Encoder
from stylegraft.errors import StylegraftError


def features(
    encoder: Encoder, images: Tensor | Iterable[Tensor], batch: int = 32, device: torch.device | str = "cpu"
) -> Tensor:
    """Features [N, D], float32 on the CPU, of images [N, 1 or 3, H, W] or of an iterable of such batches.

    uint8 images are 0..255; float images are [-1, 1] and are rounded to the 256 levels first, as a saved file
    would be, so that generated and loaded images are measured alike. The result depends neither on `batch`
    nor on how the iterable is cut.
    Raises StylegraftError for no images, wrong shapes, or values that are not finite.
    """
    out = []
    with torch.no_grad():
        for part in _rebatch([images] if isinstance(images, Tensor) else images, batch):
            out.append(encoder.encode(encoder.preprocess(levels(part.to(device)))).float().cpu())
    if not out:
        raise StylegraftError("features: there are no images")
    return torch.cat(out)


def levels(images: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]; float images clamped and rounded to the same 256 levels."""
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise StylegraftError(f"images of type {images.dtype}, expected uint8 (0..255) or float (-1..1)")
    if not torch.isfinite(images).all():
        raise StylegraftError("images hold values that are not finite")
    return to_float(to_uint8(images))


def _rebatch(parts: Iterable[Tensor], batch: int) -> Iterator[Tensor]:
    """Batches of exactly `batch` images, the last one shorter."""
    waiting: list[Tensor] = []
    count = 0
    for part in parts:
        if part.ndim != 4 or part.shape[1] not in (1, 3):
            raise StylegraftError(f"images of shape {list(part.shape)}, expected [N, 1 or 3, H, W]")
        waiting.append(part)
        count += len(part)
        if count >= batch:
            ready = torch.cat(waiting)
            whole = count - count % batch
            yield from ready[:whole].split(batch)
            waiting, count = [ready[whole:]], count - whole
    if count:
        yield torch.cat(waiting)
