"""Where a run goes: the name of its folder, and whether it may be there. No torch, so that both are settled at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stylegraft.errors import StylegraftError

SAVED = "state.safetensors"  # what a resume needs
PREVIOUS = "state.previous.safetensors"  # the same of the save before
MARKS = (".lock", "config.json", SAVED, PREVIOUS)  # what a run's folder holds from its first second on
STATES = 3  # at a time: the newest, that of the save before, and the one that is written


def default_folder(target: str) -> Path:
    """`runs/NAME` for what is adapted to, whatever way its path is written."""
    path = Path(target).resolve()
    return Path("runs") / ((path.name if path.is_dir() else path.stem) or "run")


def begun(out: Path) -> bool:
    """Whether a run that can be continued stands there; not one that may not be read."""
    # Path.is_file raises where the folder may not be read
    return any(os.path.isfile(out / name) for name in (SAVED, PREVIOUS))  # noqa: PTH113


def check_folder(out: Path, source_bytes: int = 0) -> None:
    """Refuse a folder that cannot be made or written, that holds something else, or whose disk is too full."""
    try:
        _check(out, source_bytes)
    except OSError as error:
        raise StylegraftError(f"--out {out}: cannot be read: {error.strerror or error}") from error


def _check(out: Path, source_bytes: int) -> None:
    standing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not standing.is_dir():
        raise StylegraftError(f"--out {out}: {standing} is a file; expected a folder, or a new name")
    if not os.access(standing, os.W_OK):
        raise StylegraftError(f"--out {out}: no permission to write in {standing}")
    if out.is_dir() and any(out.iterdir()) and not any((out / mark).exists() for mark in MARKS):
        raise StylegraftError(
            f"--out {out}: holds files that are no run's; choose a new name, or an empty folder"
        )
    # The least of most runs; what this one takes, by space and recipe up to 24 times the file, is asked of its state.
    _require(standing, out, source_bytes)


def check_room(out: Path, state_bytes: int) -> None:
    """Refuse a disk that has no room for the states of a run; state_bytes: of one. The folder exists."""
    _require(out, out, STATES * state_bytes)


def _require(standing: Path, out: Path, needed: int) -> None:
    free = shutil.disk_usage(standing).free
    if free < needed:
        raise StylegraftError(
            f"--out {out}: the disk is full: {free / 1e6:.0f} MB free, this run needs at least"
            f" {needed / 1e6:.0f} MB; free some space or choose another disk"
        )
