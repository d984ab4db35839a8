"""Places in a generator as a user names them: `64`, `16..64`, `32..`, `b64.conv0`, by commas. No torch here."""

from __future__ import annotations

import re
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
