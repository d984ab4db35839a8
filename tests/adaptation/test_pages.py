"""The page of a method says what its row says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stylegraft.adaptation.recipes import LEFT_OUT, PAPER, recipe
from stylegraft.cli.recipes import show
from stylegraft.errors import StylegraftError

FOLDER = Path(__file__).parents[2] / "docs" / "methods"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "README")
SKELETON = ["When to use it", "When not", "Equation", "default"]
# The end of a page, as `python benchmarks/measured.py` writes it, where the page has no section of its own.
MEASURED = re.compile(r"\n\nMeasured (here: not yet; [^\n]+\n|after [^\n]+:\n\n(\|[^\n]+\|\n){3,})\Z")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_states_the_defaults_of_its_row(page: Path):
    text = page.read_text(encoding="utf-8")
    assert page.stem in PAPER
    assert text.startswith(f"# {page.stem}\n\n{PAPER[page.stem].paper}.\n")
    assert (
        re.findall(r"^(?:\*\*|\| )(When to use it|When not|Equation|default)", text, re.MULTILINE) == SKELETON
    )
    assert ("\n## Measured\n" in text) != bool(MEASURED.search(text))
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", text, re.MULTILINE)
    assert len(rows) >= 3
    for field, *values in rows:
        expected = [show(getattr(recipe(page.stem, preset=preset), field)) for preset in ("paper", "scaled")]
        assert values == expected, field


def test_every_method_has_a_page_and_a_row_of_the_index():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[`([\w-]+)`\]\(([\w-]+)\.md\) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", index, re.MULTILINE
    )
    assert [name for name, *_ in rows] == list(PAPER)
    assert all(name == link for name, link, *_ in rows)
    assert {page.stem for page in PAGES} == set(PAPER)


def test_the_index_says_what_is_left_out_and_why():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, why in LEFT_OUT.items():
        assert f"| `{name}` | {why} |" in index
        with pytest.raises(StylegraftError, match=re.escape(f"recipe {name!r} is left out: {why}")):
            recipe(name)
