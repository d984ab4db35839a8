"""Open a file that somebody else made: only a regular one, and without reading it into memory."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from stylegraft.errors import StylegraftError

MAX_FILE = 4 << 30  # bytes; a 1024-px checkpoint with its optimisers has 1 GB
KNOWN = "NVIDIA's .pkl, rosinality's .pt and stylegraft's .safetensors"
SNIFF = 32  # bytes that tell one kind of file from another

# what a file that is none of ours begins with, and what to call it
KINDS = (
    (b"PK\x03\x04", "a zip archive (as torch.save writes .pt files)"),
    *((bytes([0x80, protocol]), "a Python pickle") for protocol in range(2, 6)),
    *((start, "an image") for start in (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x93NUMPY", "an array of numpy"),
    (b"\x89HDF", "an HDF5 file"),
    *((start, "a web page, which is what a failed download leaves") for start in (b"<!DOC", b"<!doc", b"<html")),
    (b"version https://git-lfs", "a pointer of git-lfs, not the file itself (git lfs pull fetches it)"),
)  # fmt: skip


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins as safetensors: a length of the header below 4 GB, any bytes, and the brace that opens it.

    A length of 640 begins like a pickle, so this is asked first.
    """
    return start[4:9] == b"\0\0\0\0{"


def foreign_kind(prefix: bytes) -> str | None:
    """What a file that is not safetensors looks like from its first SNIFF bytes, or None."""
    if is_safetensors(prefix):
        return None
    found = next((kind for start, kind in KINDS if prefix.startswith(start)), None)
    return found or ("a text file" if is_text(prefix) else None)


def is_text(start: bytes) -> bool:
    """Whether these bytes are words and blanks, a letter that is cut at the end aside."""
    text = start.decode("utf-8", "ignore")
    whole = len(text.encode()) > len(start) - 4
    return bool(text) and whole and all(c.isprintable() or c in "\t\r\n" for c in text)


def opened(path: str | os.PathLike[str]) -> tuple[BinaryIO, int]:
    """The open file and its size; symlinks are followed.

    Raises StylegraftError when there is none, or it is a folder, a device, a pipe, empty or huge, or may not be read.
    """
    shown = os.fspath(path)
    try:
        file = open(path, "rb", opener=_nonblocking)
    except FileNotFoundError as error:
        lost = " (a link that leads nowhere)" if Path(path).is_symlink() else ""
        raise StylegraftError(f"{shown}: no such file{lost}") from error
    except IsADirectoryError as error:
        raise StylegraftError(f"{shown}: a folder, expected a file") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StylegraftError(f"{shown}: cannot be read: {why}") from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        file.close()
        kind = "the file is empty" if stat.S_ISREG(status.st_mode) else "not a regular file"
        raise StylegraftError(f"{shown}: {kind}")
    if status.st_size > MAX_FILE:
        file.close()
        size = f"{status.st_size:,} bytes, more than the {MAX_FILE:,} that a file of networks may have"
        raise StylegraftError(f"{shown}: {size}")
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
