"""The target sets that ship in the package: small, free to use, made by `tools/build_targets.py`.

Torch is imported when a set is loaded, not before: a mistyped name is refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.data.files import Paths
from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    from stylegraft.data.images import ImageSet


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
    from stylegraft.data.images import load_images

    with as_file(files("stylegraft.data") / "sets" / name) as folder:
        pictures: list[str | Path] = sorted(folder.glob("*.png"))
        return load_images(pictures, resolution, channels)


def open_target(target: Paths, resolution: int, channels: int = 3, align: str | Path = "off") -> ImageSet:
    """What `adapt` is pointed at: the name of a packaged set, or any path that `load_images` takes.

    A packaged name wins over a folder of the same name; write `./pencil` for the folder. align: as
    `load_images`; packaged sets are framed already and come as they are.
    """
    from stylegraft.data.images import load_images

    if is_packaged(target, align):
        return load_target(str(target), resolution, channels)
    return load_images(target, resolution, channels, align)


def is_packaged(target: Paths, align: str | Path) -> bool:
    """Whether `target` names a packaged set, without opening anything.

    Raises StylegraftError for a name that is neither a set nor a file, and for a packaged set with eye points.
    """
    if not isinstance(target, str):
        return False
    if target in TARGETS:
        if str(align) not in ("auto", "off"):
            raise StylegraftError(
                f"--align {align}: {target!r} is a packaged set, which is framed already; leave --align out"
                f" (or write ./{target} for a folder of that name)"
            )
        return True
    if Path(target).name == target and not Path(target).suffix and not Path(target).exists():
        raise StylegraftError(
            f"{target}: no such file or folder, and no packaged set{nearest(target, TARGETS)};"
            f" expected a folder of pictures, a zip, a picture, or one of {', '.join(TARGETS)}"
        )
    return False
