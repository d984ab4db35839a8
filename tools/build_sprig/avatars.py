"""DiceBear's avatars with what they show as their captions.

pip install --no-deps dicebear-core==10.7.0 dicebear-schema==2.0.2 dicebear-styles==10.6.0 resvg-py==0.5.0
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from drawing import drawn

# Style of DiceBear -> what one calls it
STYLES = {
    "avataaars": "flat cartoon avatar",
    "toon-head": "shaded cartoon head",
    "personas": "pastel avatar without outlines",
    "pixel-art": "pixel art character",
    "voxel-art": "blocky voxel figure",
    "lorelei": "ink drawing of a head",
    "notionists": "black and white ink avatar",
    "open-peeps": "hand-drawn comic bust",
    "adventurer": "anime adventurer",
    "micah": "cartoon bust with a big nose",
    "croodles": "child's doodle of a face",
    "big-ears": "cartoon head with big ears",
    "bottts": "cartoon robot",
}
GROUNDS = {
    "white": "ffffff",
    "red": "e53935",
    "orange": "fb8c00",
    "yellow": "fdd835",
    "green": "43a047",
    "blue": "1e88e5",
    "purple": "8e24aa",
    "pink": "f48fb1",
    "black": "111111",
}
HAIR = {
    "black": (25, 20, 20),
    "brown": (105, 65, 40),
    "blond": (220, 190, 120),
    "red": (200, 60, 20),
    "grey": (200, 200, 200),
    "blue": (60, 150, 210),
    "pink": (245, 150, 160),
}
NO_HAIR_COLOUR = {
    "lorelei",
    "notionists",
    "open-peeps",
    "bottts",
    "croodles",
    "micah",
}  # theirs is ink, or odd


@dataclass(frozen=True)
class Avatar:
    """image uint8 [3, R, R]; style, ground and further attributes; told: those in words."""

    image: Tensor
    style: str
    ground: str
    told: tuple[str, ...]


@cache
def form(style: str) -> object:
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text()))


def avatar(style: str, seed: str, ground: str, size: int) -> Avatar:
    from dicebear import Avatar as Drawing

    one = Drawing(form(style), {"seed": seed, "size": size, "backgroundColor": [GROUNDS[ground]]})
    image = drawn(one.to_string(), size, GROUNDS[ground])
    return Avatar(image, style, ground, attributes(style, one.to_json()["options"]))


def attributes(style: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What is seen of hair, glasses, hat and beard."""
    out = []
    if style not in NO_HAIR_COLOUR and (colour := options.get("hairColor")):
        rgb = torch.tensor([int(colour[0][i : i + 2], 16) for i in (1, 3, 5)]).float()
        far = {name: (rgb - torch.tensor(value).float()).norm().item() for name, value in HAIR.items()}
        name = min(far, key=far.__getitem__)
        if far[name] < 70:
            out.append(f"{name} hair")
    wears = f"{options.get('glassesVariant', '')} {options.get('accessoriesVariant', '')}".lower()
    if "glassesVariant" in options or any(
        word in wears for word in ("glass", "round", "wayfarer", "prescription", "kurt")
    ):
        out.append("glasses")
    top = f"{options.get('topVariant', '')} {options.get('hairVariant', '')}".lower()
    if "hatVariant" in options or any(word in top for word in ("hat", "beanie", "cap ", "turban", "hijab")):
        out.append("a hat")
    if "beardVariant" in options or "facialHairVariant" in options:
        out.append("a beard")
    return tuple(out)


def captions(one: Avatar, random: torch.Generator, count: int) -> list[str]:
    """Sentences of the style, the ground if it is not white, and one or two of the attributes."""
    out = []
    for _ in range(count):
        text = f"a {STYLES[one.style]}"
        few = [word for word in one.told if torch.rand((), generator=random) < 0.5]
        if few:
            text += f" with {' and '.join(few)}"
        if one.ground != "white":
            text += f" on a {one.ground} background"
        out.append(
            text.replace("a anime", "an anime").replace("a ink", "an ink").replace("a orange", "an orange")
        )
    return out
