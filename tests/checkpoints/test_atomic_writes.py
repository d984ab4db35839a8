"""A reader never sees half a file, and a failed write says which file and why."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stylegraft import atomic
from stylegraft.errors import StylegraftError


def test_text_bytes_and_json_arrive_whole_and_leave_nothing_else(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "t", "ä\n")
    atomic.write_bytes(tmp_path / "b", iter([b"1", b"23"]))
    atomic.write_json(tmp_path / "j", {"b": 1, "a": "ä"})
    assert (tmp_path / "t").read_bytes() == "ä\n".encode()
    assert (tmp_path / "b").read_bytes() == b"123"
    assert (tmp_path / "j").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "ä"\n}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "j", "t"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full; what was saved before is intact: free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "no permission"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failing_disk_is_named_with_the_file_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    path = tmp_path / "state"
    path.write_text("old")

    def fail(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StylegraftError, match=message) as caught:
        atomic.write_text(path, "new")
    assert str(caught.value).startswith(f"{path}: cannot be written")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_truly_full_device_is_reported(tmp_path: Path) -> None:
    def write() -> None:
        with atomic.replacing(tmp_path / "x") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"data")

    with pytest.raises(StylegraftError, match="the disk is full"):
        write()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_and_a_folder_in_the_way_are_reported(tmp_path: Path) -> None:
    with pytest.raises(StylegraftError, match="its folder does not exist"):
        atomic.write_text(tmp_path / "no" / "x", "")
    (tmp_path / "d").mkdir()
    with pytest.raises(StylegraftError, match="a folder of that name exists"):
        atomic.write_text(tmp_path / "d", "")
    (tmp_path / "f").touch()
    with pytest.raises(StylegraftError, match="a part of its path is a file"):
        atomic.write_text(tmp_path / "f" / "x", "")


def test_an_exception_of_the_caller_passes_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def interrupted() -> None:
        with atomic.replacing(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("links", [True, False])
def test_the_file_before_is_kept_and_one_stands_at_the_path_whatever_move_fails(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, previous = tmp_path / "state", tmp_path / "previous"
    kept = os.replace

    def none(*names: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", none)
    for text in ("1", "2", "3"):
        atomic.write_bytes(path, text.encode(), previous)
    assert (path.read_text(), previous.read_text()) == ("3", "2")
    for failing, left in ((previous, ("3", "2")), (path, ("3", "3"))):

        def move(source: object, to: object, failing: Path = failing) -> None:
            if Path(str(to)) == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            kept(str(source), str(to))

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", move)
            with pytest.raises(StylegraftError, match="Input/output error"):
                atomic.write_bytes(path, b"4", previous)
        assert (path.read_text(), previous.read_text()) == left
        assert sorted(one.name for one in tmp_path.iterdir()) == ["previous", "state"]
    atomic.write_bytes(path, b"4", previous)
    assert (path.read_text(), previous.read_text()) == ("4", "3")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["previous", "state"]


WRITER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("atomic", sys.argv[2])  # the package would import torch first
atomic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(atomic)
i = 0
while True:
    atomic.write_bytes(sys.argv[1], (bytes([i % 256]) * 100_000 for _ in range(20)))
    i += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for delay in (0.0, 0.013, 0.029, 0.041):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), atomic.__file__])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        data = path.read_bytes()
        assert len(data) == 2_000_000
        assert len(set(data)) == 1
        path.unlink()
