"""A file that another code base wrote, as its networks' tensors under our names, before any network is built.

One reader a format; `READERS` is the table. No torch is imported here, so that a wrong file is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stylegraft.checkpoints.opening import mapped
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


@dataclass(frozen=True)
class Turned:
    """Numbers in another layout, made when they are asked for."""

    source: Numbers
    shape: tuple[int, ...]
    turn: Callable[[np.ndarray], np.ndarray]

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


# the first bytes; what such a file is; its reader
READERS: tuple[tuple[bytes, str, Reader], ...] = (
    (b"PK\x03\x04", "a zip of torch.save", _zip),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "a stream of torch.save", _stream),
    *((bytes([0x80, protocol]), "a pickle", _nvidia) for protocol in range(2, 6)),
)
KNOWN = "NVIDIA .pkl, rosinality .pt, .safetensors of stylegraft"


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like one that `read` may know."""
    return any(mapped(path)[: len(start)] == start for start, _, _ in READERS)


def read(path: str | os.PathLike[str]) -> Foreign:
    """What a foreign file holds, everything in it checked but the numbers themselves.

    Raises StylegraftError naming the file, what was found in it and what to do; imports and runs nothing of it.
    """
    shown, data = os.fspath(path), mapped(path)
    for start, what, reader in READERS:
        if data[: len(start)] != start:
            continue
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused where the numbers are read
                foreign = reader(data, Budget(numbers=len(data) // 2))
        except Refused as refusal:
            raise StylegraftError(
                f"{shown}: refused: {what} with {refusal}. Nothing of it was run."
            ) from None
        except DAMAGED as broken:
            detail = f"{type(broken).__name__}: {str(broken)[:120]}"
            raise StylegraftError(
                f"{shown}: damaged: begins as {what}, but cannot be read ({detail}); fetch it again"
            ) from None
        return replace(foreign, info={"format": foreign.format, **foreign.info})
    raise StylegraftError(f"{shown}: not a checkpoint that stylegraft knows; it reads {KNOWN}")


def stem(path: str | os.PathLike[str]) -> str:
    """The name that a source gets from its file."""
    return Path(path).stem
