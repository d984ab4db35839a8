"""Checkpoints written opcode by opcode: small faithful ones of every format, and what can be done to them.

Nothing here calls a pickler on foreign objects, so that a test can write what no pickler writes.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = {"architecture": "stylegan2", "resolution": 8, "img_channels": 3, "z_dim": 4, "w_dim": 4, "c_dim": 0,
          "mapping_layers": 2, "channel_base": 32, "channel_max": 4}  # fmt: skip
D_CONFIG = {"architecture": "resnet", "resolution": 8, "img_channels": 3, "channel_base": 32, "channel_max": 4,
            "mbstd_group_size": 4}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C
FAR = 1 << 20  # memo numbers that the writer below does not reach

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Raw:
    """Opcodes as they are."""

    code: bytes


@dataclass(frozen=True, eq=False)
class Global:
    """A name of a module."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """REDUCE of a global, then BUILD with the state, if any."""

    module: str
    name: str
    args: Any = ()
    state: Any = None


@dataclass(frozen=True, eq=False)
class Pid:
    """A persistent id."""

    value: Any


def text(s: str) -> bytes:
    """BINUNICODE, lone surrogates and all."""
    coded = s.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(coded)) + coded


def number(n: int) -> bytes:
    """BININT or LONG1."""
    if -(1 << 31) <= n < 1 << 31:
        return b"J" + struct.pack("<i", n)
    coded = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(coded)]) + coded


def put(at: int) -> bytes:
    """Remember the top of the stack far away."""
    return b"r" + struct.pack("<I", FAR + at)


def get(at: int) -> bytes:
    """What `put` remembered."""
    return b"j" + struct.pack("<I", FAR + at)


def named(module: str, name: str, protocol: int = 3) -> bytes:
    """GLOBAL, or STACK_GLOBAL from protocol 4 on."""
    if protocol >= 4:
        return text(module) + text(name) + b"\x93"
    return b"c" + f"{module}\n{name}\n".encode()


def dump(value: Any, protocol: int = 3) -> bytes:
    """The pickle of plain values, arrays and the nodes above."""
    memo: dict[Any, int] = {}
    return b"\x80" + bytes([protocol]) + _code(value, protocol, memo) + b"."


def _code(value: Any, protocol: int, memo: dict[Any, int]) -> bytes:
    def inner(child: Any) -> bytes:
        return _code(child, protocol, memo)

    if isinstance(value, Raw):
        return value.code
    if isinstance(value, str | Global):
        key = value if isinstance(value, str) else (value.module, value.name)
        if key in memo:
            return b"j" + struct.pack("<I", memo[key])
        memo[key] = len(memo)
        start = text(value) if isinstance(value, str) else named(value.module, value.name, protocol)
        return start + b"r" + struct.pack("<I", memo[key])
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, Call):
        called = inner(Global(value.module, value.name)) + inner(value.args) + b"R"
        return called if value.state is None else called + inner(value.state) + b"b"
    if isinstance(value, Pid):
        return inner(value.value) + b"Q"
    if isinstance(value, np.ndarray):
        return inner(array(value))
    if isinstance(value, tuple):
        return b"(" + b"".join(map(inner, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(inner, value)) + b"e"
    assert isinstance(value, dict), value
    return b"}(" + b"".join(inner(part) for pair in value.items() for part in pair) + b"u"


def array(values: np.ndarray, data: Any = None, shape: Any = None) -> Call:
    """How numpy pickles an array."""
    order = values.dtype.byteorder.replace("=", "<")
    dtype = Call("numpy", "dtype", (values.dtype.str[1:], False, True),
                 (3, order, None, None, None, -1, -1, 0))  # fmt: skip
    state = (
        1,
        values.shape if shape is None else shape,
        dtype,
        False,
        values.tobytes() if data is None else data,
    )
    return Call("numpy.core.multiarray", "_reconstruct", (Global("numpy", "ndarray"), (0,), b"b"), state)


KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage",
         "uint8": "ByteStorage"}  # fmt: skip


def stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row by row."""
    return tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


def rebuilt(storage: Any, shape: Any, steps: Any = None, offset: Any = 0) -> Call:
    """torch._utils._rebuild_tensor_v2."""
    steps = stride(shape) if steps is None else steps
    return Call("torch._utils", "_rebuild_tensor_v2", (storage, offset, shape, steps, False, ordered()))


def ordered() -> Call:
    """An empty OrderedDict."""
    return Call("collections", "OrderedDict")


def stream(value: Any, storages: Mapping[str, np.ndarray]) -> bytes:
    """What torch.save wrote before 1.6."""
    head = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [dump(part, 2) for part in (MAGIC, 1001, head, value, list(storages))]
    return b"".join(parts) + b"".join(struct.pack("<q", a.size) + a.tobytes() for a in storages.values())


def storage_id(values: np.ndarray, key: Any, count: Any = None) -> Pid:
    """How a stream or a zip names its numbers."""
    kind = Global("torch", KINDS[str(values.dtype)])
    return Pid(("storage", kind, key, "cpu", values.size if count is None else count, None))


def blob(values: np.ndarray) -> Call:
    """A storage inside an NVIDIA pickle."""
    code = stream(storage_id(values, "94110"), {"94110": values})
    return Call("torch.storage", "_load_from_bytes", (code,))


def tensor(values: np.ndarray) -> Call:
    """A tensor inside an NVIDIA pickle."""
    return rebuilt(blob(values), values.shape)


def module(
    arrays: Mapping[str, Any], class_name: Any = "Generator", prefix: str = "", **attributes: Any
) -> Call:
    """An NVIDIA module and its children, from dotted names; values are arrays or nodes."""
    own = {name: value for name, value in arrays.items() if "." not in name}
    children: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        head, dot, rest = name.partition(".")
        if dot:
            children.setdefault(head, {})[rest] = value
    nodes = {name: tensor(value) if isinstance(value, np.ndarray) else value for name, value in own.items()}
    buffers = {
        name: node for name, node in nodes.items() if name in ("w_avg", "noise_const", "resample_filter")
    }
    parameters = {
        name: Call("torch._utils", "_rebuild_parameter", (node, True, ordered()))
        for name, node in nodes.items()
        if name not in buffers
    }
    below = {name: module(part, "Layer") for name, part in children.items()}
    state = {
        "training": False,
        "_parameters": parameters,
        "_buffers": buffers,
        "_modules": below,
        **attributes,
    }
    return persistent(state, class_name)


def persistent(state: Any, class_name: Any = "Layer", source: Any = "# source text", where: str = "") -> Call:
    """A persistent object of NVIDIA's torch_utils."""
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": class_name, "state": state}
    return Call(f"{where}torch_utils.persistence", "_reconstruct_persistent_obj", (meta,))


def tiny() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random numbers of a generator and a discriminator of 8 px, under our names."""
    import torch

    from stylegraft.networks.discriminator import build_discriminator
    from stylegraft.networks.generator import build_generator

    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    networks = build_generator(dict(CONFIG)), build_discriminator(dict(D_CONFIG))
    torch.random.set_rng_state(state)
    g, d = ({name: t.detach().numpy() for name, t in net.state_dict().items()} for net in networks)
    return g, d


def nvidia(g: Arrays, d: Arrays, protocol: int = 3, **more: Any) -> bytes:
    """A pickle of NVIDIA's PyTorch code, filters and all."""
    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    value = {
        "training_set_kwargs": Call("dnnlib.util", "EasyDict"),
        "G": None,
        "D": module(d, "Discriminator"),
        "G_ema": module({**g, "synthesis.b8.resample_filter": fir}),
        "augment_pipe": None,
    }
    return dump(value | more, protocol)


def rosinality(g: Arrays, d: Arrays | None = None) -> dict[str, dict[str, np.ndarray]]:
    """{g_ema, d} under the names and shapes of that code base."""
    from stylegraft.checkpoints.rosinality import discriminator_rows, generator_rows

    def state(own: Arrays, rows: Iterator[Any]) -> dict[str, np.ndarray]:
        return {
            theirs: own[ours].reshape((1,) * lead + own[ours].shape + (1,) * trail)
            for theirs, ours, lead, trail in rows
            if ours in own
        }

    found = {"g_ema": state(g, generator_rows(8, 2))}
    return found if d is None else {**found, "d": state(d, discriminator_rows(8))}


def torch_value(value: Any, storages: dict[str, np.ndarray]) -> Any:
    """The same value with tensor nodes for arrays, whose numbers go to `storages`."""
    if isinstance(value, np.ndarray):
        key = str(len(storages))
        storages[key] = value
        return rebuilt(storage_id(value, key), value.shape)
    if isinstance(value, dict):
        return {name: torch_value(part, storages) for name, part in value.items()}
    return value


def legacy(value: Any) -> bytes:
    """A stream of torch.save that holds these arrays."""
    storages: dict[str, np.ndarray] = {}
    return stream(torch_value(value, storages), storages)


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return buffer.getvalue()


def members(value: Any) -> dict[str, bytes]:
    """What torch.save puts into its zip."""
    storages: dict[str, np.ndarray] = {}
    code = dump(torch_value(value, storages), 2)
    numbers = {f"archive/data/{key}": values.tobytes() for key, values in storages.items()}
    return {"archive/data.pkl": code, "archive/byteorder": b"little", **numbers, "archive/version": b"3\n"}


def modern(value: Any) -> bytes:
    """A zip of torch.save that holds these arrays."""
    return archive(members(value))


_TF = (
    (r"mapping\.w_avg", "dlatent_avg"),
    (r"mapping\.fc(\d+)\.(weight|bias)", r"mapping/Dense\1/\2"),
    (r"synthesis\.b4\.const", "synthesis/4x4/Const/const"),
    (r"synthesis\.b4\.conv1\.noise_const", "synthesis/noise0"),
    (r"synthesis\.b8\.conv0\.noise_const", "synthesis/noise1"),
    (r"synthesis\.b8\.conv1\.noise_const", "synthesis/noise2"),
    (r"synthesis\.b(\d+)\.(\w+)\.affine\.(\w+)", r"synthesis/\1x\1/\2/mod_\3"),
    (r"synthesis\.b(\d+)\.(\w+)\.(\w+)", r"synthesis/\1x\1/\2/\3"),
    (r"b4\.(\w+)\.(\w+)", r"4x4/\1/\2"),
    (r"b(\d+)\.(\w+)\.(\w+)", r"\1x\1/\2/\3"),
)
_PARTS = (("4x4/conv1", "4x4/Conv"), ("4x4/conv/", "4x4/Conv/"), ("4x4/fc", "4x4/Dense0"), ("4x4/out", "Output"),
          ("conv0", "Conv0_up"), ("conv1", "Conv1"), ("torgb", "ToRGB"), ("fromrgb", "FromRGB"),
          ("/skip", "/Skip"))  # fmt: skip


def variables(own: Arrays) -> list[tuple[str, Any]]:
    """The same numbers as TensorFlow keeps them (shapes and names; kernels are not turned)."""
    found = []
    for name, values in own.items():
        pattern, theirs = next(row for row in _TF if re.fullmatch(row[0], name))
        named = re.sub(pattern, theirs, name)
        for ours, part in _PARTS:
            named = named.replace(ours, part)
        if not named.startswith(("synthesis", "mapping")):
            named = named.replace("Conv0_up", "Conv0").replace("8x8/Conv1", "8x8/Conv1_down")
        if "noise" in named.rpartition("/")[2] and values.ndim == 2:
            values = values[None, None]
        elif named.endswith("const"):
            values = values[None]
        elif values.ndim == 4:
            values = values.transpose(2, 3, 1, 0)
        elif values.ndim == 2:
            values = values.T
        found.append((named, np.ascontiguousarray(values).reshape(values.shape)))
    return found


def network(pairs: Any, components: Any = None, **changed: Any) -> Call:
    """One dnnlib.tflib Network."""
    state = {
        "version": 4,
        "name": "G",
        "static_kwargs": {"resolution": 8, "num_channels": 3, "fmap_base": 16, "mapping_layers": 2},
        "components": components or {},
        "build_module_src": "# source text",
        "build_func_name": "G_main",
        "variables": pairs,
    }
    return Call("dnnlib.tflib.network", "Network", (), state | changed)


def tensorflow(g: Arrays, d: Arrays, protocol: int = 3, **changed: Any) -> bytes:
    """The tuple (G, D, Gs); `changed` goes into the state of Gs."""
    parts: dict[str, list[tuple[str, Any]]] = {"": [], "mapping": [], "synthesis": []}
    for name, values in variables(g):
        head, _, rest = name.partition("/")
        parts[head if rest else ""].append((rest or name, values))
    below = {name: network(pairs, name=name) for name, pairs in parts.items() if name}
    averaged = network(**{"pairs": parts[""], "components": below} | changed)
    return dump((network(parts[""], below), network(variables(d), name="D"), averaged), protocol)


def reseal(data: bytes) -> bytes:
    """A zip whose members' checksums are right again, so that a change inside reaches the reader."""
    fixed = bytearray(data)
    at = data.find(b"PK\x01\x02")
    while at >= 0 and at + 46 <= len(data):
        size, names, extra, comment = struct.unpack("<IHHH", data[at + 24 : at + 34])
        (header,) = struct.unpack("<I", data[at + 42 : at + 46])
        if header + 30 <= len(data):
            start = header + 30 + sum(struct.unpack("<HH", data[header + 26 : header + 30]))
            fixed[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(data[start : start + size]))
        at = data.find(b"PK\x01\x02", at + 46 + names + extra + comment)
    return bytes(fixed)


def mutated(good: bytes, rng: random.Random) -> bytes:
    """One to four of: bytes changed, cut, inserted, doubled, swapped; numbers replaced by what programs trip over."""
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data)) if data else 0
        if rng.random() < 0.3:
            at = min(at, rng.choice((64, 512, 4096)))
        size = rng.choice((1, 1, 2, 4, 8, 16, 100, 1000))
        other = rng.randrange(len(data)) if data else 0
        kind = rng.randrange(9)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at : at + 1] = bytes([data[at] ^ (1 << rng.randrange(8))]) if at < len(data) else b""
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + size]
        elif kind == 4:
            data[at:at] = rng.randbytes(size)
        elif kind == 5:
            data[at:at] = data[other : other + size]
        elif kind == 6:
            data[at : at + size], data[other : other + size] = (
                data[other : other + size],
                data[at : at + size],
            )
        elif kind == 7:
            edge = rng.choice(
                (0, 1, -1, 127, 255, 1 << 15, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 40, 1 << 62)
            )
            width = rng.choice((1, 2, 4, 8))
            data[at : at + width] = (edge & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        else:
            data[at:at] = rng.choice(
                (b"(", b"t", b"0", b"2", b"h\x00", b"R", b"b", b"\x81", b"Q", b"N", b"}", b".")
            )
    return bytes(data)


def write(path: Path, data: bytes) -> Path:
    """The file of these bytes."""
    path.write_bytes(data)
    return path
