"""Help answers at once, and says everything."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from stylegraft.cli.main import VERBS, main
from stylegraft.cli.recipes import field_docs

HELP_SECONDS = 0.5


def test_help_never_imports_torch():
    code = f"""
import sys
from stylegraft.cli.main import main
for line in {[["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]!r}:
    try:
        main(line)
    except SystemExit as end:
        assert not end.code
    heavy = {{"torch", "numpy", "PIL", "safetensors", "scipy"}} & set(sys.modules)
    assert not heavy, (line, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_of_all_verbs_answers_in_half_a_second(at_once):
    assert at_once(HELP_SECONDS, "--help")


def test_importing_the_package_does_not_import_torch():
    code = "import sys, stylegraft; stylegraft.StylegraftError; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    import stylegraft

    for name in stylegraft.__all__:
        assert getattr(stylegraft, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'adopt'"):
        _ = stylegraft.adopt


def test_help_lists_every_verb_with_its_purpose(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb, what in VERBS.items():
        assert f"  {verb}" in out
        assert what in out
    assert main([]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_answers_at_once_fits_80_columns_and_documents_every_flag(
    verb: str, stylegraft, at_once
):
    ran = stylegraft(verb, "--help")
    assert ran.status == 0
    assert ran.seconds < HELP_SECONDS or at_once(HELP_SECONDS, verb, "--help")
    assert ran.out.startswith(f"usage: stylegraft {verb}")
    boxes = [line for line in ran.out.splitlines() if line.startswith(("│", "╭", "╰"))]
    assert boxes
    assert max(map(len, boxes)) <= 80
    assert "(required)" not in ran.out or "│ -h, --help" in ran.out
    options = import_module(f"stylegraft.cli.{verb}").Options
    told = field_docs(options)
    assert set(told) == {field.name for field in dataclasses.fields(options)}
    assert not [name for name, text in told.items() if not text.rstrip().endswith((".", ")", "?"))]
    for word in ("False", "None", "''", ""):
        assert f"(default: {word})" not in ran.out
    assert "STR" not in re.findall(r"--[a-z-]+ ([A-Z]+)", ran.out)
    assert "--no-" not in ran.out.replace("--no-browser", "")


def test_an_unknown_flag_suggests_the_nearest(stylegraft):
    ran = stylegraft("sample", "faces-64", "--seed", "3")
    assert ran.status == 2
    assert "--seeds" in ran.err


@pytest.mark.parametrize(
    ("verb", "page"),
    [
        ("evaluate", "metrics"),
        ("trace", "traces"),
        ("compare", "compare"),
        ("claims", "claims"),
        ("anatomy", "anatomy"),
    ],
)
def test_every_option_of_a_verb_is_on_its_page(verb: str, page: str):
    options = dataclasses.fields(import_module(f"stylegraft.cli.{verb}").Options)
    flags = [
        f"--{field.name.replace('_', '-')}" for field in options if field.default is not dataclasses.MISSING
    ]
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    positional = {"--study", "--domains"} - ({"--study"} if verb == "anatomy" else set())
    assert [flag for flag in flags if flag not in text and flag not in positional] == []
