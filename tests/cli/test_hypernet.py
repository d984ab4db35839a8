"""A hypernetwork on the command line: learnt from a file of sentences, asked for others, refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylegraft.cli.main import main

SENTENCES = ("oil painting", "pencil drawing", "blue", "stone in red")


@pytest.fixture(scope="module")
def learnt(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps through a toy guide, by the command line."""
    from stylegraft.encoders import guides

    from ..adaptation.toys import ToyGuide

    folder = tmp_path_factory.mktemp("hypernet")
    (folder / "all.txt").write_text("\n".join(SENTENCES))
    line = ["adapt", str(toy_file), "--recipe", "hypernet", "--texts", str(folder / "all.txt")]
    line += ["--steps", "2", "--set", "width=16", "--guide", "sprig", "--out", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guides, "load_guide", lambda *args, **kwargs: ToyGuide())
        assert main(line) == 0
    return folder / "run"


def test_a_sentence_gets_a_domain_file_of_its_own(
    learnt: Path, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    from stylegraft.domains import Domain
    from stylegraft.encoders import guides
    from stylegraft.sources import load_source

    from ..adaptation.toys import ToyGuide

    monkeypatch.setattr(guides, "load_guide", lambda *args, **kwargs: ToyGuide())
    asked = ["hypernet", str(learnt), "stone in green", "neon", "--guide", "sprig", "--source", str(toy_file)]
    assert main([*asked, "--out", str(tmp_path / "domains")]) == 0
    said = capsys.readouterr().out
    for name, text in (("stone-in-green", "stone in green"), ("neon", "neon")):
        domain = Domain.load(tmp_path / "domains" / f"{name}.safetensors", load_source(toy_file).generator)
        assert domain.config["target"]["text"] == text and domain.config["space"] == "stylespace"
        assert f"{name}.safetensors" in said
    monkeypatch.setattr(guides, "load_guide", lambda *args, **kwargs: ToyGuide(3))
    assert main([*asked, "--out", str(tmp_path)]) == 2
    assert "reads through toy (digest 000000000000), and this guide is another one" in capsys.readouterr().err


def test_without_a_sentence_it_says_what_it_knows(learnt: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["hypernet", str(learnt)]) == 0
    said = capsys.readouterr().out
    assert "toy" in said and "domains of stylespace" in said and "2 steps on 4 sentences" in said
    assert all(text in said for text in SENTENCES)


def test_what_cannot_be_is_one_line(learnt: Path, toy_file: Path, tmp_path: Path, capsys):
    own = ("--source", str(toy_file))
    for typed, said in (
        ((str(toy_file),), "a source, expected a run or hypernetwork"),
        ((str(learnt / "domain.safetensors"),), "a domain, expected a run or hypernetwork"),
        ((str(learnt), "--out", "x.safetensors"), "--out x.safetensors: is for sentences, and none is there"),
        (
            (str(learnt), "a", "b", "--out", "x.safetensors", *own),
            "one file, for 2 sentences; expected a folder",
        ),
        ((str(learnt), "a", "--out", "x.safetensor", *own), "expected NAME.safetensors, or a folder"),
        ((str(learnt), "a", "--out", str(tmp_path / "no" / "way"), *own), "no does not exist"),
        ((str(learnt), "a", "A", *own), "would both be the domain a"),
        ((str(learnt), "photo", *own), "sentence 'photo': the source is that already; expected other words"),
        ((str(learnt), "...", *own), "sentence '...': says nothing"),
        ((str(learnt), "a"), "its base 'toy' does not ship with stylegraft: give the file"),
        ((str(learnt), "a", "--source", "faces-64"), "the hypernetwork stands on the base 'toy'"),
    ):
        assert main(["hypernet", *typed]) == 2, typed
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line, line
    assert main(["sample", str(learnt / "hypernet.safetensors")]) == 2
    assert "a hypernetwork, expected a source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--text", "oil"), "found --text, expected --texts FILE"),
        (("pencil",), "found TARGET, expected --texts FILE"),
        (("--texts", "missing.txt"), "--texts missing.txt: cannot be read"),
        (("--texts", "two.txt"), "found 2 sentences and domains is 4"),
        (("--texts", "two.txt", "--set", "domains=2", "--trace"), "--trace: measures"),
    ],
)  # fmt: skip
def test_one_line_at_once_and_no_run(
    typed: tuple[str, ...], said: str, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("oil\npencil\n")
    assert main(["adapt", str(toy_file), "--recipe", "hypernet", *typed, "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line, line
    assert not (tmp_path / "run").exists()
