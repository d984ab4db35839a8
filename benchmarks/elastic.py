"""An elastic run that loses a machine and gets another: does it go on, and where does it end?

    nice -n 10 python benchmarks/elastic.py          (three minutes of two cores)

Two agents of torchrun stand for two machines, on the loopback, one process each, with one run folder. Once the run has
saved, the second agent and its process are killed (SIGKILL); the first goes on alone. After another save a new agent
comes, and both go on. The end is compared with that of one process, and so is that of two which nobody disturbed: sums
in another order grow apart in Adam. Writes benchmarks/results/elastic.json, and leaves with 1 if the run did not end,
or ended further away than TIMES the undisturbed two.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.checkpoints import tensorfile

STEPS, BATCH, TIMES = 30, 4, 3
LAUNCH = "-m torch.distributed.run"
PATIENCE = 400.0  # seconds for anything that is waited for


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "elastic.json")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        alone, calm, shared = (Path(folder) / name for name in ("alone", "calm", "shared"))
        two = [*LAUNCH.split(), "--standalone", "--nproc-per-node", "2"]
        for launch, run in (([], alone), (two, calm)):
            line = [sys.executable, *launch, *command(run)]
            subprocess.run(line, env=environment(), check=True, capture_output=True)
        worlds, waited = disturbed(shared)
        apart = {name: difference(alone, run) for name, run in (("undisturbed", calm), ("elastic", shared))}
        result = heading() | {
            "source": "faces-64",
            "steps": STEPS,
            "batch": BATCH,
            "processes of each session": worlds,
            "seconds to the next step": waited,
            "last step": reached(shared),
            "distance from one process, over the domain's own length": apart,
        }
    write(out, result)
    print(json.dumps(result, indent=1))
    ended = worlds == [2, 1, 2] and result["last step"] == STEPS - 1
    sys.exit(0 if ended and apart["elastic"] <= TIMES * apart["undisturbed"] else 1)


def command(folder: Path) -> list[str]:
    """The run; it saves with each preview, every second step."""
    words = f"-m stylegraft adapt faces-64 pencil --recipe tgan --space stylespace --batch {BATCH} --steps {STEPS}"
    return [*words.split(), "--every", "2", "--set", "warmup=0", "--seed", "0", "--out", str(folder)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def disturbed(folder: Path) -> tuple[list[int], list[float]]:
    """How many processes each session of the run had, and the seconds from each change to the first step after it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"{LAUNCH} --nnodes 1:2 --nproc-per-node 1 --max-restarts 3 --rdzv-backend c10d"
    launch = [*words.split(), "--rdzv-id", "elastic", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    agents: list[subprocess.Popen[bytes]] = []
    waited: list[float] = []

    def machine() -> None:
        log = (folder.parent / f"agent-{len(agents)}.log").open("wb")
        agents.append(
            subprocess.Popen(
                [sys.executable, *launch, *command(folder)], env=environment(), stderr=log, stdout=log
            )
        )

    def until_next(change: Callable[[], None]) -> None:
        """Make a change, and wait until the session that it brings about has taken a step and saved."""
        begun, before = time.monotonic(), len(sessions(folder))
        change()
        await_(
            lambda: len(sessions(folder)) > before and reached(folder) > begun_at(folder),
            agents,
            folder,
            waited,
        )
        waited.append(round(time.monotonic() - begun, 1))

    def both() -> None:
        machine()
        time.sleep(2)  # the first holds the meeting place, and is the one that stays
        machine()

    try:
        until_next(both)
        until_next(lambda: kill(agents[1].pid))
        until_next(machine)
        await_(lambda: agents[0].poll() is not None, [], folder, waited)
        if agents[0].returncode:
            raise SystemExit(told(folder))
    finally:
        for agent in agents:
            kill(agent.pid)
            agent.wait()
    return [session["processes"] for session in sessions(folder)], waited


def await_(
    happens: Callable[[], bool], agents: list[subprocess.Popen[bytes]], folder: Path, waited: list[float]
) -> None:
    """Wait for something. Raises SystemExit when it does not happen, or the first agent has ended before."""
    until = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > until or (agents and agents[0].poll() is not None):
            raise SystemExit(f"after {len(waited)} changes the elastic run has not gone on:\n{told(folder)}")
        time.sleep(0.2)


def told(folder: Path) -> str:
    """How many processes each session had, and the end of what each agent and its process have said."""
    logs = sorted(folder.parent.glob("agent-*.log"))
    ends = [f"{log.name}: {log.read_text(encoding='utf-8')[-2000:]}" for log in logs]
    return "\n\n".join([str([session["processes"] for session in sessions(folder)]), *ends])


def sessions(folder: Path) -> list[dict[str, Any]]:
    """What the run's config knows of those who took its steps."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("sessions", [])
    except (OSError, ValueError):
        return []


def begun_at(folder: Path) -> int:
    """The step at which the newest session began."""
    return int(sessions(folder)[-1]["from"])


def reached(folder: Path) -> int:
    """The last step of which the run has told."""
    try:
        lines = (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):
        return -1


def kill(agent: int) -> None:
    """End an agent of torchrun and its processes at once, as a machine ends that loses its power."""
    for pid in [agent, *children(agent)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def children(parent: int) -> Iterator[int]:
    """The processes that one has started, and theirs."""
    for found in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = found.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            yield int(found.parent.name)
            yield from children(int(found.parent.name))


def difference(one: Path, other: Path) -> float:
    """Of two runs' domains, all numbers together: the length of their difference over that of the first."""
    a, b = (tensorfile.read(run / "domain.safetensors")[0] for run in (one, other))
    assert a.keys() == b.keys()
    x, y = (torch.cat([tensors[name].double().flatten() for name in sorted(a)]) for tensors in (a, b))
    return float((x - y).norm() / x.norm())


if __name__ == "__main__":
    main()
