"""Checkpoints written opcode by opcode: small faithful ones of every format, and what can be done to them.

Nothing here calls a pickler on foreign objects, so that a test can write what no pickler writes.
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
    return dump(nvidia_value(g, d) | more, protocol)


def nvidia_value(g: Arrays, d: Arrays) -> dict[str, Any]:
    """What it holds, as nodes."""
    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    return {
        "training_set_kwargs": Call("dnnlib.util", "EasyDict"),
        "G": None,
        "D": module(d, "Discriminator"),
        "G_ema": module({**g, "synthesis.b8.resample_filter": fir}),
        "augment_pipe": None,
    }


def rosinality(g: Arrays, d: Arrays | None = None, resolution: int = 8) -> dict[str, dict[str, np.ndarray]]:
    """{g_ema, d} under the names and shapes of that code base."""
    from stylegraft.checkpoints.rosinality import discriminator_rows, generator_rows

    def state(own: Arrays, rows: Iterator[Any]) -> dict[str, np.ndarray]:
        return {
            theirs: own[ours].reshape((1,) * lead + own[ours].shape + (1,) * trail)
            for theirs, ours, lead, trail in rows
            if ours in own
        }

    found = {"g_ema": state(g, generator_rows(resolution, 2))}
    return found if d is None else {**found, "d": state(d, discriminator_rows(resolution))}


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
    return dump(tensorflow_value(g, d, **changed), protocol)


def tensorflow_value(g: Arrays, d: Arrays, **changed: Any) -> tuple[Any, ...]:
    """What it holds, as nodes."""
    parts: dict[str, list[tuple[str, Any]]] = {"": [], "mapping": [], "synthesis": []}
    for name, values in variables(g):
        head, _, rest = name.partition("/")
        parts[head if rest else ""].append((rest or name, values))
    below = {name: network(pairs, name=name) for name, pairs in parts.items() if name}
    averaged = network(**{"pairs": parts[""], "components": below} | changed)
    return network(parts[""], below), network(variables(d), name="D"), averaged


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


def redigested(native: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A file of ours whose config is changed, with a digest that fits: it is a checksum, not a signature."""
    import safetensors.torch

    from stylegraft.checkpoints import tensorfile

    length = int.from_bytes(native[:8], "little")
    header = json.loads(native[8 : 8 + length])
    metadata = header["__metadata__"]
    config = json.loads(metadata["config"])
    change(config)
    metadata["config"] = json.dumps(config)
    texts = {key: metadata[key] for key in ("base", "config", "info")}
    metadata["digest"] = tensorfile.digest(safetensors.torch.load(native), texts)
    coded = json.dumps(header).encode()
    return struct.pack("<Q", len(coded)) + coded + native[8 + length :]


def opcodes(code: bytes) -> list[int]:
    """Where the opcodes of a pickle begin."""
    return [at for _, _, at in pickletools.genops(code) if at is not None]


@dataclass(frozen=True)
class Step:
    """One change: its kind, two places (from 0 to 1), a size in bytes and bytes of its own."""

    kind: str
    at: float
    other: float
    size: int
    fresh: bytes


KINDS_OF_STEPS = ("set", "flip", "cut", "delete", "insert", "double", "swap", "edge", "overwrite")
SIZES = (1, 1, 2, 4, 8, 16, 100, 1000)
EDGES = (0, 1, -1, 127, 255, 1 << 15, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 62) - 1)
# opcodes that end things, call, refer, and the names that the readers know
PIECES = (
    b"(", b"t", b"0", b"1", b"2", b"h\x00", b"h\x05", b"q\x00", b"R", b"b", b"\x81", b"\x92", b"Q", b"N", b"}", b"]",
    b")", b".", b"a", b"e", b"s", b"u", b"d", b"l", b"o", b"\x85", b"\x86", b"\x87", b"\x88", b"\x8f", b"\x90", b"\x91",
    b"\x93", b"\x94", b"\x97", b"\x98", b"K\x00", b"K\x04", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"G" + bytes(8),
    b"G\x7f\xf8" + bytes(6), b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"I-1\n", b"L99999999999999999999L\n", b"Fnan\n",
    b"V\\ud800\n", b"S'a'\n", b"B\x04\0\0\0abcd", b"C\x04abcd", b"\x96\x04" + bytes(7) + b"abcd", b"X\x01\0\0\0k",
    b"X\x05\0\0\0state", b"X\x05\0\0\0G_ema", b"X\x07\0\0\0storage", b"X\x0b\0\0\0_parameters",
    b"cposix\nsystem\n", b"(iposix\nsystem\n", b"\x82\x01", b"P0\n",
    b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n", b"cargparse\nNamespace\n", b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy.core.numeric\n_frombuffer\n", b"c_codecs\nencode\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n", b"ctorch.storage\n_load_from_bytes\n",
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"cdnnlib.util\nEasyDict\n",
    b"cdnnlib.tflib.network\nNetwork\n",
)  # fmt: skip


def changed(good: bytes, steps: Iterable[Step], bounds: Sequence[int] = ()) -> bytes:
    """A file after some changes. bounds: where its parts begin, to which the places are then drawn."""
    data = bytearray(good)
    for step in steps:
        at, other = (
            (bounds[int(x * len(bounds))] if bounds else int(x * len(data))) for x in (step.at, step.other)
        )
        end, other_end = (
            (bounds[min(int(x * len(bounds)) + 1, len(bounds) - 1)] if bounds else y + step.size)
            for x, y in ((step.at, at), (step.other, other))
        )
        if step.kind == "set":
            data[at : at + 1] = step.fresh[:1]
        elif step.kind == "flip" and at < len(data):
            data[at] ^= 1 << step.size % 8
        elif step.kind == "cut":
            del data[at:]
        elif step.kind == "delete":
            del data[at:end]
        elif step.kind == "insert":
            data[at:at] = step.fresh
        elif step.kind == "double":
            data[at:at] = data[other:other_end]
        elif step.kind == "swap":
            data[at:end], data[other:other_end] = data[other:other_end], data[at:end]
        elif step.kind == "edge":
            width = 1 << step.size % 4
            edge = EDGES[int(step.other * len(EDGES))] & ((1 << 8 * width) - 1)
            data[at : at + width] = edge.to_bytes(width, "little")
        elif step.kind == "overwrite":
            data[at:end] = step.fresh
    return bytes(data)


def some_steps(rng: random.Random) -> list[Step]:
    """One to four changes, more of them near the beginning than chance would have it."""
    return [
        Step(
            rng.choice(KINDS_OF_STEPS),
            rng.random() ** rng.choice((1, 1, 3)),
            rng.random(),
            rng.choice(SIZES),
            rng.choice(PIECES) if rng.random() < 0.7 else rng.randbytes(rng.choice(SIZES)),
        )
        for _ in range(rng.choice((1, 1, 2, 4)))
    ]


def odd_values() -> list[Any]:
    """What a reader may not expect at any place of a value."""
    bomb = Raw(b")" + b"".join(put(i) + get(i) + b"\x86" for i in range(60)))
    numbers = np.arange(4, dtype=np.float32)
    return [
        None, True, 0, -1, 1, 4, 1 << 40, 10**100, 0.5, float("nan"), float("inf"), "", "x", "\x1b[2J\n", "\ud800",
        "n" * 300, b"", b"x" * 16, b"x" * 5000, (), (1,), (-1,), (1 << 31, 1 << 31), (0, 4), [], [1], ["x"], {},
        {"x": 1}, {1: "x"}, bomb, numbers, *(numbers.astype(kind) for kind in (np.float64, np.float16, np.int64)),
        np.zeros(()), np.zeros((0, 4), np.float32), np.full(4, np.nan, np.float32), tensor(numbers), blob(numbers),
        ordered(), Call("argparse", "Namespace"), Call("dnnlib.util", "EasyDict"), network([]),
        Call("dnnlib.tflib.network", "Network"), Global("numpy", "dtype"), Global("posix", "system"), persistent({}),
        storage_id(numbers, "0"), *(Call("numpy", "dtype", (kind, False, True)) for kind in ("f4", "f2")),
    ]  # fmt: skip


def altered(value: Any, rng: random.Random, odd: Sequence[Any], share: float) -> Any:
    """A tree of nodes, `share` of which are replaced by odd ones, left out or doubled."""

    def inner(part: Any) -> Any:
        return altered(part, rng, odd, share)

    if rng.random() < share:
        return rng.choice(odd)
    if isinstance(value, Call):
        return Call(
            value.module, value.name, inner(value.args), None if value.state is None else inner(value.state)
        )
    if isinstance(value, Pid):
        return Pid(inner(value.value))
    if isinstance(value, tuple | list):
        parts = [inner(part) for part in value if rng.random() >= share / 2]
        return type(value)(parts + parts[:1] if rng.random() < share / 2 else parts)
    if isinstance(value, dict):
        return {
            rng.choice(("x", "weight", 3)) if rng.random() < share / 2 else name: inner(part)
            for name, part in value.items()
            if rng.random() >= share / 2
        }
    return value


def spoil(config: dict[str, Any], steps: Iterable[Step]) -> None:
    """Other values in the config of one of our files, from the numbers of the changes."""
    odd = [
        -1,
        0,
        1,
        1 << 40,
        0.5,
        "x",
        None,
        [],
        {},
        [1] * 3,
        True,
        10**400,
        6,
        1e300,
        [[1]],
        {"4": 4, "8": 4},
    ]
    for step in steps:
        network = config["generator" if step.size % 2 else "discriminator"]
        if network:
            network[sorted(network)[int(step.at * len(network))]] = odd[int(step.other * len(odd))]


def write(path: Path, data: bytes) -> Path:
    """The file of these bytes."""
    path.write_bytes(data)
    return path
