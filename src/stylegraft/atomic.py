"""Writing files so that a reader never sees half of one.

A file is written under a temporary name beside its destination, flushed to the disk, and moved into place in
one step. A process killed at any moment leaves either the old file or the new one; what it may also leave is
a `*.tmp`, which every reader ignores. Where the file before is kept, under a name of its own, it has both names until
the new one is moved into place.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stylegraft.errors import StylegraftError

_REASONS = {
    errno.ENOSPC: "the disk is full; what was saved before is intact: free some space and repeat the command",
    errno.EDQUOT: "the disk quota is used up; what was saved before is intact: free some space and repeat the command",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EACCES: "no permission to write there; write elsewhere or change the permissions",
    errno.EPERM: "no permission to write there; write elsewhere or change the permissions",
    errno.EFBIG: "the file is larger than `ulimit -f` or the file system allows; raise the limit or write elsewhere",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "a part of its path is a file where a folder is needed",
    errno.EISDIR: "a folder of that name exists; choose another name",
}


def write_error(path: str | os.PathLike[str], error: OSError) -> StylegraftError:
    """The one-line error for a failed write, naming the file and what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return StylegraftError(f"{os.fspath(path)}: cannot be written: {reason}")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], previous: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and takes the place of `path`, and what stood
    there that of `previous`, in the same folder, if it is given.

    A symlink is followed, so that the link stays. On any exception the temporary file is removed and what
    stood at `path` before is untouched; an `OSError` becomes a `StylegraftError` that names `path`.
    """
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if previous is not None and target.exists():
            _keep(target, Path(previous))
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _keep(path: Path, previous: Path) -> None:
    """Put the file at `path`, which stays, in the place of `previous` too: by a second name, or where the file system
    has none (FAT), by a copy.
    """
    second = previous.with_name(f".{previous.name}.{os.getpid()}.tmp")
    try:
        second.unlink(missing_ok=True)
        try:
            second.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, second)
            with second.open("rb+") as file:
                os.fsync(file.fileno())
        second.replace(previous)
    finally:
        with contextlib.suppress(OSError):
            second.unlink(missing_ok=True)  # still there too where both were names of one file


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where the system can (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(
    path: str | os.PathLike[str],
    data: bytes | Iterable[bytes],
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Write `data` (or its chunks, in order) to `path` atomically; StylegraftError when the disk refuses.

    previous: where the file that stood there is kept.
    """
    with replacing(path, previous) as temporary, temporary.open("wb") as file:
        for chunk in (data,) if isinstance(data, bytes) else data:
            file.write(chunk)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, one trailing newline, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
