"""A claim holds, or does not, exactly as its criterion says; what has not run is never said to hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stylegraft.cli.main import main
from stylegraft.errors import StylegraftError
from stylegraft.lab import claims_report
from stylegraft.lab import criteria_methods as m
from stylegraft.lab.claims import CLAIMS, Claim, Verdict, answer_of, judge
from stylegraft.lab.claims_history import HISTORY, history
from stylegraft.lab.criteria import BLEND, CLOSE, METHODS, SWAP, Judged, Runs, method_of
from stylegraft.lab.results import Row
from stylegraft.lab.study import Cell, StudyTarget, cells
from stylegraft.lab.studyfile import parse
from stylegraft.lab.trace import GRID, cadence

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
BY_ID = {claim.id: claim for claim in CLAIMS}
NAMES = {
    "quality": "p_target-toy",
    "diversity": "intra-toy@64/200",
    "kid": "kid-toy",
    "correspondence": "c-toy",
}
KNOTS = (0, 100, 200, 500, 1000)  # of the curves, which are linear between them
STEPS = tuple(range(0, 1001, 100))  # the looks

# A world in which the papers are right.
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
HALF = (0.1, 0.2, 0.3, 0.4, 0.5)  # at the anchor
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
        "quality": HALF if method == BLEND else SLOW if slow else QUALITY,
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
        BLEND: {**told, "smoothness": 1.3, "p_target anchor": 0.5, "p_target random": 0.8},
        SWAP: {**told, "smoothness": 2.5},
    }.get(method)


Change = Callable[[Cell, Told], None]


def row(kind: tuple[str, str, str, int], draw: int, seed: int, change: Change) -> Row:
    method, space, target, shots = kind
    key = f"{method}/{space}/{target}/{shots}/d{draw}/s{seed}"
    cell = Cell(key, "faces-64", method_of(method), space, StudyTarget(target, target), shots, draw, seed)
    told = told_of(cell)
    told["without"] = tuple(v + 0.05 for v in told["diversity"])
    told["clusters"] = [20] * 10  # of the source
    control = control_of(method)
    told["control"] = control
    change(cell, told)
    shake = 0.0005 * ((seed * 7 + len(key) + draw) % 5 - 2)
    points = []
    long = method.endswith("-3000")
    knots = (*KNOTS[:-1], 3000) if long else KNOTS
    names = {**NAMES, "without": f"{NAMES['diversity']}-without-empty"}
    for step in knots if long else STEPS:
        point = {name: between(knots, told[role], step) for role, name in names.items()}
        points.append(
            {"step": step, **{name: value + (shake if step else 0.0) for name, value in point.items()}}
        )
        points[-1]["clusters"] = [20] * 10 if step else told["clusters"]
    result = {"metrics": NAMES, "anchors": {"p_source": 0.1, "p_real": 0.95}, "points": points}
    result |= {"parameters": 100, "bytes": 400, "commit": "abc", "machine": {"cpu model": "toy"}}
    return Row(cell, "done", "", result | ({"control": control} if control else {}))


def between(x: Sequence[int], y: Sequence[float], at: int) -> float:
    """Linear interpolation."""
    a, b = next((i, i + 1) for i in range(len(x) - 1) if at <= x[i + 1])
    return y[a] + (at - x[a]) / (x[b] - x[a]) * (y[b] - y[a])


def looked(found: list[Row], steps: Iterable[int]) -> list[Row]:
    """The same runs, looked at these steps alone."""

    def only(one: Row) -> dict[str, Any]:
        return {**(one.result or {}), "points": [p for p in one.points if p["step"] in set(steps)]}

    return [dataclasses.replace(one, result=only(one)) for one in found]


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


def test_every_claim_has_its_tests_and_a_criterion():
    assert set(WRONG) == set(BY_ID) == {claim.id for claim in CLAIMS}
    assert len(BY_ID) == len(CLAIMS)
    assert all(claim.criterion and claim.by and claim.says.endswith(".") for claim in CLAIMS)


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_holds_where_its_criterion_is_met(id: str):
    verdict = said(id)
    assert verdict.answer == "holds (one draw)", verdict.measured
    assert said(id, draws=2).answer == "holds"
    assert verdict.seeds == [0, 1, 2] and verdict.there == verdict.wanted == len(verdict.rows)


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_does_not_hold_where_its_criterion_is_not_met(id: str):
    verdict = said(id, WRONG[id])
    assert verdict.answer == "does not hold", verdict.measured


@pytest.mark.parametrize("id", BY_ID)
def test_a_claim_is_not_measured_while_a_run_is_missing(id: str):
    found = rows(BY_ID[id])
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
    assert first.answer == "holds (one draw)" and first.draws == [0] and first.there == 6


def test_a_draw_without_some_of_the_methods_is_left_out():
    claim = BY_ID["C5"]
    found = [one for one in rows(claim, draws=2) if not (one.cell.draw and one.cell.method.label == "ewc")]
    (verdict,) = judge(found, [claim])
    assert verdict.draws == [0] and verdict.answer == "holds (one draw)"


def test_a_control_that_is_not_measured_is_a_run_that_is_missing():
    found = [
        dataclasses.replace(one, result={k: v for k, v in one.result.items() if k != "control"})
        for one in rows(BY_ID["F1"])
    ]
    (verdict,) = judge(found, [BY_ID["F1"]])
    assert verdict.measured == ("0 of 6 runs are there (the control of 6 is not measured)",)


def test_a_claim_that_holds_here_and_not_there_is_mixed_and_says_where():
    verdict = said("C1", put("quality", 0.5, "ada", "lorelei"))
    assert verdict.answer == "mixed"
    assert [line.split(";")[0] for line in verdict.measured] == ["pencil: holds", "lorelei: does not hold"]


def test_what_the_paper_does_not_say_is_not_asked_in_its_name():
    assert BY_ID["C2"].targets == ("lorelei",), "the paper's similar domain is its exception, which C3 is"
    for id in ("C1", "C6", "C7"):
        assert BY_ID[id].by.startswith("this study's") and BY_ID[f"{id}-3000"].by.startswith("Zhao")


def test_a_run_that_never_comes_to_a_quality_is_not_said_to_be_there_at_its_end():
    low = (0.1, 0.2, 0.3, 0.4, 0.5)
    (verdict,) = judge(rows(BY_ID["C2"], put("quality", low, "cdc")), [BY_ID["C2"]])
    told = [line for line in verdict.measured if "cdc 1000 (not reached by 3 of 3 runs)" in line]
    assert len(told) == 1 and not any("dcl 1000" in line for line in told)


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


EMPTY = [90, 60, 30, 10, 6, 2, 1, 1, 0, 0]


def emptied(cell: Cell, told: Told) -> None:
    """The source has four clusters without a pair, and the headline rises as they fill."""
    told["clusters"] = EMPTY
    told["diversity"] = tuple(0.2 + 0.1 * i for i in range(len(KNOTS)))


@pytest.mark.parametrize("id", [claim.id for claim in CLAIMS if "without empty" in claim.criterion])
def test_where_the_source_has_empty_clusters_the_headline_stands_beside(id: str):
    verdict = said(id, emptied)
    assert verdict.answer == "holds (one draw)", verdict.measured
    for target in BY_ID[id].targets:
        judged, headline = (line for line in verdict.measured if line.startswith(target))
        assert judged.startswith(f"{target}, without-empty: holds; ")
        assert headline.startswith(
            f"{target}, headline, not judged by (4 clusters of the source are empty): "
        )
    wrong = said(id, both(WRONG[id], lambda cell, told: told.update(clusters=EMPTY)))
    assert wrong.answer == "does not hold", "the numbers without empty clusters still judge"


def test_a_target_whose_source_fills_all_clusters_is_judged_by_both_numbers_still():
    def pencil(cell: Cell, told: Told) -> None:
        if cell.target.label == "pencil":
            emptied(cell, told)

    verdict = said("C7", both(put("diversity", 0.6, "dcl"), pencil))
    starts = [line.split(":")[0] for line in verdict.measured]
    assert starts[0] == "pencil, without-empty" and starts[1].startswith("pencil, headline, not judged by")
    assert starts[2:] == ["lorelei, headline", "lorelei, without-empty"]


def test_an_empty_cluster_of_one_draw_puts_the_headline_beside_for_all():
    def second(cell: Cell, told: Told) -> None:
        if cell.draw == 1:
            told["clusters"] = [100, 98, 1, *[20] * 7]

    verdict = said("C7", second, draws=2)
    assert verdict.answer == "holds"
    assert "not judged by (1 cluster of the source is empty)" in verdict.measured[1]


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


@pytest.mark.parametrize("id", ["C1", "C2", "C3"])
def test_a_probe_that_cannot_tell_says_nothing(id: str):
    found = rows(BY_ID[id])
    blind = [
        dataclasses.replace(one, result={**one.result, "anchors": {"p_source": 0.5, "p_real": 0.55}})
        for one in found
    ]
    (verdict,) = judge(blind, [BY_ID[id]])
    assert verdict.answer == "cannot be said" and ": cannot be said" in verdict.measured[0]


@pytest.mark.parametrize(
    "id", [claim.id for claim in CLAIMS if claim.id[:2] in ("C1", "C2", "C3", "S5", "F3")]
)
def test_p_target_is_never_said_without_its_ends(id: str):
    for line in said(id).measured:
        if "p_target" in line or "of the way between" in line:
            assert ("p(source) 0.100" in line and "p(real) 0.950" in line) or "KID taken" in line, line


@pytest.mark.parametrize(
    ("id", "change", "why"),
    [
        ("S1", put("kid", 0.19, "full"), "full itself takes no more than 0.1 away"),
        ("S5", put("kid", 0.19, "stylespace-conv"), "the whole itself takes no more than 0.1 away"),
        ("S4", put("quality", 0.12, "mapping"), "of the way, next to nothing"),
    ],
)
def test_nothing_is_said_against_what_did_not_move(id: str, change: Change, why: str):
    verdict = said(id, change)
    assert verdict.answer == ("mixed" if id == "S5" else "cannot be said"), verdict.measured
    line = next(line for line in verdict.measured if why in line)
    assert "cannot be said" in line


def test_no_gap_is_no_gap_to_close():
    verdict = said("S3", put("kid", 0.10, "affine"))
    assert verdict.answer == "does not hold" and "there is no gap" in verdict.measured[0]


def test_freezed_is_read_where_it_has_the_quality_of_fixnoise():
    (line, _) = said("F3").measured
    at_anchor, at_random = line.split("; at p_target")
    # p_target 0.5, of the anchor, lies 2/3 of the way from step 100 (0.3) to step 200 (0.6)
    assert "p_target 0.500" in at_anchor and "(its own there, between p(source) 0.100" in at_anchor
    assert "freezed 0.233" in at_anchor and "freezeg 0.183" in at_anchor and "fixnoise 0.140" in at_anchor
    # 0.8, with random noise, 0.8 of the way from step 200 (0.6) to step 500 (0.85)
    assert "freezed 0.290" in at_random and "freezeg 0.240" in at_random and "not judged by" in at_random
    (line, _) = said("F3", control(BLEND, **{"p_target anchor": 0.99})).measured
    assert "freezed never comes to that in 3 of 3 runs: its end is taken" in line and "freezed 0.350" in line


def test_fixnoise_is_not_helped_by_the_quality_that_it_has_elsewhere():
    # 0.2 is below freezed's 0.29 where that has the target's quality, but above its 0.1 where it has the anchor's
    change = both(put("correspondence", 0.2, BLEND), control(BLEND, **{"p_target anchor": 0.2}))
    verdict = said("F3", change)
    assert verdict.answer == "does not hold" and "freezed 0.100" in verdict.measured[0]


# The looks that a claim is about
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [claim.id for claim in CLAIMS if claim.steps])
def test_a_claim_is_not_said_without_the_looks_that_it_is_about(id: str):
    claim, found = BY_ID[id], rows(BY_ID[id])
    few = [dataclasses.replace(one, result={**one.result, "points": two_looks(one)}) for one in found]
    (verdict,) = judge(few, [claim])
    assert verdict.answer == "cannot be said" and all("a look at step" in one for one in verdict.measured)
    for step in claim.steps:
        every = {p["step"] for p in found[0].points}
        (verdict,) = judge(looked(found, every - {step}), [claim])
        assert verdict.answer == "cannot be said", step
        assert all(f"a look at step {step} is not in every run" in one for one in verdict.measured)


def two_looks(one: Row) -> list[dict[str, Any]]:
    first, last = one.points[0], one.points[-1]
    return [dict(first), {**last, "step": 20}]


def test_criteria_themselves_say_nothing_of_no_look():
    found = rows(BY_ID["C5"])
    runs = Runs(tuple(looked(found, [0, 20])), (500, 1000))
    dissimilar = Runs(tuple(looked(rows(BY_ID["C8"]), [0, 20])), (0, 1000))
    judged = [*m.converge(runs, "pencil"), *m.order(runs, "pencil"), *m.plain_alike(runs, "pencil")]
    judged += [*m.falls(runs, "pencil"), *m.gap_shrinks(runs, "pencil"), *m.room(runs, "pencil")]
    judged += m.no_better(dissimilar, "lorelei")
    assert {one.holds for one in judged} == {None} and all(one.text for one in judged)


@pytest.mark.parametrize("id", ["C1", "C2", "C4", "C6", "C7", "C8", "S1", "S4", "K2"])
def test_a_longer_run_is_read_at_the_step_of_the_claim(id: str):
    claim, found = BY_ID[id], rows(BY_ID[id])
    odd = {name: 0.5 for name in NAMES.values()} | {f"{NAMES['diversity']}-without-empty": 0.1}
    odd[NAMES["diversity"]] = 0.1
    longer = [
        dataclasses.replace(
            one,
            result={
                **one.result,
                "points": [*one.points, {**odd, "step": 1500, "kid-toy": len(one.cell.space)}],
            },
        )
        for one in found
    ]
    assert judge(longer, [claim])[0].measured == judge(found, [claim])[0].measured or id == "C4"
    assert judge(longer, [claim])[0].answer == "holds (one draw)"


def test_no_judgment_is_no_answer():
    assert answer_of([]) == "not measured"
    assert answer_of([Judged("pencil", None, "")]) == "cannot be said"
    assert answer_of([Judged("pencil", None, ""), Judged("lorelei", True, "")]) == "mixed"


def test_a_crossing_between_two_looks_that_are_far_apart_is_not_guessed():
    found = looked(rows(BY_ID["C2"]), GRID)  # all cross 0.9 between 500 and 1000, dcl and cdc later
    (dissimilar,) = judge(found, [BY_ID["C2"]])[0].measured
    assert dissimilar.startswith("lorelei: cannot be said")
    assert "between looks that are 500 steps apart" in dissimilar
    (similar,) = judge(looked(rows(BY_ID["C3"]), GRID), [BY_ID["C3"]])[0].measured
    assert similar.startswith("pencil: cannot be said")


def test_a_crossing_is_said_where_either_look_gives_the_same_answer():
    fast = (0.1, 0.9, 0.9, 0.9, 0.9)  # tgan's between 0 and 100, the others' between 500 and 1000
    (verdict,) = judge(looked(rows(BY_ID["C2"], put("quality", fast, "tgan")), GRID), [BY_ID["C2"]])
    assert verdict.answer == "holds (one draw)", verdict.measured
    (verdict,) = judge(looked(rows(BY_ID["C3"], put("quality", fast, "tgan")), GRID), [BY_ID["C3"]])
    assert verdict.answer == "does not hold", verdict.measured


def test_a_spread_that_hides_a_difference_is_no_agreement():
    def shaken(cell: Cell, told: Told) -> None:
        if cell.method.label == "cdc":
            told["kid"] = (*told["kid"][:-1], (0.02, 0.10, 0.18)[cell.seed])

    verdict = said("C8", shaken)
    assert verdict.answer == "cannot be said"
    assert "(may be better)" in verdict.measured[0]
    assert said("C8", put("kid", 0.085, "cdc")).answer == "holds (one draw)", "0.075 of the source's more"

    def jumps(cell: Cell, told: Told) -> None:
        if (cell.space, cell.shots) == ("full", 100):
            told["kid"] = (*told["kid"][:-1], (0.05, 0.09, 0.13)[cell.seed])

    verdict = said("K1", jumps)
    assert verdict.answer == "cannot be said", verdict.measured
    assert "full may lose 0.14" in verdict.measured[0] and "from 50 to 100 shots" in verdict.measured[0]
    assert said("K1", put("kid", 0.09, "full", shots=(100,))).answer == "does not hold"


@pytest.mark.parametrize(
    ("id", "space"), [("S1", "stylespace"), ("S3", "affine-light+"), ("S5", "stylespace-sparse")]
)
def test_a_space_is_not_said_to_be_as_good_where_its_spread_hides_it(id: str, space: str):
    def shaken(cell: Cell, told: Told) -> None:
        if cell.space == space:
            told["kid"] = (*told["kid"][:-1], told["kid"][-1] + (-0.06, 0.0, 0.06)[cell.seed])

    verdict = said(id, shaken)
    assert verdict.answer == ("mixed" if id == "S5" else "cannot be said"), verdict.measured
    assert "cannot be said" in verdict.measured[-1]


def test_a_method_is_not_said_to_be_as_fast_where_its_spread_hides_it():
    def shaken(cell: Cell, told: Told) -> None:
        if cell.method.label == "cdc":
            told["quality"] = (0.1, 0.3, 0.6, (0.6, 0.865, 0.87)[cell.seed], 0.9)

    verdict = said("C3", shaken)
    assert verdict.answer == "cannot be said" and "may be later)" in verdict.measured[0]


# Which runs count
# --------------------------------------------------------------------------------------------


def other(found: list[Row], label: str, **change: Any) -> list[Row]:
    """The runs of a method with something else in their cell."""
    return [
        dataclasses.replace(one, cell=dataclasses.replace(one.cell, **change))
        if one.cell.method.label == label
        else one
        for one in found
    ]


def test_runs_of_two_sources_are_refused():
    found = rows(BY_ID["C7"])
    more = [dataclasses.replace(one, cell=dataclasses.replace(one.cell, source="cats-64")) for one in found]
    with pytest.raises(StylegraftError, match="runs of cats-64, faces-64; expected one source"):
        judge([*found, *more])


def test_a_recipe_with_changes_is_another_method_whatever_its_label():
    changed = dataclasses.replace(method_of("dcl"), changes=(("cl1", 9.0),))
    (verdict,) = judge(other(rows(BY_ID["C5"]), "dcl", method=changed), [BY_ID["C5"]])
    assert verdict.answer == "not measured"
    assert "no runs of dcl / full / lorelei / 10" in verdict.measured[0]
    assert "'dcl' is dcl with cl1=9.0, which is another method" in verdict.measured[0]
    short = dataclasses.replace(method_of("dcl-3000"), changes=(("steps", 30),))
    (verdict,) = judge(other(rows(BY_ID["C7-3000"]), "dcl-3000", method=short), [BY_ID["C7-3000"]])
    assert verdict.answer == "not measured"
    swapped = dataclasses.replace(method_of(SWAP), changes=())
    (verdict,) = judge(other(rows(BY_ID["F2"]), SWAP, method=swapped), [BY_ID["F2"]])
    assert "'ui2i-whole' is ui2i with no changes, which is another method" in verdict.measured[0]


def test_runs_of_other_settings_are_not_compared():
    (verdict,) = judge(other(rows(BY_ID["C5"]), "dcl", batch=8), [BY_ID["C5"]])
    assert verdict.answer == "cannot be said" and "several steps x batch" in verdict.measured[0]


def test_a_control_that_does_nothing_is_not_monotone():
    verdict = said("F1", control(BLEND, distances=[0.5, 0.501, 0.502, 0.503, 0.504, 0.505]))
    assert verdict.answer == "does not hold" and "it moves next to nothing" in verdict.measured[0]


@pytest.mark.parametrize("method", [BLEND, SWAP])
def test_a_control_that_does_nothing_is_not_smooth(method: str):
    verdict = said("F2", control(method, distances=[0.5, 0.501, 0.502, 0.503, 0.504, 0.505]))
    assert verdict.answer == "cannot be said" and "it moves next to nothing" in verdict.measured[0]


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


def test_the_study_is_looked_at_where_the_claims_ask():
    for name in ("claims.toml", "claims-faces-64.toml"):
        every = study_of(name).trace.every
        for claim in CLAIMS:
            looks = cadence(max(claim.steps, default=1000), every)
            assert set(claim.steps) <= set(looks), claim.id
            assert max(b - a for a, b in pairwise(looks)) <= CLOSE, "crossings are seen"
            assert set(claim.steps) <= set(GRID), (
                "and runs of the papers' grid can be judged, but for crossings"
            )


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
    assert {one["verdict"] for one in told["claims"]} == {"holds (one draw)", "not measured"}
    assert told["claims"][0]["steps"] == [0, 1000]
    assert told["cells"][0]["commit"] == "abc" and told["cells"][0]["machine"] == {"cpu model": "toy"}
    assert len(told["cells"]) == told["done"] == len(found)
    text = (tmp_path / "claims-toy.md").read_text()
    assert all(f"- {line}" in text for lines in history().values() for line in lines)
    assert all(when in text for when in HISTORY)
    assert "| C5 |" in text and "**not measured** |" in text and "0.10..0.95" in text
    assert f"| {len(found)} | abc | cpu model toy |" in text
    charts = claims_report.write_charts(found, tmp_path / "charts", "claims-toy")
    names = {path.name for path in charts}
    for name in (
        "quality",
        "diversity",
        "diversity-without-empty",
        "path",
        "path-without-empty",
        "spaces",
        "kid-shots",
        "control",
    ):
        assert f"claims-toy-{name}-pencil.svg" in names
    path = tmp_path / "charts" / "claims-toy-path-pencil.svg"
    assert "p_target-toy, p(source) 0.10, p(real) 0.95" in path.read_text()
    for path in charts:
        svg = path.read_text()
        assert svg.startswith("<svg xmlns=") and "http" not in svg.replace("http://www.w3.org", "")


def test_spaces_are_drawn_of_the_draws_that_all_have(tmp_path: Path):
    found = rows(BY_ID["S1"])
    (few,) = [p for p in claims_report.write_charts(found, tmp_path, "few") if "-spaces-" in p.name]
    more = [
        one
        for one in rows(BY_ID["S1"], put("kid", 0.5), draws=2)
        if one.cell.draw and one.cell.space == "full"
    ]
    (same,) = [p for p in claims_report.write_charts(found + more, tmp_path, "more") if "-spaces-" in p.name]
    assert same.read_text() == few.read_text()


def test_the_claims_are_listed_without_a_study(capsys: pytest.CaptureFixture[str]):
    assert main(["claims"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for claim in CLAIMS:
        assert claim.id in out and " ".join(claim.criterion.split()[:6]) in out
    assert all(line in out for lines in history().values() for line in lines), "and what was changed of them"


def test_of_one_claim_its_own_changes_are_told(capsys: pytest.CaptureFixture[str]):
    assert main(["claims", "C3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "C2 and C3: a crossing" in out and "C3, S1, S3 and S5: the spread counts" in out
    assert "C2: asked on lorelei alone" not in out and "Zhao" in out
    assert main(["claims", "K2"]) == 0
    assert "changed" not in capsys.readouterr().out, "nothing was"


def test_the_page_tells_the_changes_in_the_same_words():
    page = " ".join((ROOT / "docs" / "claims.md").read_text().replace("`", "").split())
    assert all(line in page for when, lines in history().items() for line in (when, *lines))
    assert {id for changes in HISTORY.values() for one in changes for id in one.claims} <= set(BY_ID)
