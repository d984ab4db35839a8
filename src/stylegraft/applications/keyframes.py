"""What moves when in a morph: latent path x domain path x noise path, each a track of keys, and the usual ones ready.

A key is a value at a time, reached from the one before along an easing curve. Tracks know nothing of each other: faces
may change at other times than domains. No torch is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stylegraft.errors import StylegraftError

# The share of the way at the share u of the time, both from 0 to 1.
EASES: dict[str, Callable[[float], float]] = {
    "linear":   lambda u: u,
    "smooth":   lambda u: (1 - math.cos(math.pi * u)) / 2,  # rests at both keys
    "ease-in":  lambda u: 1 - math.cos(math.pi * u / 2),    # starts from rest
    "ease-out": lambda u: math.sin(math.pi * u / 2),        # comes to rest
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """at: seconds; value: a number, or of a face its place among the faces; ease: of the way from the key before."""

    at: float
    value: float
    ease: str = "smooth"


@dataclass(frozen=True)
class Track:
    """Keys in the order of time; before the first and after the last the value rests."""

    keys: tuple[Key, ...]

    def place(self, t: float) -> tuple[float, float, float]:
        """(value before, value after, u): where t lies between two keys, eased; u is 0 at a key, and after the last."""
        before = self.keys[0]
        for key in self.keys:
            if t < key.at:
                if key is before:
                    break
                return before.value, key.value, EASES[key.ease]((t - before.at) / (key.at - before.at))
            before = key
        return before.value, before.value, 0.0

    def number(self, t: float) -> float:
        """The number at t; at a key exactly the key's."""
        before, after, u = self.place(t)
        return before * (1 - u) + after * u if before != after else before

    def closed(self, seconds: float) -> Track:
        """The track with a way back to its first key, which ends at `seconds` with that key's ease.

        Raises StylegraftError when the last key leaves no time for it.
        """
        first, last = self.keys[0], self.keys[-1]
        if last.value == first.value and (len(self.keys) == 1 or last.at >= seconds):
            return self
        if last.at >= seconds:
            raise StylegraftError(
                f"a loop of {seconds:g} s whose key at {last.at:g} s leaves no time for the way back"
            )
        return Track((*self.keys, Key(seconds, first.value, first.ease)))


@dataclass(frozen=True)
class Morph:
    """domains: a track of strengths for each domain; face: of places in the list of faces; noise: from the anchor, 0,
    to other noise, 1; psi: truncation of faces of seeds. loop: the end is the beginning, and is not shown twice.
    """

    seconds: float
    domains: tuple[Track, ...]
    face: Track = Track((Key(0, 0),))
    noise: Track = Track((Key(0, 0.0),))
    psi: Track = Track((Key(0, 0.7),))
    loop: bool = False

    def count(self, fps: float) -> int:
        """How many frames: one every 1/fps s from 0 to the end, which a loop leaves out as its next first frame."""
        return max(1, round(self.seconds * fps)) + (not self.loop)

    def times(self, fps: float) -> list[float]:
        """Of the frames, in seconds."""
        return [i / fps for i in range(self.count(fps))]

    def spread(self, count: int) -> list[float]:
        """`count` times that divide the whole evenly, as a strip shows it."""
        return [self.seconds * i / max(1, count - (not self.loop)) for i in range(count)]


def evenly(values: Sequence[float], seconds: float, ease: str = "smooth") -> Track:
    """These values one after the other, with the same time for each way."""
    ways = max(1, len(values) - 1)
    return Track(tuple(Key(seconds * i / ways, value, ease) for i, value in enumerate(values)))


def tour(strengths: Sequence[float]) -> list[tuple[float, ...]]:
    """Strengths [k] -> the stations source, first domain, ..., k-th domain, source; each a strength a domain."""
    nothing = (0.0,) * len(strengths)
    return [nothing, *(_alone(strengths, i) for i in range(len(strengths))), nothing]


def cross_domain(
    strengths: Sequence[float], through: float = 1.0, loop: bool = False
) -> list[tuple[float, ...]]:
    """The cross-domain morph of StyleDomain (Alanov et al., ICCV 2023): stations of k styles and, last, of the target.

    Its four stages, for two styles: the source takes on style 1; it becomes the target generator and keeps the style;
    there style 1 becomes style 2; the target becomes the source again, which keeps style 2. loop: drops that as well.
    """
    styles = [_alone(strengths, i) for i in range(len(strengths))]
    nothing = (0.0,) * len(strengths)
    stations = [(*nothing, 0.0), (*styles[0], 0.0)]
    stations += [(*style, through) for style in styles]
    stations += [(*styles[-1], 0.0)]
    return stations + [(*nothing, 0.0)] if loop else stations


def along(
    stations: Sequence[Sequence[float]],
    seconds: float = 10.0,
    *,
    faces: int = 1,
    psi: float = 0.7,
    ease: str = "smooth",
    loop: bool = False,
) -> Morph:
    """A morph through stations of domains, and through so many faces at once, with the same time for each way."""
    domains = tuple(evenly(strengths, seconds, ease) for strengths in zip(*stations, strict=True))
    places = [*range(faces), *([0] if loop and faces > 1 else [])]
    return Morph(seconds, domains, evenly(places, seconds, ease), psi=Track((Key(0, psi),)), loop=loop)


def _alone(strengths: Sequence[float], i: int) -> tuple[float, ...]:
    return tuple(strength if k == i else 0.0 for k, strength in enumerate(strengths))
