"""What is on the disk of a cell: where its run is, its result, and why there is none. No torch is imported here.

cells/dcl/affine-light+/pencil/10/d0/s0/              a run folder, with trace.jsonl; result.json is written last
cells/dcl/affine-light+/pencil/10/d0/s0.failed.json   why there is no result, until there is one
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from stylegraft.lab.study import Cell

RESULT = "result.json"
VERSION = 1


def place(out: Path, cell: Cell) -> Path:
    """The run folder of a cell."""
    return out / "cells" / cell.key


def failure(folder: Path) -> Path:
    """Where it is written why a run has no result."""
    return folder.with_name(f"{folder.name}.failed.json")


def result_of(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """The result of a finished cell; None where there is none, or one of other settings."""
    told = _read(folder / RESULT)
    return (
        told
        if told and told.get("version") == VERSION and told.get("asked") == json.loads(json.dumps(cell.asked))
        else None
    )


def failure_of(folder: Path) -> dict[str, Any] | None:
    """What is known of a failure: state, error, seconds, and the trace of an unforeseen one."""
    return _read(failure(folder))


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(path.read_text(encoding="utf-8"))
        return told if isinstance(told, dict) else None
    return None
