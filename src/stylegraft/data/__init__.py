"""Pictures in, grids out. Names are looked up when first used: opening a picture must not cost an import of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.data.grids import paired_grid, save_grid
    from stylegraft.data.images import ImageSet, contact_sheet, load_images
    from stylegraft.data.procedural import pencil
    from stylegraft.data.targets import TARGETS, load_target, open_target

__all__ = [
    "TARGETS",
    "ImageSet",
    "contact_sheet",
    "load_images",
    "load_target",
    "open_target",
    "paired_grid",
    "pencil",
    "save_grid",
]

__getattr__ = lookup(
    __name__,
    {
        "grids": ("paired_grid", "save_grid"),
        "images": ("ImageSet", "contact_sheet", "load_images"),
        "procedural": ("pencil",),
        "targets": ("TARGETS", "load_target", "open_target"),
    },
)
