"""Frozen networks that look at images: features for metrics, LPIPS, and where their weights come from."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch

from stylegraft.encoders.protocol import Encoder
from stylegraft.errors import StylegraftError, nearest

__all__ = ["ENCODERS", "Encoder", "load_encoder"]

# name that metrics carry -> module : loader(device=...)
ENCODERS = {
    "vgg16": "vgg16:load_vgg16",  # relu5_3 mean, 512-d, 128 px
    "effnet-lite0": "efficientnet:load_effnet",  # pooled head, 1280-d, 224 px
}


def load_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """Encoder by name; raises StylegraftError for an unknown name or missing weights, never substitutes."""
    if name not in ENCODERS:
        raise StylegraftError(
            f"encoder {name!r} is unknown; there are: {', '.join(ENCODERS)}{nearest(name, ENCODERS)}"
        )
    module, function = ENCODERS[name].split(":")
    loader: Callable[..., Encoder] = getattr(import_module(f"stylegraft.encoders.{module}"), function)
    return loader(device=device)
