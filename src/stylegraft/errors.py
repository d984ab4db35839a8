"""The one exception that is meant for the user."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class StylegraftError(Exception):
    """One clear line: the file or flag, what was found, what was expected, what to do next."""


def plain(text: str) -> str:
    """Text that may come out of a file, as one line for a terminal: control characters are shown, not obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns `" (did you mean 'dcl'?)"` for the closest of `names`, or `""` when none is close."""
    close = get_close_matches(name.lower(), list(names), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def nearest_file(name: str, names: Iterable[str]) -> str:
    """`nearest` for a file: the ending counts for itself, so that `none.csv` is not near `one.png`."""
    stem, _, ending = name.rpartition(".")
    close = [
        other
        for other, parts in ((other, other.rpartition(".")) for other in names)
        if nearest(stem or "-", [parts[0] or "-"]) and nearest(ending, [parts[2]])
    ]
    return nearest(name, close)
