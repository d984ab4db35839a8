"""The catalogue of hostile files: what each is, how it is made, and what the reader has to say.

`CASES` maps a name to a `Case`. A maker gets an `Honest` (the honest numbers and a folder) and returns bytes, or the
path of what it put into the folder. `says` is a pattern that the refusal has to match; LOADS where the hostile part
must be passed over and the networks beside it must come out bit for bit.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import pickletools
import socket
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hostile_files as h
import numpy as np
from hostile_files import Call, Global, Pid, Raw, dump, get, named, number, put, text

LOADS = "loads"
MB = 1 << 20


@dataclass(frozen=True)
class Honest:
    """The numbers of the honest networks, and where files may be put."""

    g: dict[str, np.ndarray]
    d: dict[str, np.ndarray]
    folder: Path
    native: bytes

    def nvidia(self, protocol: int = 3, **more: Any) -> bytes:
        return h.nvidia(self.g, self.d, protocol, **more)

    def beside(self, node: Any, protocol: int = 3) -> bytes:
        """An NVIDIA pickle with something else beside its networks."""
        return self.nvidia(protocol, training_set_kwargs=node)

    def inside(self, **attributes: Any) -> bytes:
        """An NVIDIA pickle whose generator has other attributes."""
        return self.nvidia(G_ema=h.module({**self.g}, **attributes))

    def without(self, *words: str, **more: np.ndarray) -> dict[str, np.ndarray]:
        return {n: a for n, a in self.g.items() if not any(w in n for w in words)} | more

    @cached_property
    def pt(self) -> dict[str, Any]:
        return h.rosinality(self.g, self.d)


@dataclass(frozen=True)
class Case:
    make: Callable[[Honest], bytes | Path]
    says: str | None = None


CASES: dict[str, Case] = {}


def case(name: str, says: str | None = None) -> Callable[[Callable[[Honest], bytes | Path]], Any]:
    def keep(make: Callable[[Honest], bytes | Path]) -> Any:
        assert name not in CASES, name
        CASES[name] = Case(make, says)
        return make

    return keep


def add(name: str, make: Callable[[Honest], bytes | Path], says: str | None = None) -> None:
    case(name, says)(make)


# --- Names: every one of them must be refused by name, in every container ------------------------------------------

CALLABLES = (
    "posix.system", "os.system", "nt.system", "os.execv", "subprocess.Popen", "subprocess.check_output",
    "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.setattr", "builtins.__import__",
    "builtins.compile", "builtins.open", "builtins.map", "builtins.type", "builtins.object", "builtins.tuple",
    "__builtin__.eval", "__builtin__.apply", "operator.attrgetter", "operator.itemgetter", "operator.methodcaller",
    "functools.partial", "functools.reduce", "itertools.product", "types.CodeType", "types.FunctionType",
    "importlib.import_module", "runpy._run_code", "runpy.run_path", "pickle.loads", "_pickle.loads",
    "pickle._loads", "copyreg._reconstructor", "copyreg.add_extension", "copy_reg._reconstructor", "marshal.loads",
    "shutil.rmtree", "pathlib.Path", "pathlib.Path.unlink", "webbrowser.open", "timeit.timeit", "pty.spawn",
    "pydoc.pipepager", "bdb.Bdb.run", "code.InteractiveInterpreter", "asyncio.create_subprocess_shell",
    "logging.config.listen", "ctypes.CDLL", "socket.create_connection", "urllib.request.urlopen",
    "torch.load", "torch.hub.load", "torch.jit.load", "torch.storage._load_from_bytes.__globals__",
    "torch.serialization.load", "torch._utils._rebuild_tensor_v2.__globals__.get", "torch.nn.modules.linear.Linear",
    "torch._tensor._rebuild_from_type_v2", "torch.utils._config_module.load_config", "torch.ops.load_library",
    "torch.distributed.rpc.internal._run_function", "torch._inductor.codecache.compile_file",
    "numpy.load", "numpy.core.records.fromrecords", "numpy.f2py.crackfortran.getlincoef",
    "numpy.testing._private.utils.runstring", "numpy.memmap", "numpy.core.multiarray.fromfile",
    "numpy.random._pickle.__randomstate_ctor", "dnnlib.util.call_func_by_name", "dnnlib.util.open_url",
    "dnnlib.tflib.network.Network.__init__", "torch_utils.persistence._src_to_module",
    "torch_utils.persistence._reconstruct_persistent_obj.__globals__", "trapdoor.run", "trapdoor",
)  # fmt: skip


def _named(full: str) -> Global:
    module, _, name = full.rpartition(".")
    return Global(module, name)


def _calls(full: str, protocol: int) -> Any:
    """A call of a name with what would leave a trace."""
    command = ("touch ran",)
    return Raw(named(*_split(full), protocol=protocol) + text(command[0]) + b"\x85R")


def _split(full: str) -> tuple[str, str]:
    module, _, name = full.rpartition(".")
    return module, name


for _full in CALLABLES:
    add(f"call {_full}, pickle", lambda o, f=_full: o.beside(_calls(f, 3)), "refused.*the name")
    add(
        f"call {_full}, stream",
        lambda o, f=_full: h.legacy(o.pt | {"args": _calls(f, 2)}),
        "refused.*the name",
    )
    add(f"call {_full}, zip", lambda o, f=_full: h.modern(o.pt | {"args": _calls(f, 4)}), "refused.*the name")

for _protocol in range(6):
    add(f"os.system first, protocol {_protocol}",
        lambda o, p=_protocol: b"\x80" + bytes([p]) + _calls("posix.system", p).code + b".",
        "refused.*posix.system" if _protocol > 1 else "not (one of|a saf)")  # fmt: skip
add(
    "os.system without a protocol",
    lambda o: b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "not (one of|a saf)",
)
add(
    "os.system, protocol 9",
    lambda o: b"\x80\x09cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "not (one of|a saf)",
)

_TRUE = text("true")
FORMS = {
    "a name alone": named("posix", "system"),
    "REDUCE": named("posix", "system") + _TRUE + b"\x85R",
    "STACK_GLOBAL": named("posix", "system", 4) + _TRUE + b"\x85R",
    "STACK_GLOBAL of numbers": number(1) + number(2) + b"\x93",
    "STACK_GLOBAL from the memo": text("posix") + put(1) + text("system") + put(2) + get(1) + get(2) + b"\x93",
    "INST": b"(" + _TRUE + b"iposix\nsystem\n",
    "OBJ": b"(" + named("posix", "system") + _TRUE + b"o",
    "NEWOBJ": named("posix", "system") + _TRUE + b"\x85\x81",
    "NEWOBJ_EX": named("posix", "system") + _TRUE + b"\x85}\x92",
    "BUILD with __setstate__": named("posix", "system") + b"}" + text("__setstate__") + b"Nsb",
    "BUILD on a dict": b"}}" + text("__class__") + b"Nsb",
    "BUILD on a storage's class": named("torch", "FloatStorage") + b"}b",
    "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x01", "EXT4": b"\x84\x01\x01\x01\x01",
    "REDUCE of text": text("posix.system") + _TRUE + b"\x85R",
    "REDUCE of a dict": b"}" + _TRUE + b"\x85R",
    "REDUCE of a tensor": named("collections", "OrderedDict") + b")R" + b")R",
    "REDUCE with a list of arguments": named("collections", "OrderedDict") + b"]R",
    "NEWOBJ of a storage": named("torch", "FloatStorage") + number(1 << 30) + b"\x85\x81",
    "NEWOBJ_EX of a known name": named("collections", "OrderedDict") + b")}\x92",
    "OBJ of a known name": b"(" + named("collections", "OrderedDict") + b"o",
    "INST of a known name": b"(icollections\nOrderedDict\n",
    "a persistent id": text("storage") + b"Q",
    "a persistent id of protocol 0": b"Pstorage\n",
    "a persistent storage": b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu")
    + number(4) + b"tQ",
    "an out-of-band buffer": b"\x97", "a read-only buffer": b"N\x98",
    "a frozen set": b"(\x91", "DUP": b"N2", "POP": b"N0", "POP_MARK": b"(1N",
}  # fmt: skip
for _name, _code in FORMS.items():
    add(f"form: {_name}", lambda o, c=_code: o.beside(Raw(c)), "refused")

SPLITS = (("", "os.system"), ("os.system", ""), ("o", "s.system"), ("os ", "system"), ("os", " system"),
          ("os\u200b", "system"), ("os", "ѕystem"), ("torch._utils", "_rebuild_tensor_v2.__globals__"),
          ("collections.OrderedDict", "__init__.__globals__"), ("collections", "OrderedDict.__class__"),
          ("torch_utils.persistence._reconstruct_persistent_obj", "__globals__"), (".", "."), ("", ""),
          ("xtorch_utils.persistence", "_reconstruct_persistent_obj"), ("builtins.set", "__class__"),
          ("torch_utils.persistence", "x._reconstruct_persistent_obj"), ("numpy.dtype", "__class__"),
          ("é.dnnlib.util", "EasyDict"), ("\ud800.dnnlib.util", "EasyDict"), ("os", "sys\x1b[2Jtem\n\r"))  # fmt: skip
for _i, (_module, _attribute) in enumerate(SPLITS):
    _stacked = text(_module) + text(_attribute) + b"\x93" + _TRUE + b"\x85R"
    add(
        f"odd name {_i}: {_module!a} {_attribute!a}",
        lambda o, c=_stacked: o.beside(Raw(c)),
        "refused.*the name",
    )
add("a global of three lines", lambda o: o.beside(Raw(b"cos\nsystem\n\nN")), "refused|damaged")
add("a global with escapes", lambda o: o.beside(Raw(b"cpos\\x69x\nsystem\n)R")), "refused.*posix.system")


@case("vendored torch_utils, split in another place", LOADS)
def _(o: Honest) -> bytes:
    whole = h.module(o.g)
    moved = Call("torch_utils", "persistence._reconstruct_persistent_obj", whole.args)
    return o.nvidia(G_ema=Call("evil.os.torch_utils.persistence", moved.name.split(".")[1], moved.args))


@case("source text that would write a file", LOADS)
def _(o: Honest) -> bytes:
    source = "import trapdoor\ntrapdoor.run()\nopen('ran', 'w')\n"
    return o.nvidia(G_ema=Call(*_split("torch_utils.persistence._reconstruct_persistent_obj"),
                               ({**h.module(o.g).args[0], "module_src": source},)))  # fmt: skip


@case("class and hooks that would be called", LOADS)
def _(o: Honest) -> bytes:
    hooks = {
        "_forward_hooks": {0: "os.system"},
        "__setstate__": "os.system",
        "__reduce__": 1,
        "__class__": "os",
    }
    return o.inside(**hooks)


# --- Pickles inside pickles, and calls of allowed names with what they do not expect -------------------------------


def _in_blob(code: bytes) -> Any:
    return Call("torch.storage", "_load_from_bytes", (code,))


_EVIL = b"\x80\x02cposix\nsystem\n" + _TRUE + b"\x85R."
_HEAD = {"protocol_version": 1001, "little_endian": True}


def _parts(*values: Any, tail: bytes = b"") -> bytes:
    return b"".join(dump(value, 2) for value in values) + tail


_FLOAT4 = h.storage_id(np.zeros(4, np.float32), "0")
BLOBS = {
    "os.system": _EVIL,
    "os.system as the value": _parts(h.MAGIC, 1001, _HEAD, Raw(_EVIL[2:-1]), []),
    "os.system as the key list": _parts(h.MAGIC, 1001, _HEAD, _FLOAT4, Raw(_EVIL[2:-1])),
    "a blob in a blob": _parts(h.MAGIC, 1001, _HEAD, _in_blob(_EVIL), []),
    "a dict where a storage belongs": h.legacy({}),
    "a tensor where a storage belongs": h.legacy(np.zeros(2, np.float32)),
    "nothing": b"",
    "a zip": h.modern({}),
    "another magic": _parts(h.MAGIC + 1, 1001, _HEAD, _FLOAT4, ["0"]),
    "big-endian": _parts(h.MAGIC, 1001, {"little_endian": False}, _FLOAT4, ["0"]),
    "numbers missing": _parts(h.MAGIC, 1001, _HEAD, _FLOAT4, ["0"], tail=struct.pack("<q", 4) + bytes(8)),
    "2^60 numbers": _parts(h.MAGIC, 1001, _HEAD, h.storage_id(np.zeros(1, np.float32), "0", 1 << 60), ["0"],
                           tail=struct.pack("<q", 1 << 60) + bytes(8)),
    "a negative count": _parts(h.MAGIC, 1001, _HEAD, h.storage_id(np.zeros(1, np.float32), "0", -4), ["0"],
                               tail=struct.pack("<q", -4)),
    "a count of 1,000 digits": _parts(h.MAGIC, 1001, _HEAD, h.storage_id(np.zeros(1, np.float32), "0", 10**600),
                                      ["0"]),
    "another count beside the numbers": _parts(h.MAGIC, 1001, _HEAD, _FLOAT4, ["0"],
                                               tail=struct.pack("<q", 5) + bytes(20)),
    "numbers given twice": _parts(h.MAGIC, 1001, _HEAD, _FLOAT4, ["0", "0"],
                                  tail=2 * (struct.pack("<q", 4) + bytes(16))),
    "an unknown key": _parts(h.MAGIC, 1001, _HEAD, _FLOAT4, ["1"], tail=struct.pack("<q", 4) + bytes(16)),
    "a view of another storage": _parts(h.MAGIC, 1001, _HEAD, Pid(("storage", Global("torch", "FloatStorage"), "0",
                                        "cpu", 4, ("1", 0, 4))), ["0"], tail=struct.pack("<q", 4) + bytes(16)),
}  # fmt: skip
for _name, _code in BLOBS.items():
    add(f"_load_from_bytes of {_name}", lambda o, c=_code: o.beside(_in_blob(c)), "refused|damaged")


_FOUR = np.arange(4, dtype=np.float32)


def _numpy(o: Honest, **changed: Any) -> bytes:
    return o.beside(h.array(_FOUR, **changed))


def _dtype(name: Any, state: Any = None) -> Call:
    return Call("numpy", "dtype", (name, False, True), state)


def _array_state(*state: Any) -> Call:
    return Call("numpy.core.multiarray", "_reconstruct", (Global("numpy", "ndarray"), (0,), b"b"), state)


CALLS: dict[str, Any] = {
    "_reconstruct of another class": Call("numpy.core.multiarray", "_reconstruct", (_dtype("f4"), (0,), b"b")),
    "_reconstruct of dtype": Call("numpy.core.multiarray", "_reconstruct", (Global("numpy", "dtype"), (0,), b"b")),
    "_reconstruct without arguments": Call("numpy.core.multiarray", "_reconstruct"),
    "_reconstruct of a thousand arguments": Call("numpy.core.multiarray", "_reconstruct", (0,) * 1000),
    "ndarray called": Call("numpy", "ndarray", ((1 << 40,),)),
    "a dtype of objects": _dtype("O8"),
    "a dtype of records": _dtype("V8"),
    "a dtype that is no text": _dtype(4),
    "a dtype of two byte orders": h.array(_FOUR) and _array_state(1, (4,), _dtype("f4", (3, "<>")), False, bytes(16)),
    "an array of 2^60 numbers": h.array(_FOUR, shape=(1 << 60,)),
    "an array of 2^31 x 2^31": h.array(_FOUR, shape=(1 << 31, 1 << 31)),
    "an array of 0 x 2^62": h.array(_FOUR, shape=(0, 1 << 62)),
    "an array of negative size": h.array(_FOUR, shape=(-4,)),
    "an array of 1,000 axes": h.array(_FOUR, shape=(1,) * 1000),
    "an array of 600 digits": h.array(_FOUR, shape=(10**600,) * 8),
    "an array of truths": h.array(_FOUR, shape=(True, 4)),
    "an array of objects as a list": h.array(_FOUR, data=[1, 2, 3, 4]),
    "an array whose data are text": h.array(_FOUR, data="0" * 16),
    "an array of a state of six": _array_state(1, (4,), _dtype("f4"), False, bytes(16), 0),
    "_frombuffer with an unknown order": Call("numpy.core.numeric", "_frombuffer",
                                              (bytes(16), _dtype("f4"), (4,), "K")),
    "scalar of two numbers": Call("numpy.core.multiarray", "scalar", (_dtype("f4"), bytes(8))),
    "encode with another codec": Call("_codecs", "encode", ("a", "zlib")),
    "encode of what latin1 lacks": Call("_codecs", "encode", ("\u4e00", "latin1")),
    "encode with three arguments": Call("_codecs", "encode", ("a", "latin1", "strict")),
    "bytes of a number": Call("__builtin__", "bytes", (1 << 40,)),
    "a set of lists": Call("builtins", "set", ([[1]],)),
    "a set of a number": Call("builtins", "set", (5,)),
    "a dict of lists": Call("collections", "OrderedDict", ([[[1], 2]],)),
    "a dict of triples": Call("collections", "OrderedDict", ([[1, 2, 3]],)),
    "a dict of five arguments": Call("collections", "OrderedDict", (1, 2, 3, 4, 5)),
    "EasyDict of a number": Call("dnnlib.util", "EasyDict", (5,)),
    "EasyDict of lists": Call("dnnlib.util", "EasyDict", ([[[1], 2]],)),
    "a TensorFlow network with arguments": Call("dnnlib.tflib.network", "Network", ("G", "os.system")),
    "a TensorFlow network whose state is a list": Call("dnnlib.tflib.network", "Network", (), [1]),
    "a persistent object without its dict": Call(*_split("torch_utils.persistence._reconstruct_persistent_obj"), (5,)),
    "a persistent object of nothing": Call(*_split("torch_utils.persistence._reconstruct_persistent_obj"), ({},)),
    "a persistent object without a state": h.persistent(None),
    "a persistent object whose source is bytes": h.persistent({}, source=b"x"),
    "a parameter of a dict": Call("torch._utils", "_rebuild_parameter", ({}, True, h.ordered())),
    "a tensor of a dict": h.rebuilt({}, (4,)),
}  # fmt: skip
for _name, _node in CALLS.items():
    add(f"call: {_name}", lambda o, n=_node: o.beside(n), "refused|damaged")


# --- Tensors that lie about their size ------------------------------------------------------------------------------

SHAPES: dict[str, tuple[Any, ...]] = {
    "more than the storage": ((5,),),
    "strides out of bounds": ((2, 2), (4, 1)),
    "an offset out of bounds": ((4,), (1,), 1),
    "a negative offset": ((4,), (1,), -1),
    "a negative size": ((-1,), (1,)),
    "a negative stride": ((4,), (-1,), 3),
    "zero strides that multiply": ((1 << 40,), (0,)),
    "zero strides that multiply a little": ((2, 4), (0, 1)),
    "2^62 x 2^62": ((1 << 62, 1 << 62), (0, 0)),
    "600 digits": ((10**600,) * 8, (10**600,) * 8),
    "sizes that are truths": ((True, 4), (4, 1)),
    "sizes that are fractions": ((4.0,), (1,)),
    "sizes in a list": ([4], [1]),
    "more strides than sizes": ((4,), (1, 1)),
    "a thousand axes": ((1,) * 1000, (0,) * 1000),
    "an offset that is text": ((4,), (1,), "0"),
}
for _name, _shape in SHAPES.items():
    add(f"tensor: {_name}, pickle", lambda o, s=_shape: o.beside(h.rebuilt(h.blob(_FOUR), *s)), "refused")
    add(f"tensor: {_name}, zip", lambda o, s=_shape: h.modern(
        {**o.pt, "x": h.rebuilt(h.storage_id(o.pt["g_ema"]["conv1.activate.bias"], "3"), *s)}), "refused")  # fmt: skip
add("tensor: empty, with an offset out of bounds", lambda o: h.nvidia(
    {**o.g, "mapping.fc0.bias": h.rebuilt(h.blob(_FOUR), (0,), (1,), 10**30)}, o.d))  # fmt: skip
add("tensor: empty, of 0 x 2^62", lambda o: h.nvidia(
    {**o.g, "mapping.fc0.bias": h.rebuilt(h.blob(_FOUR), (0, 1 << 62), (1 << 62, 1))}, o.d))  # fmt: skip


_chunks = itertools.count(1)


def _alone(node: Any) -> Raw:
    """The opcodes of a node with memo numbers of its own, so that it can be put anywhere and be said again."""
    code = dump(node)[2:-1]
    base = 2 * h.FAR + (next(_chunks) << 10)
    out, position = bytearray(), 0
    for opcode, argument, at in pickletools.genops(code + b"."):
        if opcode.name in ("LONG_BINPUT", "LONG_BINGET") and argument < h.FAR:
            out += code[position : at + 1] + struct.pack("<I", argument + base)
            position = at + 5
    return Raw(bytes(out + code[position:]))


@case("many tensors over one storage, pickle", "share")
def _(o: Honest) -> bytes:
    first, again = Raw(_alone(h.blob(np.zeros(MB, np.float16))).code + put(1)), Raw(get(1))
    big = {
        name: h.rebuilt(first if i == 0 else again, (1024, 1024))
        for i, name in enumerate(sorted(_weights(200)))
    }
    return o.nvidia(G_ema=h.module({**o.g, **big}))


def _weights(count: int) -> list[str]:
    return [f"synthesis.extra.w{i:04}" for i in range(count)]


@case("many filters over one storage of fp16", "refused|share")
def _(o: Honest) -> bytes:
    first, again = Raw(_alone(h.blob(np.zeros(4 * MB, np.float16))).code + put(1)), Raw(get(1))
    filters = {
        f"synthesis.f{i}.resample_filter": h.rebuilt(again if i else first, (2048, 2048)) for i in range(300)
    }
    return o.nvidia(G_ema=h.module({**filters, **o.g}))


@case("many tensors over one storage, zip", "share|does not have")
def _(o: Honest) -> bytes:
    return h.modern(_over_one_storage(o, "g_ema"))


@case("many heads over one storage", "share|no heads")
def _(o: Honest) -> bytes:
    return h.modern(_over_one_storage(o, "state_dict"))


def _over_one_storage(o: Honest, key: str) -> dict[str, Any]:
    numbers = np.zeros(4 * MB, np.float16)
    storage = h.storage_id(numbers, "0")
    # transposed, so that a reshape has to copy
    rows = [(f"convs.{i}.conv.weight", (1, 1, 1, 2048, 2048), (1, 1, 1, 1, 2048)) for i in range(90)]
    if key == "state_dict":
        rows = [(f"heads.conv_{i}.s_delta", (2048, 2048), (1, 2048)) for i in range(90)]
    tensors = {name: h.rebuilt(storage, shape, steps) for name, shape, steps in rows}
    kept = {f"to_rgbs.{i}.bias": h.rebuilt(storage, (1, 3, 1, 1)) for i in range(90)}
    state = (
        tensors
        if key == "state_dict"
        else {"input.input": h.rebuilt(storage, (1, 4, 4, 4)), **kept, **tensors}
    )
    return {"first": numbers, key: state}


# --- Work that one opcode can ask for -------------------------------------------------------------------------------


def _again(count: int, code: bytes, *args: bytes) -> Raw:
    """A list of `count` calls of one function with the same arguments, out of the memo: three opcodes each."""
    tuple_ = b"(" + b"".join(args) + b"t"
    return Raw(b"(" + code + b"q\xfe" + tuple_ + b"q\xff" + b"h\xfeh\xffR" * count + b"l")


_PAIRS = b"](" + b"".join(b"(" + text(f"k{i}") + b"Nt" for i in range(20_000)) + b"e"
_MANY = b"](" + b"".join(text(f"k{i}") for i in range(50_000)) + b"e"
add("one list made into 50,000 dicts", lambda o: o.beside(_again(50_000, named("collections", "OrderedDict"), _PAIRS)),
    "refused")  # fmt: skip
add(
    "one list made into 50,000 sets",
    lambda o: o.beside(_again(50_000, named("builtins", "set"), _MANY)),
    "refused",
)
add("one text made into 50,000 bytes", lambda o: o.beside(
    _again(50_000, named("_codecs", "encode"), text("x" * 4_000_000), text("latin1"))), "refused")  # fmt: skip
add("50,000 calls with 100,000 arguments", lambda o: o.beside(
    _again(50_000, named("types", "SimpleNamespace"), b"N" * 100_000)), "refused")  # fmt: skip
_LONG_MODULE = text("x" * 4_000_000 + ".dnnlib.util") + b"q\xfe" + text("EasyDict") + b"q\xff"
add("100,000 names of 4 MB", lambda o: o.beside(Raw(b"(" + _LONG_MODULE + b"h\xfeh\xff\x93" * 100_000 + b"l")),
    "refused")  # fmt: skip
_COLLIDING = [b"\x8a\x0b" + (7 + k * ((1 << 61) - 1)).to_bytes(11, "little") for k in range(1, 150_000)]
add(
    "a dict of 150,000 numbers with one hash",
    lambda o: o.beside(Raw(b"}(" + b"N".join(_COLLIDING) + b"Nu")),
    "refused",
)
add("a set of 150,000 numbers with one hash", lambda o: o.beside(
    Raw(b"\x8f(" + b"".join(_COLLIDING) + b"\x90")), "refused")  # fmt: skip
add("1,000,000 opcodes", lambda o: o.beside(Raw(b"(" + b"N" * 1_000_000 + b"l")), "opcodes")
add("390,000 sets", lambda o: o.beside(Raw(b"(" + b"\x8f" * 390_000 + b"l")), LOADS)
add("390,000 dicts", lambda o: o.beside(Raw(b"(" + b"}" * 390_000 + b"l")), LOADS)
add(
    "390,000 names",
    lambda o: o.beside(Raw(b"(" + b"ctorch\nFloatStorage\n" * 390_000 + b"l")),
    "refused|loads",
)
add("390,000 numbers of 255 bytes", lambda o: o.beside(
    Raw(b"(" + (b"\x8a\xff" + b"\x01" * 255) * 390_000 + b"l")), "refused")  # fmt: skip
add("60,000 lines of 4,000 digits", lambda o: o.beside(
    Raw(b"(" + (b"L" + b"9" * 4000 + b"L\n") * 60_000 + b"l")), "refused")  # fmt: skip
add("60,000 bytes of 4,000", lambda o: o.beside(
    Raw(b"(" + (b"B\xa0\x0f\x00\x00" + bytes(4000)) * 60_000 + b"l")), "refused")  # fmt: skip
add("120,000 tensors", lambda o: o.beside(_again(
    120_000, named("torch._utils", "_rebuild_tensor_v2"), _alone(h.blob(_FOUR)).code, b"K\x00", b"(K\x04t", b"(K\x01t",
    b"\x89", b"N")), LOADS)  # fmt: skip
add(
    "a text of 100 MB",
    lambda o: o.beside(Raw(b"X" + struct.pack("<I", 100 * MB) + b"x" * (100 * MB))),
    "refused",
)
add("texts of 40 MB", lambda o: o.beside(Raw(b"(" + text("x" * 4_000_000) * 10 + b"l")), "refused.*text")
add("texts of 31 MB that grow fourfold", lambda o: o.beside(
    Raw(b"(" + text("\U0001f600" + "x" * 4_000_000) * 7 + b"l")), LOADS)  # fmt: skip
add("a line without an end", lambda o: o.beside(Raw(b"I" + b"1" * (8 * MB))), "refused")
add("a number of 8 MB", lambda o: o.beside(Raw(b"L" + b"1" * (8 * MB) + b"\n")), "refused")
add("a number of 2^31 bytes", lambda o: o.beside(Raw(b"\x8b\xff\xff\xff\x7f" + b"1" * 100)), "refused")
add("a text of 2^31 bytes", lambda o: o.beside(Raw(b"X\xff\xff\xff\x7f" + b"1" * 100)), "refused|damaged")
add(
    "a text of 2^62 bytes",
    lambda o: o.beside(Raw(b"\x8d" + struct.pack("<Q", 1 << 62) + b"1")),
    "refused|damaged",
)
add("bytes of 2^31", lambda o: o.beside(Raw(b"B\xff\xff\xff\x7f" + b"1" * 100)), "refused|damaged")
add("bytes of 2^62", lambda o: o.beside(Raw(b"\x8e" + struct.pack("<Q", 1 << 62) + b"1")), "refused|damaged")
add(
    "a byte array of 2^62",
    lambda o: o.beside(Raw(b"\x96" + struct.pack("<Q", 1 << 62) + b"1")),
    "refused|damaged",
)
add("a frame of 2^62", lambda o: o.beside(Raw(b"\x95" + struct.pack("<Q", 1 << 62) + b"N")), LOADS)
add("a memo slot far away", lambda o: o.beside(Raw(b"Nr\xff\xff\xff\xff")), LOADS)
add("a memo slot of 4,000 digits", lambda o: o.beside(Raw(b"Np" + b"9" * 4000 + b"\n")), LOADS)
add("a memo slot below 0", lambda o: o.beside(Raw(b"Np-1\ng-1\n\x86")), LOADS)
add("a memo slot that is empty", lambda o: o.beside(Raw(b"j\xff\xff\xff\xff")), "damaged")
add("100,000 memo slots", lambda o: o.beside(
    Raw(b"N" + b"".join(b"r" + struct.pack("<I", (i << 12) + 9) for i in range(100_000)))), LOADS)  # fmt: skip
add("a mark kept and brought back", lambda o: o.beside(Raw(b"(q\xfeNl" + b"h\xfe" + b"\x86")), LOADS)
add("an empty stack", lambda o: o.beside(Raw(b"RRRR")), None)
add("a stack that is left full", lambda o: o.nvidia()[:-1] + b"N.", "damaged")
add("nested lists 150,000 deep", lambda o: o.beside(Raw(b"]" * 150_000 + b"a" * 149_999)), LOADS)
add("nested tuples 150,000 deep", lambda o: o.beside(Raw(b")" + b"\x85" * 150_000)), LOADS)
add("nested dicts 90,000 deep", lambda o: o.beside(
    Raw(text("k") + put(1) + b"\x85" + b"".join((b"}" + get(1)) for _ in range(90_000)) + b"N" + b"s" * 90_000)),
    None)  # fmt: skip
add("marks 300,000 deep", lambda o: o.beside(Raw(b"(" * 300_000 + b"l" * 2)), None)
add("a list within itself", lambda o: o.beside(Raw(b"]" + put(1) + get(1) + b"a")), LOADS)
add("a dict within itself", lambda o: o.beside(Raw(b"}" + put(1) + text("x") + get(1) + b"s")), LOADS)
add("the file's own dict as its generator", lambda o: b"\x80\x03}" + put(1) + text("G_ema") + get(1) + b"s.")
add("the checkpoint as its own state dict", lambda o: h.legacy(Raw(b"}" + put(1) + b"".join(
    text(k) + get(1) + b"s" for k in ("g_ema", "g", "state_dict", "d", "generator", "input.input")))))  # fmt: skip


@case("bytes of 1 GB in a byte array, a hole of the disk")
def _(o: Honest) -> Path:
    return _sparse(o, "hole.pkl", b"\x80\x05\x96" + struct.pack("<Q", 1 << 30), (1 << 30) + 11)


def _sparse(o: Honest, name: str, start: bytes, size: int, end: bytes = b"") -> Path:
    path = o.folder / name
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
        file.seek(size)
        file.write(end)
    return path


for _name, _start in {
    "a pickle": b"\x80\x03", "a stream": dump(h.MAGIC, 2), "a zip": b"PK\x03\x04", "a safetensors": b"\x02\0\0\0\0\0\0\0{}"
}.items():  # fmt: skip
    add(f"{_name} of 1 TB of zeros", lambda o, n=_name, s=_start: _sparse(o, n.replace(" ", "-"), s, 1 << 40))


@case("a safetensors of 64 GB of zeros")
def _(o: Honest) -> Path:
    size = 64 << 30
    length = int.from_bytes(o.native[:8], "little")
    header = json.loads(o.native[8 : 8 + length])
    header = {"__metadata__": header["__metadata__"],
              "G.x": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}  # fmt: skip
    coded = json.dumps(header).encode()
    start = struct.pack("<Q", len(coded)) + coded
    return _sparse(o, "hole.safetensors", start, len(start) + size)


# --- Structure that is shared: 2^60 leaves in 700 bytes; nothing may hash, compare, print or walk it ---------------

BOMB = Raw(b")" + b"".join(put(9_000 + i) + get(9_000 + i) + b"\x86" for i in range(60)))
LIST_BOMB = Raw(b"(" * 60 + b"]" + b"".join(put(9_000 + i) + get(9_000 + i) + b"l" for i in range(60)))
DICT_BOMB = Raw((b"(" + text("k")) * 60 + b"}"
                + b"".join(put(9_000 + i) + text("l") + get(9_000 + i) + b"d" for i in range(60)))  # fmt: skip


def _tf(o: Honest, **changed: Any) -> bytes:
    return h.tensorflow(o.g, o.d, **changed)


def _kwargs(**changed: Any) -> dict[str, Any]:
    return {"static_kwargs": {"resolution": 8, "num_channels": 3} | changed}


PLACES: dict[str, tuple[Callable[[Honest, Any], bytes], str | None]] = {
    "beside": (lambda o, b: o.beside(b), LOADS),
    "as the file": (lambda o, b: dump(b), "refused"),
    "as the generator": (lambda o, b: o.nvidia(G_ema=b), "refused"),
    "a dict key": (lambda o, b: o.beside({b: 1}), "refused"),
    "the key of an OrderedDict": (lambda o, b: o.beside(Call("collections", "OrderedDict", ([(b, 1)],))), "refused"),
    "the key of an EasyDict": (lambda o, b: o.beside(Call("dnnlib.util", "EasyDict", ([(b, 1)],))), "refused"),
    "the content of an EasyDict": (lambda o, b: o.beside(Call("dnnlib.util", "EasyDict", (b,))), "refused"),
    "a set member": (lambda o, b: o.beside(Raw(b"\x8f(" + _alone(b).code + b"\x90")), "refused"),
    "the member of a called set": (lambda o, b: o.beside(Call("builtins", "set", ([b],))), "refused"),
    "the content of a set": (lambda o, b: o.beside(Call("builtins", "set", (b,))), "refused"),
    "a module's name": (lambda o, b: o.beside(Raw(b.code + text("x") + b"\x93")), "refused"),
    "a name": (lambda o, b: o.beside(Raw(text("numpy") + b.code + b"\x93")), "refused"),
    "a called function": (lambda o, b: o.beside(Raw(b.code + b")R")), "refused"),
    "arguments": (lambda o, b: o.beside(Raw(named("collections", "OrderedDict") + b.code + b"R")), None),
    "object state of a dtype": (lambda o, b: o.beside(_dtype("f4", b)), "refused|damaged"),
    "a byte order": (lambda o, b: o.beside(_dtype("f4", (3, b))), "refused"),
    "a dtype": (lambda o, b: o.beside(_dtype(b)), "refused"),
    "an array's shape": (lambda o, b: o.beside(h.array(_FOUR, shape=b)), "refused"),
    "an array's size": (lambda o, b: o.beside(h.array(_FOUR, shape=(b,))), "refused"),
    "an array's data": (lambda o, b: o.beside(h.array(_FOUR, data=b)), "refused"),
    "an array's state": (lambda o, b: o.beside(_array_state(b, b, b, b, b)), "refused"),
    "an array's order": (lambda o, b: o.beside(Call("numpy.core.numeric", "_frombuffer",
                                                    (bytes(16), _dtype("f4"), (4,), b))), "refused"),
    "the class of an array": (lambda o, b: o.beside(Call("numpy.core.multiarray", "_reconstruct",
                                                         (b, (0,), b"b"))), "refused"),
    "a scalar's bytes": (lambda o, b: o.beside(Call("numpy.core.multiarray", "scalar", (_dtype("f4"), b))), "refused"),
    "an encoded text": (lambda o, b: o.beside(Call("_codecs", "encode", (b, "latin1"))), "refused"),
    "a codec": (lambda o, b: o.beside(Call("_codecs", "encode", ("a", b))), "refused"),
    "a tensor's storage": (lambda o, b: o.beside(h.rebuilt(b, (4,))), "refused"),
    "a tensor's size": (lambda o, b: o.beside(h.rebuilt(h.blob(_FOUR), b, (1,))), "refused"),
    "a tensor's stride": (lambda o, b: o.beside(h.rebuilt(h.blob(_FOUR), (4,), (b,))), "refused"),
    "a tensor's offset": (lambda o, b: o.beside(h.rebuilt(h.blob(_FOUR), (4,), (1,), b)), "refused"),
    "a blob": (lambda o, b: o.beside(_in_blob(b)), "refused"),
    "a persistent id": (lambda o, b: h.legacy(o.pt | {"x": Pid(b)}), "refused"),
    "a storage's kind": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", b, "0", "cpu", 4))}), "refused"),
    "a storage's key": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", Global("torch", "FloatStorage"), b, "cpu",
                                                               4))}), "refused"),
    "a storage's count": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", Global("torch", "FloatStorage"), "0",
                                                                 "cpu", b))}), "refused"),
    "a storage's view": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", Global("torch", "FloatStorage"), "0",
                                                                "cpu", 4, b))}), "refused"),
    "a stream's keys": (lambda o, b: _parts(h.MAGIC, 1001, _HEAD, {}, b), "refused"),
    "a stream's key": (lambda o, b: _parts(h.MAGIC, 1001, _HEAD, {}, [b]), "refused"),
    "a stream's protocol": (lambda o, b: _parts(h.MAGIC, b, _HEAD, {}, []), "refused"),
    "a stream's format": (lambda o, b: _parts(h.MAGIC, 1001, b, {}, []), "refused"),
    "a stream's byte order": (lambda o, b: _parts(h.MAGIC, 1001, {"little_endian": b}, {}, []), "refused"),
    "class_name": (lambda o, b: o.nvidia(G_ema=h.module(o.g, b)), "refused"),
    "module_src": (lambda o, b: o.nvidia(G_ema=h.persistent({}, source=b)), "refused"),
    "the state of a network": (lambda o, b: o.nvidia(G_ema=h.persistent(b)), "refused"),
    "_parameters": (lambda o, b: o.nvidia(G_ema=h.persistent({"_parameters": b})), "refused"),
    "_modules": (lambda o, b: o.nvidia(G_ema=h.persistent({"_modules": b})), "refused"),
    "a parameter": (lambda o, b: o.nvidia(G_ema=h.persistent({"_parameters": {"x": b}})), "refused"),
    "a child": (lambda o, b: o.nvidia(G_ema=h.persistent({"_modules": {"x": b}})), "refused"),
    "conv_clamp": (lambda o, b: o.inside(conv_clamp=b), "refused"),
    "activation": (lambda o, b: o.inside(activation=b), "refused|loads"),
    "bias_gain": (lambda o, b: h.nvidia({**o.g, "mapping.fc0.bias_gain": b}, o.d), "refused"),
    "group_size": (lambda o, b: o.nvidia(D=h.module(o.d, group_size=b)), LOADS),
    "static_kwargs": (lambda o, b: _tf(o, static_kwargs=b), "refused"),
    "a setting": (lambda o, b: _tf(o, **_kwargs(resample_kernel=b)), "refused"),
    "a setting's part": (lambda o, b: _tf(o, **_kwargs(resample_kernel=[b])), "refused"),
    "an ignored setting": (lambda o, b: _tf(o, **_kwargs(fmap_base=b)), LOADS),
    "a setting's name": (lambda o, b: _tf(o, static_kwargs={b: 1}), "refused"),
    "a version": (lambda o, b: _tf(o, version=b), "refused"),
    "a network's name": (lambda o, b: _tf(o, name=b), LOADS),
    "variables": (lambda o, b: _tf(o, variables=b), "refused"),
    "a variable": (lambda o, b: _tf(o, variables=[b]), "refused"),
    "a variable's name": (lambda o, b: _tf(o, variables=[(b, _FOUR)]), "refused"),
    "a variable's numbers": (lambda o, b: _tf(o, variables=[("dlatent_avg", b)]), "refused"),
    "components": (lambda o, b: _tf(o, components=b), "refused"),
    "a component": (lambda o, b: _tf(o, components={"mapping": b}), "refused"),
    "g_ema": (lambda o, b: h.legacy({"g_ema": b}), "refused"),
    "d": (lambda o, b: h.legacy(o.pt | {"d": b}), LOADS),
    "latent_avg": (lambda o, b: h.legacy(o.pt | {"latent_avg": b}), LOADS),
    "model_type": (lambda o, b: h.legacy(o.pt | {"model_type": b}), LOADS),
    "a tensor of g_ema": (lambda o, b: h.legacy({"g_ema": o.pt["g_ema"] | {"style.1.bias": b}}), "refused"),
    "the settings of a direction": (lambda o, b: h.legacy({"state_dict": {"heads.conv_0.s_delta": _FOUR},
                                                           "sg2_params": b, "patch_key": b}), "domain"),
    "the size of a direction": (lambda o, b: h.legacy({"state_dict": {"heads.conv_0.s_delta": _FOUR},
                                                       "sg2_params": {"img_size": b}}), "domain"),
    "a head": (lambda o, b: h.legacy({"state_dict": {"heads.conv_0.s_delta": b}}), "refused"),
    "a Namespace": (lambda o, b: h.legacy(o.pt | {"args": Call("argparse", "Namespace", (), b)}), LOADS),
}  # fmt: skip
for _place, (_make, _says) in PLACES.items():
    for _kind, _bomb in (("tuple", BOMB), ("list", LIST_BOMB), ("dict", DICT_BOMB)):
        add(f"{_kind} of 2^60 leaves: {_place}", lambda o, m=_make, b=_bomb: m(o, b),
            _says if _kind == "tuple" or _says == LOADS else None)  # fmt: skip


# --- Networks that multiply what the file holds ---------------------------------------------------------------------


@case("modules nested 20,000 deep", "nested")
def _(o: Honest) -> bytes:
    words = ("class_name", "module_src", "state", "_modules", "x")
    kept = b"(" + b"".join(text(word) + put(10 + i) for i, word in enumerate(words)) + b"l"
    start = named("torch_utils.persistence", "_reconstruct_persistent_obj") + put(1)
    head = get(1) + b"(}(" + get(10) + get(14) + get(11) + get(14) + get(12) + b"}" + get(13) + b"}" + get(14)
    tail = b"ss" + b"utR"
    depth = 20_000
    chain = start + head[5:] + head * (depth - 1) + b"N" + tail * depth
    return b"\x80\x03}(" + text("words") + kept + text("G_ema") + chain + b"u."


def _diamond(depth: int, children: int) -> Any:
    """Modules that hold the one below several times: children ^ depth paths."""
    node: Any = h.persistent({"_parameters": {}, "_modules": {}})
    for level in range(depth):
        first = Raw(_alone(node).code + put(100 + level))
        below = {f"c{i}": Raw(get(100 + level)) if i else first for i in range(children)}
        node = h.persistent({"_modules": below})
    return node


add(
    "modules that are one another's children: 8^16 paths",
    lambda o: o.nvidia(G_ema=_diamond(16, 8)),
    "refused",
)


@case("one dict of 20,000 parameters in 9,000 modules", "refused")
def _(o: Honest) -> bytes:
    numbers = _alone(h.tensor(_FOUR)).code + put(1)
    names = (
        b"}(" + text("p") + numbers + b"".join(text(f"p{i}") + get(1) for i in range(20_000)) + b"u" + put(2)
    )
    first = h.persistent({"_parameters": Raw(names)})
    again = Raw(_alone(h.persistent({"_parameters": Raw(get(2))})).code + put(3))
    below = {"first": first, "again": again} | {f"c{i}": Raw(get(3)) for i in range(9_000)}
    return o.nvidia(G_ema=h.persistent({"_modules": below}))


@case("one name of 4 MB in 100 modules", "refused")
def _(o: Honest) -> bytes:
    leaf = h.persistent({"_modules": {}, "_parameters": {}})
    long = Raw(_alone(h.persistent({"_modules": {"n" * 4_000_000: leaf}})).code + put(1))
    return o.nvidia(
        G_ema=h.persistent({"_modules": {"c": long} | {f"c{i}": Raw(get(1)) for i in range(100)}})
    )


def _line(n: int, across: bool = False) -> np.ndarray:
    return np.zeros((1, n) if across else (n, 1), np.float32)


_RULES = {
    "domain_modulation_parametrization": "additive",
    "weights_domain_modulation_parametrization": "x_additive",
}


BIG = 30_000
OFFSETS: dict[str, tuple[dict[str, np.ndarray], dict[str, str]]] = {
    "factors n x 1 and 1 x n": ({"weights_offset_out_0": _line(BIG), "weights_offset_in_0": _line(BIG, True)}, _RULES),
    "a mask across": ({"offset": _line(BIG), "offset_mask": _line(BIG, True)}, _RULES),
    "a weight offset across": ({"weight": _line(BIG), "weights_offset": _line(BIG, True)}, _RULES),
    "a weight offset across, times": ({"weight": _line(BIG), "weights_offset": _line(BIG, True)},
                                      {"weights_domain_modulation_parametrization": "multiplicative"}),
    "a bias across": ({"offset": np.zeros(BIG, np.float32), "affine.bias": _line(BIG),
                       "affine.weight": _line(BIG)}, _RULES),
    "a bias across, times": ({"offset": np.zeros(BIG, np.float32), "affine.bias": _line(BIG),
                              "affine.weight": np.zeros(BIG, np.float32)},
                             {"domain_modulation_parametrization": "multiplicative"}),
    "a bias across, in w": ({"offset": np.zeros(4, np.float32), "affine.bias": _line(BIG, True),
                             "affine.weight": np.zeros((BIG, 4), np.float32)},
                            {"domain_modulation_parametrization": "additive_w_space"}),
    "an unknown rule": ({"offset": np.zeros(4, np.float32)}, {"domain_modulation_parametrization": "os.system\x1b[2J"}),
    "a weight without axes": ({"offset": np.zeros(4, np.float32), "affine.weight": np.zeros((), np.float32)}, _RULES),
}  # fmt: skip
for _name, (_arrays, _rules) in OFFSETS.items():
    add(
        f"offsets: {_name}", lambda o, a=_arrays, r=_rules: _offset_layer(o, a, r), "refused|damaged|expected"
    )


def _offset_layer(o: Honest, arrays: dict[str, np.ndarray], rules: dict[str, str]) -> bytes:
    """An NVIDIA pickle whose layer b8.conv1 has other tensors and attributes."""
    prefix = "synthesis.b8.conv1."
    own = {name.removeprefix(prefix): a for name, a in o.g.items() if name.startswith(prefix)}
    layer = h.module(own | arrays, **rules)
    whole = h.module({name: a for name, a in o.g.items() if not name.startswith(prefix)})
    meta = whole.args[0]
    block = meta["state"]["_modules"]["synthesis"].args[0]["state"]["_modules"]["b8"]
    block.args[0]["state"]["_modules"]["conv1"] = layer
    return o.nvidia(G_ema=whole)


@case("offsets: 5,000 layers, 50,000 tensors", "refused")
def _(o: Honest) -> bytes:
    numbers = _alone(h.tensor(_FOUR)).code + put(1)
    names = b"}(" + b"".join(text(f"p{i}") + get(1) for i in range(50_000)) + b"u"
    leaf = Raw(_alone(h.persistent({"_parameters": {"offset": Raw(numbers)}})).code + put(3))
    below = {"leaf": leaf, "many": h.persistent({"_parameters": Raw(names)})}
    return o.nvidia(G_ema=h.persistent({"_modules": below | {f"c{i}": Raw(get(3)) for i in range(5_000)}}))


@case("offsets: many tensors over one storage in a layer", "refused|share")
def _(o: Honest) -> bytes:
    first, again = Raw(_alone(h.blob(np.zeros(4 * MB, np.float16))).code + put(1)), Raw(get(1))
    many = {f"x{i}": h.rebuilt(again if i else first, (2048, 2048)) for i in range(100)}
    return _offset_layer(o, {**many, "offset": np.zeros(4, np.float32)}, _RULES)


def _layers(top: int, width: int = 1, w_dim: int = 4) -> dict[str, np.ndarray]:
    """Tensors of a generator of `top` px with layers one channel wide, noise maps left out."""
    z = np.zeros
    found = {"synthesis.b4.const": z((width, 4, 4), np.float32)}
    for i in range(2):
        found |= {
            f"mapping.fc{i}.weight": z((w_dim, w_dim), np.float32),
            f"mapping.fc{i}.bias": z(w_dim, np.float32),
        }
    r = 4
    while r <= top:
        for layer, out, kernel in (("conv0", width, 3), ("conv1", width, 3), ("torgb", 3, 1)):
            if r == 4 and layer == "conv0":
                continue
            name = f"synthesis.b{r}.{layer}"
            found |= {
                f"{name}.weight": z((out, width, kernel, kernel), np.float32), f"{name}.bias": z(out, np.float32),
                f"{name}.affine.weight": z((width, w_dim), np.float32), f"{name}.affine.bias": z(width, np.float32),
            }  # fmt: skip
            if layer != "torgb":
                found[f"{name}.noise_strength"] = z((), np.float32)
        r *= 2
    return found


for _top in (32_768, 65_536, 1 << 20, 1 << 40):
    add(
        f"a generator of {_top} px in 100 KB, pickle",
        lambda o, t=_top: o.nvidia(G_ema=h.module(_layers(t))),
        "refused",
    )


@case("a generator of 2^42 px, zip", "refused")
def _(o: Honest) -> bytes:
    return h.modern(_deep_rosinality(40))


@case("a generator of 65536 px, zip", "refused")
def _(o: Honest) -> bytes:
    return h.modern(_deep_rosinality(14))


def _deep_rosinality(blocks: int) -> dict[str, Any]:
    from stylegraft.checkpoints.rosinality import generator_rows

    own = _layers(4 << blocks)
    return {
        "g_ema": {
            theirs: own[ours].reshape((1,) * lead + own[ours].shape + (1,) * trail)
            for theirs, ours, lead, trail in generator_rows(4 << blocks, 2)
            if ours in own
        }
    }


for _odd in ("synthesis.b99999999.conv0.weight", "synthesis.b1048576.conv1.weight", "x.b40000.conv0.weight",
             "conv0.weight", "synthesis.b.conv0.weight", "synthesis.b³.conv0.weight", "convs.99.weight"):  # fmt: skip
    add(f"a tensor {_odd}", lambda o, n=_odd: o.nvidia(G_ema=h.module({**o.g, n: _FOUR})))
add("300 tensors that ask for noise maps", lambda o: o.nvidia(
    G_ema=h.module({**o.g, **{f"q.b1024.x{i}.conv0.weight": _FOUR for i in range(300)}})))  # fmt: skip
add("convs.99 of a small generator", lambda o: h.modern(
    {"g_ema": {**o.pt["g_ema"], "convs.99.conv.weight": _FOUR}}), "refused")  # fmt: skip
add("z of 500,000 numbers without w_avg", lambda o: o.nvidia(G_ema=h.module(
    {**o.without("w_avg"), "mapping.fc0.weight": np.zeros((4, 500_000), np.float16)})), "refused")  # fmt: skip
add("500,000 classes without w_avg", lambda o: o.nvidia(G_ema=h.module(
    {**o.without("w_avg"), "mapping.fc0.weight": np.zeros((4, 8), np.float32),
     "mapping.embed.weight": np.zeros((4, 500_000), np.float16), "mapping.embed.bias": _FOUR})), "refused")  # fmt: skip


@case("a mapping of 3,000 layers without w_avg", "refused")
def _(o: Honest) -> bytes:
    numbers = Raw(_alone(h.module({"weight": np.zeros((4, 4), np.float32), "bias": _FOUR})).code + put(1))
    deep = {f"fc{i}": Raw(get(1)) if i else numbers for i in range(3_000)}
    whole = h.module(o.without("mapping."))
    whole.args[0]["state"]["_modules"]["mapping"] = h.persistent({"_modules": deep}, source="#" * 400_000)
    return o.nvidia(G_ema=whole)


@case("TensorFlow variables that share their numbers")
def _(o: Honest) -> bytes:
    numbers = _alone(h.array(np.zeros(4 * MB, np.float32))).code + put(1)
    first = ("synthesis/1x1/Conv1/mod_bias", Raw(numbers))
    again = [(f"synthesis/{i}x1/Conv1/mod_bias", Raw(get(1))) for i in range(2, 400)]
    return _tf(o, variables=[first, *again])


@case("TensorFlow arrays that share their bytes")
def _(o: Honest) -> bytes:
    data = Raw(b"B" + struct.pack("<I", 16 * MB) + bytes(16 * MB) + put(1))
    pairs = [
        (f"synthesis/{i}x1/Conv1/mod_bias", h.array(_FOUR, data=Raw(get(1)) if i else data, shape=(4 * MB,)))
        for i in range(200)
    ]
    return _tf(o, variables=pairs)


@case("TensorFlow components: 300 of 300 of 300 variables")
def _(o: Honest) -> bytes:
    pairs = [(f"v{i}", _FOUR) for i in range(300)]
    inner = Raw(_alone(h.network(pairs)).code + put(1))
    middle = Raw(
        _alone(h.network([], {f"c{i}": Raw(get(1)) if i else inner for i in range(300)})).code + put(2)
    )
    return _tf(o, components={f"c{i}": Raw(get(2)) if i else middle for i in range(300)})


@case("TensorFlow components: 90 of 90 of 9,000 variables")
def _(o: Honest) -> bytes:
    one = Raw(_alone(h.array(_FOUR)).code + put(3))
    pairs = [(f"v{i}", Raw(get(3)) if i else one) for i in range(9_000)]
    inner = Raw(_alone(h.network(pairs)).code + put(1))
    middle = Raw(
        _alone(h.network([], {f"c{i}": Raw(get(1)) if i else inner for i in range(90)})).code + put(2)
    )
    return _tf(o, components={f"c{i}": Raw(get(2)) if i else middle for i in range(90)})


@case("a TensorFlow component with a name of 4 MB and 500 variables")
def _(o: Honest) -> bytes:
    return _tf(o, components={"n" * 4_000_000: h.network([(f"v{i}", _FOUR) for i in range(500)])})


add("TensorFlow components within themselves", lambda o: _tf(o, components=Raw(
    b"}" + put(1) + text("mapping") + named("dnnlib.tflib.network", "Network") + b")R" + b"}("
    + text("version") + number(4) + text("variables") + b"]" + text("components") + get(1) + b"ub" + b"s")),
    None)  # fmt: skip
for _name, _changed in {
    "version 3": {"version": 3}, "version 10^600": {"version": 10**600}, "no variables": {"variables": None},
    "an unknown setting": _kwargs(os_system="x"), "a setting of 600 digits": _kwargs(conv_clamp=10**600),
    "a clamp that is text": _kwargs(conv_clamp="256"), "a clamp of NaN": _kwargs(conv_clamp=float("nan")),
    "a clamp below 0": _kwargs(conv_clamp=-1.0), "a multiplier of 0": _kwargs(mapping_lrmul=0.0),
    "a multiplier of NaN": _kwargs(mapping_lrmul=float("nan")), "a multiplier that is a list": _kwargs(mapping_lrmul=[1]),
    "a filter of sum 0": _kwargs(resample_kernel=[1, -1]), "a filter of NaN": _kwargs(resample_kernel=[float("nan")]),
    "a filter of 600 digits": _kwargs(resample_kernel=[10**600]), "another activation": _kwargs(nonlinearity="relu"),
    "a name with escapes": {"name": "\x1b[2J\ud800", **_kwargs(os_system="x")},
}.items():  # fmt: skip
    add(f"TensorFlow: {_name}", lambda o, c=_changed: _tf(o, **c), "refused|damaged|config")
add("TensorFlow: two networks", lambda o: dump((h.network([]), h.network([]))), "refused")
add("TensorFlow: a tuple of nothing", lambda o: dump(()), "refused")
add("TensorFlow: scalars for tensors", lambda o: _tf(o, variables=[("4x4/Const/const", 1.0), ("dlatent_avg", 10**600)]),
    "refused|damaged")  # fmt: skip


# --- Numbers and shapes that are wrong ------------------------------------------------------------------------------


def _with(o: Honest, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    return {**o.g, name: values}


def _spoilt(o: Honest, value: float, kind: Any = np.float32) -> dict[str, np.ndarray]:
    values = o.g["synthesis.b8.conv1.weight"].astype(kind)
    values[0, 0, 0, 0] = value
    return _with(o, "synthesis.b8.conv1.weight", values)


for _name, _value, _kind in (("NaN", np.nan, np.float32), ("infinity", np.inf, np.float16),
                             ("1e300", 1e300, np.float64)):  # fmt: skip
    _make_numbers = lambda o, v=_value, k=_kind: _spoilt(o, v, k)  # noqa: E731
    add(f"weights with {_name}, pickle", lambda o, m=_make_numbers: h.nvidia(m(o), o.d), "conv1.weight")
    add(
        f"weights with {_name}, TensorFlow",
        lambda o, m=_make_numbers: h.tensorflow(m(o), o.d),
        "conv1.weight",
    )
    add(f"weights with {_name}, zip", lambda o, m=_make_numbers: h.modern(h.rosinality(m(o))), "conv1.weight")
    add(
        f"weights with {_name}, stream",
        lambda o, m=_make_numbers: h.legacy(h.rosinality(m(o))),
        "conv1.weight",
    )
add("weights that overflow the mapping", lambda o: h.modern({"g_ema": {
    **o.pt["g_ema"], "style.1.weight": np.full((4, 4), 3e38, np.float32),
    "style.2.weight": np.full((4, 4), 3e38, np.float32)}}), "overflow|mean")  # fmt: skip
add("weights that are whole numbers", lambda o: h.nvidia(
    _with(o, "mapping.fc0.bias", np.zeros(4, np.int64)), o.d), "mapping.fc0.bias")  # fmt: skip
add("NaN in the discriminator", lambda o: h.nvidia(
    o.g, {**o.d, "b4.fc.bias": np.full(4, np.nan, np.float32)}), LOADS)  # fmt: skip

WRONG: dict[str, Callable[[Honest], dict[str, Any]]] = {
    "a kernel transposed": lambda o: _with(o, "synthesis.b4.torgb.weight", np.zeros((4, 3, 1, 1), np.float32)),
    "a missing tensor": lambda o: o.without("b8.torgb.bias"),
    "a missing constant": lambda o: o.without("b4.const"),
    "no mapping": lambda o: o.without("mapping."),
    "a gap in the mapping": lambda o: {**o.without("fc1"), **{f"mapping.fc7.{p}": o.g[f"mapping.fc1.{p}"]
                                                              for p in ("weight", "bias")}},
    "an unknown tensor": lambda o: _with(o, "synthesis.b8.conv2.weight", _FOUR),
    "layers of odd widths": lambda o: _with(o, "synthesis.b8.conv1.weight", np.zeros((5, 4, 3, 3), np.float32)),
    "a weight without axes": lambda o: _with(o, "synthesis.b8.conv1.weight", np.zeros((), np.float32)),
    "a weight of size 0": lambda o: _with(o, "synthesis.b8.conv1.weight", np.zeros((0, 4, 3, 3), np.float32)),
    "a gap in the blocks": lambda o: {n.replace(".b8.", ".b16."): a for n, a in o.g.items()},
    "StyleGAN3": lambda o: {"synthesis.input.weight": _FOUR, **o.g},
    "a name with escapes": lambda o: _with(o, "synthesis.b8.\x1b[2J\n\rx", _FOUR),
    "a name with a surrogate": lambda o: _with(o, "synthesis.b8.\ud800", _FOUR),
    "a name of 1 MB": lambda o: _with(o, "synthesis.b8." + "n" * MB, _FOUR),
    "a name with escapes and NaN": lambda o: _with(o, "synthesis.b8.\x1b]0;x\x07", np.full(4, np.nan, np.float32)),
}  # fmt: skip
for _name, _wrong in WRONG.items():
    add(f"shapes: {_name}, pickle", lambda o, w=_wrong: h.nvidia(w(o), o.d))
add("shapes: a name with escapes, zip", lambda o: h.modern(
    {"g_ema": {**o.pt["g_ema"], "x\x1b[2J\n": _FOUR}}), "refused")  # fmt: skip
add(
    "shapes: a name of 1 MB, zip",
    lambda o: h.modern({"g_ema": {**o.pt["g_ema"], "n" * MB: _FOUR}}),
    "refused",
)
add("shapes: a discriminator that does not fit", lambda o: h.nvidia(
    o.g, {**o.d, "b4.fc.weight": np.zeros((4, 4), np.float32)}))  # fmt: skip
for _name, _attributes in {
    "conv_clamp of NaN": {"conv_clamp": float("nan")}, "conv_clamp below 0": {"conv_clamp": -256},
    "conv_clamp of 600 digits": {"conv_clamp": 10**600}, "conv_clamp of 400 digits": {"conv_clamp": 10**400},
    "conv_clamp that is text": {"conv_clamp": "256"}, "another activation": {"activation": "\x1b[2Jrelu" * 99},
}.items():  # fmt: skip
    add(f"settings: {_name}", lambda o, a=_attributes: o.inside(**a))
for _gain in (0.0, float("nan"), float("inf"), -1.0, 10**600, "0.01", True):
    add(f"settings: a mapping whose rate is {_gain!s:.12}", lambda o, g=_gain: _offset_free(o, g))
for _group in (0, -1, 10**600, 2.5, "4", float("nan")):
    add(
        f"settings: minibatch-std of groups of {_group!s:.12}",
        lambda o, g=_group: _grouped(o, g),
        "refused|config|loads",
    )


def _offset_free(o: Honest, gain: Any) -> bytes:
    whole = h.module(o.g)
    mapping = whole.args[0]["state"]["_modules"]["mapping"].args[0]["state"]["_modules"]
    mapping["fc0"].args[0]["state"]["bias_gain"] = gain
    return o.nvidia(G_ema=whole)


def _grouped(o: Honest, group: Any) -> bytes:
    whole = h.module(o.d)
    head = whole.args[0]["state"]["_modules"]["b4"].args[0]["state"]["_modules"]
    head["mbstd"] = h.persistent({"group_size": group, "num_channels": 1})
    return o.nvidia(D=whole)


for _name, _filter in {
    "of sum 0": [[1, -1], [-1, 1]], "of NaN": [[np.nan]], "of zeros": [[0, 0]], "of 1e38": [3e38, 3e38],
}.items():  # fmt: skip
    add(f"settings: a filter {_name}", lambda o, f=_filter: o.nvidia(G_ema=h.module(
        {**o.g, "synthesis.b8.resample_filter": np.array(f, np.float32)})), "refused|config|filter")  # fmt: skip

# --- Objects that are harmless, beside the networks and in their place ----------------------------------------------

_STATE = ("MT19937", np.arange(624, dtype=np.uint32), 624, 0, 0.0)
INERT: dict[str, Any] = {
    "argparse.Namespace": Call("argparse", "Namespace", (), {"lr": 0.002, "path": "x"}),
    "numpy's random state": _STATE,
    "Python's random state": (3, tuple(range(625)), None),
    "a path": Call("pathlib", "PosixPath", ("/", "data", "x")),
    "a set of text": Call("builtins", "set", (["a", "b"],)),
    "a device": Call("torch", "device", ("cuda", 0)),
    "a defaultdict": Call("collections", "defaultdict", (Global("builtins", "dict"),)),
}
for _name, _node in INERT.items():
    add(
        f"{_name} beside the networks, stream",
        lambda o, n=_node: h.legacy(o.pt | {"args": _arrays_as_nodes(n)}),
        LOADS,
    )
    add(
        f"{_name} beside the networks, zip",
        lambda o, n=_node: h.modern(o.pt | {"args": _arrays_as_nodes(n)}),
        LOADS,
    )
    add(
        f"{_name} in place of a network",
        lambda o, n=_node: h.legacy({"g_ema": _arrays_as_nodes(n)}),
        "refused",
    )
    add(f"{_name} beside the networks, pickle", lambda o, n=_node: o.beside(n), LOADS)
    add(f"{_name} in place of a network, pickle", lambda o, n=_node: o.nvidia(G_ema=n), "refused")


def _arrays_as_nodes(node: Any) -> Any:
    """numpy's own pickles of arrays, also in files of torch."""
    return (
        tuple(h.array(part) if isinstance(part, np.ndarray) else part for part in node)
        if node is _STATE
        else node
    )


# --- Zips -----------------------------------------------------------------------------------------------------------


def _members(o: Honest) -> dict[str, bytes]:
    return h.members(o.pt)


def _directory(data: bytes) -> int:
    return int.from_bytes(data[-6:-2], "little")


def _patched(o: Honest, at: int, value: bytes, entry: str = "archive/data/3", local: bool = False) -> bytes:
    """A good zip with bytes changed in the directory entry of a member."""
    data = bytearray(h.modern(o.pt))
    start = data.find(b"PK\x03\x04" if local else b"PK\x01\x02")
    names = 30 if local else 46
    while data[start + names : start + names + len(entry)] != entry.encode():
        start = data.find(b"PK\x03\x04" if local else b"PK\x01\x02", start + 4)
    data[start + at : start + at + len(value)] = value
    return bytes(data)


add("zip: compressed", lambda o: h.archive(_members(o), zipfile.ZIP_DEFLATED), "compressed")
add("zip: a bomb", lambda o: h.archive(
    {"archive/data.pkl": h.members({})["archive/data.pkl"], "archive/byteorder": bytes(300 * MB)},
    zipfile.ZIP_DEFLATED), "compressed")  # fmt: skip
add("zip: a bomb as the pickle", lambda o: h.archive({"archive/data.pkl": b"\x80\x02" + b"N" * (100 * MB)},
                                                     zipfile.ZIP_DEFLATED), "compressed")  # fmt: skip
for _name, _code in {"bzip2": 12, "lzma": 14, "an unknown method": 99}.items():
    add(f"zip: {_name}", lambda o, c=_code: _patched(o, 10, struct.pack("<H", c)), "compressed")
add("zip: encrypted", lambda o: _patched(o, 8, b"\x01\x00"), "encrypted")
add("zip: a strongly encrypted member", lambda o: _patched(o, 8, b"\x41\x00"), "refused|damaged|encrypted")
add("zip: members over each other", lambda o: _overlapping(o), "refused|damaged")
add(
    "zip: a size of 2^32 - 2",
    lambda o: _patched(o, 20, struct.pack("<II", (1 << 32) - 2, (1 << 32) - 2)),
    None,
)
add("zip: a size too large by one", lambda o: _resized(o, 1), None)
add("zip: a size too small by one", lambda o: _resized(o, -1), None)
add("zip: an offset out of the file", lambda o: _patched(o, 42, struct.pack("<I", 1 << 31)), "damaged")
add("zip: an offset into a member", lambda o: _patched(o, 42, struct.pack("<I", 100)), "damaged")
add("zip: a wrong checksum", lambda o: _patched(o, 16, b"\x00\x00\x00\x00"), "checksum")
add("zip: a needed version of 99", lambda o: _patched(o, 6, b"\x63\x00"), None)
add("zip: an extra field that does not fit", lambda o: _patched(o, 30, struct.pack("<H", 60_000)), None)
add("zip: a long local name", lambda o: _patched(o, 26, b"\xff\xff", local=True), None)
add("zip: no directory", lambda o: h.modern(o.pt)[:-22], "damaged")
add("zip: a directory out of the file", lambda o: h.modern(o.pt)[:-6] + struct.pack("<IH", 1 << 31, 0), None)
add(
    "zip: a directory before the file",
    lambda o: h.modern(o.pt)[:-10] + struct.pack("<IIH", 1 << 30, 0, 0),
    None,
)
add(
    "zip: a directory of 4 GB",
    lambda o: h.modern(o.pt)[:-10] + struct.pack("<IIH", (1 << 32) - 2, 0, 0),
    None,
)
add("zip: of several disks", lambda o: _disks(o), LOADS)
add("zip: a directory of 4 MB", lambda o: h.archive(
    {**_members(o), **{f"archive/{'n' * 60}{i}": b"" for i in range(35_000)}}), "directory")  # fmt: skip
add(
    "zip: 40,000 members", lambda o: h.archive({**_members(o), **{str(i): b"" for i in range(38_000)}}), LOADS
)
add("zip: two pickles", lambda o: h.archive({**_members(o), "other/data.pkl": b"\x80\x02N."}), "refused")
add("zip: no pickle", lambda o: h.archive({"archive/version": b"3"}), "refused")
add("zip: empty", lambda o: h.archive({}), "not (one of|a saf)")
add(
    "zip: names that climb",
    lambda o: h.archive({"../data.pkl": b"\x80\x02N.", "../../etc/data/0": b""}),
    "refused",
)
add(
    "zip: a name of 60,000 letters",
    lambda o: h.archive({"n" * 60_000 + "/data.pkl": b"\x80\x02N."}),
    "refused",
)
add("zip: a pickle in a folder of escapes", lambda o: h.archive(
    {"\x1b[2J/data.pkl": h.members(o.pt)["archive/data.pkl"]}), "missing")  # fmt: skip
add("zip: TorchScript", lambda o: h.archive({**_members(o), "archive/constants.pkl": b"\x80\x02).",
                                             "archive/code/__torch__.py": b"import os"}), "TorchScript")  # fmt: skip
add("zip: big-endian", lambda o: h.archive({**_members(o), "archive/byteorder": b"big"}), "big-endian")
add("zip: a byteorder of 100 MB", lambda o: h.archive({**_members(o), "archive/byteorder": b"little" + bytes(100 * MB)}),
    "refused|damaged|big-endian|loads")  # fmt: skip
add("zip: two members of one name", lambda o: _twice(o), None)
add(
    "zip: within a zip",
    lambda o: h.archive({**_members(o), "archive/data.pkl": h.modern(o.pt)}),
    "refused|damaged",
)
add("zip: a pickle within", lambda o: h.archive({"archive/data.pkl": o.nvidia(4)}), "refused")
add("zip: zip64 that says 2^63", lambda o: _zip64(o, 1 << 63), None)
add("zip: zip64 that says 2^40", lambda o: _zip64(o, 1 << 40), None)
add("zip: zip64 of three bytes", lambda o: _zip64(o, 0, 3), None)


def _overlapping(o: Honest) -> bytes:
    """400 storages of 1 MB, all at one place."""
    numbers = {str(i): np.zeros(256 * 1024, np.float32) for i in range(400)}
    value = {"g_ema": {f"x{key}": h.rebuilt(h.storage_id(a, key), a.shape) for key, a in numbers.items()}}
    one = h.archive({"archive/data.pkl": dump(value, 2), "archive/data/0": numbers["0"].tobytes()})
    at = _directory(one)
    entry = one[one.find(b"PK\x01\x02", at + 4) : -22]
    more = b"".join(
        entry[:28] + struct.pack("<H", len(f"archive/data/{key}")) + entry[30:46] + f"archive/data/{key}".encode()
        for key in numbers if key != "0"
    )  # fmt: skip
    body = one[:-22] + more
    return body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 401, 401, len(body) - at, at, 0)


def _resized(o: Honest, by: int) -> bytes:
    size = len(_members(o)["archive/data/3"]) + by
    return _patched(o, 20, struct.pack("<II", size, size))


def _disks(o: Honest) -> bytes:
    data = h.modern(o.pt)
    return data[:-18] + b"\x07\x00\x03\x00" + data[-14:]


def _twice(o: Honest) -> bytes:
    names = _members(o)
    data = h.archive({**names, "archive/dat2.pkl": _EVIL})
    return data.replace(b"archive/dat2.pkl", b"archive/data.pkl")


def _zip64(o: Honest, size: int, length: int = 24) -> bytes:
    """A directory entry whose sizes are said to stand in an extra field."""
    data = h.modern(o.pt)
    at = _directory(data)
    start = data.find(b"archive/data/3", at) - 46
    extra = struct.pack("<HH", 1, length) + struct.pack("<QQQ", size, size, size)[:length]
    name = data[start + 46 : start + 46 + 14]
    entry = (
        data[start : start + 20]
        + b"\xff" * 8
        + struct.pack("<HH", 14, len(extra))
        + data[start + 32 : start + 42]
    )
    entry += b"\xff" * 4 + name + extra
    body = data[:start] + entry + data[start + 60 : -22]
    count = struct.unpack("<H", data[-12:-10])[0]
    return body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(body) - at, at, 0)


# --- Our own files --------------------------------------------------------------------------------------------------


def _header(o: Honest) -> dict[str, Any]:
    length = int.from_bytes(o.native[:8], "little")
    return json.loads(o.native[8 : 8 + length])


def _native(o: Honest, header: dict[str, Any] | bytes) -> bytes:
    coded = (
        header
        if isinstance(header, bytes)
        else json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
    length = int.from_bytes(o.native[:8], "little")
    return struct.pack("<Q", len(coded)) + coded + o.native[8 + length :]


def _metadata(o: Honest, **changed: Any) -> bytes:
    header = _header(o)
    return _native(o, {**header, "__metadata__": header["__metadata__"] | changed})


def _entry(o: Honest, **changed: Any) -> bytes:
    header = _header(o)
    name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    return _native(o, {**header, name: header[name] | changed})


add("ours: a header of 2^60", lambda o: struct.pack("<Q", 1 << 60) + b"{}" + bytes(100), "header")
add("ours: a header of 300,000 names, the last twice", lambda o: _native(
    o, b"{" + b",".join(b'"%x":0' % i for i in range(300_000)) + b',"493df":0}'), "twice")  # fmt: skip
add("ours: metadata of 300,000 names, the last twice", lambda o: _native(
    o, b'{"__metadata__":{' + b",".join(b'"%x":""' % i for i in range(300_000)) + b',"493df":""}}'), "twice")  # fmt: skip
add("ours: lists nested 1,000,000 deep", lambda o: _native(o, b'{"a":' + b"[" * 1_000_000), None)
add("ours: dicts nested 500,000 deep", lambda o: _native(o, b'{"a":' * 500_000), None)
add("ours: 1,000,000 empty dicts", lambda o: _native(o, b'{"a":[' + b"{}," * 1_300_000 + b"0]}"), None)
add("ours: a number of 4,000,000 digits", lambda o: _native(o, b'{"a":' + b"9" * 4_000_000 + b"}"), None)
add("ours: NaN in the header", lambda o: _native(o, b'{"a":NaN}'), "NaN")
add("ours: a header that is no text", lambda o: _native(o, b'{"\xff":1}'), None)
add("ours: a header that is a list", lambda o: _native(o, b"{]"), None)
add("ours: metadata that is a list", lambda o: _native(o, b'{"__metadata__":[]}'), None)
add("ours: metadata that is a number", lambda o: _metadata(o, format=5), None)
add("ours: a format with escapes", lambda o: _metadata(o, format="\x1b[2J\r\n" + "x" * MB), None)
add("ours: a format with a surrogate", lambda o: _native(o, json.dumps(
    {**_header(o), "__metadata__": {"format": "\ud800"}}).encode()), None)  # fmt: skip
add(
    "ours: a version with escapes",
    lambda o: _metadata(o, format_version="99", library_version="\x1b[2J\n" * 99),
    None,
)
add("ours: a version of 1 MB", lambda o: _metadata(o, format_version="9" * MB), None)
add("ours: an unknown entry with a name of 1 MB", lambda o: _metadata(o, **{"n\x1b" * 500_000: "x"}), None)
add("ours: a digest of 1 MB", lambda o: _metadata(o, digest="\x1b" * 100_000), "digest")
add("ours: another config", lambda o: _metadata(o, config="{}"), "digest")
add("ours: a negative offset", lambda o: _entry(o, data_offsets=[-8, 8]), None)
add("ours: offsets backwards", lambda o: _entry(o, data_offsets=[8, 0]), None)
add("ours: an offset of 600 digits", lambda o: _entry(o, data_offsets=[0, 10**600]), None)
add("ours: offsets that are text", lambda o: _entry(o, data_offsets=["0", "8"]), None)
add("ours: offsets that are fractions", lambda o: _entry(o, data_offsets=[0.0, 1e308]), None)
add("ours: a shape of 2^62", lambda o: _entry(o, shape=[1 << 62, 1 << 62]), None)
add("ours: a negative shape", lambda o: _entry(o, shape=[-1]), None)
add("ours: an unknown dtype", lambda o: _entry(o, dtype="os.system\x1b[2J" * 9), None)
add("ours: a dtype of whole numbers", lambda o: _entry(o, dtype="I32"), None)
add("ours: an entry that is text", lambda o: _native(o, {**_header(o), "G.x": "os.system"}), None)
add("ours: tensors over each other", lambda o: _native(o, {n: (
    {**e, "data_offsets": [0, e["data_offsets"][1]]} if n != "__metadata__" else e) for n, e in _header(o).items()}),
    None)  # fmt: skip
add("ours: bytes behind the end", lambda o: o.native + bytes(9), "too long")
add("ours: a pickle with our ninth byte", lambda o: b"\x80\x03cposix{" + bytes(90), None)


# --- Places that are no file ----------------------------------------------------------------------------------------


def _link(o: Honest, name: str, target: str | Path) -> Path:
    path = o.folder / name
    path.symlink_to(target)
    return path


def _pipe(o: Honest) -> Path:
    os.mkfifo(o.folder / "pipe.pt")
    return o.folder / "pipe.pt"


def _socket(o: Honest) -> Path:
    path = o.folder / "socket.pt"
    here = Path.cwd()
    os.chdir(o.folder)  # the path of a socket may have a hundred letters
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(path.name)
    finally:
        os.chdir(here)
    return path


def _folder(o: Honest) -> Path:
    (o.folder / "folder.pkl").mkdir()
    return o.folder / "folder.pkl"


add("place: a link that leads nowhere", lambda o: _link(o, "lost.pkl", o.folder / "nothing"), "leads nowhere")
add("place: a link to itself", lambda o: _link(o, "loop.pkl", "loop.pkl"), None)
add("place: a link to /dev/zero", lambda o: _link(o, "zero.pkl", "/dev/zero"), "not a regular file")
add("place: a link to /dev/stdin", lambda o: _link(o, "stdin.pkl", "/dev/stdin"), None)
add("place: a link to a folder", lambda o: _link(o, "link-folder.pkl", o.folder), "folder")
add(
    "place: a link to a good file",
    lambda o: _link(o, "good.pkl", h.write(o.folder / "kept.pkl", o.nvidia())),
    LOADS,
)
add("place: a named pipe", _pipe, "not a regular file")
add("place: a socket", _socket, None)
add("place: a folder", _folder, "folder")
add("place: nothing", lambda o: o.folder / "none.pkl", "no such file")
add("place: an empty file", lambda o: b"", "empty")
add("place: one byte", lambda o: b"\x80", "not a safetensors")
add("place: /dev/zero", lambda o: Path("/dev/zero"), "not a regular file")
add("place: /proc/self/mem", lambda o: Path("/proc/self/mem"), None)
add("place: a picture", lambda o: b"\x89PNG\r\n\x1a\n" + bytes(99), "image")
add("place: text", lambda o: b"import os; os.system('true')\n" * 9, "not")


# --- Cuts: every format at every structural point; one case is a folder of files -----------------------------------


def cuts(o: Honest) -> dict[str, tuple[bytes, list[int]]]:
    """{format: (good file, where it is cut)}."""

    def opcodes(code: bytes, start: int = 0) -> list[int]:
        return [start + at for _, _, at in pickletools.genops(code) if at is not None]

    small = {n: a for n, a in o.g.items() if "torgb" not in n}
    nvidia = dump({"G_ema": h.module(small)})
    found = {"NVIDIA pickle": (nvidia, opcodes(nvidia))}
    inner = h.blob(_FOUR).args[0]
    holder = o.beside(Raw(h.blob(_FOUR) and _alone(h.blob(_FOUR)).code))
    at = holder.find(inner)
    steps, start = [], 0
    while start < len(inner) - 24:
        steps += opcodes(inner[start:], start)
        start = steps[-1] + 1
    found["storage in a pickle"] = (
        holder,
        [at + step for step in [*steps, len(inner) - 24, len(inner) - 16]],
    )
    tf = h.tensorflow(o.g, o.d)
    found["TensorFlow pickle"] = (tf, opcodes(tf))
    stream = h.legacy(o.pt)
    marks, start = [], 0
    for _ in range(5):
        marks += opcodes(stream[start:], start)
        start = marks[-1] + 1
    while start < len(stream):
        marks += [start, start + 8]
        start += 8 + 4 * int.from_bytes(stream[start : start + 8], "little")
    found["stream"] = (stream, marks)
    data = h.modern(o.pt)
    points = []
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for member in file.infolist():
            body = member.header_offset + 30 + len(member.filename)
            points += [member.header_offset, member.header_offset + 15, body, body + member.file_size // 2]
    at = _directory(data)
    while data[at : at + 4] == b"PK\x01\x02":
        points += [at, at + 20, at + 46]
        at += 46 + sum(struct.unpack("<HHH", data[at + 28 : at + 34]))
    found["zip"] = (data, [*points, at, at + 10, len(data) - 1])
    length = 8 + int.from_bytes(o.native[:8], "little")
    ends = [length + e["data_offsets"][1] for n, e in _header(o).items() if n != "__metadata__"]
    found["safetensors"] = (o.native, [1, 7, 8, 9, length // 2, length - 1, length, *sorted(ends)[:-1]])
    return found


def lacking(o: Honest) -> dict[str, bytes]:
    """{member: the zip without it}, for each that the reader needs."""
    whole = _members(o)
    return {
        name: h.archive({n: m for n, m in whole.items() if n != name})
        for name in whole
        if name not in ("archive/version", "archive/byteorder")
    }
