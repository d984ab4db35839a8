"""What every image encoder offers, and the three helpers that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints.assets import digest
from stylegraft.errors import StylegraftError


@runtime_checkable
class Encoder(Protocol):
    """A frozen network that looks at images; metrics carry its `name`, reports its `digest`."""

    name: str
    digest: str
    dim: int

    def preprocess(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1], any size, to what `encode` takes; differentiable."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images to features [B, dim], each image on its own; differentiable."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that reads too: sentences land in the space of its image features."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences to features [T, dim], not normalised."""
        ...


class Frozen(nn.Module):
    """Base of our networks here: no parameter takes a gradient and `train()` has no effect."""

    name: str
    digest: str

    def freeze(self) -> None:
        """Last call of a constructor: evaluation mode, no gradients to weights, channels_last kernels."""
        self.requires_grad_(False).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """No effect: an encoder is part of a larger module now and then, and stays frozen there."""
        return self


def resize(images: Tensor, size: int) -> Tensor:
    """Bilinear resize to size x size, antialiased when it shrinks; the very same tensor at that size."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> str:
    """Copy weights into a module, all of them and nothing else; returns their digest.

    Raises StylegraftError that names the first missing, surplus, ill-shaped or non-finite tensor.
    """
    own = module.state_dict()
    for key, value in own.items():
        if key not in tensors:
            raise StylegraftError(f"{name} weights: no tensor {key!r}; found {len(tensors)} others")
        if tensors[key].shape != value.shape:
            raise StylegraftError(
                f"{name} weights: {key!r} is {list(tensors[key].shape)}, expected {list(value.shape)}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise StylegraftError(f"{name} weights: {key!r} holds values that are not finite")
    if surplus := sorted(set(tensors) - set(own)):
        raise StylegraftError(f"{name} weights: unknown tensor {surplus[0]!r}")
    module.load_state_dict(dict(tensors))
    return digest(tensors)
