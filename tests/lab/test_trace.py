"""A traced run is trained as if nobody had looked; its trace does not depend on how often it was interrupted."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from stylegraft.adaptation.folder import open_folder, read_stats
from stylegraft.checkpoints import tensorfile
from stylegraft.errors import StylegraftError
from stylegraft.lab import panel as panels
from stylegraft.lab.page import read_data
from stylegraft.lab.panel import Panel, Settings
from stylegraft.lab.replay import replay
from stylegraft.lab.report import write_report
from stylegraft.lab.trace import FILE, Tracer, cadence, read_trace, spoken

from .eyes import SAMPLES, go, source, use_toy_eyes

STEPS = 6


@pytest.fixture(autouse=True)
def _toy_eyes(monkeypatch):
    use_toy_eyes(monkeypatch)


def tracer(out: Path, every: int = 2, **options) -> Tracer:
    return Tracer(
        out, options.pop("settings", Settings(samples=SAMPLES)), every=every, say=lambda _: None, **options
    )


def traced(out: Path, steps: int = STEPS, **options) -> Tracer:
    one = tracer(out)
    go(out, steps, observer=one, **options)
    one.finish()
    return one


def lines(out: Path) -> list[str]:
    return (out / FILE).read_text(encoding="utf-8").splitlines()


def untimed(out: Path) -> list[dict]:
    stats = read_stats(out / "stats.jsonl")
    return [{name: value for name, value in one.items() if not name.startswith("time/")} for one in stats]


def test_looking_changes_no_bit_of_a_run(tmp_path):
    traced(tmp_path / "traced")
    go(tmp_path / "plain", STEPS)
    assert untimed(tmp_path / "traced") == untimed(tmp_path / "plain")
    name = "domain.safetensors"
    assert (tmp_path / "traced" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    a, b = (tensorfile.read(tmp_path / run / "state.safetensors")[0] for run in ("traced", "plain"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_points_are_of_gs_steps_and_of_both_weights(tmp_path):
    traced(tmp_path, 5)
    trace = read_trace(tmp_path)
    steps = [0, 2, 4, 5]  # and the last, which is on no grid
    assert [(p["step"], p["weights"]) for p in trace.points] == [
        (s, w) for s in steps for w in ("ema", "raw")
    ]
    quality = trace.header["metrics"]["quality"]
    assert [step for step, _ in trace.series(quality)] == steps
    ema, raw = trace.at(0), trace.at(0, "raw")
    assert ema | {"weights": ""} == raw | {"weights": ""}  # before the first step they are one
    assert ema[quality] == trace.header["source"][quality]
    moved = "correspondence-toy@64"
    assert 0 < trace.at(2)[moved] < trace.at(2, "raw")[moved]  # the average lags
    assert sum(ema["clusters"]) == SAMPLES
    with pytest.raises(StylegraftError, match=r"no point of step 3 \(ema\); it has 0, 2, 4, 5"):
        trace.at(3)


def test_an_interrupted_trace_equals_an_unbroken_one(tmp_path, monkeypatch):
    traced(tmp_path / "whole")

    # Killed while the point of step 2 was measured, with half a line on the disk.
    out, calls, measure = tmp_path / "parts", [], Panel.measure

    def killed(self, network):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return measure(self, network)

    monkeypatch.setattr(Panel, "measure", killed)
    with pytest.raises(RuntimeError, match="killed"):
        go(out, STEPS, observer=tracer(out))
    assert len(lines(out)) == 4  # header, step 0 twice, step 2 averaged
    with (out / FILE).open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "weights": "raw", "p_tar')
    assert len(read_trace(out).points) == 3
    traced(out, 4)  # from the state before the first step, on
    traced(out)
    assert lines(out)[1:7] == lines(tmp_path / "whole")[1:7]
    assert (out / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()

    # A finished run is not measured again.
    before = (out / FILE).read_bytes()
    traced(out)
    assert (out / FILE).read_bytes() == before


def test_a_trace_of_another_run_or_panel_is_refused(tmp_path):
    traced(tmp_path / "run")
    with pytest.raises(StylegraftError, match=r"was measured with samples = 24, the command now asks for 30"):
        go(tmp_path / "run", 8, observer=tracer(tmp_path / "run", settings=Settings(samples=30)))
    with pytest.raises(StylegraftError, match=r"trace.jsonl: this run was started with seed = 0"):
        go(tmp_path / "other", observer=tracer(tmp_path / "run"), seed=1)
    (tmp_path / "run" / FILE).write_text('{"step": 0}\n')
    with pytest.raises(StylegraftError, match="its first line is no header of a trace; remove it"):
        read_trace(tmp_path / "run")
    with pytest.raises(StylegraftError, match="no such file; `stylegraft trace"):
        read_trace(tmp_path)


def test_a_run_that_ends_early_has_its_last_point(tmp_path):
    one = tracer(tmp_path, every=4)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, 8, observer=one, progress=lambda stats: interrupt(stats["step"] == 6))
    one.finish()
    assert [step for step, _ in read_trace(tmp_path).series("p_target-toy/folds")] == [0, 4, 5]


def interrupt(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGINT)


def test_the_grid():
    assert cadence(700) == [0, 50, 100, 200, 500, 700]
    assert cadence(5000) == [0, 50, 100, 200, 500, 1000, 1500, 2000, 3000, 4000, 5000]
    assert cadence(250, 100) == [0, 100, 200, 250]
    assert cadence(250, 100, [150, 300]) == [0, 100, 150, 200, 250]
    with pytest.raises(StylegraftError, match="--trace-every 0"):
        Tracer(".", every=0)


def test_the_full_metric_stands_at_its_steps_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "FULL_SAMPLES", 30)
    one = tracer(tmp_path, every=4, full_at=[2])
    go(tmp_path, 4, observer=one)
    trace = read_trace(tmp_path)
    assert trace.header["full"] == "intra-toy@256/30"
    assert [step for step, _ in trace.series("intra-toy@256/30")] == [2]
    assert sum(trace.at(2)["clusters/30"]) == 30
    assert sum(trace.at(2)["clusters"]) == SAMPLES


# Of a run that was trained without one
# ------------------------------------------------------------------------------------------------------------


def test_a_replayed_trace_equals_a_recorded_one_and_leaves_the_run_alone(tmp_path):
    traced(tmp_path / "whole", 5)
    out, said = tmp_path / "run", list[str]()
    go(out, 5)
    before = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    settings = Settings(samples=SAMPLES)
    replay(out, settings, source=source(), every=2, say=said.append)
    assert (out / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert "ends in domain.safetensors, bit for bit" in said[-1]
    assert any("repeating 7 steps, which took" in line for line in said)
    after = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert after.pop(Path(FILE))
    assert after == before

    # Again, and a kill has left half of what was to be removed: nothing is left to do.
    said.clear()
    for name in (".trace", ".trace.done"):
        (out / name / "previews").mkdir(parents=True)
    replay(out, settings, source=source(), every=2, say=said.append)
    replay(out, every=2, say=said.append)
    assert said == [f"{out / FILE}: complete, 8 points"] * 2
    assert not list(out.glob(".trace*"))
    with open_folder(out), pytest.raises(StylegraftError, match="another process is writing to this run"):
        replay(out, settings, source=source(), every=2)
    with pytest.raises(StylegraftError, match="was measured with samples = 24, the command now asks for 200"):
        replay(out, source=source(), every=3)


def test_an_interrupted_replay_goes_on(tmp_path, monkeypatch):
    traced(tmp_path / "whole")
    out, calls, measure = tmp_path / "run", [], Panel.measure
    go(out, STEPS)

    def stopped(self, network):
        calls.append(1)
        interrupt(len(calls) == 3)
        return measure(self, network)

    monkeypatch.setattr(Panel, "measure", stopped)
    options = {"source": source(), "every": 2, "say": lambda _: None}
    with pytest.raises(KeyboardInterrupt):
        replay(out, Settings(samples=SAMPLES), **options)
    assert (out / ".trace" / "state.safetensors").is_file()
    replay(out, Settings(samples=SAMPLES), **options)
    assert (out / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert not (out / ".trace").exists()


def test_pictures_that_were_held_out_and_the_best_point_do_not_confuse_a_replay(tmp_path, monkeypatch):
    monkeypatch.setattr("stylegraft.adaptation.watch.SAMPLES", 8)
    monkeypatch.setattr("stylegraft.adaptation.watch.load_encoder", panels.load_encoder)
    monkeypatch.setattr(
        "stylegraft.adaptation.watch.load_distance", lambda name, state: panels.load_lpips("", "")
    )
    go(tmp_path, 6, hold_out=2, keep="best")
    said: list[str] = []
    replay(tmp_path, Settings(samples=SAMPLES), source=source(), say=said.append)
    assert "bit for bit" in said[-1]
    assert read_trace(tmp_path).header["run"]["target"]["held_out"] == 2


def test_a_replay_over_another_source_is_refused(tmp_path, toy_file):
    go(tmp_path, 2)
    with pytest.raises(StylegraftError, match="its source 'toy' does not ship with stylegraft"):
        replay(tmp_path)
    with pytest.raises(StylegraftError, match="is another one .* give its own with --source"):
        replay(tmp_path, source=toy_file)
    with pytest.raises(StylegraftError, match="not a run"):
        replay(tmp_path / "nothing")


def test_a_report_holds_the_numbers_that_it_draws(tmp_path):
    traced(tmp_path)
    data = read_data(write_report(tmp_path))
    assert data["points"] == json.loads(json.dumps(read_trace(tmp_path).points))
    assert data["config"]["recipe"]["name"] == "tgan"
    assert [step for step, _ in data["losses"]["D/adv"]] == list(range(-1, 7))
    assert [step for step, _ in data["losses"]["G/adv"]] == list(range(1, 7))


def test_p_target_is_told_between_its_ends():
    point = {"step": 5, "weights": "ema", "p_target-toy": 0.5, "intra-toy@64/24": 0.25, "clusters": [1]}
    metrics = {"quality": "p_target-toy", "diversity": "intra-toy@64/24", "kid": "kid-toy"}
    anchors = {"p_real": 0.97, "p_source": 0.031, "accuracy": 1.0}
    assert spoken(point, metrics, anchors) == [
        "p_target-toy 0.500 (p(source) 0.03; p(real) 0.97)",
        "intra-toy@64/24 0.250",
    ]
    assert spoken(point, metrics, None)[0] == "p_target-toy 0.500"
