"""The committed campaign of benchmarks/contract.py is that of today's tables: each recipe in each space, both toys."""

from __future__ import annotations

import json
from pathlib import Path

from stylegraft.adaptation.recipes import PAPER
from stylegraft.domains import SPACES

from .test_contract import ARCHITECTURES, matrix

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "contract.json"
AGAIN = "nice -n 15 python benchmarks/contract.py"


def rows() -> dict[str, dict[str, str]]:
    return json.loads(RESULT.read_text(encoding="utf-8"))["pairs"]


def test_the_committed_campaign_has_every_pair_of_the_tables():
    table = {f"{a}-{recipe}-{space}" for a in ARCHITECTURES for recipe in PAPER for space in SPACES}
    today = table | {pair.label for pair in matrix()}  # and recipes in spaces of their own
    wrong = sorted(today ^ rows().keys())
    assert not wrong, (
        f"{RESULT.name} is stale: {len(wrong)} pairs are missing or no more, such as {wrong[0]}; expected every row of "
        f"PAPER in every row of SPACES: run {AGAIN} --missing"
    )


def test_the_committed_campaign_refused_what_is_refused_today_and_nothing_failed():
    expected = {pair.label: "refused" if pair.why else "passed" for pair in matrix()}
    wrong = [label for label, row in rows().items() if row["outcome"] != expected.get(label, row["outcome"])]
    assert not wrong, (
        f"{RESULT.name}: {len(wrong)} pairs failed or are no longer refused or allowed as it says, such as {wrong[0]}: "
        f"run {AGAIN}"
    )
