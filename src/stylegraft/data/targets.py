"""The target sets that ship in the package: small, free to use, made by `tools/build_targets.py`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from stylegraft.data.files import Paths
from stylegraft.data.images import ImageSet, load_images
from stylegraft.errors import StylegraftError, nearest


@dataclass(frozen=True)
class Target:
    """A packaged set: `description`, `count` pictures of `size` px, and the `licence` they are under."""

    description: str
    count: int
    size: int
    licence: str


TARGETS = {
    "pencil": Target(
        "pencil drawings of ten synthetic faces", 10, 128, "non-commercial research, as FFHQ's generator"
    ),
    "lorelei": Target("black ink portraits (DiceBear Lorelei)", 10, 256, "CC0-1.0"),
}


def load_target(name: str, resolution: int, channels: int = 3) -> ImageSet:
    """A packaged target set; raises StylegraftError with the nearest name for one that does not exist."""
    if name not in TARGETS:
        hint = nearest(name, TARGETS) or f"; there are {', '.join(TARGETS)}"
        raise StylegraftError(f"target {name!r}: no such packaged set{hint}")
    with as_file(files("stylegraft.data") / "sets" / name) as folder:
        pictures: list[str | Path] = sorted(folder.glob("*.png"))
        return load_images(pictures, resolution, channels)


def open_target(target: Paths, resolution: int, channels: int = 3, align: str | Path = "off") -> ImageSet:
    """What `adapt` is pointed at: the name of a packaged set, or any path that `load_images` takes.

    A packaged name wins over a folder of the same name; write `./pencil` for the folder.
    """
    if isinstance(target, str) and target in TARGETS:
        return load_target(target, resolution, channels)
    if isinstance(target, str) and not Path(target).exists() and len(Path(target).parts) == 1:
        hint = nearest(target, TARGETS)
        if hint:
            raise StylegraftError(f"{target}: no such file or folder, and no packaged set{hint}")
    return load_images(target, resolution, channels, align)
