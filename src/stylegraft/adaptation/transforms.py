"""The names of ADA's transforms and sets of them (`augment` says what each does), without torch."""

from __future__ import annotations

from functools import lru_cache

from stylegraft.errors import StylegraftError, nearest

BLIT = ("xflip", "rotate90", "xint")
GEOM = ("scale", "rotate", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
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
}
TRANSFORMS = SETS["bgcfnc"]


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
