"""What the pages say of the studies is what their results say: nobody copies a number or a verdict by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stylegraft.lab import claims_report
from stylegraft.lab.claims import judge
from stylegraft.lab.studyfile import read

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(
    not BENCHMARKS.is_dir(), reason="the benchmarks are not part of this installation"
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import measured

    yield measured
    for name in ("measured", "heading"):
        sys.modules.pop(name, None)


def test_numbers_and_verdicts_of_the_pages_are_those_of_the_results(measured):
    told = dict(measured.pages())
    stale = [page.name for page, text in told.items() if page.read_text(encoding="utf-8") != text]
    assert not stale, "write them anew: python benchmarks/measured.py"
    assert {"README.md", "tgan.md", "claims.md"} <= {page.name for page in told}


@pytest.mark.parametrize("name", ["claims", "claims-faces-64"])
def test_tables_and_charts_are_those_of_the_kept_runs(name: str, tmp_path: Path):
    study = read(BENCHMARKS / f"{name}.toml", paths=False)
    folder = BENCHMARKS / "results" / study.name
    rows = claims_report.rows_of(study, folder)
    text = claims_report.markdown(study, rows, judge(rows))
    assert text == folder.with_suffix(".md").read_text(encoding="utf-8"), "stylegraft claims writes it anew"
    charts = BENCHMARKS.parent / "docs" / "claims"
    drawn = {path.name: path.read_text() for path in claims_report.write_charts(rows, tmp_path, study.name)}
    assert drawn == {path.name: path.read_text() for path in charts.glob(f"{study.name}-*.svg")}


def test_a_verdict_says_where_it_holds_and_what_lacks(measured):
    told = [
        "pencil, without-empty: holds; dcl 0.4",
        "pencil, headline, not judged by (2 clusters): does not hold; x",
    ]
    claim = {"verdict": "mixed", "draws": [0, 1], "measured": [*told, "lorelei: does not hold; x"]}
    assert measured.answer(claim) == "**mixed**: pencil: holds; lorelei: does not hold"
    assert measured.answer({**claim, "verdict": "holds"}) == "**holds**"
    for verdict in ("holds (one draw)", "does not hold"):
        answer = measured.answer({**claim, "verdict": verdict, "draws": [0]})
        assert answer.startswith("**") and answer.count("(one draw)") == 1
    lacking = {"verdict": "not measured", "draws": [], "measured": ["5 of 6 runs are there"]}
    assert measured.answer(lacking) == "not measured: 5 of 6 runs are there"
    lacking["measured"] = ["this study has no runs of dcl-3000 / full / lorelei / 10 and 1 other"]
    assert measured.answer(lacking) == "not in this study"
