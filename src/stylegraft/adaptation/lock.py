"""One process a run folder: a lock that the system releases when the process ends, however it ends.

`.lock` holds the pid and the machine of who has it, so that the second can be told; it is empty when nobody has it, and
what a killed process left in it holds nobody up. No torch, so that a command is refused at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any

from stylegraft.atomic import write_error
from stylegraft.errors import StylegraftError, plain

LOCK = ".lock"
BEYOND = 1 << 30  # where Windows locks a byte: behind all content, which can be read then


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there; raises StylegraftError, with the holder's pid, when another process has
    it, and where the file system gives no lock.
    """
    path = folder / LOCK
    try:
        file = path.open("ab+", buffering=0)
    except OSError as error:
        raise write_error(path, error) from error
    with file:
        if not _taken(file):
            raise StylegraftError(f"{folder}: another process is writing to this run{_who(file)}")
        _tell(file, f"{os.getpid()} {platform.node()}")
        try:
            yield
        finally:
            _tell(file, "")


def check_free(folder: Path) -> None:
    """Refuse a folder that another process has now, as `locked` would."""
    if (folder / LOCK).is_file():
        with locked(folder):
            pass


def _tell(file: FileIO, text: str) -> None:
    """Write who holds the lock; on a full disk nobody is told."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(text.encode())


def _who(file: FileIO) -> str:
    """The holder, where it is told, and what to do."""
    pid, machine = "", ""
    with contextlib.suppress(OSError):
        file.seek(0)
        pid, _, machine = file.read(300).decode(errors="replace").partition(" ")
    if not pid.isdecimal():
        return "; wait for it or choose another --out"
    if machine != platform.node():
        return f" (pid {pid} on {plain(machine)}); wait for it or choose another --out"
    return f" (pid {pid}); wait for it, let it save and end (`kill {pid}`), or choose another --out"


def _taken(file: FileIO) -> bool:
    """Take the lock; False when another has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        fcntl = None
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            windows: Any = import_module("msvcrt")
            file.seek(BEYOND)
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise StylegraftError(
            f"{file.name}: this file system gives no lock ({error.strerror}); choose an --out on another one"
        ) from error
    return True
