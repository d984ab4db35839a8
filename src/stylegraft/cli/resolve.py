"""What did the user name: a shipped source, a source file, a domain file or a run folder? Without importing torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stylegraft.errors import StylegraftError, nearest

Kind = Literal["source", "domain", "run"]
FORMATS: dict[str, Kind] = {"stylegraft-source": "source", "stylegraft-domain": "domain"}


@dataclass(frozen=True)
class Found:
    """kind: what it is; path: its file (of a run: its domain file); metadata: the text in the file's header."""

    kind: Kind
    path: Path
    metadata: dict[str, str]

    def says(self, *keys: str) -> Any:
        """What the header says at these keys: the first names a text of JSON, the rest lead into it."""
        try:
            value = json.loads(self.metadata[keys[0]])
            for key in keys[1:]:
                value = value[key]
        except (KeyError, ValueError, TypeError, RecursionError):
            raise StylegraftError(
                f"{self.path}: damaged {self.kind}: no {'.'.join(keys)} in its header"
            ) from None
        return value


def find(text: str, wanted: Sequence[Kind]) -> Found:
    """Resolve a name or path; raises StylegraftError when it is nothing, or none of `wanted`."""
    from stylegraft.sources import SOURCES, source_path

    path = Path(text)
    if text in SOURCES:
        found = Found("source", source_path(text), header(source_path(text)))
    elif path.is_dir():
        found = run_folder(path)
    elif path.exists():
        metadata = header(path)
        found = Found(FORMATS[metadata["format"]], path, metadata)
    else:
        names = (
            [*SOURCES, *(sibling.name for sibling in path.parent.glob("*"))]
            if path.parent.is_dir()
            else SOURCES
        )
        raise StylegraftError(
            f"{text}: no such file and no source of that name{nearest(text, names)};"
            f" expected a {' or a '.join(wanted)}; shipped sources: {', '.join(SOURCES)}"
        )
    if found.kind not in wanted:
        raise StylegraftError(f"{text}: a {found.kind}, expected a {' or a '.join(wanted)}")
    return found


def run_folder(folder: Path) -> Found:
    """The run in a folder, by its domain file."""
    path = folder / "domain.safetensors"
    if path.is_file():
        return Found("run", path, header(path))
    if (folder / "config.json").is_file():
        raise StylegraftError(
            f"{folder}: this run has not saved a domain yet; let it go on, or repeat its command"
        )
    raise StylegraftError(
        f"{folder}: not a run: it has no domain.safetensors (a run is what `stylegraft adapt` leaves)"
    )


def header(path: Path) -> dict[str, str]:
    """The metadata of one of our files; raises StylegraftError when it is something else or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise StylegraftError(f"{path}: not a regular file, expected a .safetensors source or domain")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise StylegraftError(
            f"{path}: not a source and not a domain: it is no intact safetensors file ({error});"
            " `stylegraft sources` lists the shipped sources"
        ) from error
    if metadata.get("format") not in FORMATS:
        what = metadata.get("format") or "tensors without stylegraft's metadata"
        raise StylegraftError(f"{path}: not a source and not a domain: it holds {what}")
    return metadata
