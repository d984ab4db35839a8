"""Edits of a command line: `ganspace:3@0-3=2`, `smile.safetensors=-1.5`, `b32.conv0:12:+5std`, `-3..3`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.cli.model import check_kept
from stylegraft.cli.resolve import find, is_path, no_file
from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    from stylegraft.applications.directions import Direction
    from stylegraft.cli.resolve import Found
    from stylegraft.networks.generator import Generator

METHODS = ("sefa", "ganspace")
DIRECTION = (
    "expected sefa:K, ganspace:K or a file of `stylegraft directions`, with @ROWS and =AMOUNT if wanted"
)


@dataclass(frozen=True)
class Rows:
    """Rows of W+ from first to last; pixels: they are meant by the resolutions first..last of their layers."""

    first: int
    last: int
    pixels: bool

    def check(self, base: Found) -> None:
        """Refuse rows that this source does not have, by its header."""
        span = f"@{self.first}-{self.last}"
        if self.pixels:
            if not any(self.first <= block <= self.last for block in base.blocks):
                raise StylegraftError(f"{span}px: its layers have {base.blocks[0]} to {base.blocks[-1]} px")
        elif self.last >= base.rows:
            raise StylegraftError(f"{span}: this generator has the rows 0 to {base.rows - 1} of W+")

    def of(self, generator: Generator) -> list[int]:
        """The rows in this generator, which has them (`check`)."""
        from stylegraft.applications.directions import rows_between

        if self.pixels:
            return rows_between(generator, self.first, self.last)
        return list(range(self.first, self.last + 1))


@dataclass(frozen=True)
class Asked:
    """what: sefa, ganspace, or a file; index: of the direction, None: the first ones; rows: None for all; styles:
    whether it moves channels of StyleSpace, not rows of W+."""

    text: str
    what: str
    index: int | None
    rows: Rows | None
    amount: float = 1.0
    styles: bool = False

    def check(self, base: Found) -> None:
        """Refuse what this source does not have, and a file that is of another one, by the headers."""
        if self.rows is not None:
            self.rows.check(base)
        if self.what not in METHODS:
            check_kept("--direction", Path(self.what), "direction of edit", base)
        elif self.index is not None and (most := base.w_dim) and self.index >= most:
            raise StylegraftError(f"{self.text}: {self.what} has the directions 0 to {most - 1}")

    def find(self, generator: Generator, count: int = 1) -> list[Direction]:
        """The direction, or the first `count` where no index is given."""
        from stylegraft.applications import directions

        rows = None if self.rows is None else self.rows.of(generator)
        if self.what in METHODS:
            most = min(generator.w_dim, count if self.index is None else self.index + 1)
            if self.index is not None and self.index >= most:  # a source whose header does not say its w_dim
                raise StylegraftError(f"{self.text}: {self.what} has the directions 0 to {most - 1}")
            found = directions.METHODS[self.what](generator, most, rows)
            return found if self.index is None else found[self.index :]
        direction = directions.Direction.load(self.what, generator)
        return [direction if rows is None else direction.on_rows(rows, generator)]


@dataclass(frozen=True)
class AskedChannel:
    """A channel of StyleSpace and how far it is moved; std: in its standard deviations."""

    layer: str
    index: int
    amount: float
    std: bool

    def check(self, base: Found) -> None:
        """Refuse a layer of a block that this source does not have, by its header."""
        block = re.match(r"b([0-9]{1,5})\.", self.layer)
        if block and int(block[1]) not in base.blocks:
            listed = ", ".join(f"b{px}" for px in base.blocks)
            raise StylegraftError(f"--channel {self.layer}: no such layer; there are those of {listed}")

    def find(self, generator: Generator) -> Direction:
        """Its direction, in which a step of 1 is the unit that was typed."""
        from stylegraft.applications.directions import channel

        return channel(generator, self.layer, self.index, std=self.std)


def parse_direction(text: str) -> Asked:
    """`WHAT[:K][@ROWS][=AMOUNT]`; raises StylegraftError for a method that does not exist and a file that is none."""
    if Path(text).is_file():
        return _of_file(Asked(text, text, None, None))
    rest, equals, number = text.rpartition("=")
    amount = _number(number, f"--direction {text}") if equals else 1.0
    rest = rest if equals else text
    rows = None
    if not Path(rest).is_file() and "@" in rest:
        rest, _, span = rest.rpartition("@")
        rows = parse_rows(span, text)
    method, colon, index = rest.partition(":")
    if method in METHODS:
        if colon and not (index.isascii() and index.isdigit() and len(index) < 6):
            raise StylegraftError(
                f"{text}: {index!r} is not a number of a direction; they count from 0, as in {method}:0"
            )
        return Asked(text, method, int(index) if colon else None, rows, amount)
    if not Path(rest).is_file():
        if is_path(rest):
            raise StylegraftError(f"{no_file(Path(rest))}; {DIRECTION}")
        raise StylegraftError(
            f"{rest}: no such method{nearest(method, METHODS)} and no such file; {DIRECTION}"
        )
    return _of_file(Asked(text, rest, None, rows, amount))


def _of_file(asked: Asked) -> Asked:
    found = find(asked.what, ("direction of edit",))
    return replace(asked, styles=found.says(str, "config", "kind") in ("channel", "channels"))


def parse_rows(span: str, text: str) -> Rows:
    """`0-3`, `5`, or `4-16px` by resolution."""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(px)?", span, re.ASCII)
    if not match or int(match[2] or match[1]) < int(match[1]):
        raise StylegraftError(
            f"{text}: {span!r} are no rows of W+; expected @0-3, @5, or by resolution @4-16px"
        )
    return Rows(int(match[1]), int(match[2] or match[1]), bool(match[3]))


def parse_channel(text: str) -> AskedChannel:
    """`LAYER:CHANNEL:AMOUNT`, the amount in raw units or with `std` behind it."""
    parts = text.split(":")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 6):
        raise StylegraftError(f"--channel {text}: expected LAYER:CHANNEL:AMOUNT, as in b32.conv0:12:+5std")
    number = parts[2].removesuffix("std")
    return AskedChannel(
        parts[0], int(parts[1]), _number(number, f"--channel {text}"), parts[2].endswith("std")
    )


def parse_sweep(text: str, columns: int) -> list[float]:
    """`-3..3` in so many steps."""
    low, dots, high = text.partition("..")
    if not dots:
        raise StylegraftError(f"--sweep {text}: expected FROM..TO, as in -3..3")
    first, last = (_number(end, f"--sweep {text}") for end in (low, high))
    if columns < 2:
        raise StylegraftError(f"--columns {columns}: a sweep needs at least 2")
    return [first + (last - first) * i / (columns - 1) for i in range(columns)]


def told(amounts: Sequence[float]) -> str:
    """The columns of a sweep for a line of text."""
    return ", ".join(f"{amount:+.3g}" if amount else "0" for amount in amounts)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise StylegraftError(f"{where}: {text!r} is not a number") from None
    if not math.isfinite(number):
        raise StylegraftError(f"{where}: {text} is not a finite number")
    return number
