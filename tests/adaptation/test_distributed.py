"""Two processes do what one does: the same gradients, the same losses, the same folder, whoever goes on with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stylegraft.adaptation.joining import join
from stylegraft.adaptation.meeting import agree, written
from stylegraft.adaptation.plan import spread
from stylegraft.adaptation.world import ALONE, World
from stylegraft.checkpoints import tensorfile
from stylegraft.cli.main import main
from stylegraft.errors import StylegraftError

from .pair import CASES, LONG, STEPS, go, gradients, losses
from .toys import fresh

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS), *(p for p in sys.path if p)])
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, toy_file: Path, toy_images: Path) -> Path:
    """Where two processes have left what `pair.py` says."""
    folder = tmp_path_factory.mktemp("pair")
    go(folder / "begun by one", 3)
    command = [sys.executable, str(TESTS / "adaptation/pair.py"), *map(str, (folder, toy_file, toy_images))]
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [
        subprocess.Popen(
            command,
            env=os.environ | meeting | {"RANK": str(rank), "OMP_NUM_THREADS": "1", "PYTHONPATH": PATH},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
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


@pytest.mark.parametrize("case", LONG)
def test_the_losses_are_those_of_one_process(case: str, found: dict[str, Any], one_losses: dict[str, Any]):
    for ours, theirs in zip(one_losses[case], found["losses"][case], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5), ours["step"]
    assert {"D/grad.r1", "G/grad.pl", "ada_p"} <= set(one_losses[case][16])
    assert one_losses[case][STEPS - 1]["ada_p"] != one_losses[case][0]["ada_p"]


@pytest.fixture(scope="module")
def one_losses() -> dict[str, list[dict[str, float]]]:
    """The losses of one process."""
    return {name: losses(case) for name, case in LONG.items()}


def test_either_number_of_processes_goes_on_with_the_run_of_the_other(pair: Path, tmp_path: Path):
    go(tmp_path / "whole", 6)
    go(pair / "begun by two", 6)
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
    assert steps == list(range(6))


def test_a_killed_process_costs_an_elastic_run_nothing(
    pair: Path, toy_file: Path, toy_images: Path, tmp_path: Path
):
    out, flags = (
        tmp_path / "run",
        "--recipe dcl --space affine-light+ --every 2 --align off --set warmup=0 --steps 6",
    )
    launch = "--standalone --nproc-per-node 2 --max-restarts 1 -m stylegraft adapt"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *launch.split(),
            toy_file,
            toy_images,
            *flags.split(),
            "--out",
            out,
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": PATH},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not (out / "previews" / "step-000002.png").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        (victim,) = [pid for pid, rank in ranks_under(process.pid) if rank == "1"]
        os.kill(victim, signal.SIGKILL)
        said = process.communicate(timeout=240)[1]
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "continuing at step" in (out / "log.txt").read_text(), said
    calm, killed = state_of(pair / "calm"), state_of(out)
    assert calm.keys() == killed.keys()
    assert all(torch.equal(calm[name], killed[name]) for name in calm)
    steps = [json.loads(line)["step"] for line in (out / "stats.jsonl").read_text().splitlines()]
    assert steps == list(range(6))


def ranks_under(parent: int) -> Iterator[tuple[int, str]]:
    """(pid, RANK) of the processes that torchrun has started."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                variables = (path / "environ").read_text().split("\0")
                yield int(path.name), next((v[5:] for v in variables if v.startswith("RANK=")), "")
        except OSError:
            continue


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


def test_a_process_that_was_given_something_else_is_refused(monkeypatch: pytest.MonkeyPatch):
    config = {
        "source": {"sha256": "a"},
        "target": {"held_out": 0},
        "recipe": {"lr": 0.002},
        "space": "full",
        "seed": 0,
    }
    first = {"config": written(config)}
    monkeypatch.setattr(World, "from_first", lambda world, find: first)
    agree(World(1, 2), config)
    first = {"config": written(config | {"seed": 3})}
    with pytest.raises(
        StylegraftError, match=r"process 1 of 2 has seed = 0, and process 0 has 3: expected the same"
    ):
        agree(World(1, 2), config)


def test_each_process_speaks_for_itself_and_process_0_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    waited: list[float] = []
    monkeypatch.setattr("stylegraft.cli.main.time.sleep", waited.append)
    for rank in ("0", "1"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert main(["sample", "faces-64"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: sample: runs in one process; torchrun is for adapt",
        "error: process 1: sample: runs in one process; torchrun is for adapt",
    ]
    assert len(waited) == 1


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(StylegraftError, match=r"--device cuda:1: each process takes a GPU of its own"):
        join("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(StylegraftError, match=r"process 2 on this machine, where torch sees 1 GPUs"):
        join("cuda")
