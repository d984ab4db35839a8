"""One sentence, one picture: what cannot be done is said in one line, before anything heavy is loaded or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylegraft.cli.main import main

NOWHERE = {"STYLEGRAFT_CLIP": "", "STYLEGRAFT_SIGLIP": "", "STYLEGRAFT_SPRIG": ""}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "nothing says what to adapt to; expected one of TARGET (pictures), --image FILE or --text WORDS"),
        (("--text", "oil", "--image", "one.png"), "found --image and --text; expected one of TARGET"),
        (("--text", "oil", "--recipe", "dcl"), "cannot use --text 'oil'; expected --recipe nada or hdn"),
        (("--text", "photo"), "--text 'photo': the source is that already"),
        (("--text", "oil", "--trace"), "--text has none"),
        (("--image", "missing.png"), "missing.png"),
        (("--image", "."), "expected one picture; several go in place of TARGET"),
        (("--from-text", "face", "--image", "one.png"), "--from-text 'face': says what the source is beside --text"),
        (("--texts", "missing.txt"), "--texts missing.txt: cannot be read (No such file or directory); expected"),
        (("--images", "missing"), "--images missing: is no folder"),
        (("--images", "missing", "--text", "oil"), "--images missing: found --text beside it"),
        (("pencil", "--guide", "clip"), "recipe dcl looks through no guide"),
        (("pencil", "--resolution-for-loss", "32"), "32: is for what a guide sees, and dcl has none"),
    ],
)  # fmt: skip
def test_one_line_at_once_and_no_run(
    typed: tuple[str, ...], said: str, stylegraft, toy_file: Path, tmp_path: Path
):
    ran = stylegraft("adapt", toy_file, *typed, "--out", tmp_path / "run")
    assert ran.status == 2, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ") and said in line
    assert ran.seconds < 1.5
    assert not (tmp_path / "run").exists()


def test_without_a_guide_the_line_says_how_to_get_one(
    toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in (NOWHERE | {"STYLEGRAFT_CACHE": str(tmp_path / "empty")}).items():
        monkeypatch.setenv(name, value)
    typed = ("--text", "oil painting", "--guide", "clip", "--out", str(tmp_path / "run"))
    assert main(["adapt", str(toy_file), *typed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "clip weights" in line and "To get them" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("oil painting\n\nOil, painting!\n", "'Oil, painting!' would both be the domain oil-painting"),
        ("oil painting\nphoto\n", "--text 'photo': the source is that already"),
        ("\n", "holds no words"),
    ],
)  # fmt: skip
def test_of_many_sentences_none_is_begun_when_one_is_wrong(
    lines: str, said: str, stylegraft, toy_file: Path, tmp_path: Path
):
    (tmp_path / "all.txt").write_text(lines)
    ran = stylegraft("adapt", toy_file, "--texts", tmp_path / "all.txt", "--out", tmp_path / "many")
    assert ran.status == 2, ran.err
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ") and said in line
    assert not (tmp_path / "many").exists()
