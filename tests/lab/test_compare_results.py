"""The table of a study says what the runs recorded, at equal quality, and never more than that."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stylegraft.errors import StylegraftError
from stylegraft.lab import page, study_page
from stylegraft.lab.answers import alike, answers
from stylegraft.lab.record import RESULT, failure, place
from stylegraft.lab.results import (
    LEVELS,
    NOT_REACHED,
    Mean,
    Row,
    groups,
    mean,
    numbers,
    read_rows,
    summary_row,
    write_numbers,
    write_table,
)
from stylegraft.lab.study import Cell, Method, StudyTarget

METRICS = {"quality": "p_target-toy", "diversity": "intra-toy@64/200", "kid": "kid-toy"}
STEPS = (0, 100, 200, 400)


def cell(method: str = "dcl", space: str = "full", draw: int = 0, seed: int = 0, shots: int = 10) -> Cell:
    key = f"{method}/{space}/pencil/{shots}/d{draw}/s{seed}"
    target = StudyTarget("pencil", "pencil")
    return Cell(key, "faces-64", Method(method, method), space, target, shots, draw, seed, 400)


def result(
    quality: tuple[float, ...] = (0.1, 0.3, 0.7, 0.95),
    diversity: tuple[float, ...] = (0.6, 0.5, 0.4, 0.3),
    **changes: Any,
) -> dict[str, Any]:
    names = METRICS.values()
    points = [
        {"step": step, "weights": "ema", **dict(zip(names, (q, d, 0.1 - q / 20), strict=True))}
        for step, q, d in zip(STEPS, quality, diversity, strict=True)
    ]
    told = {
        "version": 1,
        "asked": {"steps": 400},
        "metrics": METRICS,
        "points": points,
        "parameters": 10,
        "bytes": 4000,
    }
    return told | {"anchors": {"p_source": 0.1, "p_real": 0.9}} | changes


def row(found: dict[str, Any] | None = None, **where: Any) -> Row:
    return Row(cell(**where), "done", "", result() if found is None else found)


# At equal quality
# --------------------------------------------------------------------------------------------


def test_diversity_at_equal_quality_is_read_off_the_curve():
    one = row()
    # half of the way from 0.1 to 0.9 is 0.5, half of the way from step 100 to 200
    assert one.reached(0.5) == pytest.approx((150, 0.45))
    # 0.9 of it is 0.82: 0.48 of the way from step 200 to 400
    assert one.reached(0.9) == pytest.approx((200 + 0.48 * 200, 0.4 - 0.48 * 0.1))
    assert one.reached(0.5, "kid") == pytest.approx((150, 0.1 - 0.5 / 20))


def test_a_level_counts_where_it_is_first_reached():
    again = row(result(quality=(0.1, 0.6, 0.2, 0.95)))
    step, _ = again.reached(0.5)
    assert step == pytest.approx(80)
    at_once = row(result(quality=(0.6, 0.6, 0.6, 0.6)))
    assert at_once.reached(0.5) == (0.0, 0.6)


def test_what_is_not_reached_says_so_and_so_does_a_probe_that_cannot_tell():
    slow = row(result(quality=(0.1, 0.2, 0.3, 0.4)))
    assert slow.reached(0.5) is None
    assert numbers(slow)["step at 0.5"] == numbers(slow)["intra-toy@64/200 at 0.5"] == NOT_REACHED
    blind = row(result(anchors={"p_source": 0.5, "p_real": 0.55}))
    assert all(blind.reached(share) is None for share in LEVELS)


# Over runs
# --------------------------------------------------------------------------------------------


def test_a_group_is_the_runs_that_differ_in_draw_and_seed():
    rows = [row(seed=s, draw=d) for s in (0, 1) for d in (0, 1)] + [row(method="tgan")]
    dcl, tgan = groups(rows)
    assert (len(dcl.rows), len(tgan.rows)) == (4, 1)
    assert dcl.last("quality").spread == 0.0
    assert tgan.last("quality").spread is None, "of one run nobody knows"


def test_means_and_bands_are_those_of_the_runs():
    rows = [row(result(diversity=(0.6, 0.5, 0.4, d)), seed=i) for i, d in enumerate((0.3, 0.2, 0.1))]
    (group,) = groups(rows)
    last = group.last("diversity")
    assert (last.value, last.spread, last.count) == pytest.approx((0.2, 0.1, 3))
    assert [step for step, _ in group.curve("diversity")] == list(STEPS)
    assert mean([None, 1.0, 3.0]).value == 2.0 and mean([None]) is None


def test_a_level_that_one_run_misses_is_not_reached_by_the_group():
    rows = [row(), row(result(quality=(0.1, 0.2, 0.3, 0.4)), seed=1)]
    (group,) = groups(rows)
    assert group.reached(0.5) is None
    assert NOT_REACHED in summary_row(group)


def test_the_chart_at_equal_quality_holds_the_levels_that_all_runs_reached():
    slow = [row(result(quality=(0.1, 0.3, 0.6, 0.7)), method="tgan"), row(method="tgan", seed=1)]
    never = [row(result(quality=(0.1, 0.2, 0.3, 0.4)), method="cdc")]
    dcl, tgan = study_page.at_equal_quality(groups([row(), *slow, *never]))
    assert (dcl.name, tuple(dcl.x)) == ("dcl · full", LEVELS)
    assert dcl.y == pytest.approx([one.reached(share)[1] for one in [row()] for share in LEVELS])
    assert tgan.y[2] is tgan.low[2] is None and tgan.low[0] < tgan.y[0] < tgan.high[0]


def test_numbers_of_two_encoders_are_never_in_one_table(tmp_path: Path):
    cells = [cell(), cell(method="tgan")]
    for one, name in zip(cells, ("p_target-a", "p_target-b"), strict=True):
        write(tmp_path, one, result(metrics={**METRICS, "quality": name}))
    with pytest.raises(StylegraftError, match=r"dcl/.* was measured by p_target-a, tgan/.* by p_target-b"):
        read_rows(cells, tmp_path)


def test_a_target_with_a_reference_and_one_without_stand_in_one_study(tmp_path: Path):
    cells = [cell(), replace(cell(), key="dcl/full/mine/10/d0/s0", target=StudyTarget("mine", "mine"))]
    for one, name in zip(cells, ("p_target-a", "p_target-a/folds"), strict=True):
        write(tmp_path, one, result(metrics={**METRICS, "quality": name}))
    assert [one.name("quality") for one in read_rows(cells, tmp_path)] == ["p_target-a", "p_target-a/folds"]


# On the disk
# --------------------------------------------------------------------------------------------


def write(out: Path, one: Cell, told: dict[str, Any]) -> None:
    place(out, one).mkdir(parents=True)
    (place(out, one) / RESULT).write_text(json.dumps(told))


def test_every_cell_has_a_row_whatever_became_of_it(tmp_path: Path):
    cells = [cell(seed=seed) for seed in range(5)]
    write(tmp_path, cells[0], result())
    failure(place(tmp_path, cells[1])).write_text(json.dumps({"state": "failed", "error": "it diverged"}))
    place(tmp_path, cells[2]).mkdir()
    (place(tmp_path, cells[2]) / "state.safetensors").touch()
    write(tmp_path, cells[3], result(asked={"steps": 300}))
    rows = read_rows(cells, tmp_path)
    assert [one.state for one in rows] == ["done", "failed", "unfinished", "not measured", "not measured"]
    write_table(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["state"] for line in lines] == [one.state for one in rows]
    assert lines[1]["error"] == "it diverged"
    assert float(lines[0]["intra-toy@64/200 at 0.5"]) == pytest.approx(0.45)
    assert (lines[0]["p(source)"], lines[0]["p(real)"]) == ("0.1", "0.9")
    assert lines[4]["p_target-toy"] == lines[4]["step at 0.5"] == ""
    write_numbers("s", rows, ["a."], tmp_path / "table.json")
    told = json.loads((tmp_path / "table.json").read_text())
    assert told["cells"][0]["points"][1]["step"] == 100
    assert told["groups"][0]["done"] == 1
    assert told["answers"] == ["a."]


def test_the_page_is_made_of_the_recorded_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study_page, "_pictures", lambda *of: [])
    rows = [row(seed=s, method=m, shots=k) for m in ("dcl", "<b>") for s in (0, 1) for k in (5, 10)]
    rows.append(row(space="affine", shots=10))
    rows.append(Row(cell(method="cdc"), "not measured"))
    told = study_page.write_results("name", rows, tmp_path)
    html = (tmp_path / "results.html").read_text()
    assert "http" not in html.replace("http://www.w3.org", "")
    assert "<b>" not in html and "&lt;b&gt;" in html
    data = page.read_data(tmp_path / "results.html")
    assert data[0]["points"] == list(rows[0].points)
    for part in (
        *told,
        "Diversity against quality",
        "Numbers that move, against KID",
        "kid-toy on pencil",
        "not measured",
    ):
        assert part.replace("<", "&lt;").replace(">", "&gt;") in html, part
    assert all((tmp_path / name).is_file() for name in study_page.FILES)


def test_costs_are_drawn_of_several_spaces_all_in_one_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study_page, "_pictures", lambda *of: [])
    names = ("At the end of the runs", "Numbers that move, against KID", "Domain file, KB, against KID")
    for spaces, drawn in ((("full",), (1, 0, 0)), (("full", "affine"), (1, 1, 1))):
        rows = [row(method=f"m{i}", space=space) for i in range(6) for space in spaces]
        assert len(study_page.crowds(groups(rows))) == len(spaces)
        study_page.write_results("name", rows, tmp_path)
        html = (tmp_path / "results.html").read_text()
        assert tuple(html.count(f">{name}</text>") for name in names) == drawn


def test_a_space_of_one_number_of_shots_is_no_curve_over_shots():
    found = groups([row(shots=5), row(shots=10), row(shots=10, space="affine")])
    charts = study_page.over_shots(found)
    assert charts and all("dcl · full" in chart and "affine" not in chart for chart in charts)


@pytest.mark.parametrize(("without", "drawn"), [(None, 0), (0.0, 0), (0.1, 1)])
def test_diversity_without_empty_clusters_is_drawn_where_it_says_something_else(
    without: float | None, drawn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(study_page, "_pictures", lambda *of: [])
    found = result()
    for point in found["points"] if without is not None else ():
        point[f"{METRICS['diversity']}-without-empty"] = point[METRICS["diversity"]] + without
    study_page.write_results("name", [row(found, shots=5), row(found, shots=10)], tmp_path)
    html = (tmp_path / "results.html").read_text()
    name = f"{METRICS['diversity']}-without-empty"
    assert html.count(f">{name} along the run</text>") == 2 * drawn  # a section a number of shots
    assert html.count(f">{name} on pencil</text>") == drawn


def test_a_chart_has_no_more_curves_than_colours():
    found = groups(row(method=f"m{i}", space=space) for i in range(5) for space in ("a", "b"))
    assert [len(few) for few in study_page.crowds(found)] == [5, 5]
    assert [len(few) for few in study_page.crowds(found[:7])] == [7]
    many = groups(row(method=f"m{i}") for i in range(20))
    assert [len(few) for few in study_page.crowds(many)] == [8, 8, 4]


# Answers
# --------------------------------------------------------------------------------------------


def runs(method: str, space: str, diversities: tuple[float, ...], **changes: Any) -> list[Row]:
    return [
        row(result(diversity=(0.6, d, d, d - 0.1), **changes), method=method, space=space, seed=i)
        for i, d in enumerate(diversities)
    ]


def test_the_answer_is_the_most_diverse_at_the_highest_level_that_was_reached():
    rows = runs("dcl", "full", (0.50, 0.51, 0.52)) + runs("tgan", "full", (0.30, 0.31, 0.32))
    method, space, stop, caveats = answers(rows)
    assert method.startswith(
        "Which method: dcl (in full) keeps most diversity at equal quality, intra-toy@64/200 0.4"
    )
    assert "90% of the way from p(source) to p(real) (0.10..0.90); next comes tgan · full (0.2" in method
    assert space == "Which space: full, the only one in which dcl was run."
    assert "at about step 296 (296 to 296 over 3 runs)" in stop
    assert "going on to step 400 takes diversity from 0.462 to 0.410" in stop
    assert "6 of 6 runs (seeds: 3, draws of the shots: 1)" in caveats


def with_empty(rows: list[Row], *values: float) -> list[Row]:
    """The same runs, with the mean without empty clusters at each look."""
    name = "intra-toy@64/200-without-empty"

    def told(one: Row) -> dict[str, Any]:
        points = [{**p, name: v} for p, v in zip(one.points, values, strict=True)]
        return {**(one.result or {}), "points": points}

    return [replace(one, result=told(one)) for one in rows]


def test_an_order_that_turns_without_empty_clusters_is_said_to():
    dcl = with_empty(runs("dcl", "full", (0.50, 0.51, 0.52)), 0.6, 0.4, 0.3, 0.2)
    tgan = with_empty(runs("tgan", "full", (0.30, 0.31, 0.32)), 0.6, 0.5, 0.5, 0.4)
    method, _, stop, _ = answers(dcl + tgan)
    # 0.9 of the way lies 0.48 of the way from step 200 to 400
    assert method.endswith("without those tgan · full is ahead (0.452 ± 0.000; dcl · full 0.252 ± 0.000).")
    assert "takes diversity from 0.462 to 0.410, without empty clusters from 0.252 to 0.200" in stop
    method, *_ = answers(dcl + with_empty(tgan, 0.6, 0.4, 0.3, 0.1))
    assert "without those" not in method, "the order is the same"


def test_a_method_that_never_arrives_cannot_win_by_having_stayed():
    stayed = runs("lazy", "full", (0.6, 0.6), quality=(0.1, 0.1, 0.1, 0.2))
    method, *_ = answers(stayed + runs("dcl", "full", (0.4, 0.4)))
    assert method.startswith(
        "Which method: undecided, for lazy is still on the way; so far, dcl (in full) alone comes so far in all its "
        "runs"
    )
    ended = runs("lazy", "full", (0.6, 0.6), quality=(0.1, 0.1, 0.2, 0.2))
    method, *_ = answers(ended + runs("dcl", "full", (0.4, 0.4)))
    assert method.startswith("Which method: dcl (in full) alone comes so far in all its runs")
    barely = answers(runs("lazy", "full", (0.6, 0.6), quality=(0.1, 0.1, 0.1, 0.15)))
    assert "cannot be said: no method came 10% of the way" in barely[0]
    assert "lazy · full. Write `steps = 800`" in barely[1]
    blind = answers(runs("dcl", "full", (0.4, 0.4), anchors={"p_source": 0.5, "p_real": 0.55}))
    assert "cannot be said: p(source) and p(real) are less than 0.1 apart" in blind[0] and len(blind) == 2


def test_where_none_comes_half_of_the_way_two_are_compared_at_what_both_reached():
    # 0.1 to 0.9: dcl comes 0.25, cdc 0.3 and tgan 0.1 of the way
    few = runs("dcl", "full", (0.5, 0.5), quality=(0.1, 0.15, 0.2, 0.30))
    few += runs("cdc", "full", (0.4, 0.4), quality=(0.1, 0.2, 0.34, 0.34))
    few += runs("tgan", "full", (0.2, 0.2), quality=(0.1, 0.1, 0.1, 0.18))
    method, _, stop, going, _ = answers(few)
    assert method.startswith(
        "Which method: undecided, for tgan is still on the way; so far, no method came 50% of the way in all its runs; "
        "at 24% dcl (in full) keeps most diversity"
    )
    assert "is 24% of the way from p(source) to p(real) (0.10..0.90); next comes cdc · full (0.400" in method
    assert "at about step 384" in stop
    assert going.startswith(
        "Still on their way at their last step: dcl · full, tgan · full. Write `steps = 800`"
    )


def test_who_has_not_arrived_and_still_rises_is_named_beside_who_has():
    rows = runs("tgan", "full", (0.3, 0.3)) + runs("dcl", "full", (0.5, 0.5), quality=(0.1, 0.2, 0.3, 0.4))
    *_, going, _ = answers(rows)
    assert going.startswith("Still on their way at their last step: dcl · full. ")


def test_two_runs_each_that_overlap_cannot_be_told_apart():
    one, other = mean([0.246, 0.241]), mean([0.241, 0.235])
    assert one and other and alike(one, other)
    far = mean([0.231, 0.225])
    assert far and not alike(one, far)
    assert not alike(Mean(0.3, None, 1), Mean(0.3001, None, 1))


def test_the_step_is_that_of_the_space_that_is_advised_and_copies_are_named():
    names = {**METRICS, "memorised": "copies"}
    wide = runs("dcl", "full", (0.40, 0.50, 0.60), bytes=90_000)
    thin = runs("dcl", "stylespace", (0.38, 0.48, 0.58), metrics=names, shots={"count": 10})
    for one in thin:
        for point in one.result["points"]:
            point["copies"] = 0.25
    stop = answers(wide + thin)[2]
    assert "where dcl in stylespace comes to that quality" in stop
    assert "25% of its samples are near copies of training images (by chance up to 10%)" in stop
    assert "copies" not in answers(wide)[2]


def test_what_cannot_be_told_apart_is_named_and_the_smaller_file_advised():
    wide = runs("dcl", "full", (0.40, 0.50, 0.60), bytes=90_000)
    thin = runs("dcl", "stylespace", (0.38, 0.48, 0.58), bytes=3_000)
    method, space, *_ = answers(wide + thin)
    assert "dcl · stylespace (" in method and "cannot be told from it" in method
    assert space.startswith("Which space: stylespace is the smallest that cannot be told from the best, full")
    assert "90 KB" in space and "3 KB" in space


def test_single_runs_are_told_to_be_single_and_missing_ones_missing():
    rows = [*runs("dcl", "full", (0.5,)), Row(cell(method="cdc"), "not measured")]
    *_, stop, caveats = answers(rows)
    assert "(one run)" in stop
    assert "fewer than 3 seeds and 2 draws" in caveats
    assert "not measured, so that nothing is said of them: 1 runs" in caveats
    assert (
        answers([Row(cell(), "not measured")])[0] == "Which method, which space, when to stop: not measured."
    )


def test_curves_hold_no_number_that_was_not_recorded():
    (group,) = groups([row(), row(result(), seed=1)])
    assert [one.value for _, one in group.curve("diversity")] == [0.6, 0.5, 0.4, 0.3]
    assert all(math.isfinite(one.value) for _, one in group.curve("quality"))
    assert group.curve("memorised") == []
