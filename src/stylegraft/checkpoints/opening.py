"""Open a file that somebody else made: only a regular one, and without reading it into memory."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from stylegraft.errors import StylegraftError


def opened(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """The open file and its size; symlinks are followed.

    Raises StylegraftError when there is none, or it is a folder, a device, a pipe or empty, or may not be read.
    """
    shown = os.fspath(path)
    try:
        file = open(path, "rb", opener=_nonblocking)
    except FileNotFoundError as error:
        lost = " (a link that leads nowhere)" if Path(path).is_symlink() else ""
        raise StylegraftError(f"{shown}: no such file{lost}") from error
    except IsADirectoryError as error:
        raise StylegraftError(f"{shown}: a folder, expected a file") from error
    except OSError as error:
        raise StylegraftError(f"{shown}: cannot be read: {error.strerror or error}") from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        file.close()
        kind = "the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file"
        raise StylegraftError(f"{shown}: {kind}")
    return file, status.st_size


def mapped(path: str | os.PathLike[str]) -> memoryview:
    """The bytes of a file, read from the disk where they are looked at; freed with the last view of them."""
    file, _ = opened(path)
    with file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise StylegraftError(f"{os.fspath(path)}: cannot be read: {error}") from error


def _nonblocking(path: str, flags: int) -> int:
    """Open without waiting for the other end of a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
