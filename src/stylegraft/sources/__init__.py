"""Pretrained sources by name: those that ship with the package, and those made of an asset."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.checkpoints import assets
from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    import torch

    from stylegraft.checkpoints.source import Source


@dataclass(frozen=True)
class Shipped:
    """file: below this package, or asset: whose weights it is made of (`stylegraft assets get`); resolution: of its
    images; summary: one line for `stylegraft sources`; licence: of the weights."""

    summary: str
    licence: str
    resolution: int
    file: str = ""
    asset: str = ""


FFHQ_DISTILLED = (
    "weights distilled from a generator trained on FFHQ (CC BY-NC-SA 4.0 data): non-commercial research only"
)

SOURCES: dict[str, Shipped] = {
    "faces-64": Shipped(
        file="data/faces-64.safetensors",
        summary="photographic faces, 64 px, MobileStyleGAN cut at its 64 px map, with a discriminator",
        licence=FFHQ_DISTILLED,
        resolution=64,
    ),
    "faces-128": Shipped(
        file="data/faces-128.safetensors",
        summary="photographic faces, 128 px, MobileStyleGAN cut at its 128 px map, with a discriminator",
        licence=FFHQ_DISTILLED,
        resolution=128,
    ),
    "stylegan2-faces-64": Shipped(
        file="data/stylegan2-faces-64.safetensors",
        summary="photographic faces, 64 px, a StyleGAN2 on the mapping network of faces-64, with a discriminator",
        licence=FFHQ_DISTILLED,
        resolution=64,
    ),
    "mobile-faces-1024": Shipped(
        asset="mobile",
        summary="photographic faces, 1024 px, the whole MobileStyleGAN of `stylegraft assets get mobile`",
        licence=FFHQ_DISTILLED,
        resolution=1024,
    ),
}


def source_path(name: str) -> Path:
    """Where the weights of a named source lie; raises StylegraftError, saying how to get them, when nowhere."""
    if SOURCES[name].asset:
        return assets.find(SOURCES[name].asset)
    path = Path(__file__).parent / SOURCES[name].file
    if not path.is_file():
        raise StylegraftError(
            f"source {name!r}: its weights are not in this installation ({path}); reinstall stylegraft"
        )
    return path


def made_of(name: str, row: Shipped) -> Source:
    """The source whose generator is an asset; it has no discriminator."""
    from stylegraft.checkpoints.mobile_faces import mobile_faces
    from stylegraft.checkpoints.source import Source

    generator = mobile_faces(assets.tensors(row.asset), row.resolution)
    return Source(name, generator, None, {"licence": row.licence, "asset": row.asset})


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
        row = SOURCES[text]
        return (made_of(text, row) if row.asset else load(source_path(text))).to(device)
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
