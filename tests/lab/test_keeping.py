"""A finished cell outlives its run folder: its small files are kept, and another machine goes on from them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from stylegraft.cli.main import main
from stylegraft.lab import cell as cells
from stylegraft.lab import compare, control, keeping
from stylegraft.lab.cell import Job, Outcome
from stylegraft.lab.claims_report import rows_of
from stylegraft.lab.record import place
from stylegraft.lab.runners import here
from stylegraft.lab.study import Method, Study
from stylegraft.lab.studyfile import read
from stylegraft.lab.trace import read_trace

from .eyes import use_toy_eyes

STUDY = """
name = "toy"
source = "{source}"
targets = [{{images="{images}", align="off", label="mine"}}]
recipes = [{{recipe="fixnoise", set={{warmup=0, lr=0.02}}, label="fixnoise"}},
           {{recipe="ui2i", set={{warmup=0, swap=0, lr=0.02}}, label="ui2i-whole"}}]
shots = [4]
steps = 3
batch = 2
[trace]
every = 3
samples = 6
encoder = "random-tiny"
[resources]
cpu = 1
"""


@pytest.fixture(scope="module")
def told(toy_file: Path, toy_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that has run with --keep, and then lost its runs' states."""
    folder = tmp_path_factory.mktemp("keeping")
    path = folder / "study.toml"
    path.write_text(STUDY.format(source=toy_file, images=toy_images))
    with pytest.MonkeyPatch.context() as patch:
        use_toy_eyes(patch)
        patch.setattr(cells, "_PANELS", {})
        assert main(["compare", str(path), "--out", str(folder / "out"), "--keep", str(folder / "kept")]) == 0
    return folder


@pytest.fixture
def study(told: Path) -> Study:
    return read(told / "study.toml")


def test_what_is_kept_is_small_and_holds_no_state(told: Path, study: Study):
    files = [path for path in (told / "kept").rglob("*") if path.is_file()]
    assert {path.name for path in files} == set(keeping.FILES)
    assert len(files) == 2 * len(keeping.FILES)
    assert sum(path.stat().st_size for path in files) < 40_000
    assert not [path for path in files if str(told) in path.read_text()], "no path of this machine"
    assert keeping.keep(compare.listed(study), told / "out", told / "kept") == 0, "nothing is news twice"


def test_another_machine_has_the_kept_cells_and_runs_none_of_them(
    told: Path, study: Study, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(cells, "run", None)
    out, lines = tmp_path / "out", list[str]()
    found = compare.listed(study)
    assert keeping.restore(study, found, told / "kept", out) == 2
    runner = keeping.keeping(here, told / "kept")
    assert compare.run(study, out, runner=runner, say=lines.append) == []
    assert "2 of 2 cells are done, 0 to run" in lines
    assert keeping.restore(study, found, told / "kept", out) == 0


def test_other_settings_are_run_and_not_taken_from_there(
    told: Path, study: Study, tmp_path: Path, monkeypatch
):
    use_toy_eyes(monkeypatch)
    monkeypatch.setattr(cells, "_PANELS", {})
    out = tmp_path / "out"
    keeping.restore(study, compare.listed(study), told / "kept", out)
    wave = dataclasses.replace(study.waves[0], steps=2, methods=study.waves[0].methods[:1])
    shorter = dataclasses.replace(study, waves=(wave,))
    assert keeping.restore(shorter, compare.listed(shorter), told / "kept", out) == 0
    (done,) = compare.run(shorter, out, say=lambda line: None)
    assert done.state == "done"


def test_a_folder_that_is_no_studys_is_left_alone(told: Path, study: Study, tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    assert keeping.restore(study, compare.listed(study), told / "kept", tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_claims_rest_on_what_is_kept(told: Path, study: Study, capsys, tmp_path: Path):
    shutil.copytree(told / "kept", tmp_path / "kept")
    line = [
        "claims",
        str(told / "study.toml"),
        "--out",
        str(tmp_path / "none"),
        "--keep",
        str(tmp_path / "kept"),
    ]
    assert main([*line, "--charts", str(tmp_path / "charts")]) == 0
    out = capsys.readouterr().out
    summary = next(line for line in out.splitlines() if "2 of 2 runs are done" in line)
    assert "hold" not in summary and "not measured" in summary
    assert (tmp_path / "kept.md").is_file() and (tmp_path / "kept.json").is_file()
    assert not list((tmp_path / "charts").iterdir()), "charts are of ten shots"
    rows = rows_of(study, tmp_path / "kept")
    assert [one.result["control"]["of"] for one in rows] == ["fixnoise", "ui2i-whole"]


# The control
# --------------------------------------------------------------------------------------------


def measured(told: Path, study: Study, number: int):
    one = compare.listed(study)[number]
    folder = place(told / "out", one)
    return control.read(folder), read_trace(folder)


def test_the_blend_begins_where_the_trace_sees_the_domain(told: Path, study: Study):
    curve, trace = measured(told, study, 0)
    last = trace.at(3)
    names = trace.header["metrics"]
    assert curve["amounts"] == pytest.approx([0, 1 / 3, 2 / 3, 1]), "as many places as layers: 4, 8 and 16 px"
    assert curve["distances"][0] == pytest.approx(last[names["correspondence"]], rel=1e-5)
    assert curve["p_target anchor"] == pytest.approx(last[names["quality"]], rel=1e-5)
    assert 0 <= curve["p_target random"] <= 1
    assert curve["distances"][1] != curve["distances"][0]


def test_layers_lead_from_the_source_itself_to_the_whole_domain(told: Path, study: Study):
    curve, trace = measured(told, study, 1)
    assert curve["distances"][0] == 0.0
    name = trace.header["metrics"]["correspondence"]
    assert curve["distances"][-1] == pytest.approx(trace.at(3)[name], rel=1e-5)
    assert "p_target anchor" not in curve
    assert curve["smoothness"] >= 1


def test_a_control_is_measured_once_and_only_where_its_domain_is(told: Path, study: Study, tmp_path: Path):
    found = compare.listed(study)
    assert keeping.jobs_there(study, found, told / "out") == []
    shutil.copytree(told / "out", tmp_path / "out")
    (place(tmp_path / "out", found[0]) / control.CONTROL).unlink()
    (job,) = keeping.jobs_there(study, found, tmp_path / "out")
    assert job.cell == found[0]
    (place(tmp_path / "out", found[0]) / "domain.safetensors").unlink()
    assert keeping.jobs_there(study, found, tmp_path / "out") == []


def test_a_control_of_other_eyes_is_refused_and_said(told: Path, study: Study, tmp_path: Path, monkeypatch):
    use_toy_eyes(monkeypatch)
    one = compare.listed(study)[0]
    shutil.copytree(told / "out", tmp_path / "out")
    folder, lines = place(tmp_path / "out", one), list[str]()
    (folder / control.CONTROL).unlink()
    trace = (folder / "trace.jsonl").read_text().splitlines(keepends=True)
    header = json.loads(trace[0])
    header["header"]["panel"]["samples"] = 7
    (folder / "trace.jsonl").write_text("".join([json.dumps(header) + "\n", *trace[1:]]))
    keeping.look(keeping.jobs_there(study, [one], tmp_path / "out"), lines.append)
    assert "what is measured after it is not" in lines[-1] and "samples = 7" in lines[-1]
    assert not (folder / control.CONTROL).is_file()


def test_a_control_goes_by_the_recipe_and_not_by_the_label():
    assert control.kind_of(Method("mine", "fixnoise", (("lr", 0.01),))) == "fixnoise"
    assert control.kind_of(Method("whole", "ui2i", (("swap", 0), ("lr", 0.01)))) == "ui2i-whole"
    assert control.kind_of(Method("ui2i-whole", "ui2i")) is None, "its finest layers are the source's"
    assert control.kind_of(Method("fixnoise", "ada")) is None


def test_what_follows_a_run_ends_no_study(told: Path, study: Study, tmp_path: Path):
    one, two = compare.listed(study)
    jobs = [Job(cell, str(told / "out"), "nowhere", study.trace, study.resources) for cell in (one, two)]
    lines, called = list[str](), list[str]()

    def done(jobs, say):
        yield from (Outcome(job.cell.key, "done") for job in jobs)

    def hook(job: Job, say) -> None:
        called.append(job.cell.key)
        raise ValueError("no such thing")

    found = list(keeping.keeping(done, tmp_path / "kept", hook)(jobs, lines.append))
    assert [outcome.key for outcome in found] == called == [one.key, two.key]
    assert lines == [
        f"{key}: done, but what is measured after it is not: ValueError: no such thing" for key in called
    ]
    assert (place(tmp_path / "kept", two) / "result.json").is_file(), "and the cells are kept"
