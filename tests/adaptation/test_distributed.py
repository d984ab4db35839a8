"""Two processes do what one does: the same gradients, the same losses, the same folder, whoever goes on with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stylegraft.adaptation.joining import join
from stylegraft.adaptation.plan import spread
from stylegraft.adaptation.world import ALONE, World
from stylegraft.checkpoints import tensorfile
from stylegraft.cli.main import main
from stylegraft.errors import StylegraftError

from .pair import CASES, LONG, RUN, STEPS, go, gradients, losses
from .toys import fresh

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), *(p for p in sys.path if p)])
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills a process of several")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, toy_file: Path, toy_images: Path) -> Path:
    """Where two processes have left what `pair.py` says."""
    folder = tmp_path_factory.mktemp("pair")
    go(folder / "begun by one", 1)
    launch = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 1"
    script = [TESTS / "adaptation/pair.py", folder, toy_file, toy_images]
    done = subprocess.run(
        [sys.executable, *launch.split(), *map(str, script)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=[0, 1], ids=["process 0", "process 1"])
def found(request: pytest.FixtureRequest, pair: Path) -> dict[str, Any]:
    """What one of them has found."""
    return torch.load(pair / f"found-{request.param}.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, torch.Tensor]]:
    """The gradients of one process."""
    return {name: gradients(case) for name, case in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_gradients_are_those_of_one_process(case: str, found: dict[str, Any], alone: dict[str, Any]):
    ours, theirs = alone[case], found["gradients"][case]
    assert ours.keys() == theirs.keys()
    for phase in {name.partition("/")[0] for name in ours}:
        names = [name for name in ours if name.startswith(f"{phase}/")]
        whole, other = (torch.cat([of[name].flatten() for name in names]) for of in (ours, theirs))
        assert whole.norm() > 0, phase
        error = (other - whole).abs().max()
        assert error <= 1e-6 * max(1.0, float(whole.norm())), phase
        assert (other - whole).norm() <= 1e-5 * whole.norm(), phase


def test_the_losses_are_those_of_one_process(found: dict[str, Any], one_losses: list[dict[str, float]]):
    for ours, theirs in zip(one_losses, found["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5), ours["step"]
    assert {"D/grad.r1", "G/grad.pl", "ada_p"} <= set(one_losses[16])
    assert one_losses[STEPS - 1]["ada_p"] != one_losses[0]["ada_p"]


@pytest.fixture(scope="module")
def one_losses() -> list[dict[str, float]]:
    """The losses of one process."""
    return losses(LONG)


def test_what_one_process_cannot_learn_from_all_leave_out(pair: Path):
    ours, theirs = (torch.load(pair / f"found-{rank}.pt", weights_only=True)["skipping"] for rank in (0, 1))
    assert ours["skipped"] == theirs["skipped"]
    assert [one.partition(":")[0] for one in ours["skipped"]] == ["", "step 1", ""]
    assert ours["leaves"].keys() == theirs["leaves"].keys()
    for name, leaf in ours["leaves"].items():
        assert torch.equal(leaf, theirs["leaves"][name]), name
        assert leaf.isfinite().all(), name
    assert ours["said"] == theirs["said"]
    assert ours["said"].startswith("step 1: D/grad is ")


def test_all_refuse_what_one_was_given_and_process_0_was_not(found: dict[str, Any]):
    told = "process 1 of 2 has {} = {!r}, and process 0 has {!r}: expected the same command, "
    differ = ("seed", 1, 0), ("steps", 5, 4), ("nonfinite", "skip", "stop")
    agreed, *refused = found["refused"]
    assert agreed == ""
    for line, one in zip(refused, differ, strict=True):
        assert line.startswith(told.format(*one))


def test_either_number_of_processes_goes_on_with_the_run_of_the_other(pair: Path, tmp_path: Path):
    go(tmp_path / "whole", 2)
    go(pair / "begun by two", 2)
    whole = state_of(tmp_path / "whole")
    for name in ("begun by two", "begun by one"):
        mixed = state_of(pair / name)
        assert mixed.keys() == whole.keys()
        for tensor in whole:
            assert torch.allclose(mixed[tensor], whole[tensor], rtol=1e-4, atol=1e-5), (name, tensor)
        log = (pair / name / "log.txt").read_text()
        assert "processes" in log
        assert "equality is no longer bit for bit" in log
        assert [session["processes"] for session in config_of(pair / name)["sessions"]] == (
            [2, 1] if name == "begun by two" else [1, 2]
        )


def test_process_0_alone_writes(pair: Path):
    assert not (pair / "of the other process").exists()
    files = {path.name for path in (pair / "calm").iterdir()}
    assert {"state.safetensors", "domain.safetensors", "grid.png", "log.txt", "stats.jsonl"} <= files
    assert "2 processes, each 2 of a step's 4 images" in (pair / "calm" / "log.txt").read_text()
    steps = [json.loads(line)["step"] for line in (pair / "calm" / "stats.jsonl").read_text().splitlines()]
    assert steps == list(range(RUN))


def test_a_killed_process_costs_an_elastic_run_nothing(pair: Path):
    assert f"continuing at step 2 of {RUN}" in (pair / "killed" / "log.txt").read_text()
    calm, killed = state_of(pair / "calm"), state_of(pair / "killed")
    assert calm.keys() == killed.keys()
    assert all(torch.equal(calm[name], killed[name]) for name in calm)
    steps = [json.loads(line)["step"] for line in (pair / "killed" / "stats.jsonl").read_text().splitlines()]
    assert steps == list(range(RUN))


def state_of(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of a run's state."""
    return tensorfile.read(run / "state.safetensors")[0]


def config_of(run: Path) -> dict[str, Any]:
    """Its config."""
    return json.loads((run / "config.json").read_text())


# How a step is dealt, without any process
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize(("samples", "parts"), [(8, 1), (8, 2), (8, 8), (9, 3), (1, 1), (5, 2)])
@pytest.mark.parametrize("in_order", [False, True])
def test_every_sample_counts_once_in_any_world(size: int, samples: int, parts: int, in_order: bool):
    counted = []
    for rank in range(size):
        mine, share = World(rank, size).deal(samples, parts, in_order)
        for k in mine:
            first, step = share.own((k, parts))
            assert range(samples)[first::step], "nobody stands idle: who is left over does another's"
            counted += range(samples)[first::step] if share.counts else ()
    assert sorted(counted) == list(range(samples))


def test_a_world_of_one_asks_nobody():
    x = torch.randn(3, 2, requires_grad=True)
    parts, share = ALONE.deal(3, 1)
    assert share.whole(x) is x
    assert share.mean(x) is x
    assert (list(parts), share.own((0, 1)), ALONE.most(2)) == ([0], (0, 1), 2)


@pytest.mark.parametrize(
    ("size", "changes", "said"),
    [
        (1, {}, []),
        (2, {}, ["2 processes, each 2 of a step's 4 images"]),
        (3, {}, ["3 processes, each 2 of a step's 4 images", "warning: 2 of them share a step"]),
        (2, {"batch": 6, "micro": 2}, ["2 processes, each at most 2 of a step's 3 parts"]),
    ],
)
def test_the_plan_says_who_does_what(size: int, changes: dict[str, Any], said: list[str]):
    state = fresh("dcl", **changes)
    state.world = World(0, size)
    lines = spread(state)
    assert len(lines) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(lines, said, strict=True))


def test_each_process_speaks_for_itself_and_process_0_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    waited: list[float] = []
    monkeypatch.setattr("stylegraft.cli.main.time.sleep", waited.append)
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert main(["sample", "faces-64"]) == 2
    said = (
        "WORLD_SIZE=2 is set, as torchrun sets it: sample runs in one process; unset it, or start sample without "
        "torchrun, which is for adapt"
    )
    assert capsys.readouterr().err.splitlines() == [f"error: {said}", f"error: process 1: {said}"]
    assert len(waited) == 1


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(StylegraftError, match=r"--device cuda:1: each process takes a GPU of its own"):
        join("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(StylegraftError, match=r"process 2 on this machine, where torch sees 1 GPUs"):
        join("cuda")
