"""Bad input gets one clear line on stderr, exit status 2, at once, and no traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from stylegraft.cli.main import main

from ..conftest import Ran

SECONDS = 2.0


def refused(ran, *parts: str) -> None:
    """One line, exit 2, all parts in it, in time."""
    assert ran.status == 2, (ran.out, ran.err)
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0], lines[0]
    assert ran.seconds < SECONDS


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process, as `stylegraft` does in one of its own: line("sample", ...) -> Ran."""

    def call(*args: object, cwd: Path | None = None) -> Ran:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        start = time.process_time()
        status = main([str(arg) for arg in args])
        return Ran(status, *capsys.readouterr(), time.process_time() - start)

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (40, 40), (90 * i, 40, 200)).save(folder / f"{i}.png")
    return folder


def test_a_folder_with_no_image(line, toy_file: Path, tmp_path: Path):
    folder = tmp_path / "nothing"
    folder.mkdir()
    refused(line("adapt", toy_file, folder), "nothing", "no picture")
    (folder / "notes.txt").write_text("later")
    refused(line("adapt", toy_file, folder), "notes.txt")


def test_a_target_that_does_not_exist(line, toy_file: Path, tmp_path: Path):
    refused(line("adapt", toy_file, "pensil", cwd=tmp_path), "pensil", "did you mean 'pencil'?")
    refused(line("adapt", toy_file, tmp_path / "no" / "where"), "no such file or folder")


def test_one_broken_image(line, toy_file: Path, pictures: Path):
    (pictures / "1.png").write_bytes((pictures / "1.png").read_bytes()[:60])
    refused(line("adapt", toy_file, pictures), "1.png", "broken")


def test_an_image_of_one_pixel(line, toy_file: Path, pictures: Path):
    Image.new("RGB", (1, 1)).save(pictures / "2.png")
    refused(line("adapt", toy_file, pictures), "2.png", "1x1")


def test_a_source_that_is_not_a_source(line, pictures: Path, tmp_path: Path):
    fake = tmp_path / "source.safetensors"
    fake.write_bytes(b"this is not a network" * 100)
    refused(line("adapt", fake, pictures), "source.safetensors", "not a source")
    fake.write_bytes(b"")
    refused(line("adapt", fake, pictures), "source.safetensors", "the file is empty")
    refused(line("sample", pictures / "0.png"), "0.png", "not a source")
    refused(line("adapt", pictures, pictures), "pictures", "not a run")


def test_a_safetensors_file_of_somebody_else(line, pictures: Path, tmp_path: Path):
    import numpy as np
    from safetensors.numpy import save_file

    path = tmp_path / "llm.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path)
    refused(line("adapt", path, pictures), "llm.safetensors", "not a source")


def test_an_unknown_source(line, pictures: Path, tmp_path: Path):
    refused(line("adapt", "faces-46", pictures, cwd=tmp_path), "faces-46", "did you mean 'faces-64'?")


def test_an_unknown_recipe(line, toy_file: Path, pictures: Path):
    ran = line("adapt", toy_file, pictures, "--recipe", "dlc")
    refused(ran, "'dlc'", "did you mean 'dcl'?", "freezed")
    refused(line("recipes", "fixnoize"), "did you mean 'fixnoise'?")


def test_a_recipe_field_that_does_not_exist_or_does_not_fit(line, toy_file: Path, pictures: Path):
    for setting, parts in {
        "cdq=no": ("'cdq'", "did you mean 'cdc'?"),
        "cdc=maybe": ("yes or no",),
        "cl1=much": ("a number",),
        "anchors=1.5": ("a whole number",),
        "batch": ("FIELD=VALUE",),
        "mixing=7": ("mixing", "0 to 1"),
    }.items():
        refused(line("adapt", toy_file, pictures, "--set", setting), *parts)
    refused(line("adapt", toy_file, pictures, "--steps", "0"), "steps", "at least 1")


def test_an_unknown_verb(line):
    refused(line("adpat"), "'adpat'", "did you mean 'adapt'?")


def test_an_output_folder_that_is_a_file(line, toy_file: Path, pictures: Path):
    refused(line("adapt", toy_file, pictures, "--out", pictures / "0.png"), "--out", "is a file")
    refused(line("sample", toy_file, "--out", pictures / "no" / "grid.png"), "--out", "does not exist")


def test_seeds_that_are_none(line, toy_file: Path):
    for seeds in ("", "a", "5-3", "1,,2", "-4", "0-99999999", "١"):
        refused(line("sample", toy_file, f"--seeds={seeds}"), "--seeds")


def test_a_seed_that_would_be_the_face_of_another(line, toy_file: Path):
    refused(line("sample", toy_file, "--seeds", 2**32), "--seeds", "at most 4294967295")


def test_strength_of_a_source(line, toy_file: Path):
    refused(line("sample", toy_file, "--strength", "0.5"), "--strength", "is a source")


def test_an_amount_where_none_is_taken(line, domain_file: Path):
    refused(line("inspect", f"{domain_file}:0.5"), f"expected {domain_file}; amounts")


def test_labels_that_are_a_picture(line, toy_file: Path, pictures: Path):
    ran = line("directions", toy_file, "--labels", pictures / "0.png")
    refused(ran, "0.png", "not a text file", "expected lines name,value")


def test_the_folder_around_the_codes(line, toy_file: Path, pictures: Path):
    (pictures / "codes.safetensors").touch()
    ran = line("edit", toy_file, "--direction", "sefa:0", "--codes", pictures)
    refused(ran, f"--codes {pictures}", "a folder", "such as", "codes.safetensors")


def test_push_the_other_way_round(line, pictures: Path):
    ran = line("push", "OWNER/x", "pictures/0.png", cwd=pictures.parent)
    refused(ran, "expected the domain first, `push pictures/0.png OWNER/x`")


def test_a_file_where_a_study_writes_a_folder(line, pictures: Path):
    refused(line("compare", "pencil", "--keep", pictures / "0.png"), "--keep", "a file; expected a folder")


def test_an_unknown_space(line, toy_file: Path, pictures: Path):
    ran = line("adapt", toy_file, pictures, "--space", "afine")
    refused(ran, "'afine'", "did you mean 'affine'?")


def test_an_unknown_transform(line, toy_file: Path, pictures: Path):
    ran = line("adapt", toy_file, pictures, "--set", "augment=bg,colour")
    refused(ran, "'colour'", "did you mean 'color'?")


def test_eye_points_for_a_set_that_ships(line, toy_file: Path, tmp_path: Path):
    ran = line("adapt", toy_file, "pencil", "--align", "nonsense.csv", cwd=tmp_path)
    refused(ran, "--align nonsense.csv", "packaged set")


def test_a_domain_whose_base_does_not_ship(line, domain_file: Path):
    refused(line("sample", domain_file), "'toy'", "--source")


def test_a_domain_on_the_wrong_base(line, domain_file: Path, other_file: Path):
    ran = line("sample", domain_file, "--source", other_file)
    refused(ran, domain_file.name, "'toy'", "another one", "--source")


def test_what_a_name_or_a_header_tells_is_refused_without_importing_torch(
    toy_file: Path, domain_file: Path, other_file: Path
):
    files = {"SOURCE": toy_file, "DOMAIN": domain_file, "OTHER": other_file}
    lines = [
        "adapt SOURCE pencil --space afine",
        "adapt SOURCE pencil --recipe dlc",
        "adapt SOURCE pencil --set augment=bg,colour",
        "adapt SOURCE pencil --align nonsense.csv",
        "adapt SOURCE pensil",
        "sample DOMAIN --source OTHER",
        "sample SOURCE --seeds 5-3",
    ]
    code = f"""
import sys
from stylegraft.cli.main import main
for line in {[[str(files.get(part, part)) for part in line.split()] for line in lines]!r}:
    assert main(line) == 2, line
    assert "torch" not in sys.modules, line
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_header_without_what_it_should_say(line, toy_file: Path, pictures: Path):
    from stylegraft.checkpoints import tensorfile

    tensors, metadata = tensorfile.read(toy_file)
    path = pictures.parent / "odd.safetensors"
    tensorfile.write(path, tensors, {**metadata, "config": "[]"})
    refused(line("adapt", path, pictures), "odd.safetensors", "damaged source", "config")


@pytest.mark.parametrize("verb", ["sample", "adapt"])
def test_a_full_disk(
    verb: str,
    toy_file: Path,
    toy_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    old = tmp_path / "grid.png"
    old.write_text("an earlier picture")
    monkeypatch.chdir(tmp_path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    rest = {"sample": ["--seeds", "0-3"], "adapt": [str(toy_images), "--steps", "1", "--set", "warmup=0"]}[
        verb
    ]
    assert main([verb, str(toy_file), *rest]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "the disk is full" in error
    assert old.read_text() == "an earlier picture"
    assert not list(tmp_path.rglob("*.tmp"))


def test_debug_shows_where_it_happened(stylegraft):
    ran = stylegraft("adpat", env={"STYLEGRAFT_DEBUG": "1"})
    assert ran.status != 0
    assert "Traceback" in ran.err


def test_ctrl_c_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stylegraft.cli.main.run_verb", interrupt)
    assert main(["adapt", "a", "b"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


@pytest.fixture(scope="session")
def domain_file(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zero domain on the toy."""
    from stylegraft.checkpoints import describe_base, load
    from stylegraft.domains import Domain, start

    source = load(toy_file)
    path = tmp_path_factory.mktemp("domains") / "domain.safetensors"
    Domain(start("stylespace", source.generator), {"space": "stylespace"}, describe_base(source)).save(path)
    return path


@pytest.fixture(scope="session")
def other_file(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy with one weight changed."""
    import torch

    from stylegraft.checkpoints import load, save_source

    source = load(toy_file)
    with torch.no_grad():
        next(source.generator.parameters()).add_(1e-3)
    path = tmp_path_factory.mktemp("sources") / "other.safetensors"
    save_source(path, source, torch.float32)
    return path
