"""`stylegraft compare`: from one's own pictures to an answer, and refusals before anything runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from stylegraft.checkpoints import assets
from stylegraft.cli.console import print_table
from stylegraft.cli.main import main
from stylegraft.lab import cell, example, panel
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
    (done,) = [line for line in said.err.splitlines() if line.startswith("done     plain/stylespace/")]
    assert "(p(source) 0." in done and "; p(real) " in done
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
        (["study.toml", "--dry-run", "--ray", "auto"], "--ray auto: --dry-run measures in this process"),
        (["study.toml", "--dry-run", "--report"], "--report: --dry-run writes no table"),
        (["study.toml", "--report", "--processes", "2"], "--processes 2: --report runs nothing"),
        (["study.toml", "--report", "--ray", "auto"], "--ray auto: --report runs nothing"),
        (["study.toml", "--report", "--out", "empty"], "empty holds no study yet"),
        (["study.toml", "--wave", "2"], "--wave 2: study.toml has 1 wave, counted from 1"),
        (["run"], "run: a run, whose pictures are grids; expected a folder of single pictures"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_at_once(
    line, said, study: Path, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in ("config.json", "stats.jsonl", "grid.png"):
        (tmp_path / "run" / name).touch()
    assert main(["compare", *line]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_pictures_is_a_study(toy_images: Path, tmp_path: Path, capsys, monkeypatch):
    short = example.EXAMPLE.replace("steps = 600", "steps = 1").replace("seeds = 2", "seeds = 1")
    monkeypatch.setattr(example, "EXAMPLE", short.replace('"cdc", "tgan", ', ""))
    monkeypatch.setattr("stylegraft.lab.compare._trial", lambda *of: (60.0, ""))
    monkeypatch.setattr("stylegraft.lab.compare._look", lambda *of: 0.0)
    assert main(["compare", str(toy_images), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "toy_images" in told and "4 runs are left: about 4 min 0 s" in told
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in sorted(toy_images.iterdir()):
            archive.write(path, path.name)
    monkeypatch.chdir(tmp_path)
    for pictures in ("mine.zip", "lorelei"):
        assert main(["compare", pictures, "--dry-run"]) == 0
        told = capsys.readouterr().out
        assert f"compare-{Path(pictures).stem}" in told and "4 runs are left" in told
        whole = ("faces-64", "freezed", "affine-light+", Path(pictures).stem)
        assert any(line.split()[:4] == list(whole) for line in told.splitlines()), told


def test_runs_that_fail_are_counted_and_are_an_error(study: Path, tmp_path: Path, capsys, monkeypatch):
    def work(job, say):
        state = "failed" if "affine+" in job.cell.key or everything else "done"
        if state == "failed":
            return cell.failed(cell.Outcome(job.cell.key, "failed", "it broke"), job.folder)
        return whole(job, say)

    whole, everything = cell.work, False
    monkeypatch.setattr("stylegraft.lab.runners.work", work)
    line = ["compare", str(study), "--out"]
    assert main([*line, str(tmp_path / "some")]) == 2
    said = capsys.readouterr()
    assert "error: 1 of 4 runs failed; the first: it broke" in said.err
    assert "p(source) 0." in said.out and "table      " in said.out
    everything = True
    assert main([*line, str(tmp_path / "none")]) == 2
    assert "error: no run succeeded: 2 failed, 2 refused; the first: " in capsys.readouterr().err


def test_missing_lpips_is_one_line_before_anything_runs(study: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(panel, "lpips_here", lambda: assets.find("lpips"))
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path / "bare"))
    monkeypatch.delenv("STYLEGRAFT_LPIPS", raising=False)
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    assert main(["compare", str(study), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "run: stylegraft assets get lpips" in line
    assert not (tmp_path / "out").exists()


def test_a_studys_folder_names_its_study(study: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(study), "--out", str(out)]) == 0
    first = capsys.readouterr().out
    assert main(["compare", str(out)]) == 0
    again = capsys.readouterr()
    assert "2 of 4 cells are done, 0 to run" in again.err
    assert again.out == first
    assert main(["compare", str(out), "--report"]) == 0
    capsys.readouterr()
    assert main(["claims", str(out), "--keep", str(tmp_path / "kept")]) == 0
    assert "2 of 4 runs are done" in capsys.readouterr().out
    (out / "study.toml").write_text(study.read_text().replace('images="', 'images="mine'))
    assert main(["compare", str(out)]) == 2
    assert "name the file that it was run from" in capsys.readouterr().err


def test_names_of_methods_and_spaces_are_not_broken(capsys):
    heads = ("method, space", "runs", ">p_target", ">divers.", ">at .5", ">.7", ">.9", ">KID", ">step")
    names = [
        f"{method} {space}" for method in ("freezed", "dcl") for space in ("affine-light+", "stylespace")
    ]
    rows = [[name, "2/2", *["0.123"] * 6, "1000"] for name in names]
    print_table(heads, rows, tight=True)
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    print_table(heads, [*rows, ["cdc affine-light+", "0/2 failed, not measured", *[""] * 7]], tight=True)
    out = capsys.readouterr().out
    assert out.count("affine-light+") == 3 and out.count("stylespace") == 2 and "measured" in out
    assert max(map(len, out.splitlines())) <= 80
