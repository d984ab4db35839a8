"""`stylegraft control`: a picture, a film and a curve; what makes no sense is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegraft.checkpoints import describe_base, load
from stylegraft.cli.main import main
from stylegraft.domains import Domain
from stylegraft.domains.deltas import Delta


class Pixels:
    """A distance that needs no weights."""

    name = "pixels"

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5]


def saved(path: Path, toy_file: Path, recipe: str) -> Path:
    source = load(toy_file)
    rng = torch.Generator().manual_seed(1)
    deltas = {
        name: (Delta(1.0, "dense", {"D": 0.3 * torch.randn(p.shape, generator=rng)}),)
        for name, p in source.generator.named_parameters()
        if name.endswith(("affine.bias", "noise_strength"))
    }
    Domain(deltas, {"recipe": recipe}, describe_base(source)).save(path)
    return path


@pytest.fixture
def line(toy_file: Path, tmp_path: Path) -> list[str]:
    path = saved(tmp_path / "inky.safetensors", toy_file, "dcl")
    return ["control", str(path), "--source", str(toy_file)]


def test_a_picture_of_all_ways_and_a_word_about_a_noise_that_was_not_taught(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "c.png"
    assert main([*line, "--seeds", "0-1", "--steps", "3", "--out", str(out)]) == 0
    assert Image.open(out).width // 128 == 4
    assert Image.open(out).height // 150 == 6
    said = " ".join(capsys.readouterr().out.split())
    assert "2 faces" in said
    assert "was not learnt with fixnoise" in said
    assert "licence: CC0" in said


def test_one_way_as_a_film(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "c.gif"
    options = ["--seeds", "0-1", "--steps", "4", "--way", "weights", "--fps", "10", "--out", str(out)]
    assert main([*line, *options]) == 0
    film = Image.open(out)
    assert getattr(film, "n_frames", 1) == 6
    assert film.width == film.height
    assert "fixnoise" not in capsys.readouterr().out


def test_the_noise_of_fix_the_noise_needs_no_word(
    toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = saved(tmp_path / "fixed.safetensors", toy_file, "fixnoise")
    options = ["--way", "noise", "--layers", "8..16", "--at", "4=0.5", "--mode", "slerp", "--steps", "2"]
    out = ["--out", str(tmp_path / "c.png"), "--seeds", "3"]
    assert main(["control", str(path), "--source", str(toy_file), *options, *out]) == 0
    assert "note" not in capsys.readouterr().out


def test_the_curve_is_printed(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stylegraft.encoders.lpips.load_lpips", lambda *_: Pixels())
    options = ["--seeds", "0", "--steps", "3", "--measure", "--out", str(tmp_path / "c.png")]
    assert main([*line, *options]) == 0
    said = capsys.readouterr().out
    assert "about as far from the source as on random noise" in " ".join(said.split())
    rows = {row.split()[0]: row.split() for row in said.splitlines() if row[:1].isalpha()}
    assert rows["weights"][4] == "0.000"
    assert (len(rows["weights"]), len(rows["noise"]), len(rows["layers"])) == (7, 7, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--steps", "1"), "--steps 1"),
        (("--psi", "nan"), "--psi nan"),
        (("--way", "layers", "--mode", "vp"), "--mode vp: it acts on the noise"),
        (("--way", "weights", "--at", "8=1"), "--at 8=1: it acts on the noise"),
        (("--way", "layers", "--mode", "linear"), "--mode linear: it acts on the noise"),
        (("--fps", "30"), "--fps 30: control.png is a picture"),
        (("--fps", "0", "--out", "c.gif"), "--fps 0: expected a number above 0"),
        (("--fps", "60", "--out", "c.gif"), "--fps 60: expected more than 0 and, in a .gif, 50 at most"),
        (("--psi", "0.7", "--codes", "x"), "--psi 0.7: it truncates seeds"),
        (("--layers", "8-16"), "--layers 8-16: expected a resolution"),
        (("--layers", "64"), "--layers 64: no layer with noise there"),
        (("--at", "8"), "--at 8: expected PLACE=A"),
        (("--at", "8=2"), "--at 8=2: expected PLACE=A"),
        (("--at", "x=1"), "--at x: expected a resolution"),
        (
            ("--out", "c.jpg"),
            "--out c.jpg: expected a name that ends in .png (a picture); .mp4, .gif, .webp (a film)",
        ),
        (("--out", "no/c.png"), "the folder no does not exist"),
        (("--seeds", "0", "--codes", "x"), "give one of them"),
        (("--seeds", "0-4000"), "too many for one picture"),
    ],
)
def test_what_makes_no_sense_is_refused(
    line: list[str], options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*line, *options]) == 2
    assert words in capsys.readouterr().err


def test_a_strength_of_nan_and_a_source_are_no_domains(
    line: list[str], toy_file: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([line[0], line[1] + ":nan", *line[2:]]) == 2
    assert "strength nan is not a finite number" in capsys.readouterr().err
    assert main(["control", str(toy_file)]) == 2
    assert "a source, expected a domain" in capsys.readouterr().err
