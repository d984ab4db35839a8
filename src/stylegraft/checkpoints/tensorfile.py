"""The container of our own files: safetensors, written reproducibly and read with suspicion.

`safetensors` promises sane offsets and runs no code, but it writes metadata in the order of a randomised hash
map (the same content gives different bytes in every process) and promises no integrity: a flipped byte in a
tensor loads silently. So the header is written here, sorted, and a SHA-256 over the content travels in the
metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from stylegraft.atomic import write_bytes
from stylegraft.checkpoints.headers import MAX_HEADER, open_file
from stylegraft.checkpoints.pickles import printable
from stylegraft.errors import StylegraftError
from stylegraft.version import __version__


class NewerVersion(StylegraftError):
    """A file of a version that this release does not know yet: whole, and no reason to take another in its place."""


_DTYPES = {torch.float16: "F16", torch.float32: "F32"}


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values in row-major order, little-endian, whatever the memory layout and device."""
    array = tensor.detach().cpu().contiguous().numpy()
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """SHA-256 over every tensor (name, dtype, shape, values; sorted by name) and the texts that give them meaning."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name}\0{_DTYPES[tensor.dtype]}\0{list(tensor.shape)}\0".encode())
        sha.update(tensor_bytes(tensor))
    for key in sorted(texts):
        sha.update(f"{key}\0{texts[key]}\0".encode())
    return sha.hexdigest()


def to_json(value: Any, what: str) -> str:
    """Canonical one-line JSON (sorted keys, ASCII, no NaN); raises StylegraftError naming `what` when it cannot be."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StylegraftError(f"{what} cannot be written as JSON: {error}") from error


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write fp16/fp32 tensors and string metadata atomically; equal content gives equal bytes, on every machine.

    Tensors stand in the order (widest dtype, name), as the safetensors format asks; metadata is sorted by
    key. previous: where the file that stood there is kept (`atomic.replacing`).
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": {key: metadata[key] for key in sorted(metadata)}}
    start = 0
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _DTYPES:
            raise StylegraftError(
                f"{os.fspath(path)}: {name} is {tensor.dtype}; only float16 and float32 are stored"
            )
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise StylegraftError(
            f"{os.fspath(path)}: a header of {len(text):,} bytes is above the limit of {MAX_HEADER:,}"
        )

    def chunks() -> Iterator[bytes]:
        yield len(text).to_bytes(8, "little") + text
        for name in order:
            yield tensor_bytes(tensors[name])

    write_bytes(path, chunks(), previous)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of ours into (tensors, metadata) on the CPU; symlinks are followed.

    Raises StylegraftError when the file is missing, of another kind, truncated, longer than its header says,
    has an unreasonable header, or holds a dtype other than fp16/fp32. Reads no tensor before the header makes
    sense.
    """
    metadata, _, data = open_file(path, whole=True)
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        why = printable(str(error), 200)
        raise StylegraftError(f"{os.fspath(path)}: damaged safetensors file ({why})") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise StylegraftError(
                f"{os.fspath(path)}: {printable(name)} is {tensor.dtype}, expected float16 or float32"
            )
    return tensors, metadata


def stamp(name: str, versions: range) -> dict[str, str]:
    """The metadata that says what a file is: `format`, its newest `format_version`, `library_version`."""
    return {"format": name, "format_version": str(versions[-1]), "library_version": __version__}


def require_format(
    path: str | os.PathLike[str], metadata: Mapping[str, str], expected: str, versions: range
) -> None:
    """Refuse another kind of file and versions this release cannot read, in one line that says what it is."""
    shown, found = os.fspath(path), metadata.get("format")
    if found != expected:
        what = f"a {printable(found)} file" if found else "a safetensors file without stylegraft metadata"
        raise StylegraftError(f"{shown}: {what}, expected a {expected} file")
    version = metadata.get("format_version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 9):
        raise StylegraftError(f"{shown}: format_version is '{printable(version)}', expected a whole number")
    if int(version) not in versions:
        newest = versions[-1]
        if int(version) > newest:
            writer = printable(metadata.get("library_version", "unknown"))
            raise NewerVersion(
                f"{shown}: {expected} version {version} was written by a newer stylegraft"
                f" ({writer}); this one reads up to {newest}: upgrade stylegraft"
            )
        raise StylegraftError(f"{shown}: {expected} version {version} does not exist")


def require_digest(path: str | os.PathLike[str], stored: str | None, computed: str) -> None:
    """Refuse content that is not what was written."""
    if stored != computed:
        what = f"stored {printable(str(stored), 12)}, content {computed[:12]}"
        raise StylegraftError(
            f"{os.fspath(path)}: digest mismatch ({what}): the file was damaged or edited; fetch or make it again"
        )


def require_finite(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> None:
    """Refuse NaN and infinity, naming the tensor."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor.detach().cpu().numpy()).all():  # torch.isfinite takes ten times as long
            raise StylegraftError(
                f"{os.fspath(path)}: {printable(name)} holds NaN or infinity; the run that wrote it diverged"
            )
