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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from stylegraft.adaptation import plan as planning
from stylegraft.adaptation import recipes, stages
from stylegraft.adaptation.checks import check_precision
from stylegraft.adaptation.diverged import Diverged, check_way
from stylegraft.adaptation.folder import Folder, open_folder
from stylegraft.adaptation.guidance import Guides, prepare
from stylegraft.adaptation.importance import Stopped
from stylegraft.adaptation.inputs import judge_of, open_guides, open_images, target_of
from stylegraft.adaptation.joining import join
from stylegraft.adaptation.loop import Stats, train
from stylegraft.adaptation.meeting import agree, meet
from stylegraft.adaptation.outcome import domain_of, hypernetwork_of
from stylegraft.adaptation.place import begun
from stylegraft.adaptation.previews import Previews
from stylegraft.adaptation.progress import Progress, Voice, estimating, introduce, summary
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.request import ask, default_recipe
from stylegraft.adaptation.rules import Rules, check_images, eyes, parse, verdict
from stylegraft.adaptation.state import Embedded, State, begin
from stylegraft.adaptation.watch import Watch, set_aside
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet, contact_sheet
from stylegraft.data.pixels import to_float
from stylegraft.distributed import restarts
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import Hypernetwork
from stylegraft.domains.spaces import canonical
from stylegraft.errors import StylegraftError
from stylegraft.seeds import SEED, is_seed
from stylegraft.sources import load_source

SAVE_SECONDS = 120  # a state is at most so old when a process is killed
KEPT = 10_000  # steps whose numbers stay in memory: 20 MB
ASKED, RULE = 1, 2  # why a run ends before its steps do: a signal, or a rule


class Observer(Protocol):
    """Looks at a run at steps of its own choice, and changes nothing of it."""

    def due(self, step: int) -> bool:
        """Whether it looks after so many steps (0: before the first). A resumed run comes by some steps again."""
        ...

    def look(self, state: State, config: dict[str, Any]) -> None:
        """Look; `domain_of(state, config)` is the averaged domain so far, with `averaged=False` the trained one."""
        ...


@dataclass
class Run:
    """What `adapt` gives back: the averaged domain (of the last step, or the best), its folder if there is one, the
    numbers of the last `KEPT` steps taken (stats.jsonl has all), and the rule that ended the run before its steps did.
    Of a hypernetwork's run also the network, and the domain is that of its first sentence.
    """

    domain: Domain
    folder: Path | None
    stats: list[Stats] = field(default_factory=list)
    plan: planning.Plan | None = None
    stopped: str | None = None
    hypernet: Hypernetwork | None = None


def adapt(
    source: Source | str | Path,
    images: str | Path | list[str | Path] | ImageSet | Tensor | None = None,
    *,
    text: str | None = None,
    texts: Sequence[str] | None = None,
    from_text: str | None = None,
    image: str | Path | Tensor | None = None,
    guides: str | Guides | None = None,
    recipe: str | Recipe | None = None,
    preset: str | None = None,
    space: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "cpu",
    align: str | Path = "auto",
    every: int | None = None,
    until: str | None = None,
    floor: float | None = None,
    patience: int | None = None,
    keep: str = "last",
    hold_out: int = 0,
    nonfinite: str = "stop",
    dry_run: bool = False,
    quiet: bool = False,
    progress: Callable[[Stats], None] | None = None,
    observer: Observer | None = None,
    embedded: Embedded | None = None,
    **changes: Any,
) -> Run:
    """Adapt a source to a few images, to one image, or to a sentence.

    source: a `Source`, a shipped name or a file. images: a folder, zip, file or list, the name of a
    packaged set, an `ImageSet`, or a tensor [N, C, R, R] (uint8, or float in [-1, 1]). text, from_text: a sentence in
    place of them, and what the source is ("photo"). texts: the sentences of a hypernetwork's run. image: one picture in
    place of them. guides: what reads the sentence and compares images, such as "clip:/my/folder, siglip=0.5", or
    encoders with weights; None takes the first that is here. recipe: None is "nada" for a sentence, "difa" for `image`,
    else "dcl". preset: "paper" or "scaled"; None takes the paper's settings from 256 px on. steps, batch, changes:
    fields of the recipe to change (`cdc=False`). out: the run folder; None writes nothing. every: steps between
    previews. until ("p_target>=0.9"), floor, patience, keep ("last" or "best"), hold_out: see `rules.Rules`.
    nonfinite: what a loss or gradient that is not finite does, "stop" the run, or "skip" that update (`loop.train`).
    progress: called with the numbers of each step. observer: looks at the run at steps of its own choice.
    embedded: what runs that differ in the request alone share (`many.adapt_many`).

    The same call continues a run that was stopped; more `steps` extend it. Ctrl-C saves, then raises
    KeyboardInterrupt. Raises StylegraftError for anything that does not fit, before the first step;
    Diverged when a number is not finite, the last save as it was.
    """
    asked = {key: value for key, value in (("steps", steps), ("batch", batch)) if value is not None} | changes
    if every is not None and every < 1:
        raise StylegraftError(f"--every {every}: expected at least 1 step between previews")
    if not is_seed(seed):
        raise StylegraftError(f"--seed {seed}: expected {SEED}")
    rules = parse(until, floor, patience, keep, hold_out)
    if rules.active and texts is not None:
        raise StylegraftError(
            f"{rules}: judges one domain, and a hypernetwork gives many; expected --steps alone"
        )
    skip = check_way(nonfinite)
    eyes(rules)  # missing weights are found now
    world = join(device)
    device = world.device
    source = source if isinstance(source, Source) else load_source(source)
    size = source.generator.resolution
    recipe = recipe or default_recipe(text, image)
    if isinstance(recipe, str):
        row = recipes.recipe(recipe, preset=preset or recipes.preset_of(size), **asked)
    else:
        row = recipes.check(recipes.change(recipe, asked))
    check_precision(row, device, source.generator.half_blocks)
    request = ask(
        row, text=text, texts=texts, from_text=from_text, pictures=images, image=image, guides=guides
    )
    space = canonical(space or row.space, source.generator)
    images = image if images is None else images
    looks = open_guides(row, guides, device)
    pictures, aside = open_images(images, source.generator, align), None
    if image is not None and len(pictures) != 1:
        raise StylegraftError(f"image: holds {len(pictures)} pictures; expected one, or give them as images")
    check_images(rules, len(pictures))
    if rules.hold_out:
        pictures, aside = set_aside(pictures, rules.hold_out, seed)
    config: dict[str, Any] = {
        "source": describe_base(source),
        "discriminator": judge_of(source),
        "target": target_of(images, pictures, request, rules),
        "space": space,
        "seed": seed,
        "rules": str(rules),
    }
    if looks:
        config["guides"] = [{"name": g.name, "digest": g.digest, "weight": weight} for g, weight in looks]
    state = begin(
        source,
        to_float(pictures.images),
        row,
        space,
        seed=seed,
        device=device,
        request=request,
        guides=looks,
        embedded=embedded,
    )
    state.world = world
    stages.check(state, space)
    if request.sentences and not (out and begun(Path(out))):
        state.found = prepare(state)  # a guide that cannot read them says so before anything is written
    config["recipe"] = dataclasses.asdict(state.recipe)
    agree(world, config, steps=state.recipe.steps, nonfinite=nonfinite)
    every = every or (100 if row.steps <= 2000 else 500)
    if rules.active and state.end // every == state.recipe.warmup // every:
        raise StylegraftError(
            f"{rules}: judged every {every} steps, which does not come between the warm-up ({state.recipe.warmup}) and "
            f"the end ({state.end}); expected a smaller --every, or more --steps"
        )
    if world.rank:  # process 0 alone writes and speaks
        out, quiet, progress, observer = None, True, None, None
    if dry_run:
        say = Voice(None, quiet)
        introduce(say, source, state, space, pictures)
        fresh = domain_of(state, config)
        plan = planning.measure(state, state.end // every + 1)
        say(plan.text)
        if rules.active:
            say(
                f"{rules}: judged every {every} steps, which costs a few steps each time, and is not counted above"
            )
        return Run(fresh, None, plan=plan)
    if out is None:
        return _run(
            source, state, config, pictures, aside, None, rules, every, skip, quiet, progress, observer
        )
    with open_folder(Path(out)) as folder:
        return _run(
            source, state, config, pictures, aside, folder, rules, every, skip, quiet, progress, observer
        )


def _run(
    source: Source,
    state: State,
    config: dict[str, Any],
    pictures: ImageSet,
    aside: ImageSet | None,
    folder: Folder | None,
    rules: Rules,
    every: int,
    skip: bool,
    quiet: bool,
    progress: Callable[[Stats], None] | None,
    observer: Observer | None,
) -> Run:
    """The life of a run, in order: resume or start, train, save now and then, finish."""
    say = Voice(folder, quiet)
    resumed = folder is not None and begun(folder.path)
    warnings = folder.load(state, config) if folder and resumed else []
    introduce(say, source, state, config["space"], pictures)
    for line in warnings:
        say(f"warning: {line}")
    if aside:
        say(f"held out of training, to judge by: {', '.join(aside.names)}")
    if folder:
        folder.remove_temporaries()
        if resumed:
            over = state.step >= state.end
            say(
                f"already at step {state.step}, of {state.end} asked for; a larger --steps extends it"
                if over
                else f"continuing at step {state.step} of {state.end}"
            )
            if aside:
                aside = dataclasses.replace(aside, images=folder.held_out())
        else:
            if restarts():
                say(
                    f"warning: torchrun started this run again, and {folder.path} holds no state: it begins anew"
                )
            folder.start(state, config, pictures.images, aside.images if aside else None)
            if len(pictures):
                contact_sheet(pictures, folder.path / "targets.png")
                say(f"the training images as the network sees them: {folder.path / 'targets.png'}")
            # Before the first step: a full disk is found now, and there is something to resume from. Last, since a run
            # that has a state is never started again.
            folder.save(state, config)
    meet(state)
    memory = folder.memory if folder else {}
    kept = folder.best(say) if folder and rules.keep == "best" else None
    reason, watch = verdict(rules, memory), None
    if rules.active and state.step < state.end and not reason and not state.world.rank:
        watch = Watch(rules, state, aside.images if aside else None, memory, kept)
        for line in watch.lines:
            say(line)
    stats: deque[Stats] = deque(maxlen=KEPT)
    saved = time.monotonic()
    domain = domain_of(state, config) if folder and state.step == 0 else None
    ending = state.world.most(RULE if reason else 0)  # all processes end a run together
    with stopping(aloud=not state.world.rank) as stop, Progress(state.step, state.end, quiet) as bar:
        state.between = estimating(say, bar, stop)
        previews = Previews(state, folder)
        if domain:
            previews.write(domain)
        if observer and observer.due(state.step):
            observer.look(state, config)
        try:
            for one in train(state, state.step if ending else state.end, skip):
                if "skipped" in one:
                    say(f"an update is left out: {one['skipped']}", aloud=not bar.live)
                if "graphs" in one:
                    say(f"note: steps go on without CUDA graphs, several times as long: {one['graphs']}")
                due, fresh = state.step % every == 0, None
                if watch and due and state.step > state.recipe.warmup:
                    fresh = domain_of(state, config)
                    one |= watch.look(fresh)
                    kept, reason = watch.kept, watch.reason
                if observer and observer.due(state.step):
                    observer.look(state, config)
                stats.append(one)
                bar.show(one)
                if progress:
                    progress(one)
                ending = state.world.most(RULE if reason else ASKED if stop.is_set() else 0)
                if folder:
                    folder.note(one)
                    due = due or ending or state.step == state.end
                    if due or time.monotonic() - saved > SAVE_SECONDS:
                        domain = fresh or domain_of(state, config)
                        if due:
                            previews.write(domain)
                            say(summary(one, state), aloud=not bar.live)
                        folder.keep(state, config, domain, kept, hypernetwork_of(state, config))
                        saved = time.monotonic()
                if ending:
                    break
        except Stopped:  # while something was estimated, before the next step had begun
            ending = ASKED
            if folder:
                folder.keep(state, config, domain_of(state, config), kept, hypernetwork_of(state, config))
        except Diverged:
            if folder:
                folder.flush()
                say(f"kept: {folder.path} as it was saved at step {folder.saved}")
            raise
    if reason:
        say(f"stopped at step {state.step} of {state.end}: {reason}")
    elif ending == ASKED and state.step < state.end:
        if folder:
            say(
                f"stopped after step {state.step} of {state.end}, saved; "
                f"the same command continues {folder.path}"
            )
        raise KeyboardInterrupt
    if folder is None:
        return Run(
            kept or domain_of(state, config),
            None,
            list(stats),
            stopped=reason,
            hypernet=hypernetwork_of(state, config),
        )
    if domain is None:
        # A finished run that took no step; its last save may have been cut short before this file.
        domain = domain_of(state, config)
        folder.write(domain, kept, hypernetwork_of(state, config))
    if kept:
        say(f"the best of the run is step {kept.config['steps']}; the last, {state.step}, is {folder.last}")
    previews.finish(kept or domain)
    made = folder.domain if state.hypernet is None else folder.hypernet
    say(f"done: {folder.path / 'grid.png'} (source above target), {made}")
    return Run(
        kept or domain, folder.path, list(stats), stopped=reason, hypernet=hypernetwork_of(state, config)
    )


@contextlib.contextmanager
def stopping(aloud: bool = True) -> Iterator[threading.Event]:
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
        if aloud:
            print("\nstopping after this step; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
