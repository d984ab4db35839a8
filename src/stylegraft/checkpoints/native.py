"""Our own source file: one `.safetensors` with a generator, its discriminator if any, and their configs.

Tensors are named `G.<parameter or buffer>` and `D.<...>`, stored as fp16 or fp32, always fp32 in memory.
Metadata: `format`, `format_version`, `library_version`, `config` (JSON of both architectures), `info` (JSON:
name, licence, card, ...), `digest`, and mostly `base`, the SHA-256 that domains on this source record, so that
a header is enough to tell a wrong one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stylegraft.checkpoints import headers, tensorfile
from stylegraft.checkpoints.building import build
from stylegraft.checkpoints.foreign import Values
from stylegraft.checkpoints.identity import base_digest
from stylegraft.checkpoints.opening import SNIFF, foreign_kind, opened
from stylegraft.checkpoints.pickles import printable
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

FORMAT = "stylegraft-source"
VERSIONS = range(1, 2)
_KEYS = {"format", "format_version", "library_version", "config", "info", "digest"}
_TEXTS = ("base", "config", "info")


def save_source(path: str | os.PathLike[str], source: Source, dtype: torch.dtype = torch.float16) -> None:
    """Write `source` atomically and reproducibly; `dtype` is float16 or float32.

    Raises StylegraftError when a value does not fit (beyond 65,504 in fp16, NaN) or the disk refuses.
    """
    source.generator.require_ordinary(os.fspath(path))
    networks: dict[str, nn.Module | None] = {"G": source.generator, "D": source.discriminator}
    tensors = {
        f"{letter}.{name}": tensor.to(dtype)
        for letter, network in networks.items()
        if network is not None
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise StylegraftError(
                f"{os.fspath(path)}: {name} does not fit {dtype} (NaN, infinite or too large)"
            )
    discriminator = source.discriminator.config if source.discriminator is not None else None
    configs = {"generator": source.generator.config, "discriminator": discriminator}
    info = {**source.info, "name": source.name}
    metadata = {
        "base": base_digest(source.generator, dtype),
        "config": tensorfile.to_json(configs, "the config"),
        "info": tensorfile.to_json(info, "the info"),
    }
    metadata["digest"] = tensorfile.digest(tensors, metadata)
    tensorfile.write(path, tensors, metadata | tensorfile.stamp(FORMAT, VERSIONS))


def load(path: str | os.PathLike[str]) -> Source:
    """Read a source file written by `save_source` into fp32 networks on the CPU, frozen and in eval mode.

    Raises StylegraftError when the file is anything else, damaged, or from a newer version; never loads half.
    """
    shown = os.fspath(path)
    try:
        metadata = headers.read_metadata(path)
    except StylegraftError as error:
        raise _not_a_source(path, error) from error
    if metadata.get("format") == "stylegraft-domain":
        raise StylegraftError(
            f"{shown}: a domain file, not a source: name the source it stands on, e.g."
            f" `stylegraft sample {shown}`, or in Python source.with_domain(Domain.load(...))"
        )
    tensorfile.require_format(path, metadata, FORMAT, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    unknown = sorted((metadata.keys() - {"base"}) ^ _KEYS)
    if unknown:
        what = f"metadata '{printable(unknown[0])}' is missing or unknown to this version"
        raise StylegraftError(f"{shown}: {what}")
    texts = {key: metadata[key] for key in _TEXTS if key in metadata}
    tensorfile.require_digest(path, metadata["digest"], tensorfile.digest(tensors, texts))
    tensorfile.require_finite(path, tensors)
    configs = headers.from_json(metadata["config"], path, "its config")
    info = headers.from_json(metadata["info"], path, "its info")
    stray = sorted(name for name in tensors if not name.startswith(("G.", "D.")))
    if stray:
        raise StylegraftError(f"{shown}: unknown tensor '{printable(stray[0])}'; names start with G. or D.")
    generator = build(shown, build_generator, configs.get("generator"), _of(tensors, "G."), "G")
    discriminator = None
    if configs.get("discriminator") is not None:
        discriminator = build(shown, build_discriminator, configs["discriminator"], _of(tensors, "D."), "D")
    elif any(name.startswith("D.") for name in tensors):
        raise StylegraftError(f"{shown}: discriminator tensors without a discriminator config")
    return Source(str(info.get("name") or Path(path).stem), generator, discriminator, info)


def _of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Values]:
    """The tensors of one network, under its own names."""
    return {
        name.removeprefix(prefix): Values(tensor.numpy())
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _not_a_source(path: str | os.PathLike[str], error: StylegraftError) -> StylegraftError:
    """Say what was given instead of a source, and what would be one."""
    try:
        with opened(path)[0] as file:
            kind = foreign_kind(file.read(SNIFF))
    except (OSError, StylegraftError):
        return error
    if kind is None:
        return error
    return StylegraftError(
        f"{os.fspath(path)}: {kind}, not a source; `stylegraft sources` lists the shipped ones"
    )
