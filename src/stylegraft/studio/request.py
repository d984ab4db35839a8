"""What the page asks to be drawn, checked: a browser's JSON becomes a `Picture`, or a line that says why not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stylegraft.errors import StylegraftError
from stylegraft.seeds import LAST_SEED, is_seed

MOST_FACES, MOST_DOMAINS = 64, 16
MOST_EDITS = 32
NOISES = ("const", "random", "none")
BLENDS = ("linear", "vp", "slerp")


@dataclass(frozen=True)
class Picture:
    """Faces in a mix. source and domains: names of the workspace; amounts: one a domain; strengths: of the whole mix by
    level or block (`Domain.shaped`); seeds, or a file of codes and which of them; psi: truncation of seeds; noise:
    `const`, `none`, or `random`, `noise_amount` of the way from the network's own maps to one set of drawn ones; edits:
    steps along the SeFa directions of the source.
    """

    source: str
    domains: tuple[str, ...] = ()
    amounts: tuple[float, ...] = ()
    strengths: tuple[tuple[int | str, float], ...] = ()
    seeds: tuple[int, ...] = ()
    codes: str = ""
    psi: float = 0.7
    noise: str = "const"
    noise_amount: float = 1.0
    noise_seed: int = 0
    blend: str = "linear"
    edits: tuple[tuple[int, float], ...] = ()

    def part(self, first: int, count: int) -> Picture:
        """The same of some of the faces."""
        return Picture(**{**vars(self), "seeds": self.seeds[first : first + count]})


def picture(told: Mapping[str, Any]) -> Picture:
    """A `Picture` of what a page sent; raises StylegraftError naming the field that is odd."""
    domains = _list(told, "domains", str, MOST_DOMAINS)
    amounts = tuple(_number(a, "amounts") for a in _list(told, "amounts", (int, float), MOST_DOMAINS))
    if len(domains) != len(amounts):
        raise StylegraftError(f"{len(domains)} domains with {len(amounts)} amounts; expected one for each")
    strengths = told.get("strengths", {})
    if not isinstance(strengths, dict) or len(strengths) > 32:
        raise StylegraftError("strengths: expected a strength for each level or block")
    seeds = _list(told, "seeds", int, MOST_FACES)
    if not all(map(is_seed, seeds)):
        raise StylegraftError(f"seeds: expected whole numbers from 0 to {LAST_SEED}")
    edits = told.get("edits", {})
    if not isinstance(edits, dict) or len(edits) > MOST_EDITS:
        raise StylegraftError("edits: expected a step for each direction")
    return Picture(
        source=_text(told, "source"),
        domains=domains,
        amounts=amounts,
        strengths=tuple(
            (int(key) if str(key).isdecimal() else str(key), _number(value, f"strength of {key}"))
            for key, value in strengths.items()
        ),
        seeds=seeds,
        codes=_text(told, "codes", ""),
        psi=_number(told.get("psi", 0.7), "psi"),
        noise=_choice(told, "noise", NOISES),
        noise_amount=_number(told.get("noise_amount", 1.0), "noise_amount", 0, 1),
        noise_seed=int(_number(told.get("noise_seed", 0), "noise_seed", 0, LAST_SEED)),
        blend=_choice(told, "blend", BLENDS),
        edits=tuple(
            (int(_number(float(key) if str(key).isdecimal() else key, "edits", 0, MOST_EDITS - 1)), step)
            for key, value in edits.items()
            if (step := _number(value, f"edit {key}"))
        ),
    )


def whole(told: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of a request."""
    value = told.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise StylegraftError(f"{name} {value!r}: expected a whole number from {low} to {high}")
    return value


def _number(value: Any, name: str, low: float = -100, high: float = 100) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise StylegraftError(f"{name} {value!r}: expected a finite number")
    if not low <= value <= high:
        raise StylegraftError(f"{name} {value:g}: expected {low:g} to {high:g}")
    return float(value)


def _text(told: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = told.get(name, default)
    if not isinstance(value, str) or len(value) > 500:
        raise StylegraftError(f"{name}: expected a text")
    return value


def _choice(told: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = told.get(name, known[0])
    if value not in known:
        raise StylegraftError(f"{name} {value!r}: expected {', '.join(known)}")
    return value


def _list(told: Mapping[str, Any], name: str, kind: Any, most: int) -> tuple[Any, ...]:
    value = told.get(name, [])
    if not isinstance(value, list) or len(value) > most or not all(isinstance(item, kind) for item in value):
        raise StylegraftError(f"{name}: expected a list of at most {most}")
    return tuple(value)
