"""Hostile containers: zips, our own files, places that are no file, and good files that are cut."""

from __future__ import annotations

import io
import json
import os
import pickletools
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import hostile_files as h
import numpy as np
from hostile_catalogue import FOUR, LOADS, MB, Honest, add
from hostile_files import dump
from hostile_pickles import EVIL

# fmt: off


def _members(o: Honest) -> dict[str, bytes]:
    return h.members(o.pt)


def _directory(data: bytes) -> int:
    return int.from_bytes(data[-6:-2], "little")


def _ended(body: bytes, at: int, count: int) -> bytes:
    """A zip whose directory starts at `at` and goes to the end of `body`."""
    return body + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(body) - at, at, 0)


def _patched(o: Honest, at: int, value: bytes, local: bool = False) -> bytes:
    """A good zip with bytes changed in one member's entry of the directory, or in its own header."""
    data = bytearray(h.modern(o.pt))
    name = data.rfind(b"archive/data/3", 0, _directory(bytes(data)) if local else len(data))
    start = name - (30 if local else 46)
    data[start + at : start + at + len(value)] = value
    return bytes(data)


def _overlapping(o: Honest) -> bytes:
    """400 storages of 1 MB, all at one place."""
    numbers = np.zeros(MB // 4, np.float32)
    value = {"g_ema": {f"x{i}": h.rebuilt(h.storage_id(numbers, str(i)), numbers.shape) for i in range(400)}}
    one = h.archive({"archive/data.pkl": dump(value, 2), "archive/data/0": numbers.tobytes()})
    entry = one[one.rfind(b"PK\x01\x02") : -22]
    names = [f"archive/data/{i}".encode() for i in range(1, 400)]
    more = b"".join(entry[:28] + struct.pack("<H", len(n)) + entry[30:46] + n for n in names)
    return _ended(one[:-22] + more, _directory(one), 401)


def _crowded(o: Honest, name: str, count: int) -> bytes:
    """A good zip with many members more, all of them the empty one at its end."""
    data = h.archive({**_members(o), "x": b""})
    entry = data[data.rfind(b"PK\x01\x02") : -22]
    names = [f"{name}{i:05}".encode() for i in range(count)]
    more = b"".join(entry[:28] + struct.pack("<H", len(n)) + entry[30:46] + n for n in names)
    return _ended(data[:-22] + more, _directory(data), len(_members(o)) + 1 + count)


def _resized(o: Honest, by: int) -> bytes:
    size = len(_members(o)["archive/data/3"]) + by
    return _patched(o, 20, struct.pack("<II", size, size))


def _zip64(o: Honest, size: int, length: int = 24) -> bytes:
    """A zip with one member whose size is said to stand in an extra field."""
    data = h.modern(o.pt)
    start = data.rfind(b"archive/data/3") - 46
    extra = struct.pack("<HH", 1, length) + struct.pack("<QQQ", size, size, size)[:length]
    entry = data[start : start + 20] + b"\xff" * 8 + struct.pack("<HH", 14, len(extra)) + data[start + 32 : start + 42]
    body = data[:start] + entry + b"\xff" * 4 + b"archive/data/3" + extra + data[start + 60 : -22]
    return _ended(body, _directory(data), len(_members(o)))


for _name, _code in {"bzip2": 12, "lzma": 14, "an unknown method": 99}.items():
    add(f"zip: {_name}", lambda o, c=_code: _patched(o, 10, struct.pack("<H", c)), "compressed")
add("zip: deflated", lambda o: h.archive(_members(o), zipfile.ZIP_DEFLATED), "compressed")
add("zip: a bomb", lambda o: h.archive({**_members(o), "archive/byteorder": bytes(50 * MB)}, zipfile.ZIP_DEFLATED),
    "compressed")
add("zip: a bomb as the pickle", lambda o: h.archive(
    {"archive/data.pkl": b"\x80\x02" + b"N" * (20 * MB)}, zipfile.ZIP_DEFLATED), "compressed")
add("zip: encrypted", lambda o: _patched(o, 8, b"\x01\x00"), "encrypted")
add("zip: strongly encrypted", lambda o: _patched(o, 8, b"\x41\x00"), "encrypted")
add("zip: members over each other", _overlapping, "over each other|damaged")
add("zip: a size of 2^32 - 2", lambda o: _patched(o, 20, struct.pack("<II", (1 << 32) - 2, (1 << 32) - 2)), "refused")
add("zip: a size too large by one", lambda o: _resized(o, 1))
add("zip: a size too small by one", lambda o: _resized(o, -1))
add("zip: an offset out of the file", lambda o: _patched(o, 42, struct.pack("<I", 1 << 31)), "damaged")
add("zip: an offset into a member", lambda o: _patched(o, 42, struct.pack("<I", 100)), "damaged")
add("zip: a wrong checksum", lambda o: _patched(o, 16, bytes(4)), "checksum")
add("zip: a needed version of 99", lambda o: _patched(o, 6, b"\x63\x00"), "damaged")
add("zip: an extra field that does not fit", lambda o: _patched(o, 30, struct.pack("<H", 60_000)))
add("zip: a long local name", lambda o: _patched(o, 26, b"\xff\xff", local=True), "damaged")
add("zip: no directory", lambda o: h.modern(o.pt)[:-22], "damaged")
add("zip: a directory out of the file", lambda o: h.modern(o.pt)[:-6] + struct.pack("<IH", 1 << 31, 0), "damaged")
add("zip: a directory of 1 GB", lambda o: h.modern(o.pt)[:-10] + struct.pack("<IIH", 1 << 30, 0, 0), "damaged")
add("zip: a directory of 4 GB", lambda o: h.modern(o.pt)[:-10] + struct.pack("<IIH", (1 << 32) - 2, 0, 0), "damaged")
add("zip: of several disks", lambda o: (d := h.modern(o.pt))[:-18] + b"\x07\x00\x03\x00" + d[-14:], LOADS)
add("zip: a directory of 3 MB", lambda o: _crowded(o, "n" * 60, 27_000), "directory")
add("zip: 39,000 members", lambda o: _crowded(o, "", 39_000), LOADS)
add("zip: two pickles", lambda o: h.archive({**_members(o), "other/data.pkl": b"\x80\x02N."}), "refused")
add("zip: no pickle", lambda o: h.archive({"archive/version": b"3"}), "refused")
add("zip: empty", lambda o: h.archive({}), "not (one of|a saf)")
add("zip: names that climb", lambda o: h.archive({"../data.pkl": b"\x80\x02N.", "../../etc/data/0": b""}), "refused")
add("zip: a name of 60,000 letters", lambda o: h.archive({"n" * 60_000 + "/data.pkl": b"\x80\x02N."}), "refused")
add("zip: a folder named in escapes", lambda o: h.archive({"\x1b[2J/data.pkl": _members(o)["archive/data.pkl"]}),
    "missing")
add("zip: TorchScript", lambda o: h.archive({**_members(o), "archive/constants.pkl": b"\x80\x02).",
                                             "archive/code/__torch__.py": b"import os"}), "TorchScript")
add("zip: big-endian", lambda o: h.archive({**_members(o), "archive/byteorder": b"big"}), "big-endian")
add("zip: a byteorder of 30 MB", lambda o: h.archive({**_members(o), "archive/byteorder": b"little" + bytes(30 * MB)}),
    "big-endian")
add("zip: two members of one name", lambda o: h.archive({**_members(o), "archive/dat2.pkl": EVIL}).replace(
    b"archive/dat2.pkl", b"archive/data.pkl"), "posix.system")
add("zip: within a zip", lambda o: h.archive({**_members(o), "archive/data.pkl": h.modern(o.pt)}), "refused|damaged")
add("zip: an NVIDIA pickle within", lambda o: h.archive({"archive/data.pkl": o.nvidia()}), "refused")
add("zip: zip64 that says 2^63", lambda o: _zip64(o, 1 << 63))
add("zip: zip64 that says 2^40", lambda o: _zip64(o, 1 << 40))
add("zip: zip64 of three bytes", lambda o: _zip64(o, 0, 3), "damaged")


# --- Our own files --------------------------------------------------------------------------------------------------


def _header(o: Honest) -> dict[str, Any]:
    length = int.from_bytes(o.native[:8], "little")
    return json.loads(o.native[8 : 8 + length])


def _native(o: Honest, header: dict[str, Any] | bytes) -> bytes:
    coded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(coded)) + coded + o.native[8 + int.from_bytes(o.native[:8], "little") :]


def _metadata(o: Honest, **changed: Any) -> bytes:
    header = _header(o)
    return _native(o, {**header, "__metadata__": header["__metadata__"] | changed})


def _entry(o: Honest, **changed: Any) -> bytes:
    """Another entry of the last tensor."""
    header = _header(o)
    name = max((n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"])
    return _native(o, {**header, name: header[name] | changed})


def _configured(o: Honest, **changed: Any) -> bytes:
    """Another config of the generator, with a digest that fits."""
    return h.redigested(o.native, lambda config: config["generator"].update(changed))


_NAMES = b",".join(b'"%x":0' % i for i in range(300_000))
add("ours: a header of 2^60", lambda o: struct.pack("<Q", 1 << 60) + b"{}" + bytes(100), "header")
add("ours: 300,000 names, the last twice", lambda o: _native(o, b"{" + _NAMES + b',"493df":0}'), "twice")
add("ours: metadata of 300,000 names, the last twice", lambda o: _native(
    o, b'{"__metadata__":{' + _NAMES.replace(b":0", b':""') + b',"493df":""}}'), "twice")
add("ours: one name of 1 MB twice", lambda o: _native(o, b'{"%s":0,"%s":0}' % (b"n" * MB, b"n" * MB)), "twice")
add("ours: lists 1,000,000 deep", lambda o: _native(o, b'{"a":' + b"[" * 1_000_000))
add("ours: dicts 500,000 deep", lambda o: _native(o, b'{"a":' * 500_000))
add("ours: 1,300,000 empty dicts", lambda o: _native(o, b'{"a":[' + b"{}," * 1_300_000 + b"0]}"))
add("ours: a number of 4,000,000 digits", lambda o: _native(o, b'{"a":' + b"9" * 4_000_000 + b"}"))
add("ours: NaN in the header", lambda o: _native(o, b'{"a":NaN}'), "NaN")
add("ours: a header that is no text", lambda o: _native(o, b'{"\xff":1}'))
add("ours: a header that is a list", lambda o: _native(o, b"{]"))
add("ours: metadata that is a list", lambda o: _native(o, b'{"__metadata__":[]}'))
add("ours: metadata that is a number", lambda o: _metadata(o, format=5))
add("ours: a format with escapes", lambda o: _metadata(o, format="\x1b[2J\r\n" + "x" * MB))
add("ours: a format with a surrogate", lambda o: _metadata(o, format="\ud800"))
add("ours: a version with escapes", lambda o: _metadata(o, format_version="99", library_version="\x1b[2J\n" * 99))
add("ours: a version of 1 MB", lambda o: _metadata(o, format_version="9" * MB))
add("ours: an unknown entry with a name of 1 MB", lambda o: _metadata(o, **{"n\x1b" * 100_000: "x"}))
add("ours: a digest of 100 KB", lambda o: _metadata(o, digest="\x1b" * 100_000), "digest")
add("ours: another config", lambda o: _metadata(o, config="{}"), "digest")
add("ours: a negative offset", lambda o: _entry(o, data_offsets=[-8, 8]))
add("ours: offsets backwards", lambda o: _entry(o, data_offsets=[8, 0]))
add("ours: an offset of 600 digits", lambda o: _entry(o, data_offsets=[0, 10**600]))
add("ours: offsets that are text", lambda o: _entry(o, data_offsets=["0", "8"]))
add("ours: offsets that are fractions", lambda o: _entry(o, data_offsets=[0.0, 1e308]))
add("ours: a shape of 2^62", lambda o: _entry(o, shape=[1 << 62, 1 << 62]))
add("ours: a negative shape", lambda o: _entry(o, shape=[-1]))
add("ours: an unknown dtype", lambda o: _entry(o, dtype="os.system\x1b[2J" * 9))
add("ours: a dtype of whole numbers", lambda o: _entry(o, dtype="I32"))
add("ours: an entry that is text", lambda o: _native(o, {**_header(o), "G.x": "os.system"}))
add("ours: tensors over each other", lambda o: _native(o, {name: (
    {**entry, "data_offsets": [0, entry["data_offsets"][1]]} if name != "__metadata__" else entry)
    for name, entry in _header(o).items()}))
def _crowd(o: Honest, count: int, **config: Any) -> bytes:
    """A file of ours with a mapping of many layers of one number."""
    header = {"__metadata__": _header(o)["__metadata__"]}
    names = [f"G.mapping.fc{i}.{part}" for i in range(count) for part in ("bias", "weight")]
    for i, name in enumerate(names):
        shape = [1] if name.endswith("bias") else [1, 1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [4 * i, 4 * i + 4]}
    coded = json.dumps(header, separators=(",", ":")).encode()
    whole = struct.pack("<Q", len(coded)) + coded + bytes(4 * len(names))
    return h.redigested(whole, lambda c: c.update(generator=c["generator"] | config, discriminator=None))


add("ours: a mapping of 8,000 layers", lambda o: _crowd(o, 8_000, mapping_layers=8_000, z_dim=1, w_dim=1))
add("ours: 16,000 unknown tensors", lambda o: _crowd(o, 8_000))
add("ours: bytes behind the end", lambda o: o.native + bytes(9), "too long")
add("ours: a pickle with our ninth byte", lambda o: b"\x80\x03cposix{" + bytes(90))
for _name, _changed in {
    "resolution 2^40": {"resolution": 1 << 40}, "resolution of 4,000 digits": {"resolution": 10**4000},
    "resolution below 0": {"resolution": -8}, "resolution as text": {"resolution": "8"}, "no channels":
    {"channel_max": 0}, "2^40 channels": {"channel_base": 1 << 40, "channel_max": 1 << 40}, "z of 2^40":
    {"z_dim": 1 << 40},
    "w below 0": {"w_dim": -4}, "w of 4,000 digits": {"w_dim": 10**4000}, "2^40 classes": {"c_dim": 1 << 40},
    "10^9 layers": {"mapping_layers": 10**9}, "layers below 0": {"mapping_layers": -2},
    "an unknown architecture": {"architecture": "os.system\x1b[2J\n" * 99}, "an architecture as a list":
    {"architecture": [["stylegan2"]]}, "an unknown variant": {"variant": "\x1b[2J\n" * 99}, "a filter as text":
    {"resample_filter": "1331"}, "a filter of 300,000 taps": {"resample_filter": [1] * 300_000}, "a filter of lists":
    {"resample_filter": [[[[1]]]]}, "a clamp as text": {"conv_clamp": "256"}, "a clamp as a list": {"conv_clamp": [1]},
    "a clamp of 400 digits": {"conv_clamp": 10**400}, "a rate of 0": {"mapping_lr_multiplier": 0},
    "a rate as text": {"mapping_lr_multiplier": "0.01"}, "gains as text": {"mapping_gains": {"fc0.weight": "x"}},
    "gains of 400 digits": {"mapping_gains": {"fc0.weight": 10**400}}, "gains as a list": {"mapping_gains": [1]},
    "mobile": {"architecture": "mobile"}, "mobile of 2^40 channels": {
        "architecture": "mobile", "channels": {"4": 1 << 40, "8": 1 << 40}}, "mobile of odd sizes": {
        "architecture": "mobile", "channels": {"4": 4, "x": 4}}, "mobile of 10,000 blocks": {
        "architecture": "mobile", "channels": {str(4 << i): 4 for i in range(10_000)}},
}.items():
    add(f"config: {_name}", lambda o, c=_changed: _configured(o, **c))


# --- Places that are no file, and files that are holes of the disk ------------------------------------------------


def _link(o: Honest, name: str, target: str | Path) -> Path:
    path = o.folder / name
    path.symlink_to(target)
    return path


def _pipe(o: Honest) -> Path:
    os.mkfifo(o.folder / "pipe.pt")
    return o.folder / "pipe.pt"


def _socket(o: Honest) -> Path:
    here = Path.cwd()
    os.chdir(o.folder)  # the path of a socket may have a hundred letters
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind("socket.pt")
    finally:
        os.chdir(here)
    return o.folder / "socket.pt"


def _folder(o: Honest) -> Path:
    (o.folder / "folder.pkl").mkdir()
    return o.folder / "folder.pkl"


add("place: a link that leads nowhere", lambda o: _link(o, "lost.pkl", o.folder / "nothing"), "leads nowhere")
add("place: a link to itself", lambda o: _link(o, "loop.pkl", "loop.pkl"))
add("place: a link to /dev/zero", lambda o: _link(o, "zero.pkl", "/dev/zero"), "not a regular file")
add("place: a link to /dev/stdin", lambda o: _link(o, "stdin.pkl", "/dev/stdin"))
add("place: a link to a folder", lambda o: _link(o, "link-folder.pkl", o.folder), "folder")
add("place: a link to a good file", lambda o: _link(o, "good.pkl", h.write(o.folder / "kept.pkl", o.nvidia())), LOADS)
add("place: a named pipe", _pipe, "not a regular file")
add("place: a socket", _socket)
add("place: a folder", _folder, "folder")
add("place: nothing", lambda o: o.folder / "none.pkl", "no such file")
add("place: an empty file", lambda o: b"", "empty")
add("place: one byte", lambda o: b"\x80", "not a safetensors")
add("place: /dev/zero", lambda o: Path("/dev/zero"), "not a regular file")
add("place: /proc/self/mem", lambda o: Path("/proc/self/mem"))
add("place: a name with a zero", lambda o: Path("a\0b.pkl"), "cannot be read")
add("place: a picture", lambda o: b"\x89PNG\r\n\x1a\n" + bytes(99), "image")
add("place: text", lambda o: b"import os; os.system('true')\n" * 9, "not")


def _hole(o: Honest, name: str, start: bytes, size: int) -> Path:
    path = o.folder / name
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def _safetensors_hole(o: Honest, size: int) -> Path:
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    coded = json.dumps({"__metadata__": _header(o)["__metadata__"], "G.x": entry}).encode()
    return _hole(o, "hole.safetensors", struct.pack("<Q", len(coded)) + coded, 8 + len(coded) + size)


for _name, _start in {"a pickle": b"\x80\x03", "a stream": dump(h.MAGIC, 2), "a zip": b"PK\x03\x04",
                      "a safetensors": b"\x02\0\0\0\0\0\0\0{}"}.items():
    add(f"hole: {_name} of 1 TB", lambda o, n=_name, s=_start: _hole(o, n.replace(" ", "-"), s, 1 << 40), "bytes")
add("hole: a safetensors of 64 GB", lambda o: _safetensors_hole(o, 64 << 30), "bytes")
add("hole: a byte array of 1 GB", lambda o: _hole(
    o, "array.pkl", b"\x80\x05\x96" + struct.pack("<Q", 1 << 30), (1 << 30) + 11))


# --- Cuts: a good file of every format, ended at every structural point --------------------------------------------


def _opcodes(code: bytes, start: int = 0, pickles: int = 1) -> list[int]:
    """Where the opcodes of so many pickles lie, and where the last ends."""
    points = []
    for _ in range(pickles):
        points += [start + at for _, _, at in pickletools.genops(code[start:])]
        start = points[-1] + 1
    return [*points, start]


def cuts(o: Honest) -> dict[str, tuple[bytes, list[int]]]:
    """{format: (good file, where it is cut)}."""
    few = o.without("b8", "torgb", "fc1")  # what is cut is never read, so parts of a network will do
    nvidia, tensorflow = dump({"G_ema": h.module(few)}), dump(h.tensorflow_value(few, {})[1:])
    holder, inner = o.beside(h.blob(FOUR)), h.blob(FOUR).args[0]
    start = holder.find(inner)
    inside = [start + at for at in [*_opcodes(inner, 0, 5), len(inner) - 16, len(inner) - 8]]
    stream = h.legacy(h.rosinality(few))
    steps = _opcodes(stream, 0, 5)
    while steps[-1] < len(stream):
        count = int.from_bytes(stream[steps[-1] : steps[-1] + 8], "little")
        steps += [steps[-1] + 8, steps[-1] + 8 + 4 * count]
    data = h.modern(h.rosinality(few))
    points = []
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for member in file.infolist():
            body = member.header_offset + 30 + len(member.filename)
            points += [member.header_offset, member.header_offset + 15, body, body + member.file_size // 2]
    at = _directory(data)
    while data[at : at + 4] == b"PK\x01\x02":
        points += [at, at + 20, at + 46]
        at += 46 + sum(struct.unpack("<HHH", data[at + 28 : at + 34]))
    length = 8 + int.from_bytes(o.native[:8], "little")
    ends = [length + entry["data_offsets"][1] for name, entry in _header(o).items() if name != "__metadata__"]
    return {
        "NVIDIA pickle": (nvidia, _opcodes(nvidia)[:-1]),
        "storage in a pickle": (holder, inside),
        "TensorFlow pickle": (tensorflow, _opcodes(tensorflow)[:-1]),
        "stream": (stream, steps[:-1]),
        "zip": (data, [*points, at, at + 10, len(data) - 1]),
        "safetensors": (o.native, [1, 7, 8, 9, length // 2, length - 1, length, *sorted(ends)[:-1]]),
    }


def lacking(o: Honest) -> dict[str, bytes]:
    """{member: the zip without it}, for each that the reader needs."""
    whole = _members(o)
    return {
        name: h.archive({other: data for other, data in whole.items() if other != name})
        for name in whole
        if name not in ("archive/version", "archive/byteorder")
    }
