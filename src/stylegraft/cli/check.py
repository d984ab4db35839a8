"""What can be refused before torch is imported, so that a typing error costs a tenth of a second and not two."""

from __future__ import annotations

import os
import time
from itertools import takewhile
from pathlib import Path

from stylegraft.errors import StylegraftError

# Seconds spent on opening pictures here; the library reads all of them later, with the same checks.
LOOK = 0.5


def check_target(target: str, align: str) -> None:
    """Refuse a target without pictures, or with a bad one among the first that can be decoded in half a second."""
    from stylegraft.data.files import read_pictures
    from stylegraft.data.targets import is_packaged

    if is_packaged(target, align):
        return
    start = time.perf_counter()
    for _ in takewhile(lambda _: time.perf_counter() - start < LOOK, read_pictures(target, 3, [])):
        pass


def check_folder(out: Path, flag: str = "--out") -> None:
    """Refuse an output folder that cannot be made or written, naming the flag."""
    standing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not standing.is_dir():
        raise StylegraftError(f"{flag} {out}: {standing} is a file; expected a folder, or a new name")
    if not os.access(standing, os.W_OK):
        raise StylegraftError(f"{flag} {out}: no permission to write in {standing}")
