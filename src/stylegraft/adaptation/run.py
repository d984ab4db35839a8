"""`adapt`: from a source and a few images to a domain, in a folder that the same command can always
continue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from stylegraft.adaptation import plan as planning
from stylegraft.adaptation import recipes
from stylegraft.adaptation.folder import Folder, open_folder
from stylegraft.adaptation.loop import Diverged, Stats, train
from stylegraft.adaptation.previews import Previews
from stylegraft.adaptation.progress import Progress, Voice, introduce, summary
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints import tensorfile
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet, contact_sheet
from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.data.targets import open_target
from stylegraft.devices import check_device
from stylegraft.domains.apply import w_avg_shift
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain
from stylegraft.domains.spaces import default_block, moves_mapping
from stylegraft.domains.table import find_space
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

SAVE_SECONDS = 120  # a state is at most so old when a process is killed
KEPT = 10_000  # steps whose numbers stay in memory: 20 MB


@dataclass
class Run:
    """What `adapt` gives back: the averaged domain, its folder if there is one, the numbers of the last `KEPT`
    steps taken (stats.jsonl has all).
    """

    domain: Domain
    folder: Path | None
    stats: list[Stats] = field(default_factory=list)
    plan: planning.Plan | None = None


def adapt(
    source: Source | str | Path,
    images: str | Path | list[str | Path] | ImageSet | Tensor,
    *,
    recipe: str | Recipe = "dcl",
    preset: str | None = None,
    space: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "cpu",
    block: int | None = None,
    align: str | Path = "auto",
    every: int | None = None,
    dry_run: bool = False,
    quiet: bool = False,
    progress: Callable[[Stats], None] | None = None,
    **changes: Any,
) -> Run:
    """Adapt a source to a few images.

    source: a `Source`, a shipped name or a file. images: a folder, zip, file or list, the name of a
    packaged set, an `ImageSet`, or a tensor [N, C, R, R] (uint8, or float in [-1, 1]). preset: "paper" or
    "scaled"; None takes the paper's settings from 256 px on. steps, batch, changes: fields of the recipe to
    change (`cdc=False`). out: the run folder; None writes nothing. every: steps between previews. progress:
    called with the numbers of each step.

    The same call continues a run that was stopped; more `steps` extend it. Ctrl-C saves, then raises
    KeyboardInterrupt. Raises StylegraftError for anything that does not fit, before the first step;
    Diverged when a loss is not finite.
    """
    asked = {key: value for key, value in (("steps", steps), ("batch", batch)) if value is not None} | changes
    if every is not None and every < 1:
        raise StylegraftError(f"--every {every}: expected at least 1 step between previews")
    device = check_device(device, "adapt")
    source = source if isinstance(source, Source) else load_source(source)
    size = source.generator.resolution
    if isinstance(recipe, str):
        row = recipes.recipe(recipe, preset=preset or recipes.preset_of(size), **asked)
    else:
        row = recipes.check(recipes.change(recipe, asked))
    space = space or row.space
    pictures = open_images(images, source.generator, align)
    block = (block or default_block(source.generator)) if find_space(space).needs_block else None
    config: dict[str, Any] = {
        "source": describe_base(source),
        "discriminator": judge_of(source),
        "target": {
            "name": name_of(images),
            "count": len(pictures),
            "align": pictures.align,
            "sha256": pictures.digest,
        },
        "space": space,
        "block": block,
        "seed": seed,
    }
    state = begin(source, to_float(pictures.images), row, space, block=block, seed=seed, device=device)
    config["recipe"] = dataclasses.asdict(state.recipe)
    every = every or (100 if row.steps <= 2000 else 500)
    if dry_run:
        say = Voice(None, quiet)
        introduce(say, source, state, space, pictures)
        fresh = domain_of(state, config)
        plan = planning.measure(state, state.end // every + 1)
        say(plan.text)
        return Run(fresh, None, plan=plan)
    if out is None:
        return _run(source, state, config, pictures, None, every, quiet, progress)
    with open_folder(Path(out)) as folder:
        return _run(source, state, config, pictures, folder, every, quiet, progress)


def _run(
    source: Source,
    state: State,
    config: dict[str, Any],
    pictures: ImageSet,
    folder: Folder | None,
    every: int,
    quiet: bool,
    progress: Callable[[Stats], None] | None,
) -> Run:
    """The life of a run, in order: resume or start, train, save now and then, finish."""
    say = Voice(folder, quiet)
    resumed = folder is not None and folder.state.is_file()
    warnings = folder.load(state, config) if folder and resumed else []
    introduce(say, source, state, config["space"], pictures)
    for line in warnings:
        say(f"warning: {line}")
    if folder:
        folder.remove_temporaries()
        if resumed:
            over = state.step >= state.end
            say(
                f"already at step {state.step}, of {state.end} asked for; a larger --steps extends it"
                if over
                else f"continuing at step {state.step} of {state.end}"
            )
        else:
            folder.start(state, config, pictures.images)
            # Before the first step: a full disk is found now, and there is something to resume from.
            folder.save(state, config)
            contact_sheet(pictures, folder.path / "targets.png")
            say(f"the training images as the network sees them: {folder.path / 'targets.png'}")
    stats: deque[Stats] = deque(maxlen=KEPT)
    saved = time.monotonic()
    domain = domain_of(state, config) if folder and state.step == 0 else None
    with stopping() as stop, Progress(state.step, state.end, quiet) as bar:
        previews = Previews(state, folder)
        if domain:
            previews.write(domain)
        try:
            for one in train(state, state.end):
                stats.append(one)
                bar.show(one)
                if progress:
                    progress(one)
                if folder is None:
                    if stop.is_set():
                        break
                    continue
                folder.note(one)
                due = state.step % every == 0 or state.step == state.end
                if due or stop.is_set() or time.monotonic() - saved > SAVE_SECONDS:
                    domain = domain_of(state, config)
                    if due:
                        previews.write(domain)
                        say(summary(one, state), aloud=not bar.live)
                    folder.save(state, config)
                    domain.save(folder.domain)
                    saved = time.monotonic()
                if stop.is_set():
                    break
        except Diverged:
            if folder and stats:
                folder.flush()
                domain_of(state, config).save(folder.domain)
                say(f"kept: {folder.domain} as of step {state.step}, and the last saved state")
            raise
    if stop.is_set() and state.step < state.end:
        if folder:
            say(
                f"stopped after step {state.step} of {state.end}, saved; "
                f"the same command continues {folder.path}"
            )
        raise KeyboardInterrupt
    if folder is None:
        return Run(domain_of(state, config), None, list(stats))
    if domain is None:
        # A finished run that took no step; its last save may have been cut short before this file.
        domain = domain_of(state, config)
        domain.save(folder.domain)
    previews.finish(domain)
    say(f"done: {folder.path / 'grid.png'} (source above target), {folder.domain}")
    return Run(domain, folder.path, list(stats))


# What it is made from
# --------------------------------------------------------------------------------------------


def open_images(images: Any, generator: Generator, align: str | Path) -> ImageSet:
    """The training set at the generator's size, from whatever the user gave."""
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, Tensor):
        if images.is_floating_point() and not bool((images.abs() <= 1.01).all()):
            raise StylegraftError(
                f"images: float values from {float(images.min()):g} to {float(images.max()):g};"
                " expected -1 to 1 (or uint8, 0 to 255)"
            )
        pixels = to_uint8(images)
        count = len(pixels)
        names = tuple(f"{i:03d}" for i in range(count))
        return ImageSet(pixels.cpu().contiguous(), names, ("as given",) * count, (), ())
    return open_target(images, generator.resolution, generator.img_channels, align)


def judge_of(source: Source) -> str:
    """Which discriminator a run starts from: the digest of its architecture and weights, or `none`."""
    judge = source.discriminator
    if judge is None:
        return "none"
    texts = {"config": tensorfile.to_json(judge.config, "the discriminator's config")}
    return tensorfile.digest(dict(judge.named_parameters()), texts)


def name_of(images: Any) -> str:
    """What to call a target set in the domain file; never a path of this machine."""
    if isinstance(images, (str, Path)):
        return Path(images).stem
    return "tensor" if isinstance(images, Tensor) else "images"


def domain_of(state: State, config: dict[str, Any]) -> Domain:
    """The averaged deltas as a domain; where the mapping moves, the change of w_avg with them."""
    told = {key: config[key] for key in ("space", "block", "seed", "target")}
    told |= {"recipe": state.recipe.name, "preset": state.recipe.preset, "steps": state.step}
    told["changes"] = recipes.changed(state.recipe)
    domain = Domain(state.averaged(), told, config["source"])
    if moves_mapping(domain.deltas):
        moved = effective(domain.deltas, state.base)
        domain = domain.with_w_avg(w_avg_shift(state.generator, moved, source=state.mean_w))
    return domain


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; a second one interrupts at once. Outside the main
    thread: inert.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nstopping after this step; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
