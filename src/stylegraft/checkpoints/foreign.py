"""A file that another code base wrote, as its networks' tensors under our names, before any network is built.

One reader a format; `READERS` is the table. No torch is imported here, so that a wrong file is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from stylegraft.checkpoints.opening import KNOWN, SNIFF, is_safetensors, mapped
from stylegraft.checkpoints.pickles import DAMAGED, Budget, Refused
from stylegraft.errors import StylegraftError


class Numbers(Protocol):
    """A tensor that is still in the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size."""
        ...

    def array(self) -> np.ndarray:
        """Its numbers."""
        ...


@dataclass(frozen=True)
class Values:
    """Numbers that a reader has computed or turned round already."""

    numbers: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Its size."""
        return self.numbers.shape

    def array(self) -> np.ndarray:
        """Its numbers."""
        return self.numbers


def same(x: np.ndarray) -> np.ndarray:
    """The turn that leaves numbers as they lie."""
    return x


@dataclass(frozen=True)
class Turned:
    """Numbers in another layout, made when they are asked for."""

    source: Numbers
    shape: tuple[int, ...]
    turn: Callable[[np.ndarray], np.ndarray] = same

    def array(self) -> np.ndarray:
        """Its numbers."""
        return self.turn(self.source.array()).reshape(self.shape)


@dataclass(frozen=True)
class Network:
    """tensors: {our name: numbers}; extra: config entries that shapes cannot tell."""

    tensors: Mapping[str, Numbers]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{name: size}."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


@dataclass(frozen=True)
class Foreign:
    """generator: the averaged one (EMA) where the file has it; info: what else it says, JSON-able; notes: for the user.

    A file of StyleSpace directions has no generator but `heads`, a domain's numbers (see `domains.directions`).
    """

    format: str
    generator: Network | None = None
    discriminator: Network | None = None
    heads: Mapping[str, Any] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def attempt(read: Callable[[], Network | None]) -> tuple[Network | None, tuple[str, ...]]:
    """A discriminator, or none and a note why: forks change it most, and the generator does not need it."""
    try:
        return read(), ()
    except Refused as refusal:
        return None, (f"its discriminator is left out: {refusal}",)


Reader = Callable[[memoryview, Budget], Foreign]


def _nvidia(data: memoryview, budget: Budget) -> Foreign:
    from stylegraft.checkpoints import nvidia

    return nvidia.read(data, budget)


def _zip(data: memoryview, budget: Budget) -> Foreign:
    from stylegraft.checkpoints import rosinality, torch_files

    return rosinality.networks(torch_files.read_zip(data, budget), budget)


def _stream(data: memoryview, budget: Budget) -> Foreign:
    from stylegraft.checkpoints import rosinality, torch_files

    return rosinality.networks(torch_files.read_stream(data, budget), budget)


# what such a file is; how it begins; its reader. A stream of torch.save is a pickle that begins with a certain number.
STREAM = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
READERS: tuple[tuple[str, Callable[[bytes], bool], Reader], ...] = (
    ("a zip archive", lambda start: start.startswith(b"PK\x03\x04"), _zip),
    ("a stream of torch.save", lambda start: start[:1] == b"\x80" and STREAM in start, _stream),
    ("a pickle", lambda start: start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"), _nvidia),
)
# what to do about a name that a file of torch.save asks for
STATES = "; where it was written, save state dicts alone: torch.save({'g_ema': generator.state_dict()}, path)"


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like one that `read` may know."""
    start = bytes(mapped(path)[:SNIFF])
    return not is_safetensors(start) and any(begins(start) for _, begins, _ in READERS)


def read(path: str | os.PathLike[str]) -> Foreign:
    """What a foreign file holds, everything in it checked but the numbers themselves.

    Raises StylegraftError naming the file, what was found in it and what to do; imports and runs nothing of it.
    """
    shown, data = os.fspath(path), mapped(path)
    start = bytes(data[:SNIFF])
    what, reader = next(((what, reader) for what, begins, reader in READERS if begins(start)), ("", None))
    if reader is None:
        raise StylegraftError(f"{shown}: not a checkpoint that stylegraft knows; it reads {KNOWN}")
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused where the numbers are read
            found = reader(data, Budget(numbers=len(data) // 2))
    except Refused as refusal:
        asked = str(refusal).startswith(("the name", "a call", "the opcode"))
        more = f"{STATES if reader is not _nvidia else ''}. Nothing of it was run" if asked else ""
        raise StylegraftError(f"{shown}: refused: {what} with {refusal}{more}") from None
    except DAMAGED as broken:
        detail = f"{type(broken).__name__}: {str(broken)[:120]}"
        raise StylegraftError(
            f"{shown}: damaged: begins as {what}, but cannot be read ({detail}); fetch it again"
        ) from None
    return replace(found, info={"format": found.format, **found.info})
