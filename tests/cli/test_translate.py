"""`stylegraft translate`: pictures in, pictures and codes out; what makes no sense is refused at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegraft.applications import photos as folder
from stylegraft.applications.invert import Recipe
from stylegraft.applications.latents import Latents, of_seeds
from stylegraft.checkpoints import describe_base, load
from stylegraft.cli.main import main
from stylegraft.cli.translate import file_names, parse_degrees
from stylegraft.domains import Domain
from stylegraft.domains.deltas import Delta
from stylegraft.errors import StylegraftError


class Pixels:
    """A distance that needs no weights."""

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, and no weights of LPIPS."""
    monkeypatch.setattr(folder, "load_lpips", lambda *_: Pixels())
    monkeypatch.setattr("stylegraft.applications.invert.CANDIDATES", 8)
    monkeypatch.setitem(folder.RECIPES, "fast", Recipe(2, 0.05))
    monkeypatch.setattr("stylegraft.applications.invert.RECIPES", folder.RECIPES)


@pytest.fixture
def three(toy_images: Path, tmp_path: Path) -> Path:
    """A folder of three of them."""
    (tmp_path / "three").mkdir()
    for i in (1, 2, 3):
        shutil.copy(toy_images / f"0{i}.png", tmp_path / "three")
    return tmp_path / "three"


@pytest.fixture
def domain_file(toy_file: Path, tmp_path: Path) -> Path:
    source = load(toy_file)
    rng = torch.Generator().manual_seed(1)
    deltas = {
        name: (Delta(1.0, "dense", {"D": 0.3 * torch.randn(p.shape, generator=rng)}),)
        for name, p in source.generator.named_parameters()
        if name.endswith("affine.bias")
    }
    path = tmp_path / "inky.safetensors"
    Domain(deltas, {"recipe": "dcl"}, describe_base(source)).save(path)
    return path


def test_a_folder_of_pictures_becomes_a_grid_files_and_codes(
    quick, domain_file: Path, toy_file: Path, three: Path, tmp_path: Path, capsys
):
    out = tmp_path / "out"
    line = ["translate", str(domain_file), str(three), "--source", str(toy_file), "--columns", "3"]
    assert main([*line, "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 in" in told
    assert "its strength is 1 - keep" in told
    assert "no face" in told  # these are no faces, and it is said
    assert "licence: CC0-1.0" in told
    for degree in ("1", "0.5", "0"):
        assert Image.open(out / f"03-keep-{degree}.png").size == (16, 16)
    assert Image.open(out / "grid.png").width > 5 * 128
    codes = Latents.load(out / "codes.safetensors", load(toy_file).generator)
    assert codes.names == ("01.png", "02.png", "03.png")

    assert main([*line, "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("known already") == 3
    assert main(["inspect", str(out / "codes.safetensors")]) == 0
    table = capsys.readouterr().out.splitlines()[-3:]
    assert [row.split()[0] for row in table] == ["01.png", "02.png", "03.png"]
    assert {row.split()[3] for row in table} <= {"good", "fair", "failed"}

    again = tmp_path / "again"
    line[2:3] = ["--codes", str(out / "codes.safetensors")]
    assert main([*line, "--out", str(again)]) == 0
    assert (again / "03-keep-0.5.png").read_bytes() == (out / "03-keep-0.5.png").read_bytes()


def test_a_reference_has_a_column_and_a_code_of_its_own(
    quick, domain_file: Path, toy_file: Path, toy_images: Path, tmp_path: Path
):
    line = ["translate", f"{domain_file}:0.7", *(str(toy_images / f"0{i}.png") for i in (1, 2))]
    line += ["--source", str(toy_file), "--out", str(tmp_path / "out"), "--keep-source", "0"]
    assert main(line) == 0
    plain = Image.open(tmp_path / "out" / "grid.png").width
    before = (tmp_path / "out" / "01-keep-0.png").read_bytes()
    assert main([*line, "--reference", str(toy_images / "05.png"), "--shape-below", "8"]) == 0
    assert Image.open(tmp_path / "out" / "grid.png").width > plain
    assert (tmp_path / "out" / "01-keep-0.png").read_bytes() != before
    assert (tmp_path / "out" / "reference.safetensors").exists()


def test_a_failed_inversion_is_said_plainly(
    quick, domain_file: Path, toy_file: Path, toy_images: Path, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.setattr("stylegraft.applications.invert.FAILED", 1e-6)
    line = ["translate", domain_file, toy_images / "01.png", "--source", toy_file, "--out", tmp_path / "out"]
    assert main([str(part) for part in line]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "01.png: the inversion failed" in told
    assert "no face was found" in told


def test_degrees():
    assert parse_degrees("1..0", 5) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert parse_degrees("0..1", 3) == [0.0, 0.5, 1.0]
    assert parse_degrees("1,0.4", 5) == [1.0, 0.4]
    for text, part in (
        ("nan", "finite"),
        ("0..inf", "finite"),
        ("a..b", "expected a range like 1..0"),
        ("0..1..2", "two ends"),
        ("", "expected a range like 1..0"),
        (",".join(["1"] * 40), "at most 32"),
    ):
        with pytest.raises(StylegraftError, match=part):
            parse_degrees(text, 5)
    with pytest.raises(StylegraftError, match="--columns 1"):
        parse_degrees("1..0", 1)


def test_files_keep_their_names_apart():
    assert file_names(["a.png", "b c.jpg"]) == ["a", "b-c"]
    assert file_names(["a.png", "a.jpg"]) == ["a.png", "a.jpg"]


@pytest.mark.parametrize(
    ("rest", "part"),
    [
        (["{photo}", "--keep-source", "nan"], "--keep-source nan"),
        (["{photo}", "--keep-source", "0..2", "--along", "noise"], "from 0 to 1"),
        (["{photo}", "--start", "encoder", "--space", "z"], "--start encoder"),
        (["{photo}", "--codes", "{photo}"], "give one of them"),
        *((["--codes", "x", flag, value], f"{flag} {value}: nothing is inverted") for flag, value in (
            ("--space", "w+"), ("--recipe", "fast"), ("--start", "best"), ("--align", "auto"))),
        (["{photo}", "--shape-below", "16"], "--shape-below 16: it goes with --reference"),
        (["{photo}", "--columns", "5", "--keep-source", "0.3"], "--columns 5: --keep-source 0.3 says each degree"),
        (["{photo}", "--out", "a/b"], "--out a/b: the folder a does not exist"),
        (["{photo}", "--reference", "{folder}"], "10 pictures, expected one"),
        (["--codes", "{own}", "--reference", "{photo}", "--space", "s"], "are in W+: use --space w+, w or z"),
        (["pencil"], "pencil: no such file or folder"),
        (["--codes", "{codes}"], "a file of codes of the source of sha256"),
        (["--codes", "{photo}"], "an image, expected a .safetensors file"),
        ([], "expected photos"),
        (["--codes", "none.safetensors"], "no such file"),
        (["nobody.png"], "nobody.png"),
        (["{text}"], "no picture format"),
        (["{photo}", "--reference", "{text}"], "no picture format"),
        (["{photo}", "{folder}"], "a folder among several photos"),
        (["{photo}", "--out", "{photo}"], "no folder that can be written to"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    rest, part, domain_file: Path, toy_file: Path, toy_images: Path, tmp_path: Path, capsys
):
    (tmp_path / "note.png").write_text("not a picture")
    names = {"photo": toy_images / "00.png", "folder": toy_images, "text": tmp_path / "note.png"}
    if "{own}" in rest:
        names["own"] = tmp_path / "own.safetensors"
        generator = load(toy_file).generator
        of_seeds(generator, [0]).save(names["own"], generator)
    if "{codes}" in rest:
        names["codes"] = tmp_path / "codes.safetensors"
        other = load(toy_file).generator
        with torch.no_grad():
            other.get_parameter("synthesis.b8.conv0.weight").add_(1.0)
        of_seeds(other, [0]).save(names["codes"], other)
    rest = [word.format(**names) for word in rest]
    assert main(["translate", str(domain_file), *rest, "--source", str(toy_file)]) == 2
    assert part in capsys.readouterr().err


def test_a_source_is_no_domain(toy_file: Path, toy_images: Path, capsys):
    assert main(["translate", str(toy_file), str(toy_images)]) == 2
    assert "expected a domain" in capsys.readouterr().err


def test_it_answers_before_torch(stylegraft, domain_file: Path, toy_file: Path, tmp_path: Path):
    ran = stylegraft("translate", domain_file, tmp_path / "no.png", "--source", toy_file)
    assert ran.status == 2
    assert len(ran.err.splitlines()) == 1
    assert ran.seconds < 2
