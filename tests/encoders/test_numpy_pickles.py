"""The restricted reader gives back arrays, and runs nothing whatever the file says."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylegraft.checkpoints.numpy_pickles import MAX_DEPTH, parse_arrays, read_arrays
from stylegraft.errors import StylegraftError

TREE = {
    "Net_0": {
        "Conv_0": {
            "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
            "bias": np.zeros(0, np.float16),
        }
    },
    "order": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "big": np.array([1, 256], dtype=">i4"),
    "flag": np.array([True, False]),
    "number": np.array(3.5),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_come_back_from_every_protocol(protocol: int) -> None:
    found = parse_arrays(pickle.dumps(TREE, protocol), "x")
    expected = {
        "Net_0/Conv_0/kernel": TREE["Net_0"]["Conv_0"]["kernel"],
        "Net_0/Conv_0/bias": TREE["Net_0"]["Conv_0"]["bias"],
        **{k: v for k, v in TREE.items() if k != "Net_0"},
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert np.array_equal(found[key], value)


def test_files_of_the_older_numpy_module_path_are_read() -> None:
    data = pickle.dumps(TREE["order"], 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert np.array_equal(parse_arrays(data, "x")[""], TREE["order"])


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


def _sentinel(path: Path) -> Path:
    return path / "ran"


HOSTILE = {
    "os.system": lambda ran: Call(os.system, f"touch {ran}"),
    "builtins.exec": lambda ran: Call(exec, f"open({str(ran)!r}, 'w')"),
    "builtins.eval": lambda ran: Call(eval, f"open({str(ran)!r}, 'w')"),
    "builtins.getattr": lambda ran: Call(getattr, "a", "upper"),
    "_pickle.loads": lambda ran: Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {ran}"))),
    "numpy.load": lambda ran: Call(np.load, str(ran)),
    "numpy.core.records.fromrecords": lambda ran: Call(np.rec.fromrecords, [(1,)]),
    "collections.OrderedDict": lambda ran: __import__("collections").OrderedDict(a=1),
    "object array": lambda ran: np.array([Call(os.system, f"touch {ran}")], dtype=object),
    "structured array": lambda ran: np.zeros(2, dtype=[("a", "f4")]),
    "string array": lambda ran: np.array(["abc"]),
    "a number": lambda ran: 3,
    "a list": lambda ran: [np.zeros(2)],
    "an int key": lambda ran: {1: np.zeros(2)},
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_and_nothing_runs(name: str, protocol: int, tmp_path: Path) -> None:
    ran = _sentinel(tmp_path)
    data = pickle.dumps({"weights": np.zeros(3), "bad": HOSTILE[name](ran)}, protocol)
    with pytest.raises(StylegraftError, match=r"bad\.ckpt: refused"):
        parse_arrays(data, "bad.ckpt")
    assert not ran.exists()


def test_a_refusal_names_what_the_file_asked_for() -> None:
    with pytest.raises(StylegraftError, match=r"posix\.system|nt\.system"):
        parse_arrays(pickle.dumps(Call(os.system, "true")), "x")


# Written by opcode: what Python's own pickler would never write.
ALLOWED_THEN_MISUSED = {
    "a call of ndarray itself": b"cnumpy\nndarray\n(K\x0a\x85tR.",
    "a call of a called value": b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R)R.",
    "state on a dict": b"}}b.",
    "state on a function": b"cnumpy\ndtype\n}b.",
    "_codecs.encode with another codec": b"c_codecs\nencode\nX\x02\x00\x00\x00abX\x04\x00\x00\x00zlib\x86R.",
    "a persistent id": b"Pabc\n.",
    "an instance": b"(cos\nsystem\no.",
    "an old instance": b"(ios\nsystem\n.",
    "an extension code": b"\x82\x01.",
    "NEWOBJ": b"cnumpy\nndarray\n)\x81.",
}


@pytest.mark.parametrize("name", ALLOWED_THEN_MISUSED)
def test_allowed_names_cannot_be_misused(name: str) -> None:
    with pytest.raises(StylegraftError, match="refused"):
        parse_arrays(b"\x80\x03" + ALLOWED_THEN_MISUSED[name], "x")


def test_a_file_cannot_make_us_allocate_more_than_it_holds() -> None:
    claims = {
        "a memo slot far away": b"\x80\x04}r\xff\xff\xff\x7f.",  # 2^31 slots in Python's own unpickler
        "bytes of 2^40": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        "a frame of 2^60": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    }
    for name, data in claims.items():
        start = time.perf_counter()
        with contextlib.suppress(StylegraftError):
            assert parse_arrays(data, name) == {}
        assert time.perf_counter() - start < 1, name
    array = pickle.dumps(np.zeros(4, np.float32), 3)
    huge = array.replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85")
    assert huge != array
    with pytest.raises(StylegraftError, match="16 bytes of data"):
        parse_arrays(huge, "x")


def test_dicts_that_contain_themselves_or_multiply_are_refused() -> None:
    loop = b"\x80\x03}q\x00X\x01\x00\x00\x00ah\x00s."
    with pytest.raises(StylegraftError, match=f"deeper than {MAX_DEPTH}"):
        parse_arrays(loop, "x")
    tree: Any = np.zeros(1, np.float32)
    for _ in range(25):  # 2^25 leaves in 400 bytes
        tree = {"a": tree, "b": tree}
    with pytest.raises(StylegraftError, match="more than"):
        parse_arrays(pickle.dumps(tree, 3), "x")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_raise_our_error_only(data: st.DataObject) -> None:
    good = bytearray(pickle.dumps(TREE, data.draw(st.sampled_from([2, 3, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    with contextlib.suppress(StylegraftError):
        assert all(isinstance(value, np.ndarray) for value in parse_arrays(cut, "fuzzed").values())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StylegraftError, match=r"none\.ckpt"):
        read_arrays(tmp_path / "none.ckpt")
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(StylegraftError, match=r"empty\.ckpt: the file is empty"):
        read_arrays(tmp_path / "empty.ckpt")
