"""The catalogue of hostile files: `CASES`, filled by `hostile_pickles`, `hostile_networks` and `hostile_containers`.

What stands before a colon in a case's name is its family, whose files are read in one process. A maker gets an `Honest`
(the honest numbers and a folder) and returns bytes, or the path of what it put into the folder. `says` is a pattern
that the refusal has to match; LOADS where the hostile part has to be passed over and the networks beside it have to
come out bit for bit; None where any refusal will do.
"""

from __future__ import annotations

import itertools
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hostile_files as h
import numpy as np
from hostile_files import Raw, dump

LOADS = "loads"
MB = 1 << 20
FOUR = np.arange(4, dtype=np.float32)


@dataclass(frozen=True)
class Honest:
    """The numbers of the honest networks, a file of ours that holds them, and where files may be put."""

    g: dict[str, np.ndarray]
    d: dict[str, np.ndarray]
    folder: Path
    native: bytes

    def nvidia(self, **more: Any) -> bytes:
        """An NVIDIA pickle with other entries."""
        return h.nvidia(self.g, self.d, **more)

    @cached_property
    def _around(self) -> list[bytes]:
        return self.nvidia(training_set_kwargs=Raw(b"<here>")).split(b"<here>")

    def beside(self, node: Any) -> bytes:
        """An NVIDIA pickle with something else beside its networks."""
        return alone(node).code.join(self._around)

    def inside(self, **attributes: Any) -> bytes:
        """An NVIDIA pickle whose generator has other attributes."""
        return self.nvidia(G_ema=h.module(self.g, **attributes))

    def tensorflow(self, **changed: Any) -> bytes:
        """A TensorFlow pickle whose averaged generator has another state."""
        return h.tensorflow(self.g, self.d, **changed)

    def without(self, *words: str) -> dict[str, np.ndarray]:
        """The generator's numbers without those whose name has one of the words."""
        return {name: a for name, a in self.g.items() if not any(word in name for word in words)}

    @cached_property
    def pt(self) -> dict[str, Any]:
        """A rosinality checkpoint."""
        return h.rosinality(self.g, self.d)


Maker = Callable[[Honest], bytes | Path]


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    make: Maker
    says: str | None = None


CASES: dict[str, Case] = {}


def add(name: str, make: Maker, says: str | None = None) -> None:
    """One case more."""
    assert name not in CASES, name
    CASES[name] = Case(make, says)


def case(name: str, says: str | None = None) -> Callable[[Maker], Maker]:
    """`add` for a maker of several lines."""

    def keep(make: Maker) -> Maker:
        add(name, make, says)
        return make

    return keep


_chunks = itertools.count(1)


def alone(node: Any) -> Raw:
    """The opcodes of a node with memo numbers of its own, so that it can be put anywhere and be said again."""
    if isinstance(node, Raw):
        return node
    code = dump(node)[2:-1]
    base = 2 * h.FAR + (next(_chunks) << 10)
    out, position = bytearray(), 0
    for opcode, argument, at in pickletools.genops(code + b"."):
        if opcode.name in ("LONG_BINPUT", "LONG_BINGET") and argument < h.FAR:
            out += code[position : at + 1] + struct.pack("<I", argument + base)
            position = at + 5
    return Raw(bytes(out + code[position:]))


def split(full: str) -> tuple[str, str]:
    """`os.path.join` -> (`os.path`, `join`)."""
    module, _, name = full.rpartition(".")
    return module, name
