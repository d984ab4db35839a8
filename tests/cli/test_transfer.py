"""`stylegraft transfer`: a picture, a domain file that fits the sibling, and what is no sibling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylegraft.checkpoints import Source, describe_base, load, save_source
from stylegraft.cli.main import main
from stylegraft.domains import Domain
from stylegraft.domains.deltas import Delta
from stylegraft.networks.generator import build_generator


def saved(path: Path, toy_file: Path, endings: tuple[str, ...], seed: int) -> Path:
    source = load(toy_file)
    rng = torch.Generator().manual_seed(seed)
    deltas = {
        name: (Delta(1.0, "dense", {"D": 0.05 * torch.randn(p.shape, generator=rng)}),)
        for name, p in source.generator.named_parameters()
        if name.endswith(endings)
    }
    Domain(deltas, {"recipe": "dcl"}, describe_base(source)).save(path)
    return path


@pytest.fixture
def inky(toy_file: Path, tmp_path: Path) -> Path:
    return saved(tmp_path / "inky.safetensors", toy_file, ("affine.bias",), 1)


@pytest.fixture
def tuned(toy_file: Path, tmp_path: Path) -> Path:
    """A domain that stands for a fine-tuned sibling."""
    return saved(tmp_path / "tuned.safetensors", toy_file, (".weight",), 2)


def test_both_procedures_in_one_picture(
    inky: Path, tuned: Path, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "t.png"
    line = ["transfer", str(inky), "--to", str(tuned), "--source", str(toy_file), "--seeds", "0-2"]
    assert main([*line, "--out", str(out)]) == 0
    assert Image.open(out).height // 128 == 5
    said = capsys.readouterr().out
    assert "toy and tuned, of one architecture, are apart by (|difference| / |parent|):" in said
    assert "warning" not in said
    assert main([*line, "--out", str(out), "--procedure", "styles", "--strength", "0.5"]) == 0
    assert Image.open(out).height // 128 == 4


def test_a_file_of_the_sibling_is_drawn_on_it(
    inky: Path, tuned: Path, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    new, sibling = tmp_path / "new.safetensors", tmp_path / "sibling.safetensors"
    base = ["--source", str(toy_file)]
    assert main(["transfer", str(inky), "--to", str(tuned), *base, "--out", str(new)]) == 0
    assert "stylegraft convert" in capsys.readouterr().out
    assert main(["convert", str(tuned), str(sibling), *base]) == 0
    grid = ["--seeds", "0-1", "--out", str(tmp_path / "s.png")]
    assert main(["sample", str(new), "--source", str(sibling), *grid]) == 0
    both = Domain.load(inky) + Domain.load(tuned)  # on one base, adding comes to the same
    z = torch.randn(2, 16)
    with torch.no_grad():
        expected = both.on(load(toy_file).generator)(z).image
        found = Domain.load(new).on(load(sibling).generator)(z).image
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_networks_without_a_common_ancestor_are_warned_of(
    inky: Path, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    torch.manual_seed(5)
    other = replace(load(toy_file), name="other", generator=build_generator(load(toy_file).generator.config))
    save_source(tmp_path / "other.safetensors", other, torch.float32)
    line = ["transfer", str(inky), "--to", str(tmp_path / "other.safetensors"), "--source", str(toy_file)]
    assert main([*line, "--seeds", "0", "--out", str(tmp_path / "t.png")]) == 0
    assert "no ancestor in common" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--strength", "nan"), "--strength nan"),
        (("--psi", "0.7", "--out", "new.safetensors"), "--psi 0.7: "),
        (("--psi", "0.7", "--codes", "x"), "--psi 0.7: it truncates seeds"),
        (("--psi", "inf"), "--psi inf"),
        (("--out", "t.jpg"), "--out t.jpg"),
        (("--out", "new.safetensors", "--procedure", "styles"), "a file takes --procedure deltas"),
        (
            ("--out", "new.safetensors", "--seeds", "0"),
            "new.safetensors is a domain file, which holds no faces",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    inky: Path,
    tuned: Path,
    toy_file: Path,
    options: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
):
    assert main(["transfer", str(inky), "--to", str(tuned), "--source", str(toy_file), *options]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_sibling_is_refused(
    inky: Path, toy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["transfer", str(inky), "--source", str(toy_file), "--to"]
    assert main([*line, str(toy_file)]) == 2
    assert "stands on it already" in capsys.readouterr().err
    assert main([*line, str(inky)]) == 2
    assert "the domain itself, on the same source" in capsys.readouterr().err
    assert main([*line, "nowhere.safetensors"]) == 2
    assert "no such file" in capsys.readouterr().err
    config = load(toy_file).generator.config
    for name, change, words in (
        ("larger", {"resolution": 32}, "32 px, and"),
        ("wider", {"channel_max": 8}, "are other architectures"),
    ):
        source = Source(name, build_generator({**config, **change}), None, {"licence": "none"})
        save_source(tmp_path / f"{name}.safetensors", source, torch.float32)
        assert main([*line, str(tmp_path / f"{name}.safetensors")]) == 2
        assert words in capsys.readouterr().err
    assert main([line[0], f"{inky}:0.5", *line[2:], str(toy_file)]) == 2
    assert "--strength 0.5" in capsys.readouterr().err
