"""Hostile pickles: names and calls, pickles in pickles, opcodes that ask for work, structure that is shared."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import hostile_files as h
import numpy as np
from hostile_catalogue import FOUR, LOADS, MB, Honest, add, alone, case, split
from hostile_files import Call, Global, Pid, Raw, dump, get, named, number, put, text

# fmt: off

# Every one of these has to be refused by name, in every container.
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
)
TOUCH = text("touch ran")  # what leaves a trace where it is run by a shell


def _call(full: str, protocol: int) -> Raw:
    return Raw(named(*split(full), protocol=protocol) + TOUCH + b"\x85R")


for _full in CALLABLES:
    add(f"call: {_full}, pickle", lambda o, f=_full: o.beside(_call(f, 3)), "refused.*the name")
    add(f"call: {_full}, stream", lambda o, f=_full: h.legacy({"args": _call(f, 2)}), "refused.*the name")
    add(f"call: {_full}, zip", lambda o, f=_full: h.modern({"args": _call(f, 4)}), "refused.*the name")

for _protocol in range(6):
    add(f"protocol: {_protocol}",
        lambda o, p=_protocol: b"\x80" + bytes([p]) + _call("posix.system", p).code + b".",
        "refused.*posix.system" if _protocol > 1 else "not (one of|a saf)")
add("protocol: none", lambda o: b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "not (one of|a saf)")
add("protocol: 9", lambda o: b"\x80\x09cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "not (one of|a saf)")

FORMS = {
    "a name alone": named("posix", "system"),
    "REDUCE": named("posix", "system") + TOUCH + b"\x85R",
    "STACK_GLOBAL": named("posix", "system", 4) + TOUCH + b"\x85R",
    "STACK_GLOBAL of numbers": number(1) + number(2) + b"\x93",
    "STACK_GLOBAL from the memo": text("posix") + put(1) + text("system") + put(2) + get(1) + get(2) + b"\x93",
    "INST": b"(" + TOUCH + b"iposix\nsystem\n",
    "OBJ": b"(" + named("posix", "system") + TOUCH + b"o",
    "NEWOBJ": named("posix", "system") + TOUCH + b"\x85\x81",
    "NEWOBJ_EX": named("posix", "system") + TOUCH + b"\x85}\x92",
    "BUILD with __setstate__": named("posix", "system") + b"}" + text("__setstate__") + b"Nsb",
    "BUILD on a dict": b"}}" + text("__class__") + b"Nsb",
    "BUILD on a name": named("collections", "OrderedDict") + b"}b",
    "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x01", "EXT4": b"\x84\x01\x01\x01\x01",
    "REDUCE of text": text("posix.system") + TOUCH + b"\x85R",
    "REDUCE of a dict": b"}" + TOUCH + b"\x85R",
    "REDUCE of what was called": named("collections", "OrderedDict") + b")R" + b")R",
    "REDUCE with a list of arguments": named("collections", "OrderedDict") + b"]R",
    "NEWOBJ_EX of a known name": named("collections", "OrderedDict") + b")}\x92",
    "OBJ of a known name": b"(" + named("collections", "OrderedDict") + b"o",
    "INST of a known name": b"(icollections\nOrderedDict\n",
    "a persistent id": text("storage") + b"Q",
    "a persistent id of protocol 0": b"Pstorage\n",
    "a persistent storage": b"(" + text("storage") + b"N" + text("0") + text("cpu") + number(4) + b"tQ",
    "an out-of-band buffer": b"\x97", "a read-only buffer": b"N\x98",
    "STRING": b"S'\\-'\n", "a frozen set": b"(\x91", "DUP": b"N2", "POP": b"N0", "POP_MARK": b"(1N",
}
for _name, _code in FORMS.items():
    add(f"form: {_name}", lambda o, c=_code: o.beside(Raw(c)), "refused")
add("form: a call of a storage's class", lambda o: h.legacy(
    {"x": Raw(named("torch", "FloatStorage") + number(1 << 30) + b"\x85\x81")}), "direct call")

SPLITS = (("", "os.system"), ("os.system", ""), ("o", "s.system"), ("os ", "system"), ("os", " system"),
          ("os\u200b", "system"), ("os", "\u0455ystem"), ("torch._utils", "_rebuild_tensor_v2.__globals__"),
          ("collections.OrderedDict", "__init__.__globals__"), ("collections", "OrderedDict.__class__"),
          ("torch_utils.persistence._reconstruct_persistent_obj", "__globals__"), (".", "."), ("", ""),
          ("xtorch_utils.persistence", "_reconstruct_persistent_obj"), ("builtins.set", "__class__"),
          ("torch_utils.persistence", "x._reconstruct_persistent_obj"), ("numpy.dtype", "__class__"),
          ("\u00e9.dnnlib.util", "EasyDict"), ("\ud800.dnnlib.util", "EasyDict"), ("os", "sys\x1b[2Jtem\n\r"))
for _i, _parts in enumerate(SPLITS):
    _stacked = text(_parts[0]) + text(_parts[1]) + b"\x93" + TOUCH + b"\x85R"
    add(f"name: {_i}, {_parts!a}", lambda o, c=_stacked: o.beside(Raw(c)), "refused.*the name")
add("name: of three lines", lambda o: o.beside(Raw(b"cos\nsystem\n\nN")), "refused|damaged")
add("name: with escapes", lambda o: o.beside(Raw(b"cpos\\x69x\nsystem\n)R")), "refused.*the name")
add("name: with an escape that is none", lambda o: o.beside(Raw(b"cpos\\-x\nsystem\n)R")), "refused.*the name")
add("name: of 1,000,000 letters", lambda o: o.beside(Raw(text("x" * 1_000_000) + text("system") + b"\x93")), "letters")

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


@case("source: vendored torch_utils, split in another place", LOADS)
def _(o: Honest) -> bytes:
    whole = h.module(o.g)
    return o.nvidia(G_ema=Call("evil.os.torch_utils", "persistence._reconstruct_persistent_obj", whole.args))


@case("source: text that would write a file", LOADS)
def _(o: Honest) -> bytes:
    source = "import trapdoor\ntrapdoor.run()\nopen('ran', 'w')\n"
    return o.nvidia(G_ema=Call(*split(PERSISTENT), ({**h.module(o.g).args[0], "module_src": source},)))


add("source: hooks and a class that would be called", lambda o: o.inside(
    _forward_hooks={0: "os.system"}, __setstate__="os.system", __reduce__=1, __class__="os"), LOADS)


# --- Pickles in pickles, and allowed names with what they do not expect -------------------------------------------

EVIL = b"\x80\x02cposix\nsystem\n" + TOUCH + b"\x85R."
HEAD = {"protocol_version": 1001, "little_endian": True}


def _parts_of(*values: Any, tail: bytes = b"") -> bytes:
    return b"".join(dump(value, 2) for value in values) + tail


def _in_blob(code: Any) -> Call:
    return Call("torch.storage", "_load_from_bytes", (code,))


def _counted(count: int) -> Pid:
    return h.storage_id(np.zeros(1, np.float32), "0", count)


_FOUR = _counted(4)
_BYTES = struct.pack("<q", 4) + bytes(16)
_VIEW = Pid(("storage", Global("torch", "FloatStorage"), "0", "cpu", 4, ("1", 0, 4)))
BLOBS = {
    "os.system": EVIL,
    "os.system as the value": _parts_of(h.MAGIC, 1001, HEAD, Raw(EVIL[2:-1]), []),
    "os.system as the key list": _parts_of(h.MAGIC, 1001, HEAD, _FOUR, Raw(EVIL[2:-1])),
    "a blob in a blob": _parts_of(h.MAGIC, 1001, HEAD, _in_blob(EVIL), []),
    "a dict where a storage belongs": h.legacy({}),
    "a tensor where a storage belongs": h.legacy(np.zeros(2, np.float32)),
    "nothing": b"",
    "a zip": h.modern({}),
    "another magic": _parts_of(h.MAGIC + 1, 1001, HEAD, _FOUR, ["0"]),
    "big-endian": _parts_of(h.MAGIC, 1001, {"little_endian": False}, _FOUR, ["0"]),
    "numbers missing": _parts_of(h.MAGIC, 1001, HEAD, _FOUR, ["0"], tail=_BYTES[:-8]),
    "2^60 numbers": _parts_of(h.MAGIC, 1001, HEAD, _counted(1 << 60), ["0"], tail=struct.pack("<q", 1 << 60)),
    "a negative count": _parts_of(h.MAGIC, 1001, HEAD, _counted(-4), ["0"], tail=struct.pack("<q", -4)),
    "a count of 600 digits": _parts_of(h.MAGIC, 1001, HEAD, _counted(10**600), ["0"]),
    "another count beside the numbers": _parts_of(h.MAGIC, 1001, HEAD, _FOUR, ["0"],
                                                  tail=struct.pack("<q", 5) + bytes(20)),
    "numbers given twice": _parts_of(h.MAGIC, 1001, HEAD, _FOUR, ["0", "0"], tail=2 * _BYTES),
    "an unknown key": _parts_of(h.MAGIC, 1001, HEAD, _FOUR, ["1"], tail=_BYTES),
    "a view of another storage": _parts_of(h.MAGIC, 1001, HEAD, _VIEW, ["0"], tail=_BYTES),
}
for _name, _code in BLOBS.items():
    add(f"blob: {_name}", lambda o, c=_code: o.beside(_in_blob(c)), "refused|damaged")


def _dtype(name: Any, state: Any = None) -> Call:
    return Call("numpy", "dtype", (name, False, True), state)


def _array(*state: Any) -> Call:
    return Call("numpy.core.multiarray", "_reconstruct", (Global("numpy", "ndarray"), (0,), b"b"), state)


MISUSES: dict[str, Any] = {
    "_reconstruct of another class": Call("numpy.core.multiarray", "_reconstruct", (_dtype("f4"), (0,), b"b")),
    "_reconstruct of dtype": Call("numpy.core.multiarray", "_reconstruct", (Global("numpy", "dtype"), (0,), b"b")),
    "_reconstruct without arguments": Call("numpy.core.multiarray", "_reconstruct"),
    "_reconstruct of a thousand arguments": Call("numpy.core.multiarray", "_reconstruct", (0,) * 1000),
    "ndarray called": Call("numpy", "ndarray", ((1 << 40,),)),
    "a dtype of objects": _dtype("O8"),
    "a dtype of records": _dtype("V8"),
    "a dtype that is no text": _dtype(4),
    "a dtype of two byte orders": _array(1, (4,), _dtype("f4", (3, "<>")), False, bytes(16)),
    "an array of 2^60 numbers": h.array(FOUR, shape=(1 << 60,)),
    "an array of 2^31 x 2^31": h.array(FOUR, shape=(1 << 31, 1 << 31)),
    "an array of 0 x 2^62": h.array(FOUR, shape=(0, 1 << 62)),
    "an array of negative size": h.array(FOUR, shape=(-4,)),
    "an array of 1,000 axes": h.array(FOUR, shape=(1,) * 1000),
    "an array of 600 digits": h.array(FOUR, shape=(10**600,) * 8),
    "an array of truths": h.array(FOUR, shape=(True, 4)),
    "an array of objects as a list": h.array(FOUR, data=[1, 2, 3, 4]),
    "an array whose data are text": h.array(FOUR, data="0" * 16),
    "an array of a state of six": _array(1, (4,), _dtype("f4"), False, bytes(16), 0),
    "_frombuffer in an unknown order": Call("numpy.core.numeric", "_frombuffer", (bytes(16), _dtype("f4"), (4,), "K")),
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
    "a persistent object without its dict": Call(*split(PERSISTENT), (5,)),
    "a persistent object of nothing": Call(*split(PERSISTENT), ({},)),
    "a persistent object without a state": h.persistent(None),
    "a persistent object whose source is bytes": h.persistent({}, source=b"x"),
    "a parameter of a dict": Call("torch._utils", "_rebuild_parameter", ({}, True, h.ordered())),
    "a tensor of a dict": h.rebuilt({}, (4,)),
}
for _name, _node in MISUSES.items():
    add(f"misuse: {_name}", lambda o, n=_node: o.beside(n), "refused|damaged")


# --- Work and memory that few opcodes ask for ----------------------------------------------------------------------


def _again(count: int, code: bytes, *arguments: bytes) -> Raw:
    """A list of `count` calls of one function with the same arguments, out of the memo: three opcodes each."""
    given = b"(" + b"".join(arguments) + b"t"
    return Raw(b"(" + code + b"q\xfe" + given + b"q\xff" + b"h\xfeh\xffR" * count + b"l")


PAIRS = b"](" + b"".join(b"(" + text(f"k{i}") + b"Nt" for i in range(20_000)) + b"e"
MANY = b"](" + b"".join(text(f"k{i}") for i in range(50_000)) + b"e"
LONG = text("x" * 4_000_000 + ".dnnlib.util") + b"q\xfe" + text("EasyDict") + b"q\xff"
COLLIDING = [b"\x8a\x0b" + (7 + k * ((1 << 61) - 1)).to_bytes(11, "little") for k in range(1, 150_000)]
SMALL = [number(k << 19) for k in range(1, 30_000)]
WORK: dict[str, tuple[Callable[[], Raw], str | None]] = {
    "one list made into 50,000 dicts": (lambda: _again(50_000, named("collections", "OrderedDict"), PAIRS), "refused"),
    "one list made into 50,000 sets": (lambda: _again(50_000, named("builtins", "set"), MANY), "refused"),
    "one text made into 50,000 bytes": (lambda: _again(
        50_000, named("_codecs", "encode"), text("x" * 4_000_000), text("latin1")), "refused"),
    "50,000 calls with 100,000 arguments": (lambda: _again(
        50_000, named("types", "SimpleNamespace"), b"N" * 100_000), "arguments"),
    "35,000 tensors": (lambda: _again(35_000, named("torch._utils", "_rebuild_tensor_v2"), alone(h.blob(FOUR)).code,
                                      b"K\x00", b"(K\x04t", b"(K\x01t", b"\x89", b"N"), LOADS),
    "100,000 names of 4 MB": (lambda: Raw(b"(" + LONG + b"h\xfeh\xff\x93" * 100_000 + b"l"), "letters"),
    "a dict of 150,000 numbers with one hash": (lambda: Raw(b"}(" + b"N".join(COLLIDING) + b"Nu"), "dict key"),
    "a dict of 30,000 numbers in one slot": (lambda: Raw(b"}(" + b"N".join(SMALL) + b"Nu"), "dict keys"),
    "a set of 150,000 numbers with one hash": (lambda: Raw(b"\x8f(" + b"".join(COLLIDING) + b"\x90"), "a set"),
    "1,000,000 opcodes": (lambda: Raw(b"(" + b"N" * 1_000_000 + b"l"), "opcodes"),
    "97,000 sets": (lambda: Raw(b"(" + b"\x8f" * 97_000 + b"l"), LOADS),
    "390,000 dicts": (lambda: Raw(b"(" + b"}" * 390_000 + b"l"), LOADS),
    "390,000 names": (lambda: Raw(b"(" + b"cnumpy\ndtype\n" * 390_000 + b"l"), LOADS),
    "120,000 networks": (lambda: Raw(
        b"(" + named("dnnlib.tflib.network", "Network") + b"q\xfe" + b"h\xfe)\x81" * 120_000 + b"l"), LOADS),
    "200,000 numbers of 255 bytes": (lambda: Raw(b"(" + (b"\x8a\xff" + b"\x01" * 255) * 200_000 + b"l"), "refused"),
    "12,000 lines of 4,000 digits": (lambda: Raw(b"(" + (b"L" + b"9" * 4000 + b"L\n") * 12_000 + b"l"), "refused"),
    "12,000 bytes of 4,000": (lambda: Raw(b"(" + (b"B\xa0\x0f\0\0" + bytes(4000)) * 12_000 + b"l"), "refused"),
    "70,000 bytes of 200": (lambda: Raw(b"(" + (b"C\xc8" + bytes(200)) * 70_000 + b"l"), LOADS),
    "a text of 20 MB": (lambda: Raw(b"X" + struct.pack("<I", 20 * MB) + b"x" * (20 * MB)), "refused"),
    "texts of 20 MB": (lambda: Raw(b"(" + text("x" * 4_000_000) * 5 + b"l"), "refused.*text"),
    "texts of 16 MB that grow fourfold, 380,000 dicts": (lambda: Raw(
        b"(" + text("\U0001f600" + "x" * 4_000_000) * 4 + b"}" * 380_000 + b"l"), LOADS),
    "texts of 5,000 letters in all forms": (lambda: Raw(
        b"(T\x88\x13\0\0" + b"x" * 5000 + b"V" + b"x" * 3000 + b"\n"
        + b"\x8d" + struct.pack("<Q", 5000) + b"x" * 5000 + b"l"), LOADS),
    "memo: 100,000 slots": (lambda: Raw(
        b"N" + b"".join(b"r" + struct.pack("<I", (i << 12) + 9) for i in range(100_000))), LOADS),
    "deep: 300,000 marks": (lambda: Raw(b"(" * 300_000 + b"ll"), None),
    "deep: lists, 150,000": (lambda: Raw(b"]" * 150_000 + b"a" * 149_999), LOADS),
    "deep: tuples, 150,000": (lambda: Raw(b")" + b"\x85" * 150_000), LOADS),
    "deep: dicts, 90,000": (lambda: Raw((b"(" + text("k")) * 90_000 + b"}" + b"d" * 90_000), LOADS),
    "length: a line without an end": (lambda: Raw(b"I" + b"1" * (8 * MB)), "refused"),
    "length: a number of 8 MB": (lambda: Raw(b"L" + b"1" * (8 * MB) + b"\n"), "refused"),
    "length: a number of 2^31 bytes": (lambda: Raw(b"\x8b\xff\xff\xff\x7f" + b"1" * 100), "refused"),
    "length: a text of 2^31 bytes": (lambda: Raw(b"X\xff\xff\xff\x7f" + b"1" * 100), "refused"),
    "length: a text of 2^62 bytes": (lambda: Raw(b"\x8d" + struct.pack("<Q", 1 << 62) + b"1"), "refused"),
    "length: bytes of 2^31": (lambda: Raw(b"B\xff\xff\xff\x7f" + b"1" * 100), "refused|damaged"),
    "length: bytes of 2^62": (lambda: Raw(b"\x8e" + struct.pack("<Q", 1 << 62) + b"1"), "refused|damaged"),
    "length: a byte array of 2^62": (lambda: Raw(b"\x96" + struct.pack("<Q", 1 << 62) + b"1"), "refused|damaged"),
    "length: a byte array too long": (lambda: Raw(b"\x96" + struct.pack("<Q", 1 << 16) + b"1"), "refused|damaged"),
    "length: a frame of 2^62": (lambda: Raw(b"\x95" + struct.pack("<Q", 1 << 62) + b"N"), LOADS),
    "memo: a slot far away": (lambda: Raw(b"Nr\xff\xff\xff\xff"), LOADS),
    "memo: a slot of 4,000 digits": (lambda: Raw(b"Np" + b"9" * 4000 + b"\n"), LOADS),
    "memo: a slot below 0": (lambda: Raw(b"Np-1\ng-1\n\x86"), LOADS),
    "memo: a slot that is empty": (lambda: Raw(b"j\xff\xff\xff\xff"), "damaged"),
    "memo: a mark kept and brought back": (lambda: Raw(b"(q\xfeNlh\xfe\x86"), LOADS),
    "stack: empty": (lambda: Raw(b"RRRR"), None),
    "stack: a key without its value": (lambda: Raw(b"NN"), "damaged"),
    "loop: a list within itself": (lambda: Raw(b"]" + put(1) + get(1) + b"a"), LOADS),
    "loop: a dict within itself": (lambda: Raw(b"}" + put(1) + text("x") + get(1) + b"s"), LOADS),
}
for _name, (_make, _says) in WORK.items():
    add(_name, lambda o, m=_make: o.beside(m()), _says)
add("stack: left full", lambda o: o.nvidia()[:-1] + b"N.", "damaged")
add("loop: the file as its own generator", lambda o: b"\x80\x03}" + put(1) + text("G_ema") + get(1) + b"s.")
add("loop: the checkpoint as its own state dict", lambda o: h.legacy(Raw(b"}" + put(1) + b"".join(
    text(k) + get(1) + b"s" for k in ("g_ema", "g", "state_dict", "d", "generator", "input.input")))))


# --- Structure that is shared: 2^60 leaves in 700 bytes; nothing may hash, compare, print or walk it ---------------

_STEPS = range(9_000, 9_060)
BOMBS = {
    "tuple": Raw(b")" + b"".join(put(i) + get(i) + b"\x86" for i in _STEPS)),
    "list": Raw(b"(" * 60 + b"]" + b"".join(put(i) + get(i) + b"l" for i in _STEPS)),
    "dict": Raw((b"(" + text("k")) * 60 + b"}" + b"".join(put(i) + text("l") + get(i) + b"d" for i in _STEPS)),
}
_STORAGE = Global("torch", "FloatStorage")


def _kwargs(**changed: Any) -> dict[str, Any]:
    return {"static_kwargs": {"resolution": 8, "num_channels": 3} | changed}


def _direction(head: Any = FOUR, **more: Any) -> bytes:
    return h.legacy({"state_dict": {"heads.conv_0.s_delta": head}, **more})


PLACES: dict[str, tuple[Callable[[Honest, Any], bytes], str | None]] = {
    "beside": (lambda o, b: o.beside(b), LOADS),
    "as the file": (lambda o, b: dump(b), "refused"),
    "as the generator": (lambda o, b: o.nvidia(G_ema=b), "refused"),
    "a dict key": (lambda o, b: o.beside({b: 1}), "refused"),
    "the key of an OrderedDict": (lambda o, b: o.beside(Call("collections", "OrderedDict", ([(b, 1)],))), "refused"),
    "the key of an EasyDict": (lambda o, b: o.beside(Call("dnnlib.util", "EasyDict", ([(b, 1)],))), "refused"),
    "the content of an EasyDict": (lambda o, b: o.beside(Call("dnnlib.util", "EasyDict", (b,))), "refused"),
    "a set member": (lambda o, b: o.beside(Raw(b"\x8f(" + b.code + b"\x90")), "refused"),
    "the member of a called set": (lambda o, b: o.beside(Call("builtins", "set", ([b],))), "refused"),
    "the content of a set": (lambda o, b: o.beside(Call("builtins", "set", (b,))), "refused"),
    "a module's name": (lambda o, b: o.beside(Raw(b.code + text("x") + b"\x93")), "refused"),
    "a name": (lambda o, b: o.beside(Raw(text("numpy") + b.code + b"\x93")), "refused"),
    "a called function": (lambda o, b: o.beside(Raw(b.code + b")R")), "refused"),
    "arguments": (lambda o, b: o.beside(Raw(named("types", "SimpleNamespace") + b.code + b"R")), "refused|loads"),
    "an argument": (lambda o, b: o.beside(Call("types", "SimpleNamespace", (b,))), LOADS),
    "the state of a dtype": (lambda o, b: o.beside(_dtype("f4", b)), "refused|damaged"),
    "a byte order": (lambda o, b: o.beside(_dtype("f4", (3, b))), "refused"),
    "a dtype": (lambda o, b: o.beside(_dtype(b)), "refused"),
    "an array's shape": (lambda o, b: o.beside(h.array(FOUR, shape=b)), "refused"),
    "an array's size": (lambda o, b: o.beside(h.array(FOUR, shape=(b,))), "refused"),
    "an array's data": (lambda o, b: o.beside(h.array(FOUR, data=b)), "refused"),
    "an array's state": (lambda o, b: o.beside(_array(b, b, b, b, b)), "refused"),
    "an array's order": (lambda o, b: o.beside(Call(
        "numpy.core.numeric", "_frombuffer", (bytes(16), _dtype("f4"), (4,), b))), "refused"),
    "the class of an array": (lambda o, b: o.beside(Call(
        "numpy.core.multiarray", "_reconstruct", (b, (0,), b"b"))), "refused"),
    "a scalar's bytes": (lambda o, b: o.beside(Call("numpy.core.multiarray", "scalar", (_dtype("f4"), b))), "refused"),
    "an encoded text": (lambda o, b: o.beside(Call("_codecs", "encode", (b, "latin1"))), "refused"),
    "a codec": (lambda o, b: o.beside(Call("_codecs", "encode", ("a", b))), "refused"),
    "a tensor's storage": (lambda o, b: o.beside(h.rebuilt(b, (4,))), "refused"),
    "a tensor's size": (lambda o, b: o.beside(h.rebuilt(h.blob(FOUR), b, (1,))), "refused"),
    "a tensor's stride": (lambda o, b: o.beside(h.rebuilt(h.blob(FOUR), (4,), (b,))), "refused"),
    "a tensor's offset": (lambda o, b: o.beside(h.rebuilt(h.blob(FOUR), (4,), (1,), b)), "refused"),
    "a blob": (lambda o, b: o.beside(_in_blob(b)), "refused"),
    "a persistent id": (lambda o, b: h.legacy(o.pt | {"x": Pid(b)}), "refused"),
    "a storage's kind": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", b, "0", "cpu", 4))}), "refused"),
    "a storage's key": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", _STORAGE, b, "cpu", 4))}), "refused"),
    "a storage's count": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", _STORAGE, "0", "cpu", b))}), "refused"),
    "a storage's view": (lambda o, b: h.legacy(o.pt | {"x": Pid(("storage", _STORAGE, "0", "cpu", 4, b))}), "refused"),
    "a stream's keys": (lambda o, b: _parts_of(h.MAGIC, 1001, HEAD, {}, b), "refused"),
    "a stream's key": (lambda o, b: _parts_of(h.MAGIC, 1001, HEAD, {}, [b]), "refused"),
    "a stream's protocol": (lambda o, b: _parts_of(h.MAGIC, b, HEAD, {}, []), "refused"),
    "a stream's format": (lambda o, b: _parts_of(h.MAGIC, 1001, b, {}, []), "refused"),
    "a stream's byte order": (lambda o, b: _parts_of(h.MAGIC, 1001, {"little_endian": b}, {}, []), "refused"),
    "class_name": (lambda o, b: o.nvidia(G_ema=h.module(o.g, b)), "refused"),
    "module_src": (lambda o, b: o.nvidia(G_ema=h.persistent({}, source=b)), "refused"),
    "the state of a network": (lambda o, b: o.nvidia(G_ema=h.persistent(b)), "refused"),
    "_parameters": (lambda o, b: o.nvidia(G_ema=h.persistent({"_parameters": b})), "refused"),
    "_modules": (lambda o, b: o.nvidia(G_ema=h.persistent({"_modules": b})), "refused"),
    "a parameter": (lambda o, b: o.nvidia(G_ema=h.persistent({"_parameters": {"x": b}})), "refused"),
    "a child": (lambda o, b: o.nvidia(G_ema=h.persistent({"_modules": {"x": b}})), "refused"),
    "conv_clamp": (lambda o, b: o.inside(conv_clamp=b), "refused"),
    "activation": (lambda o, b: o.inside(activation=b), "refused"),
    "bias_gain": (lambda o, b: h.nvidia({**o.g, "mapping.fc0.bias_gain": b}, o.d), "refused"),
    "group_size": (lambda o, b: o.nvidia(D=h.module(o.d, group_size=b)), "refused|loads"),
    "static_kwargs": (lambda o, b: o.tensorflow(static_kwargs=b), "refused"),
    "a setting": (lambda o, b: o.tensorflow(**_kwargs(resample_kernel=b)), "refused"),
    "a setting's part": (lambda o, b: o.tensorflow(**_kwargs(resample_kernel=[b])), "refused"),
    "an ignored setting": (lambda o, b: o.tensorflow(**_kwargs(fmap_base=b)), LOADS),
    "a setting's name": (lambda o, b: o.tensorflow(static_kwargs={b: 1}), "refused"),
    "a version": (lambda o, b: o.tensorflow(version=b), "refused"),
    "a network's name": (lambda o, b: o.tensorflow(name=b), LOADS),
    "variables": (lambda o, b: o.tensorflow(variables=b), "refused"),
    "a variable": (lambda o, b: o.tensorflow(variables=[b]), "refused"),
    "a variable's name": (lambda o, b: o.tensorflow(variables=[(b, FOUR)]), "refused"),
    "a variable's numbers": (lambda o, b: o.tensorflow(variables=[("dlatent_avg", b)]), "refused"),
    "components": (lambda o, b: o.tensorflow(components=b), "refused"),
    "a component": (lambda o, b: o.tensorflow(components={"mapping": b}), "refused"),
    "g_ema": (lambda o, b: h.legacy({"g_ema": b}), "refused"),
    "d": (lambda o, b: h.legacy(o.pt | {"d": b}), LOADS),
    "latent_avg": (lambda o, b: h.legacy(o.pt | {"latent_avg": b}), LOADS),
    "model_type": (lambda o, b: h.legacy(o.pt | {"model_type": b}), LOADS),
    "a tensor of g_ema": (lambda o, b: h.legacy({"g_ema": o.pt["g_ema"] | {"style.1.bias": b}}), "refused"),
    "the settings of a direction": (lambda o, b: _direction(sg2_params=b, patch_key=b), "domain"),
    "the size of a direction": (lambda o, b: _direction(sg2_params={"img_size": b}), "domain"),
    "a head": (lambda o, b: _direction(b), "refused"),
    "a Namespace": (lambda o, b: h.legacy(o.pt | {"args": Call("argparse", "Namespace", (), b)}), LOADS),
}
for _place, (_put, _says) in PLACES.items():
    for _kind, _bomb in BOMBS.items():
        _lax = _says if _kind == "tuple" or _says == LOADS else "refused|damaged|domain|loads"
        add(f"2^60 leaves: {_place}, {_kind}", lambda o, m=_put, b=_bomb: m(o, b), _lax)
