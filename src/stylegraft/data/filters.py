"""Filters that make a target domain of any size out of pictures of the source's kind: a table, without torch.

All are classical image processing. How far each leads from photographs is for a study to measure, not for its name to
say.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Filter:
    """about: what comes out; home: module:function of images [N, C, R, R] and a seed; version: raised when its pictures
    change, so that a study does not go on with others.
    """

    about: str
    home: str
    version: int = 1


FILTERS = {
    "pencil": Filter("pencil drawings on white paper", "procedural:pencil"),
    "oil": Filter("oil paint: flat strokes along the edges, stronger colours", "painterly:oil"),
    "palette": Filter("a screen print of five fixed inks, chosen by tone", "painterly:palette"),
    "bulge": Filter("the photograph itself, blown up in the middle as by a convex mirror", "painterly:bulge"),
}


def apply(name: str, images: Tensor, seed: int = 0) -> Tensor:
    """Filter images, uint8 [N, 1 or 3, R, R] to uint8 [N, 3, R, R]; picture i draws from stream (seed, i), if at all.

    Raises StylegraftError with the nearest name for an unknown filter.
    """
    if name not in FILTERS:
        raise StylegraftError(f"no filter {name!r}{nearest(name, FILTERS)}; there are {', '.join(FILTERS)}")
    module, function = FILTERS[name].home.split(":")
    return getattr(import_module(f"stylegraft.data.{module}"), function)(images, seed=seed)
