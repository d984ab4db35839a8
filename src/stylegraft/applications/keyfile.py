"""A morph in a TOML file: the domains by name, and keys that say what is where at which second.

    loop = true
    seconds = 8

    [domains]
    pencil = "runs/pencil"

    [[keys]]
    at = 0
    seed = 3
    domains = {pencil = 0.0}

    [[keys]]
    at = 4
    domains = {pencil = 1.0}
    ease = "ease-out"

What a key does not say, it does not hold: that goes on to the next key that does. An error names line and key. No torch
is imported here.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylegraft.applications.keyframes import EASES, Key, Morph, Track
from stylegraft.data.texts import from_toml, read_text, there
from stylegraft.errors import StylegraftError, nearest
from stylegraft.seeds import SEED, is_seed

LONGEST = 100  # lines of one value that are looked through for the place of an error
BLENDS = ("linear", "vp", "slerp")


@dataclass(frozen=True)
class Script:
    """What a file of keys holds. domains: {name: text that names it, a path from the file's folder}, in the order of
    `morph.domains`; seeds: the faces that `morph.face` counts, which with `codes` counts those; blend, noise_seed: of
    the noise that `morph.noise` goes to.
    """

    morph: Morph
    domains: dict[str, str]
    seeds: tuple[int, ...]
    codes: Path | None
    source: str | None
    fps: float
    blend: str
    noise_seed: int


def read_keys(path: str | Path) -> Script:
    """The morph in a TOML file; raises StylegraftError naming line, key and the nearest right word."""
    path = Path(path)
    return parse_keys(read_text(path, "keys in TOML"), path)


def parse_keys(text: str, path: Path) -> Script:
    """The morph of a TOML text; path is what errors name, and where paths inside begin. Raises as `read_keys`."""
    told = from_toml(text, path)
    file = KeyFile(path, text)
    file.known(told, HEAD)
    for name, kind in (("domains", dict), ("keys", list)):
        if name in told and not isinstance(told[name], kind):
            raise file.wrong(
                (name,), told[name], f"{name}, headed {'[[keys]]' if kind is list else '[domains]'}"
            )
    keys: list[Any] = told.get("keys", [])
    if not keys:
        raise StylegraftError(f"{path}: no keys; expected at least one, headed [[keys]]")
    head = {name: file.value(told, name, (), *HEAD[name]) for name in ("source", "codes", "seconds", "fps")}
    head |= {name: file.value(told, name, (), *HEAD[name]) for name in ("loop", "blend", "noise-seed")}
    domains = {name: _domain(file, told["domains"], name) for name in told.get("domains", {})}
    codes = None if head["codes"] is None else _from(path, head["codes"])
    tracks, faces = _tracks(file, keys, list(domains), codes is not None)
    last = max(key["at"] for key in keys)
    seconds = head["seconds"] or float(last)
    if seconds <= 0:
        raise StylegraftError(f"{path}: a film of 0 s; expected a key at a later second, or seconds = 10")
    if seconds < last:
        raise file.wrong(("seconds",), seconds, f"at least {last:g}, where the last key is")
    morph = _morph(file, tracks, list(domains), seconds, head["loop"])
    source = head["source"] and _near(path, head["source"])
    fps, blend, noise_seed = head["fps"], head["blend"], head["noise-seed"]
    return Script(morph, domains, faces, codes, source, fps, blend, noise_seed)


@dataclass(frozen=True)
class KeyFile:
    """A TOML file and its text, from which errors have their lines."""

    path: Path
    text: str

    def wrong(self, place: Sequence[str | int], found: Any, expected: str, hint: str = "") -> StylegraftError:
        """The error for a value that is something else."""
        return StylegraftError(f"{self.at(place)} is {found!r}{hint}; expected {expected}")

    def known(
        self, table: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any], *place: str | int
    ) -> None:
        """Refuse a key that means nothing in this table."""
        for name in table:
            if name not in names:
                have = ", ".join(names) or "none"
                raise StylegraftError(
                    f"{self.at((*place, name))}: unknown{nearest(name, names)}; there are {have}"
                )

    def value(
        self,
        table: Mapping[str, Any],
        name: str,
        place: tuple[str | int, ...],
        fits: Callable[[Any], bool],
        expected: str,
        default: Any = None,
    ) -> Any:
        """What a table says at `name`, if it fits."""
        if name not in table:
            return default
        if not fits(table[name]):
            raise self.wrong((*place, name), table[name], expected)
        return table[name]

    def at(self, place: Sequence[str | int]) -> str:
        """`keys.toml line 12: domains.pencl`, of a place such as ("keys", 1, "domains", "pencl")."""
        words = [str(part) for part in place if not isinstance(part, int)]
        words = words[1:] if words[0] == "keys" and len(place) > 2 else words
        return f"{self.path} line {line_of(self.text, place)}: {'.'.join(words)}"


def place_in(path: Path, *place: str | int) -> str:
    """`keys.toml line 7: domains.pencil`, for an error that is found after the file is read."""
    return KeyFile(path, path.read_text(encoding="utf-8")).at(place)


def line_of(text: str, place: Sequence[str | int]) -> int:
    """The line where something stands in a TOML text: the first that, with those above it alone, has it."""
    lines = text.splitlines()

    def has(number: int) -> bool:
        """Whether the first so many lines have it, or as many of them as are TOML by themselves."""
        for end in range(number, max(0, number - LONGEST), -1):
            with suppress(ValueError):
                found: Any = tomllib.loads("\n".join(lines[:end]))
                with suppress(KeyError, IndexError, TypeError):
                    for part in place:
                        found = found[part]
                    return True
                return False
        return False

    # what is there stays there as lines are added
    return min(bisect_left(range(1, len(lines) + 1), True, key=has) + 1, len(lines))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


# name -> whether a value fits, what is expected, and what it is where the file does not say it
Row = tuple[Callable[[Any], bool], str, Any]
HEAD: dict[str, Row] = {
    "source":     (_text, "a source: its name or file", None),
    "codes":      (_text, "a file of codes, as `stylegraft translate` leaves one", None),
    "seconds":    (lambda v: _number(v) and v > 0, "seconds, more than 0", None),
    "fps":        (lambda v: _number(v) and v > 0, "frames a second, more than 0", 30.0),
    "loop":       (lambda v: isinstance(v, bool), "true or false", False),
    "blend":      (lambda v: v in BLENDS, f"one of {', '.join(BLENDS)}", "linear"),
    "noise-seed": (is_seed, SEED, 0),
    "domains":    (lambda v: isinstance(v, dict), "domains by name", {}),
    "keys":       (lambda v: isinstance(v, list), "keys", []),
}  # fmt: skip
KEY: dict[str, Row] = {
    "at":      (lambda v: _number(v) and v >= 0, "seconds, at least 0", None),
    "seed":    (is_seed, SEED, None),
    "code":    (is_seed, "a whole number of at least 0", None),
    "domains": (lambda v: isinstance(v, dict), "strengths by name, such as {pencil = 1.0}", {}),
    "noise":   (lambda v: _number(v) and 0 <= v <= 1, "a number from 0, the anchor, to 1", None),
    "psi":     (_number, "a finite number", None),
    "ease":    (lambda v: v in tuple(EASES), f"one of {', '.join(EASES)}", "smooth"),
}  # fmt: skip


def _tracks(
    file: KeyFile, keys: Sequence[Any], domains: Sequence[str], codes: bool
) -> tuple[dict[str, list[Key]], tuple[int, ...]]:
    """{"face", "noise", "psi", "domains.NAME": keys} and the seeds that "face" counts."""
    tracks: dict[str, list[Key]] = {}
    faces: dict[int, int] = {}
    face, other = ("code", "seed") if codes else ("seed", "code")
    before = -1.0
    for number, told in enumerate(keys):
        place = ("keys", number)
        if not isinstance(told, dict):
            raise file.wrong(place, told, "a table, headed [[keys]]")
        file.known(told, KEY, *place)
        said = {name: file.value(told, name, place, *row) for name, row in KEY.items()}
        if said["at"] is None:
            raise StylegraftError(f"{file.at(place)}: a key without a time; expected for example at = 2.5")
        if said["at"] <= before:
            raise file.wrong((*place, "at"), said["at"], f"more than {before:g}, the key's before")
        before = said["at"]
        if other in told:
            why = (
                f"codes = is given: expected {face} = 0"
                if codes
                else "expected seed = 0, or codes = FILE at the top"
            )
            raise StylegraftError(f"{file.at((*place, other))}: {why}")
        if codes and "psi" in told:
            raise StylegraftError(
                f"{file.at((*place, 'psi'))}: truncation acts on seeds, and codes = is given"
            )
        file.known(said["domains"], domains, *place, "domains")
        values = {"noise": said["noise"], "psi": said["psi"]}
        if said[face] is not None:
            values["face"] = said[face] if codes else faces.setdefault(said[face], len(faces))
        for name in said["domains"]:
            strength = file.value(said["domains"], name, (*place, "domains"), _number, "a finite number")
            values[f"domains.{name}"] = float(strength)
        for name, value in values.items():
            if value is not None:
                tracks.setdefault(name, []).append(Key(float(before), value, said["ease"]))
    return tracks, tuple(faces) or (0,)


def _morph(
    file: KeyFile, tracks: Mapping[str, Sequence[Key]], domains: Sequence[str], seconds: float, loop: bool
) -> Morph:
    """The tracks, those that no key holds at their rest, closed where it is a loop."""
    rest = {"face": 0, "noise": 0.0, "psi": 0.7}
    found = {}
    for name in (*rest, *(f"domains.{name}" for name in domains)):
        track = Track(tuple(tracks.get(name, (Key(0.0, rest.get(name, 0.0)),))))
        try:
            found[name] = track.closed(seconds) if loop else track
        except StylegraftError as error:
            raise StylegraftError(
                f"{file.at(('loop',))}: {name}: {error}; expected more seconds = at the top"
            ) from None
    strengths = tuple(found[f"domains.{name}"] for name in domains)
    return Morph(float(seconds), strengths, found["face"], found["noise"], found["psi"], loop)


def _domain(file: KeyFile, domains: Mapping[str, Any], name: str) -> str:
    text = domains[name]
    if not _text(text):
        raise file.wrong(("domains", name), text, "a run folder or a domain file")
    return _near(file.path, text)


def _near(path: Path, text: str) -> str:
    """A path from the file's folder; a name, such as a shipped source, or hf:// as it is."""
    near = _from(path, text)
    return str(near) if there(near) else text


def _from(path: Path, text: str) -> Path:
    return path.parent / text
