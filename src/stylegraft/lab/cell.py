"""One cell of a study: an `adapt` with a tracer, and what is left of it (`lab.record` says where)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch

from stylegraft.adaptation.folder import make_folder, open_folder, read_stats
from stylegraft.adaptation.place import PREVIOUS, begun, check_folder
from stylegraft.adaptation.plan import moving, peak_memory
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sameness import machine
from stylegraft.atomic import write_json
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.lab.panel import Panel, Settings
from stylegraft.lab.record import RESULT, VERSION, failure, place
from stylegraft.lab.study import Cell, Method, Resources, StudyTarget, Tracing
from stylegraft.lab.targets import opened
from stylegraft.lab.trace import Tracer, read_trace, spoken
from stylegraft.sources import load_source
from stylegraft.version import __version__

REACHED = 0.9  # p_target of the step that a result names

State = Literal["done", "refused", "failed", "busy"]


@dataclass(frozen=True)
class Job:
    """A cell with what its run needs. out: the study's folder; target: of the prepared target; both absolute."""

    cell: Cell
    out: str
    target: str
    trace: Tracing
    resources: Resources

    @property
    def folder(self) -> Path:
        """The run folder."""
        return place(Path(self.out), self.cell)

    def to_json(self) -> str:
        """As one line of text, which `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> Job:
        """What `to_json` wrote."""
        told = json.loads(text)
        cell, trace = told.pop("cell"), told.pop("trace")
        method, target = cell.pop("method"), cell.pop("target")
        changes = tuple(map(tuple, method.pop("changes")))
        return Job(
            Cell(method=Method(**method, changes=changes), target=StudyTarget(**target), **cell),
            trace=Tracing(trace["every"], tuple(trace["full_at"]), tuple(map(tuple, trace["settings"]))),
            resources=Resources(**told.pop("resources")),
            **told,
        )


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: done; refused, by the library, before its first step; failed; or busy, in another process.

    text: its numbers, or why. again: whether another try could end otherwise.
    """

    key: str
    state: State
    text: str = ""
    seconds: float = 0.0
    again: bool = False


def work(job: Job, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Run a cell to its end, or further than it was; write its result, or why there is none.

    Ctrl-C saves, and is passed on.
    """
    folder, key, started = job.folder, job.cell.key, perf_counter()
    if why := busy(folder):
        return Outcome(key, "busy", why)
    try:
        result = run(job, say)
    except StylegraftError as error:
        if why := busy(folder):
            return Outcome(key, "busy", why)
        outcome = Outcome(key, "failed" if begun(folder) else "refused", str(error), perf_counter() - started)
        return failed(outcome, folder)
    except Exception as error:
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        outcome = Outcome(key, "failed", said, perf_counter() - started, again=True)
        return failed(outcome, folder, traceback.format_exc())
    return Outcome(key, "done", summary(result), perf_counter() - started)


def run(job: Job, say: Callable[[str], None]) -> dict[str, Any]:
    """The life of a cell, in order: source and shots, the run with its tracer, the result."""
    cell, folder = job.cell, job.folder
    source = source_of(cell.source, job.resources.device)
    target = opened(Path(job.target))
    channels = source.generator.img_channels
    shots = target.shots(cell.shots, cell.draw, channels)
    if job.resources.cpu:
        torch.set_num_threads(job.resources.cpu)
    make_folder(folder.parent)
    tracer = _tracer(job, say)
    own = reset_peak(job.resources.device)
    started = perf_counter()
    adapt(
        source,
        shots,
        recipe=cell.method.recipe,
        space=cell.space,
        seed=cell.seed,
        out=folder,
        device=job.resources.device,
        quiet=True,
        observer=tracer,
        **cell.asked,
    )
    tracer.finish()
    _PANELS[_panel_key(job)] = tracer.panel
    memory = peak_memory(torch.device(job.resources.device)) if own else None
    result = report(job, tracer, shots.names, perf_counter() - started, memory)
    write_json(folder / RESULT, result)
    for path in (failure(folder), folder / PREVIOUS):  # of a study's many runs, one state each is enough
        path.unlink(missing_ok=True)
    return result


def report(
    job: Job, tracer: Tracer, names: tuple[str, ...], wall: float, memory: int | None
) -> dict[str, Any]:
    """What result.json holds."""
    cell, folder = job.cell, job.folder
    trace = read_trace(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    points = [point for point in trace.points if point["weights"] == "ema"]
    quality = trace.header["metrics"].get("quality")
    first = next((p["step"] for p in points if quality in p and p[quality] >= REACHED), None)
    stats = read_stats(folder / "stats.jsonl")
    training = sum(v for one in stats for name, v in one.items() if name.startswith("time/"))
    assert tracer.seen
    parameters, share = moving(tracer.seen[0])
    return {
        "version": VERSION,
        "key": cell.key,
        "asked": cell.asked,
        "config": {
            key: config[key] for key in ("source", "target", "space", "seed", "recipe") if key in config
        },
        "shots": {
            "draw": cell.draw,
            "count": len(names),
            "names": list(names),
            "pool": Path(job.target).name,
        },
        "metrics": trace.header["metrics"],
        "anchors": trace.header.get("anchors"),
        "points": points,
        f"first step with p_target >= {REACHED:g}": first,
        "steps": len(stats),
        "training seconds": round(training, 1),
        "last session seconds": round(wall, 1),
        "peak memory": memory,
        "parameters": parameters,
        "share of the generator": share,
        "bytes": (folder / "domain.safetensors").stat().st_size,
        "machine": {**machine(torch.device(job.resources.device)), "cpu model": processor()},
        "stylegraft": __version__,
        "commit": commit(),
    }


def summary(result: dict[str, Any]) -> str:
    """A line about a result: its last point."""
    if not result["points"]:
        return "no point"
    last = result["points"][-1]
    return ", ".join([f"step {last['step']}", *spoken(last, result["metrics"], result.get("anchors"))[:3]])


def busy(folder: Path) -> str | None:
    """Why the run folder cannot be entered now; None if it can."""
    try:
        check_folder(folder)
    except StylegraftError:
        return None  # not busy, and no run's folder: `adapt` refuses it
    try:
        with open_folder(folder) if folder.exists() else contextlib.nullcontext():
            return None
    except StylegraftError as error:
        return str(error)


def failed(outcome: Outcome, folder: Path, trace: str = "") -> Outcome:
    """Write down why a cell has no result; trace: of an error that nobody foresaw."""
    told = {
        "state": outcome.state,
        "error": outcome.text,
        "seconds": round(outcome.seconds, 1),
        "trace": trace,
    }
    make_folder(folder.parent)
    write_json(failure(folder), told)
    return outcome


# Kept between the cells of one process
# --------------------------------------------------------------------------------------------

_PANELS: dict[tuple[Any, ...], Panel | None] = {}


@lru_cache(maxsize=4)
def source_of(name: str, device: str) -> Source:
    """A source of a study, loaded once a process."""
    return load_source(name, device)


def _panel_key(job: Job) -> tuple[Any, ...]:
    return (
        job.cell.source,
        job.target,
        job.cell.shots,
        job.cell.draw,
        job.trace.settings,
        job.resources.device,
    )


def settings_of(job: Job) -> Settings:
    """The panel's settings; its reference is the target's."""
    folder = Path(job.target) / "reference"
    reference = str(folder) if opened(Path(job.target)).reference else None
    return Settings(**dict(job.trace.settings), reference=reference)


def _tracer(job: Job, say: Callable[[str], None]) -> Tracer:
    panel = _PANELS.get(_panel_key(job))
    if panel is None:
        _PANELS.clear()  # cells come in an order in which those of one panel follow each other
    return Tracer(
        job.folder, settings_of(job), every=job.trace.every, full_at=job.trace.full_at, panel=panel, say=say
    )


# Where and by what
# --------------------------------------------------------------------------------------------


def reset_peak(device: str) -> bool:
    """Begin the peak of memory anew, so that it is this run's; whether the system can."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def processor() -> str:
    """The model of the CPU, where the system tells; nothing else that names the machine."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of the checkout that runs, with `+` where it was changed; None for an installed package."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "."], capture_output=True, text=True)
    except OSError:
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if head.returncode == 0 else None
