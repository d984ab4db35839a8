"""The page of a method says what its row says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.cli.recipes import show

PAGES = sorted((Path(__file__).parents[2] / "docs" / "methods").glob("*.md"))
SKELETON = ["When to use it", "When not", "Equation", "default"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_states_the_defaults_of_its_row(page: Path):
    text = page.read_text(encoding="utf-8")
    assert page.stem in PAPER
    assert text.startswith(f"# {page.stem}\n\n{PAPER[page.stem].paper}.\n")
    assert (
        re.findall(r"^(?:\*\*|\| )(When to use it|When not|Equation|default)", text, re.MULTILINE) == SKELETON
    )
    assert text.splitlines()[-1].startswith("Measured on faces-64:")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", text, re.MULTILINE)
    assert len(rows) >= 3
    for field, *values in rows:
        expected = [show(getattr(recipe(page.stem, preset=preset), field)) for preset in ("paper", "scaled")]
        assert values == expected, field


def test_every_method_of_this_file_s_pages_has_a_page():
    pages = {page.stem for page in PAGES}
    assert {
        "tgan",
        "ada",
        "freezed",
        "fixnoise",
        "dcl",
        "cdc",
        "rssa",
        "maskedd",
        "freezesg",
        "weditgan",
    } <= pages
