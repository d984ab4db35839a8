"""A claim holds, or does not, exactly as its criterion says; what has not run is never said to hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylegraft.cli.main import main
from stylegraft.lab import claims_report
from stylegraft.lab.claims import CLAIMS, Claim, Verdict, judge
from stylegraft.lab.criteria import BLEND, METHODS, SWAP
from stylegraft.lab.results import Row
from stylegraft.lab.study import Cell, Method, StudyTarget, cells
from stylegraft.lab.studyfile import parse

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BY_ID = {claim.id: claim for claim in CLAIMS}
NAMES = {
    "quality": "p_target-toy",
    "diversity": "intra-toy@64/200",
    "kid": "kid-toy",
    "correspondence": "c-toy",
}
STEPS = (0, 100, 200, 500, 1000)

# A world in which the papers are right, but for C2, which C3 speaks against.
DIVERSITY = {
    "tgan": (0.60, 0.55, 0.50, 0.42, 0.36),
    "ada": (0.60, 0.55, 0.50, 0.43, 0.37),
    "freezed": (0.60, 0.55, 0.50, 0.425, 0.365),
    "ewc": (0.60, 0.55, 0.50, 0.42, 0.355),
    "cdc": (0.60, 0.57, 0.54, 0.48, 0.44),
    "dcl": (0.60, 0.58, 0.56, 0.52, 0.46),
    "mapping": (0.60, 0.40, 0.30, 0.25, 0.20),
}
QUALITY, SLOW = (0.1, 0.3, 0.6, 0.85, 0.9), (0.1, 0.2, 0.3, 0.7, 0.9)
KID = {10: 0.10, 25: 0.08, 50: 0.06, 100: 0.05, 200: 0.04}
KEPT = {BLEND: (0, 0.1, 0.12, 0.13, 0.14), "freezeg": (0, 0.15, 0.2, 0.25, 0.3)}
PLACES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
Told = dict[str, Any]


def told_of(cell: Cell) -> Told:
    """The curves of a run by role, before its seed shakes them."""
    method, space, target = cell.method.label.removesuffix("-3000"), cell.space, cell.target.label
    kid = KID[cell.shots]
    kid += 0.06 if target == "lorelei" and space in ("stylespace", "affine") else 0.0
    kid -= 0.01 if space in ("affine+", "affine-light+") else 0.0
    slow = target == "lorelei" and method in ("cdc", "dcl")
    return {
        "quality": SLOW if slow else QUALITY,
        "diversity": DIVERSITY.get(space, DIVERSITY.get(method, DIVERSITY["tgan"])),
        "kid": (0.2, 0.2, 0.2, 0.2, kid),
        "correspondence": KEPT.get(method, (0, 0.2, 0.25, 0.3, 0.35)),
    }


def control_of(method: str) -> dict[str, Any] | None:
    told = {
        "amounts": PLACES,
        "distances": [0.14, 0.2, 0.3, 0.4, 0.5, 0.55],
        "rising": 0.95,
        "spearman": 0.98,
    }
    return {
        BLEND: {**told, "smoothness": 1.3, "p_target random": 0.8},
        SWAP: {**told, "smoothness": 2.5},
    }.get(method)


Change = Callable[[Cell, Told], None]


def row(kind: tuple[str, str, str, int], draw: int, seed: int, change: Change) -> Row:
    method, space, target, shots = kind
    key = f"{method}/{space}/{target}/{shots}/d{draw}/s{seed}"
    cell = Cell(
        key, "faces-64", Method(method, method), space, StudyTarget(target, target), shots, draw, seed
    )
    told = told_of(cell)
    told["without"] = tuple(v + 0.05 for v in told["diversity"])
    control = control_of(method)
    told["control"] = control
    change(cell, told)
    shake = 0.0005 * ((seed * 7 + len(key) + draw) % 5 - 2)
    points = []
    for i, step in enumerate(STEPS):
        point: dict[str, Any] = {name: told[role][i] + (shake if i else 0.0) for role, name in NAMES.items()}
        point[f"{NAMES['diversity']}-without-empty"] = told["without"][i] + (shake if i else 0.0)
        points.append({"step": step, **point})
    result = {"metrics": NAMES, "anchors": {"p_source": 0.1, "p_real": 0.95}, "points": points}
    result |= {"parameters": 100, "bytes": 400, "commit": "abc", "machine": {"cpu model": "toy"}}
    return Row(cell, "done", "", result | ({"control": control} if control else {}))


def nothing(cell: Cell, told: Told) -> None:
    pass


def rows(claim: Claim, change: Change = nothing, seeds: int = 3, draws: int = 1) -> list[Row]:
    return [row(kind, d, s, change) for kind in claim.kinds for d in range(draws) for s in range(seeds)]


def said(id: str, change: Change = nothing, **how: int) -> Verdict:
    return judge(rows(BY_ID[id], change, **how), [BY_ID[id]])[0]


def put(role: str, values: tuple[float, ...] | float, *names: str, shots: tuple[int, ...] = ()) -> Change:
    """Other values of a role where method, space and target are named: a curve, or its end."""

    def change(cell: Cell, told: Told) -> None:
        own = {cell.method.label, cell.space, cell.target.label}
        if set(names) <= own and (not shots or cell.shots in shots):
            told[role] = values if isinstance(values, tuple) else (*told[role][:-1], values)
            if role == "diversity":
                told["without"] = tuple(v + 0.05 for v in told[role])

    return change


def both(*changes: Change) -> Change:
    def change(cell: Cell, told: Told) -> None:
        for one in changes:
            one(cell, told)

    return change


def control(method: str, **values: float) -> Change:
    def change(cell: Cell, told: Told) -> None:
        if cell.method.label == method:
            told["control"].update(values)

    return change


WRONG: dict[str, Change] = {
    "C1": put("quality", 0.5, "ada"),
    "C1-3000": put("quality", 0.5, "tgan-3000"),
    "C2": put("quality", QUALITY),
    "C3": put("quality", SLOW, "cdc"),
    "C4": put("diversity", 0.55, "ewc"),
    "C5": put("diversity", (0.6, 0.55, 0.5, 0.45, 0.4), "dcl"),
    "C5b": put("diversity", (0.6, 0.55, 0.5, 0.48, 0.45), "ada"),
    "C6": put("diversity", 0.50, "dcl"),
    "C6-3000": put("diversity", 0.50, "dcl-3000"),
    "C7": put("diversity", 0.57, "dcl"),
    "C7-3000": put("diversity", 0.57, "dcl-3000"),
    "C8": put("kid", 0.02, "cdc"),
    "S1": put("kid", 0.15, "stylespace"),
    "S1-moderate": put("kid", 0.15, "stylespace"),
    "S2": put("kid", 0.10, "stylespace"),
    "S3": put("kid", 0.15, "affine-light+"),
    "S4": put("diversity", DIVERSITY["ada"], "mapping"),
    "S5": both(put("kid", 0.19, "stylespace-sparse"), put("quality", 0.3, "stylespace-sparse")),
    "K1": put("kid", 0.2, "full", shots=(200,)),
    "K2": put("kid", 0.15, "affine+", shots=(25,)),
    "K3": put("kid", 0.15, "affine+", shots=(200,)),
    "F1": control(BLEND, spearman=0.3),
    "F2": control(BLEND, smoothness=4.0),
    "F3": put("correspondence", 0.5, BLEND),
}  # fmt: skip
RIGHT: dict[str, Change] = {"C2": both(put("quality", SLOW, "cdc"), put("quality", SLOW, "dcl"))}


def test_every_claim_has_its_tests_and_a_criterion():
    assert set(WRONG) == set(BY_ID) == {claim.id for claim in CLAIMS}
    assert len(BY_ID) == len(CLAIMS)
    assert all(claim.criterion and claim.by and claim.says.endswith(".") for claim in CLAIMS)


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_holds_where_its_criterion_is_met(id: str):
    verdict = said(id, RIGHT.get(id, nothing))
    assert verdict.answer == "holds", verdict.measured
    assert verdict.seeds == [0, 1, 2] and verdict.there == verdict.wanted == len(verdict.rows)


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_does_not_hold_where_its_criterion_is_not_met(id: str):
    verdict = said(id, WRONG[id])
    assert verdict.answer == "does not hold", verdict.measured


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_is_not_measured_while_a_run_is_missing(id: str):
    found = rows(BY_ID[id], RIGHT.get(id, nothing))
    one = dataclasses.replace(found[-1], state="failed", result=None)
    (verdict,) = judge([*found[:-1], one], [BY_ID[id]])
    assert verdict.answer == "not measured" and not verdict.rows
    assert (verdict.there, verdict.wanted) == (len(found) - 1, len(found))
    assert verdict.measured == (f"{len(found) - 1} of {len(found)} runs are there (others failed)",)
    (absent,) = judge([], [BY_ID[id]])
    assert absent.answer == "not measured" and "this study has no runs of" in absent.measured[0]


# What a verdict rests on
# --------------------------------------------------------------------------------------------


def test_two_seeds_are_not_enough():
    verdict = said("C5", seeds=2)
    assert verdict.answer == "not measured" and verdict.measured == ("2 seeds a draw, expected at least 3",)


def test_a_draw_counts_when_it_is_whole():
    claim = BY_ID["C7"]
    found = rows(claim, draws=2)
    (whole,) = judge(found, [claim])
    assert whole.draws == [0, 1] and whole.there == 12
    second = next(i for i, one in enumerate(found) if one.cell.draw == 1)
    found[second] = dataclasses.replace(found[second], state="not measured", result=None)
    (first,) = judge(found, [claim])
    assert first.answer == "holds" and first.draws == [0] and first.there == 6


def test_a_draw_without_some_of_the_methods_is_left_out():
    claim = BY_ID["C5"]
    found = [one for one in rows(claim, draws=2) if not (one.cell.draw and one.cell.method.label == "ewc")]
    (verdict,) = judge(found, [claim])
    assert verdict.draws == [0] and verdict.answer == "holds"


def test_a_control_that_is_not_measured_is_a_run_that_is_missing():
    found = [
        dataclasses.replace(one, result={k: v for k, v in one.result.items() if k != "control"})
        for one in rows(BY_ID["F1"])
    ]
    (verdict,) = judge(found, [BY_ID["F1"]])
    assert verdict.measured == ("0 of 6 runs are there (the control of 6 is not measured)",)


def test_a_claim_that_holds_here_and_not_there_is_mixed_and_says_where():
    verdict = said("C2")
    assert verdict.answer == "mixed"
    assert [line.split(";")[0] for line in verdict.measured] == ["pencil: does not hold", "lorelei: holds"]


def test_diversity_is_judged_by_both_numbers():
    def change(cell: Cell, told: Told) -> None:
        if cell.method.label == "dcl":
            told["without"] = (0.65, 0.6, 0.55, 0.45, 0.40)

    verdict = said("C5", change)
    assert verdict.answer == "mixed"
    assert [line.split(";")[0] for line in verdict.measured] == [
        "pencil, headline: holds",
        "pencil, without-empty: does not hold",
        "lorelei, headline: holds",
        "lorelei, without-empty: does not hold",
    ]
    assert "dcl - cdc at 500: -0.080" in verdict.measured[1]


def test_a_difference_within_the_spread_does_not_count():
    def shaken(cell: Cell, told: Told) -> None:
        if cell.method.label == "dcl":
            told["diversity"] = tuple(v + (0.06, 0.0, -0.06)[cell.seed] for v in told["diversity"])

    verdict = said("C5", shaken)
    assert verdict.measured[0].startswith("pencil, headline: does not hold")


def test_runs_are_compared_with_those_of_their_own_draw_and_seed():
    def by_draw(cell: Cell, told: Told) -> None:  # images that differ more than methods do
        told["diversity"] = tuple(v * (1.0, 0.4)[cell.draw] for v in told["diversity"])
        told["without"] = tuple(v + 0.05 for v in told["diversity"])

    assert said("C5", by_draw, draws=2).answer == "holds"


def test_a_probe_that_cannot_tell_says_nothing():
    found = rows(BY_ID["C1"])
    blind = [
        dataclasses.replace(one, result={**one.result, "anchors": {"p_source": 0.5, "p_real": 0.55}})
        for one in found
    ]
    (verdict,) = judge(blind, [BY_ID["C1"]])
    assert verdict.answer == "not measured" and "pencil: cannot be said" in verdict.measured[0]


@pytest.mark.parametrize(
    "id", [claim.id for claim in CLAIMS if claim.id[:2] in ("C1", "C2", "C3", "S5", "F3")]
)
def test_p_target_is_never_said_without_its_ends(id: str):
    for line in said(id).measured:
        if "p_target" in line or "of the way between" in line:
            assert ("p(source) 0.100" in line and "p(real) 0.950" in line) or "KID taken" in line, line


def test_no_gap_is_no_gap_to_close():
    verdict = said("S3", put("kid", 0.10, "affine"))
    assert verdict.answer == "does not hold" and "there is no gap" in verdict.measured[0]


def test_freezed_is_read_where_it_has_the_quality_of_fixnoise():
    (line, _) = said("F3").measured
    # p_target 0.8 lies 0.8 of the way from step 200 (0.6) to step 500 (0.85)
    assert "freezed 0.290" in line and "freezeg 0.240" in line and "fixnoise 0.140" in line
    (line, _) = said("F3", control(BLEND, **{"p_target random": 0.99})).measured
    assert "freezed never comes to that in 3 of 3 runs: its end is taken" in line and "freezed 0.350" in line


def test_a_control_that_does_nothing_is_not_monotone():
    verdict = said("F1", control(BLEND, distances=[0.5, 0.501, 0.502, 0.503, 0.504, 0.505]))
    assert verdict.answer == "does not hold" and "it moves next to nothing" in verdict.measured[0]


# The studies and the tables
# --------------------------------------------------------------------------------------------


def study_of(name: str):
    path = BENCHMARKS / name
    text = path.read_text().replace('"stylegan2-faces-64"', '"faces-64"')
    return parse(text, path, paths=False)


def test_the_study_has_every_run_that_a_claim_needs():
    study = study_of("claims.toml")
    every = cells(study, lambda source: 64)
    there = {(one.method.label, one.space, one.target.label, one.shots) for one in every}
    for claim in CLAIMS:
        assert not set(claim.kinds) - there, claim.id
    for one in every:
        assert one.asked["steps"] == (3000 if one.method.label.endswith("-3000") else 1000)
        assert one.asked["batch"] == 4
        assert one.target.of in ("", "faces-128") and one.target.pool == 400
        assert not one.target.filter or one.target.count >= 2000
    assert {one.seed for one in every} == {0, 1, 2} and {one.draw for one in every} == {0, 1}


def test_the_first_wave_is_a_complete_answer():
    for name in ("claims.toml", "claims-faces-64.toml"):
        study = study_of(name)
        first = cells(study, lambda source: 64, 1)
        assert len(first) == 4 * 2 * 3
        there = {(one.method.label, one.space, one.target.label, one.shots) for one in first}
        assert {claim.id for claim in CLAIMS if set(claim.kinds) <= there} == {"C2", "C3", "C6", "C7"}
        six = {one.method.label for one in cells(study, lambda source: 64, 2)}
        assert six == set(METHODS)


def test_tables_and_charts_are_made_of_the_runs(tmp_path: Path):
    study = study_of("claims-faces-64.toml")
    found = [*rows(BY_ID["C5"]), *rows(BY_ID["K1"]), *rows(BY_ID["F2"])]
    found = list({one.cell.key: one for one in found}.values())
    verdicts = judge(found)
    claims_report.write(study, found, verdicts, tmp_path / "claims-toy")
    told = json.loads((tmp_path / "claims-toy.json").read_text())
    assert {one["id"] for one in told["claims"]} == set(BY_ID)
    assert {one["verdict"] for one in told["claims"]} == {"holds", "mixed", "not measured"}
    assert told["cells"][0]["commit"] == "abc" and told["cells"][0]["machine"] == {"cpu model": "toy"}
    assert len(told["cells"]) == told["done"] == len(found)
    text = (tmp_path / "claims-toy.md").read_text()
    assert "| C5 |" in text and "**not measured** |" in text and "0.10..0.95" in text
    assert f"| {len(found)} | abc | cpu model toy |" in text
    charts = claims_report.write_charts(found, tmp_path / "charts", "claims-toy")
    names = {path.name for path in charts}
    for name in ("quality", "diversity", "path", "spaces", "kid-shots", "control"):
        assert f"claims-toy-{name}-pencil.svg" in names
    for path in charts:
        svg = path.read_text()
        assert svg.startswith("<svg xmlns=") and "http" not in svg.replace("http://www.w3.org", "")


def test_the_claims_are_listed_without_a_study(capsys: pytest.CaptureFixture[str]):
    assert main(["claims"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for claim in CLAIMS:
        assert claim.id in out and " ".join(claim.criterion.split()[:6]) in out
