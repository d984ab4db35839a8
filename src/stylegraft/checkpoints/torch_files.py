"""Files of torch.save, read without torch's own loader: the zip of today, the stream of old, and one storage in bytes.

What comes out is plain Python (dicts, lists, text, numbers) with `TensorRecord` for tensors. A record knows where its
numbers lie in the file and is checked when it is read; numbers are only looked at when somebody asks for them.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylegraft.checkpoints.numpy_pickles import NAMES as NUMPY
from stylegraft.checkpoints.pickles import (
    DAMAGED,
    MAX_SIZE,
    Budget,
    Cursor,
    Items,
    Name,
    Record,
    Refused,
    Vocabulary,
    article,
    hashable,
    interpret,
)
from stylegraft.errors import StylegraftError

MAGIC = 0x1950A86A20F9469CFC6C  # first value of a stream
PROTOCOL = 1001
MAX_DIRECTORY = 2 << 20  # bytes of a zip's list of members; a large checkpoint has 200 KB
LOCAL = 30  # bytes of a zip member's own header, before its name

# torch's storage classes: numpy's code of a value; bfloat16 is widened by hand
KINDS = {
    "FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "BFloat16Storage": "bf16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?", "UntypedStorage": "u1",
}  # fmt: skip
FLOATS = ("<f2", "<f4", "<f8", "bf16")


@dataclass(eq=False)
class Storage:
    """A run of numbers in the file; `data` is a view of them, once it is known where they are."""

    kind: str
    count: int
    data: memoryview | None = None

    @property
    def width(self) -> int:
        """Bytes a number."""
        return 2 if self.kind == "bf16" else np.dtype(self.kind).itemsize

    def bind(self, data: memoryview) -> None:
        """Say where the numbers are; raises Refused unless there are as many as announced."""
        if len(data) != self.count * self.width:
            raise Refused(
                f"a storage of {self.count:,} numbers with {len(data):,} bytes ({self.width} a number)"
            )
        self.data = data


@dataclass(eq=False)
class TensorRecord(Record):
    """A strided view of a storage, checked against its bounds."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    def array(self) -> np.ndarray:
        """The numbers as fp32 (or fp64, or whole), a view of the file where no widening is needed."""
        if self.storage.data is None:
            raise Refused("a tensor whose numbers are not in the file")
        kind = self.storage.kind
        flat = np.frombuffer(self.storage.data, "<u2" if kind == "bf16" else kind)
        steps = [step * flat.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, steps, writeable=False)
        if kind == "bf16":
            return (view.astype("<u4") << 16).view("<f4")
        return view.astype("<f4") if kind == "<f2" else view

    def build(self, state: Any) -> None:
        """Attributes of a parameter are not read."""


def _tensor(*args: Any) -> TensorRecord:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, ...)."""
    if len(args) < 4 or not isinstance(args[0], Storage):
        raise Refused("a tensor without (storage, offset, size, stride)")
    storage, offset, shape, stride = args[:4]
    for sizes in (shape, stride):
        if type(sizes) is not tuple or len(sizes) > 8 or not all(map(_is_size, sizes)):
            raise Refused("a tensor whose size or stride is not a short tuple of numbers from 0 on")
    if not _is_size(offset) or len(shape) != len(stride):
        raise Refused("a tensor whose offset, size and stride do not belong together")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) if count else offset
    axes = math.prod(n or 1 for n in shape)  # numpy counts them even where there are no numbers
    if (count and last >= storage.count) or count > storage.count or axes >= MAX_SIZE:
        raise Refused(
            f"a tensor of size {list(shape)}, stride {list(stride)} outside its {storage.count:,} numbers"
        )
    return TensorRecord(storage, offset, shape, stride)


def _is_size(n: Any) -> bool:
    return type(n) is int and 0 <= n < MAX_SIZE


def _parameter(*args: Any) -> TensorRecord:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks, ...)."""
    if not args or not isinstance(args[0], TensorRecord):
        raise Refused("a parameter that is no tensor")
    return args[0]


class Inert(Items):
    """An object of a class that is known to be harmless and whose content nobody needs."""

    def __init__(self, *_: Any):
        super().__init__()


def _kind(name: str) -> Callable[..., Any]:
    def storage(*_: Any) -> Any:
        raise Refused(f"a direct call of torch.{name}")

    return storage


def _items(*args: Any) -> Items:
    """OrderedDict() or OrderedDict([(key, value), ...])."""
    pairs = args[0] if len(args) == 1 else None if args else []
    if type(pairs) is not list or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise Refused("a dict made of something else than pairs")
    if any(type(key) is not str for key, _ in pairs):
        raise Refused("a dict whose keys are not text")
    return Items((key, value) for key, value in pairs)


def _set(*args: Any) -> set:
    return set(hashable(args[0])) if args else set()


CONTAINERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _items,
    "collections.defaultdict": Inert,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "argparse.Namespace": Inert,
    "types.SimpleNamespace": Inert,
    "pathlib.PosixPath": Inert,
    "pathlib.WindowsPath": Inert,
    "easydict.EasyDict": _items,
    "omegaconf.dictconfig.DictConfig": Inert,
    "omegaconf.listconfig.ListConfig": Inert,
    "omegaconf.base.ContainerMetadata": Inert,
    "omegaconf.base.Metadata": Inert,
    "omegaconf.nodes.AnyNode": Inert,
    "typing.Any": Inert,
    "builtins.dict": Inert,
    "builtins.list": Inert,
    "builtins.int": Inert,
    "builtins.float": Inert,
    "builtins.str": Inert,
    "__builtin__.dict": Inert,
}
TENSORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": Inert,
    "torch.device": Inert,
    **{
        f"torch.{name}": Inert
        for name in ("float32", "float16", "bfloat16", "float64", "int64", "uint8", "bool")
    },
}
STORAGES = {f"torch.{name}": _kind(name) for name in KINDS} | {
    "torch.storage.UntypedStorage": _kind("UntypedStorage")
}
WHAT = "a checkpoint of torch.save"


@dataclass
class _Storages:
    """Persistent ids of one file: ('storage', class, key, device, count, ...) -> Storage."""

    found: dict[str, Storage] = field(default_factory=dict)
    locate: Callable[[str], memoryview] | None = None

    def __call__(self, pid: Any) -> Storage:
        if type(pid) is not tuple or len(pid) not in (5, 6) or type(pid[0]) is not str or pid[0] != "storage":
            raise Refused("a persistent id that is no storage")
        _, kind, key, _, count = pid[:5]
        name = kind.name if isinstance(kind, Name) else ""
        if name not in KINDS or not _is_size(count):
            raise Refused("a storage whose kind or size is unknown")
        if len(pid) == 6 and pid[5] is not None:
            raise Refused("a storage that is a view of another (written by a torch before 0.4)")
        if type(key) not in (str, int):
            raise Refused("a storage without a key")
        storage = self.found.get(str(key))
        if storage is None:
            storage = self.found[str(key)] = Storage(KINDS[name], count)
            if self.locate is not None:
                storage.bind(self.locate(str(key)))
        elif (storage.kind, storage.count) != (KINDS[name], count):
            raise Refused(f"the storage {str(key)[:40]!a} described in two ways")
        return storage


def _vocabulary(storages: _Storages) -> Vocabulary:
    return Vocabulary(WHAT, {**NUMPY, **CONTAINERS, **TENSORS, **STORAGES}, persistent=storages)


def read_stream(data: memoryview, budget: Budget) -> Any:
    """The value of a stream of torch.save before 1.6: three pickles of format, the value, the keys, the numbers."""
    cursor = Cursor(data)
    bare = Vocabulary(WHAT, {})
    head = [interpret(cursor, bare, budget) for _ in range(3)]
    if type(head[0]) is not int or type(head[1]) is not int or (head[0], head[1]) != (MAGIC, PROTOCOL):
        raise Refused("a pickle that does not begin as torch.save writes it")
    if not isinstance(head[2], dict) or head[2].get("little_endian") is not True:
        raise Refused("numbers of a big-endian machine")
    storages = _Storages()
    value = interpret(cursor, _vocabulary(storages), budget)
    keys = interpret(cursor, bare, budget)
    if type(keys) is not list or any(type(key) not in (str, int) for key in keys):
        raise Refused("a list of storages that is no list of keys")
    for key in keys:
        count = int.from_bytes(data[cursor.at : cursor.at + 8], "little")
        storage = storages.found.get(str(key))
        if storage is None or storage.data is not None or count != storage.count:
            raise Refused(f"numbers of a storage {str(key)[:40]!a} that the value does not have in that size")
        start = cursor.at + 8
        cursor.at = start + count * storage.width
        if cursor.at > len(data):
            raise EOFError("it ends in the middle of its numbers")
        storage.bind(data[start : cursor.at])
    if any(storage.data is None for storage in storages.found.values()):
        raise EOFError("numbers are missing at its end")
    return value


def load_from_bytes(budget: Budget) -> Callable[..., Any]:
    """torch.storage._load_from_bytes: a stream of one storage inside another pickle."""

    def load(*args: Any) -> Storage:
        if len(args) != 1 or not isinstance(args[0], bytes | bytearray | memoryview):
            raise Refused("a storage that is not bytes")
        value = read_stream(memoryview(args[0]), budget)
        if not isinstance(value, Storage):
            raise Refused(f"{article(value)} where a storage belongs")
        return value

    return load


class _Peek(io.RawIOBase):
    """A view as the file object that `zipfile` wants, which hands out no more than a directory at a time."""

    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, len(self.data))[whence] + offset)
        return self.at

    def read(self, size: int = -1) -> bytes:
        taken = self.data[self.at : len(self.data) if size < 0 else self.at + size]
        if len(taken) > MAX_DIRECTORY:
            raise Refused(f"a zip directory above {MAX_DIRECTORY:,} bytes")
        self.at += len(taken)
        return bytes(taken)


def read_zip(data: memoryview, budget: Budget) -> Any:
    """The value of a zip of torch.save: `NAME/data.pkl` and one member for each storage, none of them compressed."""
    try:
        members = {member.filename: member for member in zipfile.ZipFile(_Peek(data)).infolist()}  # type: ignore[arg-type]
    except (zipfile.BadZipFile, NotImplementedError, UnicodeError, struct.error) as error:
        raise ValueError(f"its zip directory is damaged: {error}") from error
    roots = [
        name.removesuffix("data.pkl")
        for name in members
        if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(roots) != 1:
        raise Refused("no data.pkl in its one folder: torch.save did not write it")
    (root,) = roots
    if f"{root}constants.pkl" in members:
        raise Refused("a TorchScript archive, which is a program and not weights")

    left = len(data)

    def content(name: str) -> memoryview:
        nonlocal left
        if name not in members:
            raise EOFError(f"its member {name[:80]!a} is missing")
        member = members[name]
        if (
            member.compress_type != zipfile.ZIP_STORED
            or member.compress_size != member.file_size
            or member.flag_bits & 1
        ):
            raise Refused(f"a compressed or encrypted member {name[:80]!a}, which torch.save does not write")
        left -= member.file_size
        if left < 0:
            raise Refused("members that lie over each other")
        local = bytes(data[member.header_offset : member.header_offset + LOCAL])
        if len(local) < LOCAL or local[:4] != b"PK\x03\x04":
            raise ValueError(f"its member {name[:80]!a} is not where the directory says")
        start = (
            member.header_offset
            + LOCAL
            + int.from_bytes(local[26:28], "little")
            + int.from_bytes(local[28:30], "little")
        )
        view = data[start : start + member.file_size]
        if len(view) != member.file_size or zlib.crc32(view) != member.CRC:
            raise ValueError(f"its member {name[:80]!a} is cut short or altered (checksum)")
        return view

    if f"{root}byteorder" in members and bytes(content(f"{root}byteorder")[:16]) != b"little":
        raise Refused("numbers of a big-endian machine")
    storages = _Storages(locate=lambda key: content(f"{root}data/{key}"))
    return interpret(Cursor(content(f"{root}data.pkl")), _vocabulary(storages), budget)


def read_state(data: bytes, name: str) -> dict[str, np.ndarray]:
    """{name: numbers} of a file of torch.save that holds one state dict; raises StylegraftError for any other."""
    view, budget = memoryview(data), Budget(numbers=len(data))
    try:
        value = read_zip(view, budget) if data[:2] == b"PK" else read_stream(view, budget)
        if not isinstance(value, dict):
            raise Refused(f"{article(value)} where a state dict belongs")
        state = {}
        for key, tensor in value.items():
            if type(key) is not str or not isinstance(tensor, TensorRecord):
                raise Refused(f"{article(tensor)} where a tensor belongs")
            budget.take(tensor.size)
            state[key] = tensor.array()
    except Refused as refusal:
        raise StylegraftError(f"{name}: refused, it holds {refusal}. Expected tensors alone.") from None
    except DAMAGED as broken:
        raise StylegraftError(f"{name}: damaged ({type(broken).__name__}: {str(broken)[:120]})") from None
    return state
