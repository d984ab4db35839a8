"""The judge of text-guided results: which style and tint a face wears, by linear maps on frozen VGG16 features.

It shares neither network nor training pictures with the guide `sprig`, nor with any CLIP. `tools/build_sprig/probe.py`
fits it; its accuracy on faces it has not seen is in `benchmarks/results/sprig.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stylegraft.checkpoints import tensorfile
from stylegraft.encoders.protocol import resize
from stylegraft.encoders.sprig import moments
from stylegraft.encoders.vgg16 import VGG16, load_vgg16, normalise

TAPS = (2, 7, 14, 21)  # relu1_2, relu2_2, relu3_3, relu4_3
SIZE = 64
WEIGHTS = Path(__file__).with_name("style_probe.safetensors")


@torch.no_grad()
def seen(vgg: VGG16, images: Tensor) -> Tensor:
    """Mean and deviation of each tap [N, 1920] of images [N, 3, R, R] in [-1, 1], looked at in 64 px."""
    rows = []
    for few in images.split(64):
        maps = vgg.trunk(normalise(resize(few, SIZE)), TAPS)
        rows.append(torch.cat([part for x in maps for part in moments(x)], 1))
    return torch.cat(rows)


class Probe:
    """heads: {`style`: its classes, `tint`: its classes}."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        tensors, metadata = tensorfile.read(path)
        self.heads: dict[str, list[str]] = json.loads(metadata["heads"])
        self.tensors = {key: value.float() for key, value in tensors.items()}
        self.vgg = load_vgg16()

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """{head: probabilities [N, classes]} of images [N, 3, R, R] in [-1, 1]."""
        x = (seen(self.vgg, images) - self.tensors["mean"]) * self.tensors["scale"]
        return {
            head: (x @ self.tensors[f"{head}.weight"].T + self.tensors[f"{head}.bias"]).softmax(1)
            for head in self.heads
        }

    def share(self, found: Mapping[str, Tensor], head: str, name: str) -> float:
        """Share of images, of which these are the probabilities, whose likeliest class it is."""
        return (found[head].argmax(1) == self.heads[head].index(name)).float().mean().item()
