"""Frozen networks that look at images: features for metrics, LPIPS, and where their weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from stylegraft.encoders.table import DISTANCES, ENCODERS
from stylegraft.errors import StylegraftError, nearest
from stylegraft.lazy import lookup

if TYPE_CHECKING:
    import torch

    from stylegraft.encoders.protocol import Encoder, TextEncoder

__all__ = ["ENCODERS", "Encoder", "TextEncoder", "load_encoder"]

__getattr__ = lookup(__name__, {"protocol": ("Encoder", "TextEncoder")})


def split(name: str, table: Mapping[str, object] = ENCODERS) -> tuple[str, str]:
    """`clip:/my/folder` -> (`clip`, `/my/folder`); raises StylegraftError for a kind that is not in the table."""
    kind, _, where = name.partition(":")
    if kind in DISTANCES and kind not in table:
        raise StylegraftError(
            f"{kind} is a distance between two images and has no features; of each image look: {', '.join(ENCODERS)}"
        )
    if kind not in table:
        hint = nearest(kind, [*ENCODERS, *DISTANCES])
        raise StylegraftError(f"encoder {kind!r} is unknown; there are: {', '.join(table)}{hint}")
    return kind, where


def load_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """Encoder by name, its weights where `stylegraft encoders` says, or `NAME:WHERE` with a path or a name of the hub.

    Raises StylegraftError for an unknown name or missing weights, never substitutes.
    """
    kind, where = split(name)
    module, function = ENCODERS[kind].loader.split(":")
    return getattr(import_module(f"stylegraft.encoders.{module}"), function)(where=where, device=device)
