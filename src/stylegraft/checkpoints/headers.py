"""The header of our own files, read with suspicion and without torch: length, JSON, and that the file has its size."""

from __future__ import annotations

import json
import os
from typing import Any

from stylegraft.checkpoints.opening import KNOWN, SNIFF, foreign_kind, opened
from stylegraft.checkpoints.pickles import printable
from stylegraft.errors import StylegraftError

MAX_HEADER = 4 << 20  # bytes; the header of a 1024-px generator with its discriminator takes tens of KB


def from_json(text: str, path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Parse a JSON object found in a file; duplicate keys, NaN, and anything but an object are refused."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StylegraftError(f"{os.fspath(path)}: {what} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise StylegraftError(
            f"{os.fspath(path)}: {what} should be a JSON object, found {type(value).__name__}"
        )
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the name '{printable(twice)}' appears twice")
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def open_file(path: str | os.PathLike[str], *, whole: bool) -> tuple[dict[str, str], list[str], bytes]:
    """Check size and header; returns the metadata, the names of the tensors and, if `whole`, every byte of the file."""
    shown = os.fspath(path)
    file, size = opened(path)
    with file:
        try:
            prefix = file.read(SNIFF)
            file.seek(8)
            metadata, names, size = _header(shown, file.read, prefix, size)
            file.seek(0)
            data = file.read(size) if whole else b""
        except OSError as error:
            raise StylegraftError(f"{shown}: cannot be read: {error.strerror or error}") from error
    return metadata, names, data


def _header(shown: str, more: Any, prefix: bytes, size: int) -> tuple[dict[str, str], list[str], int]:
    """Validate length, JSON and total size; returns (metadata, names of tensors, file size)."""
    kind = foreign_kind(prefix)
    if kind:
        raise StylegraftError(f"{shown}: {kind}, expected a .safetensors file written by stylegraft")
    length = int.from_bytes(prefix[:8], "little")
    if len(prefix) < 9 or length < 2:
        raise StylegraftError(f"{shown}: not a safetensors file (its first bytes are {prefix!r})")
    if length > MAX_HEADER:
        raise StylegraftError(
            f"{shown}: not one of our files: it announces a header of {length:,} bytes, the limit is {MAX_HEADER:,};"
            f" stylegraft reads {KNOWN}"
        )
    if 8 + length > size:
        raise StylegraftError(
            f"{shown}: truncated: {size:,} bytes, its header alone should have {8 + length:,}"
        )
    try:
        text = more(length).decode("utf-8")
    except UnicodeDecodeError as error:
        raise StylegraftError(f"{shown}: not a safetensors file (its header is not text)") from error
    header = from_json(text, shown, "its safetensors header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise StylegraftError(f"{shown}: the safetensors metadata should map names to text")
    try:
        expected = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (TypeError, KeyError, IndexError) as error:
        raise StylegraftError(f"{shown}: damaged safetensors header (an entry without offsets)") from error
    if not isinstance(expected, int) or abs(expected) > 1 << 60:
        raise StylegraftError(f"{shown}: damaged safetensors header (offsets that are not whole numbers)")
    if size < expected:
        raise StylegraftError(f"{shown}: truncated: {size:,} bytes, its header announces {expected:,}")
    if size > expected:
        raise StylegraftError(
            f"{shown}: {size - expected:,} bytes too long: its header announces {expected:,}"
        )
    return metadata, sorted(header), size


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata alone, after the checks of the header; costs no tensor."""
    return open_file(path, whole=False)[0]


def tensor_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the tensors alone, after the same checks."""
    return open_file(path, whole=False)[1]
