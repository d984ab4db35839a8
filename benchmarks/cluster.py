"""A Ray cluster of several nodes on this machine: what is lost with a process, and what the cluster itself costs.

    nice -n 10 python benchmarks/cluster.py          (takes the extra [ray]; some six minutes on two busy cores)

Each node is a raylet of its own on the loopback, with a folder of its own for what its tasks write. Where the system
allows it (root, on Linux) it lives in a mount namespace in which an empty file system covers everything that the driver
has: study, source and pictures; so nothing can come or go but through Ray. Runs are those of a toy of 16 px seen
through toy eyes, a few seconds each. "Lost" are runs that did not end, or whose domain or trace differs in a bit
from what one process gives. Writes benchmarks/results/cluster.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from heading import RESULTS, ROOT, heading, write

sys.path.insert(0, str(ROOT / "tests"))

from PIL import Image

from lab import eyes
from lab.eyes import use_toy_eyes
from stylegraft.checkpoints import save_source
from stylegraft.lab import cluster, compare
from stylegraft.lab.cell import Outcome
from stylegraft.lab.record import place
from stylegraft.lab.study import Resources, Study
from stylegraft.lab.studyfile import read
from stylegraft.lab.trace import read_trace

STEPS, SLEEP, EMPTY = 60, 3.0, 100  # of a toy run; seconds of a run that waits; runs that do nothing
WAIT = 240  # seconds after which a study is given up

HEAD = """
source = "{folder}/toy.safetensors"
targets = [{{images="{folder}/pictures", align="off", label="mine"}}]
spaces = ["stylespace"]
shots = [4]
batch = 2
steps = {steps}
"""
TAIL = """
[trace]
every = 15
samples = 6
encoder = "random-tiny"
[resources]
cpu = 1
"""
GOOD = '{recipe="tgan", set={warmup=0}, label="good"}'
WILD = '{recipe="tgan", set={warmup=0, lr=1e30}, label="wild"}'
DOOMED = '{recipe="tgan", set={warmup=0}, label="doomed"}'


# What a worker does
# --------------------------------------------------------------------------------------------


def in_workers(mode: str, sleep: float) -> Callable[[], None]:
    """What every worker does first: toy eyes, a parcel at every look; `doomed` runs kill their process. Mode `wait`: a
    run waits in place of computing, and notes which GPUs it was shown.
    """

    def hook() -> None:
        use_toy_eyes(pytest.MonkeyPatch())
        Resources.device = property(lambda self: "cpu")
        cluster.SEND_SECONDS = 0.0
        kept = cluster.work

        def work(job: Any, say: Callable[[str], None]) -> Outcome:
            started = time.time()
            if mode == "wait":
                time.sleep(sleep)
                job.folder.mkdir(parents=True, exist_ok=True)
                (job.folder / "domain.safetensors").write_bytes(bytes(30_000))
                seen = {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "from": started, "to": time.time()}
                return Outcome(job.cell.key, "done", json.dumps(seen), time.time() - started)
            if job.cell.method.label == "doomed":
                os.kill(os.getpid(), signal.SIGKILL)
            return kept(job, say)

        cluster.work = work

    return hook


def drive(task: dict[str, Any]) -> None:
    """The driver, in a process of its own: run a study on the cluster, and write how it ended."""
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(eyes)
    use_toy_eyes(pytest.MonkeyPatch())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    hook = {"worker_process_setup_hook": in_workers(task["mode"], task["sleep"])}
    ray.init(address=task["address"], runtime_env=hook, log_to_driver=False, logging_level="ERROR")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    study, out = read(Path(task["study"])), Path(task["out"])
    said: list[str] = []
    started = time.perf_counter()
    found = compare.run(study, out, runner=cluster.on_ray(task["address"]), say=said.append)
    told = {
        "seconds": time.perf_counter() - started,
        "said": said,
        "outcomes": {one.key: [one.state, one.text] for one in found},
    }
    Path(task["told"]).write_text(json.dumps(told))


# The cluster
# --------------------------------------------------------------------------------------------


@dataclass
class Nodes:
    """A head without CPUs, where the driver is, and raylets that come and go."""

    home: Path
    hidden: bool
    port: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def driver(self) -> Path:
        """Everything that no other node sees."""
        return self.home / "driver"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, name: str, *options: str) -> None:
        """A node in the background; the first is the head."""
        own = self.home / name
        own.mkdir(exist_ok=True)
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
        if self.running:
            command += [f"--address={self.address}"]
            if self.hidden:
                cover = 'mount -t tmpfs none "$0" && exec "$@"'
                command = ["unshare", "-m", "sh", "-c", cover, str(self.driver), *command]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            command += ["--head", f"--port={self.port}", "--include-dashboard=false"]
            command += [f"--temp-dir={self.home / 'ray'}", "--num-cpus=0"]
        env = {**os.environ, "TMPDIR": str(own), "OMP_NUM_THREADS": "1"}
        self.running[name] = subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=(own / "err").open("ab"),
            start_new_session=True,
        )

    def wait(self, count: int) -> None:
        """Until so many nodes beside the head are alive."""
        code = (
            "import ray, sys, time\n"
            "for _ in range(60):\n"
            "    try:\n"
            f"        ray.init(address='{self.address}', logging_level='ERROR', log_to_driver=False)\n"
            "        break\n"
            "    except Exception: time.sleep(1)\n"
            "for _ in range(240):\n"
            f"    if sum(node['Alive'] for node in ray.nodes()) == {count + 1}: sys.exit(0)\n"
            "    time.sleep(0.5)\n"
            "sys.exit(1)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=180)

    def workers(self, names: list[str]) -> list[int]:
        """Processes that have a run just now."""
        found = [path for name in names for path in (self.home / name).glob("stylegraft-*/study/cells")]
        pids = [int(path.parts[-3].rpartition("-")[0].rpartition("-")[2]) for path in found]
        return [pid for pid in pids if alive(pid)]

    def desks(self) -> list[int]:
        """The processes of desks; Ray names a process after what it runs."""
        found = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if line.read_text().startswith("ray::Desk") and self.ours(int(line.parent.name)):
                    found.append(int(line.parent.name))
        return found

    def ours(self, pid: int) -> bool:
        """Whether a process is one of this cluster's."""
        with suppress(OSError):
            return str(self.home).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        return False

    def raylet(self, name: str) -> int:
        """The raylet's process, found among those of its session."""
        session = self.running[name].pid
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                told = status.read_text()
                fields = told.rpartition(")")[2].split()
                if "(raylet)" in told and int(fields[3]) == session:
                    return int(status.parent.name)
        raise RuntimeError(f"{name}: no raylet")

    def end(self, name: str) -> None:
        """A node leaves."""
        os.kill(self.raylet(name), signal.SIGKILL)
        self.running.pop(name).wait(60)

    def stop(self) -> None:
        """End what was started here: every process of each node's session."""
        sessions = {one.pid for one in self.running.values()}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for status in Path("/proc").glob("[0-9]*/stat"):
                with suppress(OSError):
                    if int(status.read_text().rpartition(")")[2].split()[3]) in sessions:
                        os.kill(int(status.parent.name), number)
            time.sleep(2)
        for one in self.running.values():
            one.wait()


def alive(pid: int) -> bool:
    """Whether a process is there, and is no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def home() -> Iterator[Path]:
    """A folder for all, with a short name, as sockets want it."""
    folder = Path(tempfile.mkdtemp(prefix="sg-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def can_hide() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


# Studies
# --------------------------------------------------------------------------------------------


def inputs(folder: Path) -> None:
    """A toy source as a file, and ten pictures."""
    folder.mkdir()
    save_source(folder / "toy.safetensors", eyes.source(), torch.float32)
    (folder / "pictures").mkdir()
    for i, picture in enumerate(eyes.smooth(10)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / "pictures" / f"{i}.png")


def study_of(folder: Path, name: str, methods: list[str], seeds: int, **options: Any) -> Path:
    """A study file."""
    text = f'name = "{name}"\nrecipes = [{", ".join(methods)}]\nseeds = {seeds}\n'
    text += HEAD.format(folder=folder, steps=options.pop("steps", STEPS)) + TAIL
    text += "".join(f"{key} = {value}\n" for key, value in options.items())
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def same(study: Study, out: Path, whole: Path) -> list[str]:
    """The cells whose domain and trace are those of one process, bit by bit."""
    found = []
    for cell in compare.listed(study):
        a, b = (place(folder, cell) for folder in (out, whole))
        with suppress(OSError):
            domains = [(one / "domain.safetensors").read_bytes() for one in (a, b)]
            if domains[0] == domains[1] and read_trace(a).points == read_trace(b).points:
                found.append(cell.key)
    return found


@dataclass
class Driver:
    """A driver's process."""

    nodes: Nodes
    study: Path
    out: Path
    mode: str = "toy"
    sleep: float = SLEEP
    process: Any = None

    def begin(self) -> Driver:
        told = self.out.with_suffix(".json")
        told.unlink(missing_ok=True)
        task = {"address": self.nodes.address, "mode": self.mode, "sleep": self.sleep, "told": str(told)}
        task |= {"study": str(self.study), "out": str(self.out)}
        command = [sys.executable, __file__, "--drive", json.dumps(task)]
        self.process = subprocess.Popen(command, stderr=self.out.with_suffix(".err").open("ab"))
        return self

    def end(self) -> dict[str, Any]:
        if self.process.wait(WAIT):
            raise RuntimeError(self.out.with_suffix(".err").read_text()[-3000:])
        return json.loads(self.out.with_suffix(".json").read_text())

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait for something to be so; None where the driver has ended before."""
        while self.process.poll() is None:
            if found := what():
                return found
            time.sleep(0.05)
        return None


# Faults
# --------------------------------------------------------------------------------------------

NAMES = ["n1", "n2", "n3"]


@dataclass
class Campaign:
    """Studies under faults, each row of the table one kind of them."""

    nodes: Nodes
    whole: Path
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def study(self, name: str, methods: list[str], seeds: int, **options: Any) -> Driver:
        path = study_of(self.nodes.driver, name, methods, seeds, **options)
        return Driver(self.nodes, path, self.nodes.driver / f"out-{name}")

    def judge(self, row: str, tried: int, driver: Driver, told: dict[str, Any], **more: Any) -> None:
        """A row of the table, from what the last driver told of a study."""
        study = read(driver.study)
        cells = [cell.key for cell in compare.listed(study)]
        equal = same(study, driver.out, self.whole)
        again = sum("was begun again" in line for line in told["said"])
        self.rows[row] = {"tried": tried, "runs": len(cells), "lost": len(cells) - len(equal)}
        self.rows[row] |= {"runs begun again": again, "resumed": resumed(study, driver.out)}
        self.rows[row] |= {"seconds": round(told["seconds"], 1), **more}
        print(row, self.rows[row], flush=True)

    def victim(self, driver: Driver) -> int | None:
        """A worker in the middle of a run, after a parcel of it has come back."""
        workers = driver.until(lambda: self.nodes.workers(list(self.nodes.running)))
        if not workers:
            return None
        time.sleep(self.rng.uniform(0.5, 3.0))
        living = [pid for pid in workers if alive(pid)]
        return self.rng.choice(living) if living and driver.process.poll() is None else None

    def workers_killed(self, times: int) -> None:
        driver, tried = self.study("workers", [GOOD], 4).begin(), 0
        while tried < times and (pid := self.victim(driver)):
            os.kill(pid, signal.SIGKILL)
            tried += 1
            time.sleep(2)
        self.judge("a worker's process, SIGKILL", tried, driver, driver.end())

    def raylets_killed(self, times: int) -> None:
        driver, tried = self.study("raylets", [GOOD], 4).begin(), 0
        while tried < times and self.victim(driver):
            busy = [name for name in NAMES if self.nodes.workers([name])]
            if not busy:
                continue
            name = self.rng.choice(busy)
            os.kill(self.nodes.raylet(name), signal.SIGKILL)
            tried += 1
            self.nodes.running.pop(name).wait(30)
            self.nodes.start(name, "--num-cpus=1")
            time.sleep(3)
        self.judge("a whole raylet, SIGKILL", tried, driver, driver.end())
        self.nodes.wait(len(NAMES))

    def desk_killed(self, times: int) -> None:
        driver, tried = self.study("desk", [GOOD], 3).begin(), 0
        while tried < times and self.victim(driver):
            for pid in self.nodes.desks():
                os.kill(pid, signal.SIGKILL)
                tried += 1
            time.sleep(3)
        self.judge("the desk on the driver's machine, SIGKILL", tried, driver, driver.end())

    def driver_ended(self, row: str, name: str, number: int, times: int) -> None:
        driver, tried = self.study(name, [GOOD], 3).begin(), 0
        while tried < times and self.victim(driver):
            driver.process.send_signal(number)
            driver.process.wait(WAIT)
            tried += 1
            driver.begin()
        self.judge(row, tried, driver, driver.end())

    def failing(self) -> None:
        driver = self.study("failing", [DOOMED, WILD, GOOD], 1, retries=0, steps=30).begin()
        told = driver.end()
        words = {key.partition("/")[0]: value for key, value in told["outcomes"].items()}
        study = read(driver.study)
        good = [key for key in same(study, driver.out, self.whole_of(study)) if key.startswith("good")]
        self.rows["a run that always fails"] = {
            "tried": 2, "runs": 3, "lost": 1 - len(good), "doomed": words["doomed"], "wild": words["wild"],
        }  # fmt: skip
        print(self.rows["a run that always fails"], flush=True)

    def whole_of(self, study: Study) -> Path:
        """The same study, in this process."""
        out = self.whole.with_name(f"whole-{study.name}")
        use_toy_eyes(pytest.MonkeyPatch())
        compare.run(study, out, say=lambda line: None)
        return out


def resumed(study: Study, out: Path) -> int:
    """Runs that were not begun at their first step each time: what had come back was gone on with."""
    count = 0
    for cell in compare.listed(study):
        with suppress(OSError):
            config = json.loads((place(out, cell) / "config.json").read_text())
            count += any(session["from"] for session in config["sessions"])
    return count


# What it costs
# --------------------------------------------------------------------------------------------


def walls(campaign: Campaign, runs: int) -> dict[str, dict[str, Any]]:
    """Wall seconds of one study on three, two and one nodes of one CPU each, as the nodes go."""
    found: dict[str, dict[str, float]] = {}
    for count in (3, 2, 1):
        for kind in ("wait", "toy"):
            one = campaign.study(f"{kind}{count}", [GOOD], runs, steps=STEPS // 2)
            one.mode = kind
            seconds = one.begin().end()["seconds"]
            found.setdefault(kind, {})[str(count)] = round(seconds, 1)
            print(kind, count, round(seconds, 1), flush=True)
        if count > 1:
            campaign.nodes.end(NAMES[count - 1])
    return {
        kind: {"runs": runs, "seconds": row, "efficiency": {n: round(row["1"] / row[n] / int(n), 2) for n in row}}
        for kind, row in found.items()
    }  # fmt: skip


def gpus(campaign: Campaign) -> dict[str, Any]:
    """Runs that ask for a GPU, on a machine that pretends to have two."""
    campaign.nodes.start("gpus", "--num-cpus=2", "--num-gpus=2")
    campaign.nodes.wait(len(NAMES) + 1)
    driver = campaign.study("gpus", [GOOD], 4, gpu=1)
    driver.mode = "wait"
    told = driver.begin().end()
    seen = [json.loads(text) for _, text in told["outcomes"].values()]
    pairs = [
        (a, b) for i, a in enumerate(seen) for b in seen[:i] if a["from"] < b["to"] and b["from"] < a["to"]
    ]
    return {
        "runs": len(seen),
        "CUDA_VISIBLE_DEVICES": sorted(one["gpus"] for one in seen),
        "pairs at the same time": len(pairs),
        "of them on one GPU": sum(a["gpus"] == b["gpus"] for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drive", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "cluster.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.drive:
        drive(args.drive)
        return
    import ray

    # Ray lets no process in without the cluster's token; this one is of this cluster alone.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    began = time.perf_counter()
    with home() as folder:
        nodes = Nodes(folder, can_hide())
        inputs(nodes.driver)
        whole = nodes.driver / "whole"
        campaign = Campaign(nodes, whole)
        use_toy_eyes(pytest.MonkeyPatch())
        alone = read(study_of(nodes.driver, "whole", [GOOD], 4))
        compare.run(alone, whole, say=lambda line: None)
        result = heading() | {
            "ray": ray.__version__,
            "cores": os.cpu_count(),
            "driver's files hidden from the nodes": nodes.hidden,
            "steps of a run": STEPS,
        }

        def save(**rows: Any) -> None:
            result.update(rows)
            result["load"] = round(os.getloadavg()[2], 1)
            result["seconds"] = round(time.perf_counter() - began)
            write(args.out, result)

        try:
            nodes.start("head")
            time.sleep(5)
            for count, name in enumerate(NAMES, 1):  # raylets that start at once take each other's ports
                nodes.start(name, "--num-cpus=1")
                nodes.wait(count)
            for fault in (
                lambda: campaign.workers_killed(3),
                lambda: campaign.raylets_killed(1),
                lambda: campaign.failing(),
                lambda: campaign.driver_ended("the driver, SIGKILL, then again", "killed", signal.SIGKILL, 1),
                lambda: campaign.driver_ended("the driver, Ctrl-C, then again", "stopped", signal.SIGINT, 1),
                lambda: campaign.desk_killed(1),
            ):
                fault()
                save(faults=campaign.rows)
            save(gpus=gpus(campaign))
            nodes.end("gpus")
            empty = campaign.study("empty", [GOOD], EMPTY)
            empty.mode, empty.sleep = "wait", 0.0
            seconds = empty.begin().end()["seconds"]
            save(
                **{
                    "empty runs": {
                        "runs": EMPTY,
                        "seconds": round(seconds, 1),
                        "a run": round(seconds / EMPTY, 4),
                    }
                }
            )
            save(nodes=walls(campaign, runs=6))
        finally:
            nodes.stop()
    sys.exit(any(row["lost"] for row in campaign.rows.values()))


if __name__ == "__main__":
    main()
