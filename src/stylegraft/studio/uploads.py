"""Pictures and files that the page hands over, one in a request: bounded in bytes, pixels and number, read before they
are kept, and kept under `pictures/SET` of the workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from stylegraft.atomic import write_bytes, write_error
from stylegraft.data.files import EXTENSIONS, decode
from stylegraft.errors import StylegraftError
from stylegraft.studio.workspace import NAME, Workspace

MOST_BYTES = 64 << 20  # of a picture
MOST_FILE = 512 << 20  # of a domain file
MOST_PICTURES = 1_000  # in a set
FOLDER = "pictures"


async def body(stream: AsyncIterator[bytes], most: int, name: str) -> bytes:
    """The bytes of a request; raises StylegraftError as soon as they are too many, whatever its header says."""
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > most:
            raise StylegraftError(f"{name}: more than {most >> 20} MB; reduce it first")
        parts.append(part)
    return b"".join(parts)


def plain_name(name: str) -> str:
    """A file's own name as a browser sends it; raises StylegraftError for one that has a folder in it, or is odd."""
    if (
        not name
        or PurePosixPath(name).name != name
        or "\\" in name
        or name.startswith(".")
        or len(name) > 200
    ):
        raise StylegraftError(f"{name!r}: not a plain file name; it was not kept")
    if not all(c.isprintable() for c in name) or any(c in name for c in ':*?"<>|'):
        raise StylegraftError(f"{name!r}: a name with characters that no file should have; it was not kept")
    return name


def set_folder(workspace: Workspace, name: str) -> Path:
    """The folder of a set of pictures, there or not."""
    if not NAME.fullmatch(name):
        raise StylegraftError(f"{name!r}: expected a name of letters, digits, space and . + - _")
    return workspace.path(f"{FOLDER}/{name}")


def keep_picture(workspace: Workspace, into: str, name: str, data: bytes) -> dict[str, Any]:
    """Check a picture and write it into a set; raises StylegraftError, in the words of `adapt`, for one that would stop
    a run: broken, tiny, huge or no picture."""
    name, folder = plain_name(name), set_folder(workspace, into)
    if PurePosixPath(name).suffix.lower() not in EXTENSIONS:
        raise StylegraftError(f"{name}: no picture; expected PNG, JPEG, WebP, TIFF, ...")
    picture = decode(data, name, name, 3)
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if name not in there and len(there) >= MOST_PICTURES:
        raise StylegraftError(f"{into}: has {len(there)} pictures; at most {MOST_PICTURES} in a set")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    write_bytes(folder / name, data)
    width, height = picture.image.size
    return {
        "path": workspace.name(folder / name),
        "set": workspace.name(folder),
        "size": [width, height],
        "notes": picture.notes,
    }


def keep_domain(workspace: Workspace, name: str, data: bytes) -> str:
    """Write a domain file that somebody sent, after every check of loading one; returns its name in the workspace."""
    from stylegraft.domains import Domain

    path = workspace.fresh(plain_name(name), ".safetensors")
    write_bytes(path, data)
    try:
        Domain.load(path)
    except StylegraftError as error:
        path.unlink(missing_ok=True)
        raise StylegraftError(str(error).replace(str(path), name)) from error
    return workspace.name(path)
