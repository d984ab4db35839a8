"""A small convolutional network of random weights: what tests and dry runs look through. It measures nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.encoders.protocol import Frozen, fill, resize
from stylegraft.errors import StylegraftError

CHANNELS = (3, 16, 32, 64)
SEED = 0


class RandomTiny(Frozen):
    """`random-tiny`: three convolutions of stride 2 at 32 px, their mean, 64 numbers an image."""

    name = "random-tiny"
    dim = CHANNELS[-1]
    size = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in pairwise(CHANNELS))
        # numpy's uniform numbers are the same bits on every machine, so the digest is too
        rng = np.random.default_rng(SEED)
        tensors = {}
        for key, value in self.state_dict().items():
            bound = np.float32((6 / value[0].numel()) ** 0.5) if value.ndim > 1 else np.float32(0.1)
            uniform = rng.random(tuple(value.shape), np.float32)
            tensors[key] = torch.from_numpy((uniform * np.float32(2) - np.float32(1)) * bound)
        self.digest = fill(self, tensors, self.name)
        self.freeze()

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, 32, 32], the values as they are."""
        return resize(images.expand(-1, 3, -1, -1), self.size)

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> features [B, 64]."""
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return x.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> features [B, 64]."""
        return self.encode(self.preprocess(images))


def load_random(where: str = "", device: torch.device | str = "cpu") -> RandomTiny:
    """The encoder; raises StylegraftError for a path, since it has no file."""
    if where:
        raise StylegraftError(
            f"random-tiny:{where}: its weights come from a seed; expected random-tiny alone"
        )
    return RandomTiny().to(device)
