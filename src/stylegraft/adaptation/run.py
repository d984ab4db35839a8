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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation import plan as planning
from stylegraft.adaptation import recipes
from stylegraft.adaptation.folder import Folder, machine, open_folder, remove_temporaries
from stylegraft.adaptation.loop import Diverged, Stats, train
from stylegraft.adaptation.objectives.feature_matching import DEAD_NOISE, noise_effect
from stylegraft.adaptation.progress import Progress
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.grids import paired_grid
from stylegraft.data.images import ImageSet, contact_sheet
from stylegraft.data.targets import open_target
from stylegraft.domains.apply import Adapted, w_avg_shift
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain
from stylegraft.domains.spaces import default_block, find_space, moves_mapping
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

PSI = 0.7  # truncation of previews
SAVE_SECONDS = 120  # a state is at most so old when a process is killed


@dataclass
class Run:
    """What `adapt` gives back: the averaged domain, its folder if there is one, the numbers of every step
    taken.
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
    find_space(space or "full")
    asked = {key: value for key, value in (("steps", steps), ("batch", batch)) if value is not None} | changes
    if isinstance(recipe, str):
        recipes.recipe(
            recipe, preset=preset or "scaled", **asked
        )  # a wrong name is refused before anything is loaded
    device = check_device(device)
    source = source if isinstance(source, Source) else load_source(source)
    size = source.generator.resolution
    if isinstance(recipe, str):
        row = recipes.recipe(recipe, preset=preset or ("paper" if size >= 256 else "scaled"), **asked)
    else:
        row = recipes.check(recipes.change(recipe, asked))
    space = space or row.space
    pictures = open_images(images, source.generator, align)
    block = (block or default_block(source.generator)) if find_space(space).needs_block else None
    config = {
        "source": describe_base(source),
        "target": {"name": name_of(images), "count": len(pictures), "sha256": pictures.digest},
        "space": space,
        "block": block,
        "seed": seed,
        "recipe": dataclasses.asdict(row),
        "machine": machine(device),
    }
    state = begin(source, to_float(pictures.images), row, space, block=block, seed=seed, device=device)
    every = every or (100 if row.steps <= 2000 else 500)
    if dry_run:
        say = Voice(None, quiet)
        introduce(say, source, state, config, pictures)
        fresh = domain_of(state, config)
        plan = planning.measure(state, row.steps, row.steps // every + 1)
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
    steps = state.recipe.steps
    resumed = folder is not None and folder.state.is_file()
    warnings = folder.load(state, config) if folder and resumed else []
    introduce(say, source, state, config, pictures)
    for line in warnings:
        say(f"warning: {line}")
    if folder:
        remove_temporaries(folder.path)
        if resumed:
            done = "; nothing to do, a larger --steps extends it" if state.step >= steps else ""
            say(f"continuing at step {state.step} of {steps}{done}")
        else:
            folder.start(config)
            contact_sheet(pictures, folder.path / "targets.png")
            say(f"the training images as the network sees them: {folder.path / 'targets.png'}")
    stats: list[Stats] = []
    saved, saved_at = time.monotonic(), state.step if resumed else -1
    with stopping() as stop, Progress(state.step, steps, quiet) as bar:
        previews = Previews(state, config, folder)
        if state.step == 0:
            previews.write()
        try:
            for one in train(state, steps):
                stats.append(one)
                bar.show(one)
                if progress:
                    progress(one)
                if folder is None:
                    if stop.is_set():
                        break
                    continue
                folder.note(one)
                due = state.step % every == 0 or state.step == steps
                if due:
                    previews.write()
                    say(summary(one, state), aloud=not bar.live)
                if due or stop.is_set() or time.monotonic() - saved > SAVE_SECONDS:
                    keep(state, config, folder)
                    saved, saved_at = time.monotonic(), state.step
                if stop.is_set():
                    break
        except Diverged:
            if folder and stats:
                folder.flush()
                domain_of(state, config).save(folder.domain)
                say(f"kept: {folder.domain} as of step {state.step}, and the last saved state")
            raise
    if stop.is_set() and state.step < steps:
        if folder:
            say(
                f"stopped after step {state.step} of {steps}, saved; the same command continues {folder.path}"
            )
        raise KeyboardInterrupt
    domain = domain_of(state, config)
    if folder:
        if saved_at != state.step:
            folder.save(state, config)
        domain.save(folder.domain)
        previews.finish()
        say(f"done: {folder.path / 'grid.png'} (source above target), {folder.domain}")
    return Run(domain, folder.path if folder else None, stats)


def keep(state: State, config: dict[str, Any], folder: Folder) -> None:
    """Write the state, then the domain that it stands for."""
    folder.save(state, config)
    domain_of(state, config).save(folder.domain)


# What it is made from
# --------------------------------------------------------------------------------------------


def check_device(device: str) -> str:
    """Refuse a device that this machine or torch does not have."""
    kind = device.split(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available:
        raise StylegraftError(f"device {device!r} is unknown; expected cpu, cuda or mps")
    if not available[kind]:
        raise StylegraftError(f"device {device!r}: this installation of torch sees none; use --device cpu")
    return device


def open_images(images: Any, generator: Generator, align: str | Path) -> ImageSet:
    """The training set at the generator's size, from whatever the user gave."""
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, Tensor):
        pixels = (
            images
            if images.dtype == torch.uint8
            else (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        )
        count = len(pixels)
        names = tuple(f"{i:03d}" for i in range(count))
        return ImageSet(pixels.cpu().contiguous(), names, ("as given",) * count, (), ())
    return open_target(images, generator.resolution, generator.img_channels, align)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 to [-1, 1]: x / 127.5 - 1."""
    return pixels.float() / 127.5 - 1


def name_of(images: Any) -> str:
    """What to call a target set in the domain file; never a path of this machine."""
    if isinstance(images, (str, Path)):
        return Path(images).stem
    return "tensor" if isinstance(images, Tensor) else "images"


def domain_of(state: State, config: dict[str, Any]) -> Domain:
    """The averaged deltas as a domain; where the mapping moves, the change of w_avg with them."""
    told = {key: config[key] for key in ("space", "block", "seed", "target")}
    told |= {"recipe": state.recipe.name, "preset": state.recipe.preset, "steps": state.step}
    domain = Domain(state.averaged(), told, config["source"])
    if moves_mapping(domain.deltas):
        domain = domain.with_w_avg(w_avg_shift(state.generator, effective(domain.deltas, state.base)).cpu())
    return domain


# What the user sees
# ----------------------------------------------------------------------------------------------


class Voice:
    """Say a line to the user (unless quiet) and to log.txt."""

    def __init__(self, folder: Folder | None, quiet: bool) -> None:
        self.folder, self.quiet = folder, quiet

    def __call__(self, line: str, aloud: bool = True) -> None:
        """Say it; without `aloud`, to the log alone."""
        if aloud and not self.quiet:
            print(line, file=sys.stderr, flush=True)
        if self.folder:
            self.folder.log(line)


def introduce(say: Voice, source: Source, state: State, config: dict[str, Any], pictures: ImageSet) -> None:
    """Say what is about to happen, and what the user should know about it."""
    licence = source.info.get("licence")
    say(f"source {source.name}" + (f" (licence: {licence})" if licence else ""))
    for line in (*planning.describe(state, config["space"]), *pictures.notes):
        say(line)
    if state.recipe.name in recipes.NOTES:
        say(f"note: {recipes.NOTES[state.recipe.name]}")
    if source.discriminator is None:
        say("note: the source has no discriminator; one is trained from random weights, which costs quality")
    if state.recipe.fm:
        effect = noise_effect(state.generator)
        if effect < DEAD_NOISE:
            say(
                f"warning: the noise of this source moves nothing (images change by {effect:.2%} of their "
                "spread): fixnoise has no anchor to hold on to, and the result will follow the source everywhere"
            )


def summary(one: Stats, state: State) -> str:
    """One line of log for a step."""
    numbers = [f"{name} {one[name]:.3f}" for name in one if name[:2] in ("G/", "D/") and "grad" not in name]
    tail = f", {state.ada}" if state.ada else ""
    return f"step {state.step}: {', '.join(numbers)}, D(real) sign {one['real_sign']:+.2f}{tail}"


class Previews:
    """Images of fixed latents, the source's row above the adapted one's."""

    def __init__(self, state: State, config: dict[str, Any], folder: Folder | None) -> None:
        self.state, self.config, self.folder = state, config, folder
        seeds = [seed_of(config["seed"], 0, "preview", i) for i in range(24)]
        self.z = Draws(seeds, state.device).normal(state.generator.z_dim)
        self.source: Tensor | None = None

    def write(self) -> None:
        """Eight latents, into the previews folder."""
        if self.folder:
            if self.source is None:
                self.source = render(self.state.generator, self.z[:8])
            paired_grid(self.source, self._adapted(self.z[:8]), self.folder.preview(self.state.step))

    def finish(self) -> None:
        """All latents, as the run's picture."""
        if self.folder:
            paired_grid(
                render(self.state.generator, self.z), self._adapted(self.z), self.folder.path / "grid.png"
            )

    def _adapted(self, z: Tensor) -> Tensor:
        domain = domain_of(self.state, self.config)
        return render(Adapted(self.state.generator, effective(domain.deltas, self.state.base)), z)


@torch.no_grad()
def render(generator: Generator | Adapted, z: Tensor) -> Tensor:
    """Images at the previews' truncation, with the network's own noise, eight at a time."""
    return torch.cat([generator(part, psi=PSI, noise="const").image for part in z.split(8)])


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
