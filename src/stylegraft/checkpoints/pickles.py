"""Read a pickle of nested dicts of numpy arrays without running anything that the file asks for.

Python's unpickler imports what a file names and calls it. This reader is an interpreter of the few opcodes
that such a file needs: a GLOBAL is looked up in `ALLOWED` (never imported), and the only "calls" are our own
functions below. Everything else is refused by name. Used for weight files that were stored as numpy pickles
(deny-list scanners keep being bypassed, so an allow-list is the gate).
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stylegraft.errors import StylegraftError

MAX_BYTES = (
    1 << 30
)  # of the file; arrays are views into it, so a file cannot make us allocate more than its own size
MAX_OPCODES = 1_000_000
MAX_DEPTH = 32  # nested dicts
MAX_ARRAYS = 100_000

DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class Refused(Exception):
    """What the file asked for is not on the allow-list; `read_arrays` adds the file's name."""


@dataclass
class _Dtype:
    code: str
    order: str = "="

    def build(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 2 and state[1] in ("<", ">", "|", "=")):
            raise Refused("a dtype with a state that is not a byte order")
        self.order = state[1]

    def numpy(self) -> np.dtype:
        order = "" if self.order in "|=" else self.order
        return np.dtype(order + self.code)


@dataclass
class _Array:
    value: np.ndarray | None = None

    def build(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise Refused("an array whose state is not (version, shape, dtype, order, bytes)")
        _, shape, dtype, fortran, data = state
        self.value = _view(data, dtype, shape, "F" if fortran is True else "C")


def _view(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise Refused("an array that is not plain bytes with a plain dtype")
    if not (isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape)):
        raise Refused(f"an array of shape {shape!r}")
    kind = dtype.numpy()
    if math.prod(shape) * kind.itemsize != len(data):
        raise Refused(
            f"an array of shape {shape} and {kind.itemsize} bytes a value with {len(data)} bytes of data"
        )
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _reconstruct(*args: Any) -> _Array:
    if len(args) != 3 or args[0] is not ALLOWED["numpy", "ndarray"]:
        raise Refused("an array subclass")
    return _Array()


def _ndarray(*_: Any) -> Any:
    raise Refused("a direct call of numpy.ndarray")


def _dtype(*args: Any) -> _Dtype:
    if not args or args[0] not in DTYPES:
        raise Refused(f"dtype {args[0] if args else None!r}; allowed: {', '.join(sorted(DTYPES))}")
    return _Dtype(args[0])


def _frombuffer(*args: Any) -> _Array:  # how numpy writes contiguous arrays from protocol 5 on
    if len(args) != 4:
        raise Refused("_frombuffer with other than four arguments")
    return _Array(_view(*args))


def _encode(*args: Any) -> bytes:  # how protocol 2 writes bytes
    if len(args) != 2 or not isinstance(args[0], str) or args[1] != "latin1":
        raise Refused("_codecs.encode of something else than latin1 text")
    return args[0].encode("latin1")


def _bytes(*args: Any) -> bytes:  # how protocol 2 writes no bytes at all
    if args:
        raise Refused("bytes() of something")
    return b""


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _bytes,
}

_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def _global(module: Any, name: Any) -> Callable[..., Any]:
    found = ALLOWED.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
    if found is None:
        raise Refused(
            f"{str(module)[:80]}.{str(name)[:80]}, which is not on the allow-list of a numpy pickle"
        )
    return found


def _interpret(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def mark() -> list[Any]:
        at = len(stack) - 1
        while stack[at] is not _MARK:  # runs off the front (IndexError) when there is none
            at -= 1
            if at < 0:
                raise IndexError("no MARK")
        taken = stack[at + 1 :]
        del stack[at:]
        return taken

    def into_dict(pairs: list[Any]) -> None:
        if len(pairs) % 2 or type(stack[-1]) is not dict:
            raise Refused("an item set on something that is not a dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str):
                raise Refused(f"a dict key of type {type(key).__name__}")
            stack[-1][key] = value

    operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(data)
    for count, (opcode, argument, _) in enumerate(operations):
        op = opcode.name
        if count > MAX_OPCODES:
            raise Refused(f"more than {MAX_OPCODES} opcodes")
        if op in _LITERALS:
            stack.append(argument)
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif op == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif op == "MARK":
            stack.append(_MARK)
        elif op == "EMPTY_DICT":
            stack.append({})
        elif op == "SETITEM":
            value, key = stack.pop(), stack.pop()
            into_dict([key, value])
        elif op == "SETITEMS":
            into_dict(mark())
        elif op == "TUPLE":
            stack.append(tuple(mark()))
        elif op in _TUPLES:
            n = _TUPLES[op]
            if len(stack) < n:
                raise IndexError("short stack")
            stack[-n:] = [tuple(stack[-n:])]
        elif op == "GLOBAL":
            stack.append(_global(*argument.split(" ", 1)))
        elif op == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_global(module, name))
        elif op == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not any(function is allowed for allowed in ALLOWED.values()) or not isinstance(
                arguments, tuple
            ):
                raise Refused("a call of something that is not on the allow-list")
            stack.append(function(*arguments))
        elif op == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], (_Array, _Dtype)):
                raise Refused("object state (BUILD) for something that is neither array nor dtype")
            stack[-1].build(state)
        elif op in ("PROTO", "FRAME"):
            continue
        elif op == "STOP":
            if len(stack) != 1:
                raise Refused("more than one value")
            return stack[0]
        else:
            raise Refused(f"opcode {op}")
    raise EOFError


def _flatten(node: Any, prefix: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(node, _Array):
        if node.value is None:
            raise Refused("an array without data")
        yield prefix, node.value
    elif isinstance(node, dict):
        if depth >= MAX_DEPTH:
            raise Refused(f"dicts nested deeper than {MAX_DEPTH}")
        for key, value in node.items():
            yield from _flatten(value, f"{prefix}/{key}" if prefix else key, depth + 1)
    else:
        raise Refused(f"a {type(node).__name__} where a dict or an array belongs ({prefix or 'top level'})")


def parse_arrays(data: bytes, name: str) -> dict[str, np.ndarray]:
    """Arrays of a numpy pickle held in memory, keys joined by "/", e.g. `VGG16_0/Conv_0/kernel`; read-only
    views into `data`.

    Raises StylegraftError when the pickle is damaged or asks for anything but dicts of plain arrays; nothing
    in it is imported or called.
    """
    if len(data) > MAX_BYTES:
        raise StylegraftError(f"{name}: {len(data)} bytes, more than the {MAX_BYTES} a numpy pickle may have")
    arrays: dict[str, np.ndarray] = {}
    try:
        for key, value in _flatten(_interpret(data), "", 0):
            arrays[key] = value
            if len(arrays) > MAX_ARRAYS:
                raise Refused(f"more than {MAX_ARRAYS} arrays")
    except Refused as refusal:
        raise StylegraftError(
            f"{name}: refused, it holds {refusal}. Expected a pickle of dicts of numpy arrays."
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, EOFError, OverflowError, UnicodeError) as broken:
        what = f"{type(broken).__name__}: {str(broken)[:120]}"
        raise StylegraftError(
            f"{name}: not a readable numpy pickle ({what}). Is the file complete?"
        ) from None
    return arrays


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """`parse_arrays` of a file."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StylegraftError(f"{path}: larger than the {MAX_BYTES} bytes a numpy pickle may have")
        data = path.read_bytes()
    except OSError as error:
        raise StylegraftError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_arrays(data, str(path))
