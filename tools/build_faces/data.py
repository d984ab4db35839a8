"""Pairs (w, 64 px face) of the teacher: which train, which measure, and how to make more."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

PAIR_PSI = 0.85  # the pairs were rendered at w_mean + 0.85 (w - w_mean)
TRAINED = 4096  # pairs 0..4095 train; 4096..8191 only measure (and give the ten faces of the `pencil` set)


@dataclass(frozen=True)
class Pairs:
    """w [N, 512] already truncated, images uint8 [N, 3, R, R]."""

    w: Tensor
    images: Tensor

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(w, images in [-1, 1]) of the rows in `index`."""
        return self.w[index], self.images[index].float() / 127.5 - 1


def load_pairs(folder: Path, resolution: int) -> tuple[Pairs, Pairs]:
    """Training and held-out pairs; the 128 px faces are box-averaged to `resolution` (64 or 128)."""
    latents = load_file(folder / "latents.safetensors")
    w = latents["w_mean"] + PAIR_PSI * (latents["w"] - latents["w_mean"])
    with zipfile.ZipFile(folder / "faces128.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".webp"))
        images = torch.stack([_thumbnail(archive.read(n), resolution) for n in names])
    return Pairs(w[:TRAINED], images[:TRAINED]), Pairs(w[TRAINED:], images[TRAINED:])


def _thumbnail(encoded: bytes, resolution: int) -> Tensor:
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    if picture.width != resolution:
        picture = picture.resize((resolution, resolution), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def epoch_batches(count: int, batch: int, step: int, seed: int = 0) -> Tensor:
    """Rows of the `step`-th batch of an endless shuffled pass; a function of its arguments alone, so it resumes."""
    per_epoch = count // batch
    epoch, position = divmod(step, per_epoch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    return order[position * batch : (position + 1) * batch]
