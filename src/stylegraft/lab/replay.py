"""The trace of a run that was trained without one: the run again, from what its folder keeps, looked at on the way.

A run is a function of its config and its training images, so nothing else is needed; of the run folder nothing is
written but trace.jsonl. The training is an ordinary run in RUN/.trace, which is why an interrupted one goes on, and
that folder is removed at the end. The run itself is locked meanwhile.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.folder import Folder, read_stats, training_images
from stylegraft.adaptation.lock import locked
from stylegraft.adaptation.run import adapt, judge_of
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain, base_tensors
from stylegraft.errors import StylegraftError
from stylegraft.lab.panel import Panel, Settings
from stylegraft.lab.report import read_config
from stylegraft.lab.trace import FILE, WEIGHTS, Tracer, cadence, read_trace
from stylegraft.sources import SOURCES, load_source

WORK, DONE = (
    ".trace",
    ".trace.done",
)  # the folder of the repeated run, in the run's; its name when it is removed


def replay(
    folder: str | Path,
    settings: Settings | None = None,
    *,
    source: str | Path | Source | None = None,
    every: int | None = None,
    full_at: Sequence[int] = (),
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
) -> None:
    """Record the trace of a run; what it has of it already is kept. Arguments as `trace.Tracer`; source: the one that
    the run stands on, None takes the shipped one of its name.

    Raises StylegraftError when the folder is no run or has taken no step of G, for another source, and for a trace
    that was measured otherwise, and while another process writes to the run; KeyboardInterrupt after saving, when
    stopped.
    """
    folder, say = Path(folder), say or (lambda line: print(line, file=sys.stderr, flush=True))
    read_config(folder)  # before a lock is made where no run is
    with locked(folder):
        Folder(folder).remove_temporaries()
        _replay(folder, settings, source, every, full_at, device, say)


def _replay(
    folder: Path,
    settings: Settings | None,
    source: str | Path | Source | None,
    every: int | None,
    full_at: Sequence[int],
    device: str,
    say: Callable[[str], None],
) -> None:
    config, stats = read_config(folder), read_stats(folder / "stats.jsonl")
    row = recipe_of(config, folder)
    steps = (stats[-1]["step"] + 1 if stats else 0) - row.warmup
    if steps < 1:
        raise StylegraftError(f"{folder}: G has taken no step in this run yet; let it go on first")
    settings = settings or Settings()
    found, lacks = remaining(folder, cadence(steps, every, full_at), full_at)
    if not lacks:
        discard(folder)  # what a kill may have left
    if not lacks and settings == Settings():
        say(f"{folder / FILE}: complete, {found} points")
        return
    base = base_of(folder, config, source)
    pictures = images_of(folder, config)
    panel = Panel(
        base.generator, pictures.images, settings, align=config["target"].get("align"), device=device
    )
    if (folder / FILE).is_file():
        panel.check(folder / FILE, read_trace(folder).header["panel"])
        if not lacks:
            say(f"{folder / FILE}: complete, {found} points")
            return
    if steps < row.steps:
        say(f"note: the run has taken {steps} of {row.steps} steps; so far goes its trace")
    say(f"repeating {steps + row.warmup} steps{seconds(stats)}, and {len(lacks)} points on the way")
    threads(config, say)
    tracer = Tracer(folder, settings, every=every, full_at=full_at, panel=panel, config=config, say=say)
    try:
        done = adapt(
            base,
            pictures,
            recipe=dataclasses.replace(row, steps=steps),
            space=config["space"],
            seed=config["seed"],
            out=folder / WORK,
            device=device,
            every=steps + row.warmup,
            nonfinite="skip" if any("skipped" in one for one in stats) else "stop",
            quiet=True,
            observer=tracer,
        )
    except KeyboardInterrupt:
        say("stopped and saved; the same command goes on")
        raise
    say(difference(done.domain, folder, base))
    discard(folder)


def discard(folder: Path) -> None:
    """Remove the repeated run; under another name first, so that half of it is never taken for a run."""
    if (folder / WORK).is_dir():
        shutil.rmtree(folder / DONE, ignore_errors=True)
        (folder / WORK).rename(folder / DONE)
    shutil.rmtree(folder / DONE, ignore_errors=True)


def remaining(folder: Path, steps: Sequence[int], full_at: Sequence[int]) -> tuple[int, list[int]]:
    """How many points the trace has, and at which of these steps something is missing."""
    if not (folder / FILE).is_file():
        return 0, list(steps)
    trace = read_trace(folder)
    have = {(point["step"], point["weights"]): point for point in trace.points}
    full = {step for step in full_at if trace.header["full"] not in have.get((step, "ema"), {})}
    lacks = [
        step
        for step in steps
        if step in full
        or any(trace.header["metrics"]["quality"] not in have.get((step, w), {}) for w in WEIGHTS)
    ]
    return len(trace.points), lacks


def recipe_of(config: dict[str, Any], folder: Path) -> Recipe:
    """The run's recipe, as it was settled."""
    known = {field.name for field in dataclasses.fields(Recipe)}
    if unknown := sorted(set(config["recipe"]) - known):
        raise StylegraftError(
            f"{folder}: its recipe has a field {unknown[0]!r} that this version does not know; a newer one made it"
        )
    return Recipe(**config["recipe"])


def images_of(folder: Path, config: dict[str, Any]) -> ImageSet:
    """The training images, under the identity that the run gave them."""
    images = training_images(folder)
    count, target = len(images), config["target"]
    names = tuple(f"{i:03d}" for i in range(count))
    return ImageSet(
        images, names, ("as the run had it",) * count, (), (), target.get("align"), target["sha256"]
    )


def base_of(folder: Path, config: dict[str, Any], given: str | Path | Source | None) -> Source:
    """The source of the run; raises StylegraftError for another one."""
    name = config["source"]["name"]
    if given is None and name not in SOURCES:
        raise StylegraftError(
            f"{folder}: its source {name!r} does not ship with stylegraft: give its file with --source"
        )
    source = given if isinstance(given, Source) else load_source(given or name)
    now = describe_base(source)
    if now["sha256"] != config["source"]["sha256"]:
        raise StylegraftError(
            f"{folder}: the run stands on the source {name!r} (sha256 {config['source']['sha256'][:12]}), "
            f"{source.name} is another one (sha256 {now['sha256'][:12]}); give its own with --source"
        )
    if config.get("discriminator", "none") != judge_of(source):
        raise StylegraftError(
            f"{folder}: the run's source {name!r} had another discriminator than {source.name}; give its own file with "
            "--source"
        )
    return source


def seconds(stats: Sequence[dict[str, Any]]) -> str:
    """What the steps took when they were taken first."""
    took = sum(value for one in stats for name, value in one.items() if name.startswith("time/"))
    return f", which took {took / 60:.0f} min" if took >= 60 else f", which took {took:.0f} s"


def threads(config: dict[str, Any], say: Callable[[str], None]) -> None:
    """As many threads as the run had, if it always had as many: sums then have their order."""
    counts = {session.get("threads") for session in config.get("sessions", ())}
    if len(counts) == 1 and (count := counts.pop()) and count != torch.get_num_threads():
        torch.set_num_threads(count)
        say(f"on {count} thread{'s' * (count > 1)}, as the run was")


def difference(domain: Domain, folder: Path, source: Source) -> str:
    """Whether the repeated run ends where the run did, in words."""
    path = next(p for name in ("last", "domain") if (p := folder / f"{name}.safetensors").is_file())
    base = base_tensors(source.generator)
    ours, theirs = (effective(one.deltas, base) for one in (domain, Domain.load(path)))
    apart = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in theirs) ** 0.5
    moved = sum(float((theirs[name] - base[name]).double().square().sum()) for name in theirs) ** 0.5
    if not apart:
        return f"the repeated run ends in {path.name}, bit for bit"
    return (
        f"warning: the repeated run ends {apart / max(moved, 1e-30):.1e} of its way apart from {path.name}: another "
        "machine, number of threads, or version of torch or stylegraft trained it"
    )
