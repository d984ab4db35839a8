"""A run's folder has a name one can guess, room on the disk, and nobody else's files in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from stylegraft.adaptation.place import check_folder, check_room, default_folder
from stylegraft.errors import StylegraftError


def test_the_default_folder_is_called_like_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "my.sketches.v2"
    (work / "inner").mkdir(parents=True)
    monkeypatch.chdir(work / "inner")
    assert default_folder("pencil") == Path("runs/pencil")
    assert default_folder("..") == default_folder(str(work)) == Path("runs/my.sketches.v2")
    assert default_folder("set.zip") == Path("runs/set")


def test_a_folder_of_other_files_is_refused_and_a_runs_is_not(tmp_path: Path):
    check_folder(tmp_path / "new" / "deep")
    check_folder(tmp_path)  # empty
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(StylegraftError, match=r"--out .*holds files that are no run's"):
        check_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    check_folder(tmp_path)


def test_a_disk_without_room_for_the_state_is_refused_with_both_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=20_000_000))
    check_folder(tmp_path / "run", 19_000_000)
    with pytest.raises(StylegraftError, match="the disk is full: 20 MB free, .* at least 23 MB"):
        check_folder(tmp_path / "run", 23_000_000)
    check_room(tmp_path, 6_000_000)
    with pytest.raises(StylegraftError, match="the disk is full: 20 MB free, .* at least 21 MB"):
        check_room(tmp_path, 7_000_000)


@pytest.mark.parametrize("name", [".", "run"])
def test_a_folder_that_may_not_be_read_is_refused_in_a_line(name: str, tmp_path: Path, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir" if name == "." else "exists", denied)
    with pytest.raises(StylegraftError, match=r"--out .*: cannot be read: Permission denied"):
        check_folder(tmp_path / name)
