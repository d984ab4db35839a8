"""A run folder as bytes, for a machine that does not see its disk. No torch is imported here.

A parcel is what a folder holds, by path from the folder's parent (the note on a failure lies beside the folder); None
stands for a file that the other side has already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stylegraft.adaptation.place import PREVIOUS, SAVED
from stylegraft.atomic import write_bytes, write_error
from stylegraft.lab.record import RESULT, failure

Parcel = dict[str, bytes | None]
Stamps = dict[str, tuple[int, int]]  # when a file was last written, and its size

LAST = (SAVED, RESULT)  # in this order after the others: each speaks of what is there before it


def pack(folder: Path, known: Mapping[str, tuple[int, int]] | None = None) -> Parcel:
    """What the folder holds; None for files whose stamp is known."""
    now, known = stamps(folder), known or {}
    return {
        name: None if known.get(name) == stamp else (folder.parent / name).read_bytes()
        for name, stamp in now.items()
    }


def unpack(parcel: Parcel, folder: Path) -> None:
    """Make the folder hold this, each file whole or not at all; the state before is kept until a result comes.

    Raises StylegraftError when the disk refuses.
    """
    place = folder.parent
    for name in sorted(parcel, key=lambda name: (_rank(name), name)):
        if (data := parcel[name]) is not None:
            try:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(place / name, error) from error
            write_bytes(place / name, data, folder / PREVIOUS if place / name == folder / SAVED else None)
    for path in list(_files(folder)):
        if path.relative_to(place).as_posix() not in parcel:
            path.unlink(missing_ok=True)
    if parcel.get(f"{folder.name}/{RESULT}") is not None:  # the end, as in `cell.run`
        (folder / PREVIOUS).unlink(missing_ok=True)


def stamps(folder: Path) -> Stamps:
    """The stamp of every file."""
    told = {path.relative_to(folder.parent).as_posix(): path.stat() for path in _files(folder)}
    return {name: (one.st_mtime_ns, one.st_size) for name, one in told.items()}


def _rank(name: str) -> int:
    own = name.rpartition("/")[2]
    return LAST.index(own) + 1 if own in LAST else 0


def _files(folder: Path) -> Iterator[Path]:
    """All but the lock, the state of the save before (either side keeps its own), and what is half-written."""
    for path in sorted([*folder.rglob("*"), failure(folder)]):
        if path.is_file() and path.name not in (".lock", PREVIOUS) and path.suffix != ".tmp":
            yield path
