"""Pretrained sources that ship with the package, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    import torch

    from stylegraft.checkpoints.source import Source


@dataclass(frozen=True)
class Shipped:
    """file: below this package; summary: one line for `stylegraft sources`; licence: of the weights."""

    file: str
    summary: str
    licence: str


FFHQ_DISTILLED = (
    "weights distilled from a generator trained on FFHQ (CC BY-NC-SA 4.0 data): non-commercial research only"
)

SOURCES: dict[str, Shipped] = {
    "faces-64": Shipped(
        file="data/faces-64.safetensors",
        summary="photographic faces, 64 px, MobileStyleGAN cut at its 64 px map, with a discriminator",
        licence=FFHQ_DISTILLED,
    ),
}


def source_path(name: str) -> Path:
    """Where a shipped source lies; raises StylegraftError when this installation lacks its file."""
    path = Path(__file__).parent / SOURCES[name].file
    if not path.is_file():
        raise StylegraftError(
            f"source {name!r}: its weights are not in this installation ({path}); reinstall stylegraft"
        )
    return path


def load_source(name_or_path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Source:
    """Load a source onto `device`, frozen and in eval mode: by its shipped name (`SOURCES`), from a file that
    `checkpoints.load` reads (ours, NVIDIA's .pkl, rosinality's .pt), or as `hf://OWNER/REPO/FILE@REVISION`.

    Raises StylegraftError with the nearest name for an unknown one, and with the cause for a file that is no
    source.
    """
    from stylegraft.checkpoints.hub import fetch, is_hub
    from stylegraft.checkpoints.loading import load

    text = os.fspath(name_or_path)
    if text in SOURCES:
        return load(source_path(text)).to(device)
    if is_hub(text):
        path, pinned = fetch(text)
        source = load(path)
        return replace(source, info={**source.info, "origin": pinned}).to(device)
    if os.path.lexists(text):
        return load(text).to(device)
    if Path(text).suffix or os.sep in text:
        raise StylegraftError(f"{text}: no such file; a source is a file or one of {', '.join(SOURCES)}")
    raise StylegraftError(
        f"source {text!r} is unknown{nearest(text, SOURCES)}; shipped sources: {', '.join(SOURCES)},"
        " or give the path of a .safetensors, .pkl or .pt"
    )
