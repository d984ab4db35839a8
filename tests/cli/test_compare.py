"""`stylegraft compare`: from one's own pictures to an answer, and refusals before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylegraft.cli.main import main
from stylegraft.lab import cell, example
from stylegraft.lab.studyfile import parse

from ..lab.eyes import use_toy_eyes

STUDY = """
name = "toy"
source = "{source}"
targets = [{{images="{images}", align="off", label="mine"}}]
recipes = [{{recipe="tgan", set={{warmup=0}}, label="plain"}}]
spaces = ["stylespace", "affine+"]
shots = [4, 11]
steps = 2
batch = 2
trace = {{every = 1, samples = 6}}
resources = {{cpu = 1}}
"""


@pytest.fixture
def study(toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cell, "_PANELS", {})
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(source=toy_file, images=toy_images))
    return path


def test_a_study_runs_and_ends_in_a_table_and_an_answer(study: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(study), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "0 of 4 cells are done, 2 to run" in said.err
    assert "refused  " in said.err and "11 shots of a pool of 10 images" in said.err
    assert "done     plain/stylespace/mine/4/d0/s0: step 2, p_target-toy" in said.err
    lines = said.out.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    assert any("mine, 4 shots, from toy.safetensors: p(source) 0." in line for line in lines)
    assert any(line.split()[:3] == ["plain", "affine+", "1/1"] for line in lines)
    assert "Which method" in said.out and "It rests on 2 of 4 runs" in said.out.replace("\n", " ")
    files = sorted(path.name for path in out.iterdir())
    assert files == [
        "cells", "pictures", "results.csv", "results.html", "results.json", "study.toml", "targets",
    ]  # fmt: skip
    assert main(["compare", str(study), "--out", str(out), "--report"]) == 0
    assert capsys.readouterr().out == said.out


def test_a_dry_run_says_what_would_run_and_writes_nothing(study: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(study), "--dry-run", "--processes", "2"]) == 0
    told = capsys.readouterr().out
    assert "2 runs are left: about" in told and "by 2 at a time" in told
    assert "refused:" in told and "11 shots of a pool of 10 images" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.toml"]


def test_the_example_can_be_run_as_it_is_printed(tmp_path: Path, capsys):
    assert main(["compare", "--example"]) == 0
    printed = capsys.readouterr().out
    assert printed == example.EXAMPLE
    assert parse(printed, tmp_path / "study.toml").source == "faces-64"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "expected a study.toml"),
        (["nothing.toml"], r"nothing.toml: cannot be read"),
        (["study.toml", "--processes", "-1"], "--processes -1: expected at least 0"),
        (["study.toml", "--processes", "2", "--ray", "local"], "expected one of them"),
        (["study.toml", "--report", "--out", "empty"], "empty holds no study yet"),
        (["study.toml", "--wave", "2"], "--wave 2: study.toml has 1 wave, counted from 1"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_at_once(
    line, said, study: Path, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *line]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error


def test_a_folder_of_pictures_is_a_study(toy_images: Path, tmp_path: Path, capsys, monkeypatch):
    short = example.EXAMPLE.replace("steps = 300", "steps = 1").replace("seeds = 2", "seeds = 1")
    monkeypatch.setattr(example, "EXAMPLE", short.replace('"cdc", "tgan", ', ""))
    monkeypatch.setattr("stylegraft.lab.compare._trial", lambda *of: (60.0, ""))
    monkeypatch.setattr("stylegraft.lab.compare._look", lambda *of: 0.0)
    assert main(["compare", str(toy_images), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "toy_images" in told and "4 runs are left: about 4 min 0 s" in told
