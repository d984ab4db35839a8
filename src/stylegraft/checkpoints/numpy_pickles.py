"""Numpy arrays inside pickles: the names that numpy writes, and pickles of nothing but dicts of arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylegraft.checkpoints.opening import mapped
from stylegraft.checkpoints.pickles import (
    DAMAGED,
    MAX_NAME,
    MAX_SIZE,
    Budget,
    Cursor,
    Record,
    Refused,
    Vocabulary,
    article,
    interpret,
    printable,
)
from stylegraft.errors import StylegraftError

MAX_BYTES = 1 << 30  # of a file that is all arrays
MAX_DEPTH = 32  # nested dicts

DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


@dataclass(eq=False)
class Dtype(Record):
    """A plain numeric dtype and its byte order."""

    code: str
    order: str = "="

    def build(self, state: Any) -> None:
        """The state is (version, byte order, ...)."""
        if type(state) is not tuple or len(state) < 2 or type(state[1]) is not str or state[1] not in "<>|=":
            raise Refused("a dtype with a state that is not a byte order")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """As numpy knows it."""
        return np.dtype(("" if self.order in "|=" else self.order) + self.code)


@dataclass(eq=False)
class Array(Record):
    """An array that the file describes; `value` is a view of the file once its state is known."""

    value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """The state is (version, shape, dtype, Fortran order, bytes)."""
        if type(state) is not tuple or len(state) != 5:
            raise Refused("an array whose state is not (version, shape, dtype, order, bytes)")
        _, shape, dtype, fortran, data = state
        self.value = _view(data, dtype, shape, "F" if fortran is True else "C")


def _view(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(data, bytes | bytearray | memoryview) or not isinstance(dtype, Dtype):
        raise Refused("an array that is not plain bytes with a plain dtype")
    if type(order) is not str or order not in ("C", "F"):
        raise Refused("an array in an order that is neither C nor F")
    if (
        type(shape) is not tuple
        or len(shape) > 32
        or any(type(n) is not int or not 0 <= n < MAX_SIZE for n in shape)
    ):
        raise Refused("an array whose shape is not a short tuple of sizes")
    kind = dtype.numpy()
    if math.prod(shape) * kind.itemsize != len(data):
        raise Refused(
            f"an array of shape {list(shape)}, {kind.itemsize} bytes a value, with {len(data)} bytes of data"
        )
    return np.frombuffer(data, kind).reshape(shape, order=order)  # type: ignore[call-overload]


def _reconstruct(*args: Any) -> Array:
    if len(args) != 3 or getattr(args[0], "make", None) is not _ndarray:
        raise Refused("an array subclass")
    return Array()


def _ndarray(*_: Any) -> Any:
    raise Refused("a direct call of numpy.ndarray")


def _dtype(*args: Any) -> Dtype:
    if not args or type(args[0]) is not str or args[0] not in DTYPES:
        found = ascii(args[0][:20]) if args and type(args[0]) is str else "unknown"
        raise Refused(f"dtype {found}; allowed: {', '.join(sorted(DTYPES))}")
    return Dtype(args[0])


def _scalar(*args: Any) -> Any:
    """How numpy writes one number."""
    if len(args) != 2:
        raise Refused("a numpy number without (dtype, bytes)")
    data = args[1].encode("latin1") if type(args[1]) is str else args[1]
    return _view(data, args[0], (), "C").item()


def _frombuffer(*args: Any) -> Array:
    """How numpy writes contiguous arrays from protocol 5 on."""
    if len(args) != 4:
        raise Refused("_frombuffer with other than four arguments")
    return Array(_view(*args))


def _encode(*args: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if len(args) != 2 or type(args[0]) is not str or type(args[1]) is not str or args[1] != "latin1":
        raise Refused("_codecs.encode of something else than latin1 text")
    return args[0].encode("latin1")


def _bytes(*args: Any) -> bytes:
    """How protocol 2 writes no bytes at all."""
    if args:
        raise Refused("bytes() of something")
    return b""


NAMES: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _ndarray,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _bytes,
}
ARRAYS = Vocabulary("a numpy pickle", NAMES)


def _flatten(node: Any, prefix: str, depth: int, found: dict[str, np.ndarray], budget: Budget) -> None:
    budget.visit(1)
    if len(prefix) > MAX_NAME:
        raise Refused(f"a name of {len(prefix):,} letters")
    if isinstance(node, Array):
        if node.value is None:
            raise Refused("an array without data")
        found[prefix] = node.value
    elif isinstance(node, dict):
        if depth >= MAX_DEPTH:
            raise Refused(f"dicts nested deeper than {MAX_DEPTH}")
        for key, value in node.items():
            if type(key) is not str:
                raise Refused(f"a dict key that is {article(key)}")
            _flatten(value, f"{prefix}/{key}" if prefix else key, depth + 1, found, budget)
    else:
        where = printable(prefix, 120) or "top level"
        raise Refused(f"{article(node)} where a dict or an array belongs ({where})")


def parse_arrays(data: bytes | memoryview, name: str) -> dict[str, np.ndarray]:
    """Arrays of a numpy pickle held in memory, keys joined by "/", e.g. `VGG16_0/Conv_0/kernel`; read-only
    views into `data`.

    Raises StylegraftError when the pickle is damaged or asks for anything but dicts of plain arrays; nothing
    in it is imported or called.
    """
    if len(data) > MAX_BYTES:
        raise StylegraftError(f"{name}: {len(data)} bytes, more than the {MAX_BYTES} a numpy pickle may have")
    arrays: dict[str, np.ndarray] = {}
    budget = Budget()
    try:
        _flatten(interpret(Cursor(memoryview(data)), ARRAYS, budget), "", 0, arrays, budget)
    except Refused as refusal:
        raise StylegraftError(
            f"{name}: refused, it holds {refusal}. Expected a pickle of dicts of numpy arrays."
        ) from None
    except DAMAGED as broken:
        what = f"{type(broken).__name__}: {str(broken)[:120]}"
        raise StylegraftError(
            f"{name}: not a readable numpy pickle ({what}). Is the file complete?"
        ) from None
    return arrays


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """`parse_arrays` of a file."""
    return parse_arrays(mapped(path), os.fspath(path))
