"""Pairs (w, face) of the teacher: which train, which measure. `render.py` makes more of them, in the same format."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from stylegraft.data.pixels import to_float

PAIR_PSI = (
    0.85  # the first pairs were rendered at w_mean + 0.85 (w - w_mean); those of `render.py` say their psi
)
TRAINED = 4096  # pairs 0..4095 train; 4096..8191 only measure (and give the ten faces of the `pencil` set)


@dataclass(frozen=True)
class Pairs:
    """w [N, 512] already truncated by psi, images uint8 [N, 3, R, R]."""

    w: Tensor
    images: Tensor
    psi: float = PAIR_PSI

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(w, images in [-1, 1]) of the rows in `index`."""
        return self.w[index], to_float(self.images[index])

    def to(self, device: str) -> Pairs:
        """The same pairs on `device`, where an index may still be on the CPU."""
        return Pairs(self.w.to(device), self.images.to(device), self.psi)

    def rows(self, start: int, stop: int | None = None) -> Pairs:
        """The rows start..stop."""
        return Pairs(self.w[start:stop], self.images[start:stop], self.psi)


def load_set(folder: Path, resolution: int) -> Pairs:
    """All pairs of a folder with `faces128.zip` (or `faces256.zip`, for more than 128 px) and `latents.safetensors`,
    faces box-averaged to `resolution` px.
    """
    with safe_open(folder / "latents.safetensors", "pt") as file:
        psi = float((file.metadata() or {}).get("psi", PAIR_PSI))
        mean = file.get_tensor("w_mean")
        w = mean + psi * (file.get_tensor("w") - mean)
    with zipfile.ZipFile(folder / f"faces{max(resolution, 128)}.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".webp"))
        images = torch.stack([_thumbnail(archive.read(n), resolution) for n in names])
    return Pairs(w, images, psi)


def load_pairs(folders: Path | Sequence[Path], resolution: int) -> tuple[Pairs, Pairs]:
    """(training, held-out) pairs: the first folder is split at `TRAINED`, all of the others train."""
    first, *more = [folders] if isinstance(folders, Path) else folders
    given = load_set(first, resolution)
    extra = [load_set(folder, resolution) for folder in more]
    train = [given.rows(0, TRAINED), *extra]
    joined = Pairs(torch.cat([p.w for p in train]), torch.cat([p.images for p in train]), given.psi)
    return joined, given.rows(TRAINED)


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
