"""A study runs wherever it runs to the same end; nothing is run twice, lost or passed over in silence."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest

from stylegraft.adaptation.folder import open_folder
from stylegraft.checkpoints import assets
from stylegraft.errors import StylegraftError
from stylegraft.lab import cell as cells
from stylegraft.lab import compare, runners
from stylegraft.lab.cell import Job, Outcome
from stylegraft.lab.record import failure_of, place
from stylegraft.lab.results import read_rows
from stylegraft.lab.study import Study
from stylegraft.lab.studyfile import parse

from .eyes import use_toy_eyes

STUDY = """
name = "toy"
source = "{source}"
targets = [{{images="{images}", align="off", label="mine"}}]
recipes = [{{recipe="tgan", set={{warmup=0}}}}]
spaces = ["stylespace"]
shots = [4]
seeds = 2
steps = 4
batch = 2
[trace]
every = 2
samples = 6
encoder = "random-tiny"
[resources]
cpu = 1
"""


@pytest.fixture
def study(toy_file: Path, toy_images: Path, tmp_path: Path) -> Study:
    """Two runs of four steps on the toy."""
    return parse(STUDY.format(source=toy_file, images=toy_images), tmp_path / "study.toml")


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of others in this process."""
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cells, "_PANELS", {})


def change(study: Study, **changes) -> Study:
    return dataclasses.replace(study, waves=(dataclasses.replace(study.waves[0], **changes),))


def run(study: Study, out: Path, **options) -> dict[str, Outcome]:
    said: list[str] = []
    found = {one.key: one for one in compare.run(study, out, say=said.append, **options)}
    run.said = said
    return found


def domains(study: Study, out: Path) -> dict[str, bytes]:
    return {one.key: (place(out, one) / "domain.safetensors").read_bytes() for one in compare.listed(study)}


def states(study: Study, out: Path) -> list[str]:
    return [row.state for row in read_rows(compare.listed(study), out)]


def test_a_cell_leaves_its_run_and_its_result(study: Study, tmp_path: Path, eyes):
    out = tmp_path / "out"
    assert {one.state for one in run(study, out).values()} == {"done"}
    (first, second) = (place(out, one) for one in compare.listed(study))
    assert first == out / "cells/tgan-warmup=0/stylespace/mine/4/d0/s0"
    told = json.loads((first / "result.json").read_text())
    assert [point["step"] for point in told["points"]] == [0, 2, 4]
    assert told["asked"] == {"steps": 4, "batch": 2, "warmup": 0}
    assert (
        told["config"]["seed"] == 0
        and json.loads((second / "result.json").read_text())["config"]["seed"] == 1
    )
    assert told["shots"]["count"] == 4 and told["shots"]["draw"] == 0 and told["steps"] == 4
    assert told["bytes"] == (first / "domain.safetensors").stat().st_size
    assert told["parameters"] > 0 and told["training seconds"] > 0 and told["machine"]["threads"] == 1
    assert {"quality", "diversity", "correspondence"} <= set(told["metrics"])
    assert {"p_real", "p_source"} <= set(told["anchors"])


def test_a_finished_cell_is_not_run_again_and_more_steps_extend_it(
    study: Study, tmp_path: Path, eyes, monkeypatch
):
    out = tmp_path / "out"
    run(study, out)
    before = domains(study, out)
    monkeypatch.setattr(cells, "run", None)
    assert run(study, out) == {}
    assert "2 of 2 cells are done, 0 to run" in run.said
    monkeypatch.undo()
    use_toy_eyes(monkeypatch)
    longer = change(study, steps=6)
    assert states(longer, out) == ["unfinished", "unfinished"]
    run(longer, out)
    assert domains(longer, out) != before
    whole = tmp_path / "whole"
    run(longer, whole)
    assert domains(longer, out) == domains(longer, whole)


def test_ctrl_c_saves_and_the_same_command_goes_on(study: Study, tmp_path: Path, eyes, monkeypatch):
    out, whole = tmp_path / "out", tmp_path / "whole"
    run(study, whole)

    def interrupt(line: str) -> None:
        if "step 2" in line:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        compare.run(study, out, say=interrupt)
    assert states(study, out) == ["unfinished", "not measured"]
    run(study, out)
    assert domains(study, out) == domains(study, whole)
    values = [[row.points for row in read_rows(compare.listed(study), folder)] for folder in (out, whole)]
    assert values[0] == values[1]


def test_a_complete_wave_is_told_while_others_run(study: Study, tmp_path: Path, eyes, monkeypatch):
    waves, done, out = (
        parse(study.text + "[[waves]]\nseeds = 1\n[[waves]]\n", study.path),
        set(),
        tmp_path / "out",
    )
    monkeypatch.setattr(compare, "result_of", lambda folder, cell: cell.key in done)

    def runner(jobs, say):
        for job in jobs:
            done.add(job.cell.key)
            yield Outcome(job.cell.key, "done", "")

    run(waves, out, runner=runner)
    (line,) = [line for line in run.said if "wave" in line]
    assert line.startswith("wave 1 of 2 is complete")
    assert line.endswith(f"stylegraft compare {out} --wave 1 --report")


def test_a_cell_that_fails_is_told_and_the_others_go_on(study: Study, tmp_path: Path, eyes):
    text = study.text.replace(
        "set={warmup=0}}", 'set={warmup=0}}, {recipe="tgan", set={warmup=0, lr=1e30}, label="wild"}'
    )
    both = parse(text, study.path)
    found = run(both, tmp_path / "out")
    assert [found[key].state for key in sorted(found)] == ["done", "done", "failed", "failed"]
    assert states(both, tmp_path / "out") == ["done", "done", "failed", "failed"]
    row = read_rows(compare.listed(both), tmp_path / "out")[-1]
    assert "the run has diverged" in row.error
    assert not any("again" in line for line in run.said), "what the library refuses is not tried again"


def test_what_the_library_refuses_is_not_a_failure(study: Study, tmp_path: Path, eyes):
    found = run(change(study, spaces=("sytlespace",)), tmp_path / "a")
    assert {one.state for one in found.values()} == {"refused"}
    found = run(change(study, shots=(11,), seeds=(0,)), tmp_path / "b")
    assert [(one.state, one.text) for one in found.values()] == [
        ("refused", "11 shots of a pool of 10 images")
    ]
    assert states(change(study, shots=(11,), seeds=(0,)), tmp_path / "b") == ["refused"]


def test_an_unforeseen_failure_is_tried_again_and_forgotten_when_it_ends_well(
    study: Study, tmp_path: Path, eyes, monkeypatch
):
    kept, tried = cells.run, []

    def weak(job: Job, say):
        tried.append(job.cell.key)
        if len(tried) == 1:
            raise RuntimeError("the machine hiccuped")
        return kept(job, say)

    monkeypatch.setattr(cells, "run", weak)
    found = run(study, tmp_path / "out")
    assert [one.state for one in found.values()] == ["done", "done"]
    assert tried == [*dict.fromkeys(tried), tried[0]], "after the others"
    assert failure_of(place(tmp_path / "out", compare.listed(study)[0])) is None
    monkeypatch.setattr(cells, "run", lambda job, say: 1 / 0)
    found = run(study, tmp_path / "never")
    assert {one.state for one in found.values()} == {"failed"}
    told = failure_of(place(tmp_path / "never", compare.listed(study)[0]))
    assert told and told["error"] == "ZeroDivisionError: division by zero" and "1 / 0" in told["trace"]


def test_a_cell_of_another_process_is_skipped_and_said(study: Study, tmp_path: Path, eyes):
    out = tmp_path / "out"
    held = place(out, compare.listed(study)[0])
    (out / compare.COPY).parent.mkdir()
    (out / compare.COPY).write_text("")
    with open_folder(held):
        found = run(study, out)
    assert [one.state for one in found.values()] == ["busy", "done"]
    assert any(line.startswith("busy") and "another process is writing" in line for line in run.said)
    assert [one.state for one in run(study, out).values()] == ["done"]


def test_a_folder_of_something_else_is_refused(study: Study, tmp_path: Path):
    assert compare.is_study(tmp_path / "new") and compare.is_study(tmp_path)
    (tmp_path / ".study.toml.12.tmp").touch()  # a kill, while the file was written
    assert compare.is_study(tmp_path)
    (tmp_path / "holiday.png").write_bytes(b"")
    with pytest.raises(StylegraftError, match="holds files that are no study's"):
        compare.run(study, tmp_path)


def test_a_plan_says_what_is_refused_and_how_long_the_rest_takes(study: Study, tmp_path: Path, eyes):
    text = study.text.replace("set={warmup=0}}", 'set={warmup=0}}, {recipe="minegan"}').replace(
        "[4]", "[4, 11]"
    )
    told: list[str] = []
    plans = compare.plan(parse(text, study.path), tmp_path / "out", say=told.append)
    assert not (tmp_path / "out").exists()
    by = {(one.group[1], one.group[4]): one for one in plans}
    assert by["tgan-warmup=0", "4"].runs == 2 and by["tgan-warmup=0", "4"].left > 0
    assert "lead_space 'miner'" in by["minegan", "4"].refused
    assert by["tgan-warmup=0", "11"].refused == "11 shots of a pool of 10 images"
    assert sum(line.startswith("measuring") for line in told) == 2
    assert compare.total(plans).startswith("2 runs are left: about ")
    run(study, tmp_path / "out")
    (plan,) = compare.plan(study, tmp_path / "out", say=told.append)
    assert (plan.runs, plan.done, plan.left) == (2, 2, 0.0)


# In other processes
# --------------------------------------------------------------------------------------------


def has(asset: str) -> bool:
    try:
        return bool(assets.find(asset))
    except StylegraftError:
        return False


lpips = pytest.mark.skipif(not has("lpips"), reason="workers look through LPIPS: stylegraft assets get lpips")


@lpips
def test_two_processes_give_what_one_gives(study: Study, tmp_path: Path, eyes):
    run(study, tmp_path / "one")
    found = run(study, tmp_path / "two", runner=runners.processes(2))
    assert [one.state for one in found.values()] == ["done", "done"], found
    assert domains(study, tmp_path / "two") == domains(study, tmp_path / "one")


@pytest.mark.parametrize(
    ("status", "busy", "said"),
    [
        (-9, "", "was killed by signal 9: last words"),
        (1, "", "ended with status 1: last words"),
        (0, "held", "held"),
    ],
)
def test_a_process_that_is_lost_is_an_outcome(
    study: Study, tmp_path: Path, status: int, busy: str, said: str
):
    job = Job(compare.listed(study)[0], str(tmp_path), "", study.trace, study.resources)
    outcome = runners._told(job, status, busy, ["first\n", "last words\n", "\n"])
    assert said in outcome.text
    assert outcome.again is not bool(busy)
    assert outcome.state == ("busy" if busy else "failed")
    told = failure_of(job.folder)  # for the table
    assert (told or {}).get("error", "") == ("" if busy else outcome.text)


def test_a_worker_whose_parent_is_gone_does_nothing(monkeypatch: pytest.MonkeyPatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    monkeypatch.setattr(runners, "work", None)
    runners.worker()


def test_the_page_of_the_docs_says_how_it_goes_in_python(study: Study, tmp_path: Path, eyes, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(study.text.replace("seeds = 2", "seeds = 1"))
    exec(code.replace("runners.processes(4)", "runners.here"), {})
    assert "Which method" in Path("runs/study/results.html").read_text()
