"""`stylegraft anatomy` takes domains apart, reads studies, and refuses what makes no sense at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylegraft.cli.main import main
from stylegraft.lab import cell
from stylegraft.lab.page import read_data

from ..lab.eyes import use_toy_eyes
from .test_compare import STUDY

TOY = ("--encoder", "random-tiny", "--distance", "cosine", "--latents", "2", "--count", "4")


@pytest.fixture(scope="module")
def runs(toy_file: Path, toy_images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One step each in two spaces."""
    home = tmp_path_factory.mktemp("runs")
    for space in ("affine", "stylespace"):
        line = ["adapt", str(toy_file), str(toy_images), "--out", str(home / space), "--space", space]
        assert main([*line, "--steps", "1", "--batch", "2", "--align", "off", "--set", "warmup=0"]) == 0
    return [str(home / space) for space in ("affine", "stylespace")]


def test_a_run_gets_its_tables_and_a_page_of_its_own(runs: list[str], toy_file: Path, capsys):
    assert main(["anatomy", runs[0], "--source", str(toy_file), *TOY]) == 0
    out = capsys.readouterr().out
    told = json.loads((Path(runs[0]) / "anatomy" / "anatomy.json").read_text())
    assert list(told["domains"]) == ["affine"]
    assert told["domains"]["affine"]["distance"] == "cosine-random-tiny"
    for part in (
        "affine: size of the delta",
        "affine: effect alone, cosine-random-tiny",
        "distance to the source: kid-",
    ):
        assert part in out
    head = next(line for line in out.splitlines() if line.startswith("group"))
    assert head.split() == ["group", "4", "8", "16"]
    assert max(len(line) for line in out.splitlines() if "/" not in line) <= 80


def test_several_domains_are_compared(runs: list[str], toy_file: Path, tmp_path: Path, capsys):
    line = [
        "anatomy",
        runs[0],
        f"{runs[1]}/domain.safetensors",
        "--source",
        str(toy_file),
        "--out",
        str(tmp_path),
    ]
    assert main([*line, *TOY]) == 0
    out = capsys.readouterr().out
    assert "cosine of deltas" in out and "cosine of effects (shift of the mean random-tiny feature)" in out
    told = read_data(tmp_path / "anatomy.html")
    assert told["similarity"]["names"] == ["affine", "domain"]
    assert told["similarity"]["deltas"]["all"][0][0] == pytest.approx(1)


def test_a_study_is_read_by_distance(toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch, capsys):
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cell, "_PANELS", {})
    (tmp_path / "study.toml").write_text(STUDY.format(source=toy_file, images=toy_images))
    out = tmp_path / "out"
    line = ["anatomy", str(out), "--encoder", "random-tiny", "--count", "10"]
    out.mkdir()
    (out / "study.toml").write_text((tmp_path / "study.toml").read_text())
    assert main(line) == 2
    assert "a study without a finished run" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "study.toml"), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(line) == 0
    said = capsys.readouterr().out.replace("\n", " ")
    assert "mine from toy.safetensors: kid-random-tiny" in said
    assert "(10 and 10 images, fewer than 50: a guess), by its pool" in said
    told = json.loads((out / "anatomy" / "anatomy.json").read_text())
    assert [group["space"] for group in told["groups"]] == ["stylespace", "stylespace", "affine+", "affine+"]
    assert told["targets"][0]["distance"]["target"] == 10


def test_the_charts_of_a_study_come_of_its_kept_cells_alone(
    toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch, capsys
):
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cell, "_PANELS", {})
    (tmp_path / "study.toml").write_text(STUDY.format(source=toy_file, images=toy_images))
    compare = ["compare", str(tmp_path / "study.toml"), "--keep", str(tmp_path / "kept")]
    assert main([*compare, "--out", str(tmp_path / "ran")]) == 0
    assert main([*compare, "--out", str(tmp_path / "restored"), "--report"]) == 0
    assert not (tmp_path / "restored" / "targets").exists()
    line = ["--encoder", "random-tiny", "--count", "10", "--charts", str(tmp_path / "charts")]
    distances = []
    for out in ("ran", "restored"):
        assert main(["anatomy", str(tmp_path / out), *line]) == 0
        told = json.loads((tmp_path / out / "anatomy" / "anatomy.json").read_text())
        distances.append(told["targets"])
    assert distances[0] == distances[1], "the target is made anew, of the same pictures"
    charts = sorted(path.name for path in (tmp_path / "charts").iterdir())
    assert any(name.endswith("-diversity.svg") for name in charts)
    assert (tmp_path / "charts" / charts[0]).read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    capsys.readouterr()


def test_other_pictures_than_a_study_had_are_refused(
    toy_file: Path, toy_images: Path, tmp_path: Path, monkeypatch, capsys
):
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cell, "_PANELS", {})
    (images := tmp_path / "images").mkdir()
    for path in toy_images.iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    (tmp_path / "study.toml").write_text(STUDY.format(source=toy_file, images=images))
    compare = ["compare", str(tmp_path / "study.toml"), "--keep", str(tmp_path / "kept")]
    assert main([*compare, "--out", str(tmp_path / "ran")]) == 0
    assert main([*compare, "--out", str(tmp_path / "restored"), "--report"]) == 0
    next(images.iterdir()).unlink()
    capsys.readouterr()
    line = ["anatomy", str(tmp_path / "restored"), "--encoder", "random-tiny", "--count", "10"]
    assert main(line) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "what it is made from is not what its runs had" in said and "bring" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "expected a domain file, a run, or the folder of a study"),
        (["faces-64"], "faces-64: a source, expected a domain"),
        (["RUN", "RUN"], "named twice"),
        (["RUN", "--latents", "0"], "--latents 0: expected at least 1"),
        (["RUN", "--count", "1"], "--count 1: expected at least 2"),
        (["RUN", "--encoder", "vgg19"], "did you mean 'vgg16'"),
        (["RUN", "--device", "tpu"], "device 'tpu' is unknown"),
        (["RUN", "--study", "x.toml"], "--study x.toml: is for a study's folder"),
        (["RUN", "--charts", "x"], "--charts x: is for a study's folder"),
        (["nowhere"], "nowhere: no such file"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(line: list[str], said: str, runs: list[str], toy_file: Path, capsys):
    words = [runs[0] if word == "RUN" else word for word in line]
    source = ["--source", str(toy_file)] if "RUN" in line else []
    assert main(["anatomy", *words, *source]) == 2
    assert said in capsys.readouterr().err
