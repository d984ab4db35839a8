"""The names of the augmentations and sets of them (`augment` and `diffaugment` say what each does), and what they need
of their draws; without torch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    from torch import Tensor

BLIT = ("xflip", "rotate90", "xint")
GEOM = ("scale", "rotate", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
DIFF_COLOR = ("diff-brightness", "diff-saturation", "diff-contrast")
DIFF = (*DIFF_COLOR, "diff-translation", "diff-cutout")
SETS = {
    "blit": BLIT,
    "geom": GEOM,
    "color": COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": BLIT + GEOM,
    "bgc": BLIT + GEOM + COLOR,
    "bgcf": BLIT + GEOM + COLOR + ("imgfilter",),
    "bgcfn": BLIT + GEOM + COLOR + ("imgfilter", "noise"),
    "bgcfnc": BLIT + GEOM + COLOR + ("imgfilter", "noise", "cutout"),
    "diff-color": DIFF_COLOR,
    "diffaugment": DIFF,
}
TRANSFORMS = SETS["bgcfnc"] + DIFF


class Randomness(Protocol):
    """What augmentations need of their draws: `sampling.Draws`, or fixed numbers in a test."""

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), `[B, *shape]`."""
        ...

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, `[B, *shape]`."""
        ...


@lru_cache
def parse_transforms(transforms: str) -> frozenset[str]:
    """Names of the transforms in a set ("bgc") or a comma list of sets and transforms ("blit,color,cutout").

    Raises StylegraftError for a name that is neither, with the nearest one that is.
    """
    names: set[str] = set()
    for part in transforms.split(","):
        name = part.strip()
        if name not in SETS and name not in TRANSFORMS:
            known = (*SETS, *TRANSFORMS)
            raise StylegraftError(
                f"augmentation {transforms!r}: {name!r} is no transform or set{nearest(name, known)}; "
                f"expected a comma list of {', '.join(dict.fromkeys(known))}"
            )
        names.update(SETS.get(name, (name,)))
    return frozenset(names)
