"""What `faults.py` runs and how it breaks it: toy activities in forks, and the faults."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from lab import eyes  # noqa: E402  # pyright: ignore[reportMissingImports]
from stylegraft.adaptation import loop, run  # noqa: E402
from stylegraft.adaptation.place import PREVIOUS, SAVED  # noqa: E402
from stylegraft.checkpoints import Source, save_source, tensorfile  # noqa: E402
from stylegraft.errors import StylegraftError  # noqa: E402
from stylegraft.lab import cell, compare  # noqa: E402
from stylegraft.lab.panel import Settings  # noqa: E402
from stylegraft.lab.replay import replay  # noqa: E402
from stylegraft.lab.studyfile import parse  # noqa: E402
from stylegraft.lab.trace import Tracer, read_trace  # noqa: E402
from stylegraft.networks.discriminator import build_discriminator  # noqa: E402
from stylegraft.networks.generator import build_generator  # noqa: E402

NOBODY = 65534
SIZES = {"resolution": 16, "img_channels": 3, "channel_base": 128, "channel_max": 8}
STEPS = 4
STUDY = """
name = "toy"
source = "{source}"
targets = [{{images="{images}", align="off", label="mine"}}]
recipes = [{{recipe="tgan", set={{warmup=0, r1_gamma=0.0, pl_weight=0.0}}}}]
spaces = ["stylespace"]
shots = [4]
seeds = 1
steps = 2
batch = 2
[trace]
every = 1
samples = 6
encoder = "random-tiny"
"""
MINE = (SAVED, PREVIOUS, "domain.safetensors", "config.json", "stats.jsonl")


class Lost(Exception):
    """A try did not end as promised."""


# What is run
# --------------------------------------------------------------------------------------------


class Bench:
    """A toy source and pictures, and of each activity an unbroken run. loud: failures are told at length."""

    def __init__(self, scratch: Path, loud: bool = False) -> None:
        self.scratch, self.loud = scratch, loud
        scratch.chmod(0o755)
        patch = pytest.MonkeyPatch()
        eyes.use_toy_eyes(patch)
        patch.setattr(run, "SAVE_SECONDS", 0.1)
        torch.manual_seed(0)
        sizes = {"z_dim": 8, "w_dim": 8, "c_dim": 0, "mapping_layers": 1, **SIZES}
        g = build_generator({"architecture": "stylegan2", **sizes})
        d = build_discriminator({**SIZES, "mbstd_group_size": 2})
        save_source(scratch / "toy.safetensors", Source("toy", g, d, {}), torch.float32)
        cell.commit()  # a fork that is another user is not told
        self.source = cell.source_of(str(scratch / "toy.safetensors"), "cpu")
        (scratch / "pictures").mkdir()
        self.images = eyes.smooth(6)
        for i, image in enumerate(self.images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(scratch / "pictures" / f"{i}.png")
        text = STUDY.format(source=scratch / "toy.safetensors", images=scratch / "pictures")
        self.study = parse(text, scratch / "study.toml")
        self._unbroken: dict[str, tuple[dict[str, str], float, int]] = {}

    def unbroken(self, activity: str) -> tuple[dict[str, str], float, int]:
        """What an unbroken run leaves, its seconds, and how many operations on files it takes."""
        if activity not in self._unbroken:
            folder = fresh(self, activity, self.scratch / f"unbroken-{activity}")
            count = self.scratch / f"count-{activity}"
            count.write_text("0")
            (self.scratch / "modules").write_text("")
            started = time.monotonic()
            expect(start(self, activity, folder, lambda: watch(folder, counting(count))), 0)
            for name in (folder.parent / "modules").read_text().split():
                with contextlib.suppress(Exception):
                    import_module(name)  # a fork that is another user could not
            self._unbroken[activity] = left(folder), time.monotonic() - started, int(count.read_text())
        return self._unbroken[activity]

    def points(self, activity: str) -> int:
        """Operations on files in an unbroken run."""
        return self.unbroken(activity)[2]


def train(bench: Bench, folder: Path, **options: Any) -> None:
    base = {
        "recipe": "tgan",
        "space": "stylespace",
        "warmup": 0,
        "batch": 2,
        "r1_gamma": 0.0,
        "pl_weight": 0.0,
    }
    base |= {
        "augment": "brightness",
        "ada_kimg": 0.01,
        "steps": STEPS,
        "every": 100,
        "quiet": True,
        "out": folder / "run",
    }
    run.adapt(bench.source, bench.images, **base | options)


def trace(bench: Bench, folder: Path) -> None:
    tracer = Tracer(folder / "run", Settings(samples=8), every=2, say=lambda _: None)
    train(bench, folder, observer=tracer)
    tracer.finish()


def repeat(bench: Bench, folder: Path) -> None:
    """The trace of a run that was trained without one."""
    replay(folder / "run", Settings(samples=8), source=bench.source, every=2, say=lambda _: None)


def study(bench: Bench, folder: Path) -> None:
    """As `stylegraft compare` does it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    said: list[str] = []
    outcomes = compare.run(bench.study, folder / "run", say=said.append)
    if bad := [one.text for one in outcomes if one.state != "done"]:
        raise StylegraftError(bad[0])


def skipping(bench: Bench, folder: Path) -> None:
    """Losses of two steps are not finite, and are left out."""
    poison({1, 3}, "G", float("nan"), gradient=False)
    train(bench, folder, nonfinite="skip", every=2)


def commands(bench: Bench, folder: Path) -> None:
    """The command line in a process of its own, in the place of this fork."""
    line = [
        bench.scratch / "toy.safetensors",
        bench.scratch / "pictures",
        "--align",
        "off",
        "--recipe",
        "tgan",
    ]
    line += [
        "--space",
        "stylespace",
        "--steps",
        "30",
        "--batch",
        "2",
        "--every",
        "5",
        "--out",
        folder / "run",
    ]
    os.environ |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    os.execv(sys.executable, [sys.executable, "-m", "stylegraft", "adapt", *map(str, line)])


ACTIVITIES: dict[str, Callable[[Bench, Path], None]] = {
    "training": train,
    "saving": lambda bench, folder: train(bench, folder, every=1),
    "tracing": trace,
    "repeating": repeat,
    "comparing": study,
    "skipping": skipping,
    "commands": commands,
}


def fresh(bench: Bench, activity: str, folder: Path) -> Path:
    """An empty folder for an activity, or with the run that it repeats."""
    if folder.exists():
        tidy(folder)
    folder.mkdir()
    if activity == "repeating":
        bench.unbroken("training")
        shutil.copytree(bench.scratch / "unbroken-training" / "run", folder / "run")
    return folder


def left(folder: Path) -> dict[str, str]:
    """What there is of a run or study, without what may differ: times, sessions, log, and the state before."""
    found = {}
    for path in sorted((folder / "run").rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name in (".lock", PREVIOUS, "log.txt", "config.json"):
            continue
        if path.name == SAVED:
            tensors, texts = tensorfile.read(path)
            what: Any = tensorfile.digest(tensors, {"numbers": texts["numbers"]})
        elif path.name == "stats.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            what = [{key: v for key, v in one.items() if not key.startswith("time/")} for one in lines]
        elif path.name == "trace.jsonl":
            told = read_trace(path.parent)
            what = {key: v for key, v in told.header.items() if key != "machine"}, told.points
        elif path.name == "result.json":
            told = json.loads(path.read_text())
            what = {
                key: v
                for key, v in told.items()
                if "seconds" not in key and key not in ("peak memory", "machine")
            }
        else:
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        found[name] = json.dumps(what)
    return found


def same(bench: Bench, activity: str, folder: Path) -> None:
    """Raise Lost where a run differs from the unbroken one, or has left half a file."""
    whole, mine = bench.unbroken(activity)[0], left(folder)
    for name in whole:
        if mine.get(name) != whole[name]:
            raise Lost(f"{name} {'differs' if name in mine else 'is missing'}")
    for name in sorted(set(mine) - set(whole)):
        if not ("/previews/" in name or (name.endswith(".tmp") and activity == "comparing")):
            raise Lost(f"{name} is left over")


# How it is run
# --------------------------------------------------------------------------------------------


class Child:
    """A fork that runs an activity. `said` is what it has written."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self.log = pid, log

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.is_file() else ""

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def over(self) -> bool:
        """Whether it has ended, without reaping it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start(bench: Bench, activity: str, folder: Path, before: Callable[[], object] = lambda: None) -> Child:
    """Begin an activity in a fork. Its status: 0 done, 2 refused in a line, 130 stopped, 1 anything else."""
    log = bench.scratch / f"said-{time.monotonic_ns()}"
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log)
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        ACTIVITIES[activity](bench, folder)
        if "unbroken" in folder.name:
            (bench.scratch / "modules").write_text("\n".join(sys.modules))
        status = 0
    except StylegraftError as error:
        os.write(2, f"error: {error}\n".encode())
        status = 2
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def expect(child: Child, *statuses: int, words: str = "") -> str:
    """Wait for a child; raise Lost where it ends otherwise, or refuses in other words or more than a line."""
    status = child.wait()
    said = child.said
    child.log.unlink(missing_ok=True)
    if status not in statuses:
        raise Lost(f"ended with {status}, expected {statuses}: {said[-800:]}")
    line = said.strip().splitlines()[-1] if said.strip() else ""
    if status == 2 and not (line.startswith("error: ") and words in line):
        raise Lost(f"refused without the words {words!r}: {said[-800:]}")
    return said


def finish(bench: Bench, activity: str, folder: Path) -> str:
    """Repeat the command to its end, and compare."""
    said = expect(start(bench, activity, folder), 0)
    same(bench, activity, folder)
    return said


def moment(bench: Bench, activity: str, rng: random.Random) -> float:
    """A moment in the activity."""
    return rng.random() * bench.unbroken(activity)[1]


def broken_off(
    bench: Bench, activity: str, rng: random.Random, folder: Path, number: int, *statuses: int
) -> None:
    """Send a signal at a random moment; where it comes too late, to a fresh run."""
    while True:
        child = start(bench, activity, folder)
        time.sleep(moment(bench, activity, rng))
        if child.over():
            expect(child, 0)
            fresh(bench, activity, folder)
            continue
        child.kill(number)
        if (status := child.wait()) not in (0, *statuses):
            raise Lost(f"ended with {status}: {child.said[-800:]}")
        if status or 0 in statuses:
            return
        fresh(bench, activity, folder)


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def watch(folder: Path, hear: Callable[[], None]) -> None:
    """Call `hear` before every operation that writes below a folder: opening, moving, making, removing."""
    root = str(folder.resolve())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            mode, flags = args[1], args[2]
            if not (set(mode) & set("wax+") if isinstance(mode, str) else flags & WRITES):
                return
        elif event not in (
            "os.rename",
            "os.link",
            "os.mkdir",
            "os.remove",
            "os.rmdir",
            "os.truncate",
            "shutil.rmtree",
        ):
            return
        if isinstance(args[0], (str, bytes, os.PathLike)) and os.fsdecode(args[0]).startswith(root):
            hear()

    sys.addaudithook(hook)


def counting(path: Path) -> Callable[[], None]:
    """Write down how many there were."""
    count = 0

    def hear() -> None:
        nonlocal count
        count += 1
        path.write_text(str(count))

    return hear


def at(k: int, do: Callable[[], object], onwards: bool = False) -> Callable[[], None]:
    """Do something before operation k (and all that follow)."""
    count = -1

    def hear() -> None:
        nonlocal count
        count += 1
        if count == k or (onwards and count > k):
            do()

    return hear


def poison(steps: set[int], owner: str, what: float, gradient: bool) -> None:
    """Losses (or a gradient) of some steps are not finite."""
    kept = loop.backward

    def spoilt(state: Any, acting: Any, *part: Any) -> Any:
        losses, signs = kept(state, acting, *part)
        if state.step in steps and acting[0].owner == owner:
            if gradient:
                next(iter(state.learners[owner].values())).grad.fill_(what)
            else:
                losses = losses | {acting[0].name: torch.tensor(what)}
        return losses, signs

    loop.backward = spoilt


def refuse(code: int) -> None:
    raise OSError(code, os.strerror(code))


def tidy(place: Path) -> None:
    """Remove what a try has left."""
    subprocess.run(["chattr", "-R", "-i", str(place)], capture_output=True)
    subprocess.run(["chmod", "-R", "u+rwX", str(place)], capture_output=True)
    shutil.rmtree(place)
