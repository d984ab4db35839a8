"""Places in a generator as a user names them: `64`, `16..64`, `32..`, `b64.conv0`, by commas. No torch here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.networks.generator import Generator

PLACE = re.compile(r"(?P<low>[0-9]*)(?P<dots>\.\.)(?P<high>[0-9]*)|(?P<one>[0-9]+)|(?P<layer>b[0-9]+\.\w+)")


def parse_place(text: str, what: str = "place") -> re.Match[str]:
    """One place, by its spelling alone; raises StylegraftError for anything else."""
    found = PLACE.fullmatch(text.strip())
    if not found or text.strip() == "..":
        raise StylegraftError(
            f"{what} {text}: expected a resolution (64), several (16..64, 32..) or a layer (b64.conv0)"
        )
    return found


def check_blocks(text: str, blocks: Sequence[int], what: str = "place") -> None:
    """Raise StylegraftError for a place in none of these blocks, as `layers_at` does of a generator."""
    for part in text.split(","):
        place = parse_place(part, what)
        one = place["one"] or (place["layer"] or "b").partition(".")[0][1:]
        low, high = int(one or place["low"] or 0), int(one or place["high"] or blocks[-1])
        if not any(low <= block <= high for block in blocks):
            listed = ", ".join(map(str, blocks))
            raise StylegraftError(
                f"{what} {part.strip()}: no layer with noise there; there are those of {listed} px"
            )


def layers_at(generator: Generator, text: str, what: str = "place") -> list[str]:
    """The layers that take noise at these places, separated by commas; raises StylegraftError where there is none."""
    chosen: list[str] = []
    for part in text.split(","):
        place = parse_place(part, what)
        low = int(place["one"] or place["low"] or 0)
        high = int(place["one"] or place["high"] or generator.resolution)
        found = [
            layer
            for layer, r in generator.noise_shapes.items()
            if (layer == place["layer"] if place["layer"] else low <= r <= high)
        ]
        if not found:
            known = ", ".join(generator.noise_shapes)
            raise StylegraftError(
                f"{what} {part.strip()}: no layer with noise there; this generator has {known}"
            )
        chosen += found
    return chosen
