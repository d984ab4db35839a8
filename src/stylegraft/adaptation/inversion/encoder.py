"""An encoder that guesses a photo's code at once, for an inversion to start from.

A small convolutional network looks at the image and gives one w for each level of the generator: coarse, middle and
fine rows, as pSp's maps do (Richardson et al., "Encoding in Style", CVPR 2021), at a hundredth of its size. It is
trained on the source's own samples (`tools/build_faces/encoder.py`), belongs to that one source, and lies beside it:
`sources/data/NAME-encoder.safetensors`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft import sources
from stylegraft.checkpoints import headers, tensorfile
from stylegraft.checkpoints.identity import base_digest
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator
from stylegraft.sources import SOURCES

FORMAT = "stylegraft-inversion-encoder"
VERSIONS = range(1, 2)
LEVELS = (16, 64)  # px: layers that read maps below 16 px are coarse, below 64 px middle, the others fine
WIDTHS = (32, 64, 128, 192)  # channels after each halving of the image
SEEN = 32  # channels that the head reads, at each of 4x4 places


def row_sizes(generator: Generator) -> list[int]:
    """For each row of W+ the side of the map that its layer reads, in px; of a row that a toRGB shares, the other's."""
    sizes: dict[int, int] = {}
    before = generator.layers[0].resolution
    for layer in generator.layers:
        if layer.kind != "torgb":
            sizes[layer.row], before = before, layer.resolution
    for layer in generator.layers:
        sizes.setdefault(layer.row, layer.resolution)
    return [sizes[row] for row in range(generator.num_ws)]


def levels(generator: Generator) -> list[int]:
    """For each row of W+ its level: 0 coarse, 1 middle, 2 fine."""
    return [sum(size >= limit for limit in LEVELS) for size in row_sizes(generator)]


class Encoder(nn.Module):
    """Images [B, C, R, R] in [-1, 1], R a power of two from 32 on, to w of each level in units of w's deviation."""

    def __init__(self, resolution: int, channels: int, w_dim: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(resolution // 64) if resolution > 64 else nn.Identity()
        stages, width = [], channels
        for out in WIDTHS:
            stages += [nn.Conv2d(width, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out)]
            stages += [nn.LeakyReLU(0.2), Block(out) if out < WIDTHS[-1] else nn.Identity()]
            width = out
        self.look = nn.Sequential(*stages, nn.Conv2d(width, SEEN, 1), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(SEEN * 16, (len(LEVELS) + 1) * w_dim)
        nn.init.zeros_(self.head.bias)
        self.head.weight.data *= 0.1
        self.w_dim = w_dim

    def forward(self, images: Tensor) -> Tensor:
        """[B, levels, w_dim]: how far w lies from its mean."""
        return self.head(self.look(self.pool(images))).unflatten(1, (-1, self.w_dim))


class Block(nn.Module):
    """x + conv(x), normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        return x + nn.functional.leaky_relu(self.norm(self.conv(x)), 0.2)


def encoder_path(name: str) -> Path:
    """Where the encoder of a shipped source lies, if it has one."""
    return Path(sources.__file__).parent / "data" / f"{name}-encoder.safetensors"


def find_encoder(generator: Generator) -> Path | None:
    """The encoder that ships for exactly this generator, or None."""
    mark = None
    for name in SOURCES:
        if not (path := encoder_path(name)).is_file():
            continue
        mark = mark or base_digest(generator)
        if headers.read_metadata(path).get("base") == mark:
            return path
    return None


def save_encoder(
    path: str | os.PathLike[str],
    encoder: Encoder,
    generator: Generator,
    scale: Tensor,
    config: dict[str, Any],
) -> None:
    """Write the file in fp16; scale [w_dim]: the deviation of w that the encoder's numbers are in."""
    tensors = {
        name: t for name, t in encoder.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    tensors = {name: t.half() for name, t in {**tensors, "scale": scale}.items()}
    tensorfile.require_finite(path, tensors)
    metadata = {"config": tensorfile.to_json(config, "the encoder's config"), "base": base_digest(generator)}
    metadata["digest"] = tensorfile.digest(tensors, metadata)
    tensorfile.write(path, tensors, metadata | tensorfile.stamp(FORMAT, VERSIONS))


def load_encoder(path: str | os.PathLike[str], generator: Generator) -> tuple[Encoder, Tensor]:
    """The encoder and its scale; raises StylegraftError for a damaged file and for another source's."""
    tensorfile.require_format(path, headers.read_metadata(path), FORMAT, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    texts = {key: metadata.get(key, "") for key in ("config", "base")}
    tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, texts))
    if texts["base"] != base_digest(generator):
        raise StylegraftError(
            f"{os.fspath(path)}: the encoder of another source (sha256 {texts['base'][:12]})"
        )
    tensors = {name: t.float() for name, t in tensors.items()}
    scale = tensors.pop("scale")
    encoder = Encoder(generator.resolution, generator.img_channels, generator.w_dim)
    encoder.load_state_dict(tensors, strict=False)
    return encoder.eval().requires_grad_(False), scale


@torch.no_grad()
def guess(path: str | os.PathLike[str], generator: Generator, images: Tensor) -> Tensor:
    """Rows of W+ [B, num_ws, w_dim] for images [B, C, R, R] in [-1, 1]."""
    encoder, scale = load_encoder(path, generator)
    w = generator.mapping.w_avg + scale.to(images) * encoder.to(images.device)(images)
    return w[:, levels(generator)]
