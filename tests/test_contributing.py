"""The worked example of CONTRIBUTING.md works: a recipe as written there, in a copy of the package."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ("__init__.py", "toys.py", "test_contract.py")
# What the page calls a place -> the text behind which a row stands.
HEADS = {
    "class Recipe": r'"""Weight of WeditGAN\'s regulariser[^"]*"""\n',
}
SPACES = "full or affine-light or stylespace-sparse or late"


def blocks() -> Iterator[tuple[str, str, str]]:
    """(file, place in it or empty for a file of its own, code) of every block under "Adding a recipe"."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page[page.index("## Adding a recipe") : page.index("## Adding a verb")]
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        parts = re.split(r"^# ((?:src|tests)/\S+?\.py)(?:, ([\w ]+))?\n", block, flags=re.MULTILINE)
        assert not parts[0].strip()
        yield from zip(parts[1::3], (place or "" for place in parts[2::3]), parts[3::3], strict=True)


def put(folder: Path, file: str, place: str, code: str) -> None:
    """Write a file, or rows at the head of the table that the page names."""
    path = folder / file
    if not place:
        assert not path.exists(), f"{file} is there already: the example has to take another name"
        path.write_text(code, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    head = HEADS.get(place) or rf"^ *{place}\b[^\n]*= [({{]"
    (found,) = re.finditer(head, text, re.MULTILINE)
    path.write_text(f"{text[: found.end()]}\n{code}{text[found.end() :]}", encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, without weights and pictures, with the example in it."""
    folder = tmp_path_factory.mktemp("contributing")
    heavy = shutil.ignore_patterns("faces-64.safetensors", "sets", "__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=heavy)
    (folder / "tests" / "adaptation").mkdir(parents=True)
    for name in TESTS:
        shutil.copy(ROOT / "tests" / "adaptation" / name, folder / "tests" / "adaptation" / name)
    for file, place, code in blocks():
        put(folder, file, place, code)
    return folder


def run(folder: Path, *line: str) -> str:
    """A Python module in the copy; its output."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", *line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def places(folder: Path) -> dict[str, list[str]]:
    """{file: what was added at each place} of all that differs from the repository; a new file is one place."""
    found = dict[str, list[str]]()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".json", ".md")):
        name, lines = str(path.relative_to(folder)), path.read_text(encoding="utf-8").splitlines()
        there = ROOT / name
        before = there.read_text(encoding="utf-8").splitlines() if there.exists() else []
        for kind, start, end, first, last in difflib.SequenceMatcher(
            None, before, lines, autojunk=False
        ).get_opcodes():
            if kind != "equal":
                assert start == end, f"{name} loses lines"
                found.setdefault(name, []).append("\n".join(lines[first:last]).strip())
    return found


def test_the_example_is_one_file_with_its_test_one_field_one_row_and_one_test_row(extended: Path):
    changed = places(extended)
    new = {name for name in changed if not (ROOT / name).exists()}
    adaptation = "src/stylegraft/adaptation"
    assert new == {f"{adaptation}/objectives/mean_colour.py", "tests/adaptation/test_mean_colour.py"}
    rows = {name: added for name, added in changed.items() if name not in new}
    assert rows.keys() == {
        f"{adaptation}/fields.py",
        f"{adaptation}/recipes.py",
        "tests/adaptation/toys.py",
    }
    assert all(len(added) == 1 for added in rows.values())
    (field,), (row,), (test_row,) = rows.values()
    assert re.fullmatch(r'colour: float = 0\.0\n +""".*"""', field)
    assert "\n" not in row and "\n" not in test_row


def test_the_example_passes_its_tests_and_the_contract(extended: Path):
    told = run(
        extended, "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "tests",
        "-k", f"mean_colour or every_method or (test_contract and stylegan2-colour and ({SPACES}))",
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", told)
    assert passed
    assert int(passed[1]) >= 6


def test_the_example_is_listed_with_its_paper_and_what_it_changes(extended: Path):
    lines = [row.split() for row in run(extended, "stylegraft", "recipes").splitlines()]
    assert ["colour", "2026", "full", "-", "colour=10"] in lines
    assert "Weight of the squared distance" in run(extended, "stylegraft", "recipes", "colour").replace(
        "\n", " "
    )
