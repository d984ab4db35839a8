"""`stylegraft evaluate` measures runs, domain files and sources, and refuses what makes no sense at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylegraft.cli.main import main
from stylegraft.lab.page import read_data


@pytest.fixture(scope="module")
def run_folder(toy_file: Path, toy_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of adaptation to five of the toy images."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    shots = tmp_path_factory.mktemp("shots")
    for path in sorted(toy_images.iterdir())[:5]:
        (shots / path.name).write_bytes(path.read_bytes())
    line = ["adapt", str(toy_file), str(shots), "--out", str(folder), "--space", "affine+", "--steps", "1"]
    assert main([*line, "--batch", "2", "--align", "off", "--set", "warmup=0"]) == 0
    return folder


def test_a_run_knows_its_shots_its_framing_and_where_the_result_goes(
    run_folder: Path, toy_file: Path, toy_images: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["evaluate", str(run_folder), "--reference", str(toy_images), "--source", str(toy_file)]
    line += [
        "--count",
        "8",
        "--encoder",
        "random-tiny",
        "--metrics",
        "fid",
        "p_target",
        "similarity",
    ]
    assert main(line) == 0
    out = capsys.readouterr().out
    folder = run_folder / "evaluation"
    told = json.loads((folder / "result.json").read_text())
    assert told["reference"] == {
        "count": 5,
        "sha256": told["reference"]["sha256"],
        "align": "off",
        "shots_excluded": 5,
    }
    assert told["shots"] == 5
    rows = {row["name"]: row for row in told["metrics"]}
    assert (rows["fid-random-tiny"]["generated"], rows["fid-random-tiny"]["real"]) == (8, 5)
    for part in (
        "fid-random-tiny",
        "p_target-random-tiny",
        "5 images of the reference are",
    ):
        assert part in out.replace("\n", " ")
    assert str(folder / "report.html") in out
    assert read_data(folder / "report.html")["metrics"] == told["metrics"]


def test_a_domain_file_and_its_source_are_measured_too(
    run_folder: Path, toy_file: Path, toy_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--reference", str(toy_images), "--count", "8", "--encoder", "random-tiny", "--align", "off"]
    domain = run_folder / "domain.safetensors"
    out = tmp_path / "a" / "domain"
    line = [
        "evaluate",
        str(domain),
        *common,
        "--source",
        str(toy_file),
        "--metrics",
        "fid",
        "--out",
        str(out),
    ]
    assert main(line) == 0
    assert json.loads((out / "result.json").read_text())["reference"]["shots_excluded"] == 0
    line = [
        "evaluate",
        str(toy_file),
        *common,
        "--out",
        str(tmp_path / "source"),
        "--metrics",
        "fid",
        "p_target",
    ]
    assert main(line) == 2
    assert (
        "--metrics p_target: compares a domain with its source; MODEL is a source itself"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "source").exists()
    line = [*line[:-1], "--out", str(domain)]
    assert main(line) == 2
    assert "is no folder that can be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--count", "1"), "--count 1: expected at least 2"),
        (("--psi", "nan"), "--psi nan"),
        (("--encoder", "vgg19"), "did you mean 'vgg16'"),
        (("--encoder", "lpips-vgg"), "distance between two images"),
        (("--reference", "nowhere"), "nowhere: no such file"),
        (("--shots", "pencil"), "knows its training images"),
        (("--device", "tpu"), "device 'tpu' is unknown"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run_folder: Path, toy_file: Path, toy_images: Path, flags, said, capsys: pytest.CaptureFixture[str]
):
    line = ["evaluate", str(run_folder), "--source", str(toy_file)]
    if flags[0] != "--reference":
        line += ["--reference", str(toy_images)]
    assert main([*line, *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_run_of_a_sentence_is_measured_by_its_words_without_a_reference(
    toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from stylegraft.encoders import guides
    from stylegraft.lab import evaluate as lab

    from ..adaptation.toys import ToyGuide

    monkeypatch.setattr(guides, "load_guide", lambda *args, **kwargs: ToyGuide())
    monkeypatch.setattr(lab, "load_encoder", lambda *args, **kwargs: ToyGuide())
    run = str(tmp_path / "run")
    line = ["adapt", str(toy_file), "--text", "ink", "--guide", "sprig", "--steps", "1", "--out", run]
    assert main([*line, "--set", "templates=plain"]) == 0
    line = ["evaluate", run, "--source", str(toy_file), "--count", "8"]
    assert main([*line, "--metrics", "similarity"]) == 0
    assert "quality-toy: cosine to 'ink'" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "evaluation" / "result.json").read_text())["reference"] is None
    for metrics in ((), ("--metrics", "similarity", "kid")):
        assert main([*line, *metrics]) == 2
        assert "--reference: is missing; expected images of the domain" in capsys.readouterr().err
