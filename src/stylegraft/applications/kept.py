"""What belongs to one generator and is kept in a small file: codes, directions.

A safetensors with a JSON config, in which the digest of the base stands; all of it is checked when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stylegraft.checkpoints import headers, tensorfile
from stylegraft.checkpoints.identity import base_digest
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

VERSIONS = range(1, 2)


def write(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    generator: Generator,
) -> None:
    """Write a file `stylegraft-<kind>` atomically; `generator` is the base that its content belongs to."""
    tensors = {name: tensor.detach().float() for name, tensor in tensors.items()}
    tensorfile.require_finite(path, tensors)
    text = tensorfile.to_json({**config, "base": base_digest(generator)}, f"what is known about the {kind}")
    metadata = {"config": text, "digest": tensorfile.digest(tensors, {"config": text})}
    tensorfile.write(path, tensors, metadata | tensorfile.stamp(f"stylegraft-{kind}", VERSIONS))


def read(
    path: str | os.PathLike[str], kind: str, generator: Generator | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors in fp32, config) of a file of this kind on `generator`; None: on whichever, to look at it.

    Raises StylegraftError naming the file and the fault, another base among them.
    """
    shown, form = os.fspath(path), f"stylegraft-{kind}"
    tensorfile.require_format(path, headers.read_metadata(path), form, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    text = metadata.get("config", "")
    tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, {"config": text}))
    tensorfile.require_finite(path, tensors)
    config = headers.from_json(text, path, "its config")
    if generator is not None and config.get("base") != (found := base_digest(generator)):
        wanted = str(config.get("base"))[:12]
        raise StylegraftError(
            f"{shown}: {kind} of the generator of sha256 {wanted}, this one is {found[:12]}; they do not move between"
            " generators"
        )
    return {name: tensor.float() for name, tensor in tensors.items()}, config


def info_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the content; empty where a config holds something else."""
    info = config.get("info")
    return dict(info) if isinstance(info, dict) else {}
