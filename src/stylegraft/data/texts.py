"""Texts that somebody else may have written: bounded when they are read, and refused in one line when they are odd."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stylegraft.errors import StylegraftError

MOST = 4 << 20  # bytes of a file that a person writes
ODD = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
)


def read_text(path: Path, expected: str, most: int = MOST) -> str:
    """A text file of at most so many bytes; raises StylegraftError, which ends in what was expected, for another one,
    and for what is no file: a device has no end, and a pipe may have no beginning.
    """
    try:
        if path.exists() and not path.is_file():
            raise StylegraftError(f"{path}: cannot be read (not a file); expected {expected}")
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise StylegraftError(f"{path}: larger than {most >> 20} MB; expected {expected}")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise StylegraftError(f"{path}: cannot be read ({why}); expected {expected}") from None


def from_toml(text: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML text; raises StylegraftError naming the file and the place."""
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise StylegraftError(f"{os.fspath(path)}: not TOML: nested too deeply") from None
    except ValueError as error:  # of which TOMLDecodeError is one, and a number of 5,000 digits another
        raise StylegraftError(f"{os.fspath(path)}: not TOML: {error}") from None


def there(path: Path) -> bool:
    """Whether a path that a text names exists; no name that no file can have does."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def values_of(what: str | os.PathLike[str]) -> Iterator[None]:
    """While the values of a file of ours are used, which anybody can edit: one that is missing, or of another kind than
    we write, is the file's fault, and said of it."""
    try:
        yield
    except StylegraftError:
        raise
    except ODD as error:
        kind = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise StylegraftError(
            f"{os.fspath(what)}: damaged or edited: a value is not what stylegraft writes ({kind})"
        ) from error
