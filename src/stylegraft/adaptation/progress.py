"""What the user hears of a run: what is about to happen, the bar, and the numbers that matter."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable
from threading import Event
from time import perf_counter
from types import TracebackType
from typing import Any

from stylegraft.adaptation import recipes
from stylegraft.adaptation.folder import Folder
from stylegraft.adaptation.importance import Stopped
from stylegraft.adaptation.loop import Stats
from stylegraft.adaptation.objectives.feature_matching import DEAD_NOISE, noise_effect
from stylegraft.adaptation.plan import describe, forecast
from stylegraft.adaptation.state import State
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet

LINE_SECONDS = 30  # between two lines of an estimate
WATCHED = ("p_target", "diversity-kept", "score")  # what `watch` adds to a step's numbers


class Voice:
    """Say a line to the user (unless quiet) and to log.txt.

    A terminal gets it wrapped at words. A pipe and the log get it whole: what is said together is found together.
    """

    def __init__(self, folder: Folder | None, quiet: bool) -> None:
        self.folder, self.quiet = folder, quiet

    def __call__(self, line: str, aloud: bool = True) -> None:
        """Say it; without `aloud`, to the log alone."""
        if aloud and not self.quiet:
            print(wrapped(line) if sys.stderr.isatty() else line, file=sys.stderr, flush=True)
        if self.folder:
            self.folder.log(line)


def wrapped(line: str) -> str:
    """A line at the width of the terminal, what goes on set in by two; paths stay whole."""
    width = shutil.get_terminal_size((80, 24)).columns
    return textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def introduce(say: Voice, source: Source, state: State, space: str, pictures: ImageSet) -> None:
    """Say what is about to happen, and what the user should know about it."""
    licence = source.info.get("licence")
    say(f"source {source.name}" + (f" (licence: {licence})" if licence else ""))
    for note in source.info.get("notes", ()):
        say(f"note: {note}")
    for line in (*describe(state, space), *forecast(state), *pictures.notes):
        say(line)
    if state.recipe.name in recipes.NOTES:
        say(f"note: {recipes.NOTES[state.recipe.name]}")
    if source.discriminator is None and state.recipe.adv and state.recipe.judge == "stylegan2":
        say(
            "note: the source has no discriminator; one is trained from random weights, all of it whatever the "
            "recipe's policy, which costs quality"
        )
    if state.recipe.fm:
        effect = noise_effect(state.generator)
        if effect < DEAD_NOISE:
            say(
                f"warning: the noise of this source moves nothing (at most {effect:.2%} of a feature map's "
                "RMS): fixnoise has no anchor to hold on to, and the result will follow the source everywhere"
            )


def summary(one: Stats, state: State) -> str:
    """One line of log for a step."""
    numbers = [f"{name} {one[name]:.3f}" for name in one if name[:2] in ("G/", "D/") and "grad" not in name]
    judged = [f", {name} {one[name]:.3f}" for name in one if name.startswith(WATCHED)]
    tail = "".join(judged) + (f", {state.ada}" if state.ada else "")
    sign = f", D(real) sign {one['real_sign']:+.2f}" if state.recipe.adv else ""
    return f"step {state.step}: {', '.join(numbers)}{sign}{tail}"


class Progress:
    """A bar on a terminal, nothing elsewhere (`live` tells which)."""

    def __init__(self, done: int, steps: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        console = Console(stderr=True)
        self.live = console.is_terminal and not quiet
        # On a narrow terminal the numbers give way, not the step or the time.
        columns = (
            BarColumn(20 if console.width >= 100 else 10),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(steps)) + 1)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=len("0:00:00"))),
            TextColumn("{task.description}", table_column=Column(overflow="ellipsis", no_wrap=True)),
        )
        self.bar = Bar(*columns, console=console, disable=not self.live, speed_estimate_period=60)
        self.task = self.bar.add_task("", total=steps, completed=done)
        self.last = perf_counter()
        self.seconds = 0.0

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def wait(self, words: str) -> None:
        """Say what is done between two steps; its time is not that of a step."""
        self.last = perf_counter()
        if self.live:
            self.bar.update(self.task, description=words)

    def show(self, stats: dict[str, Any]) -> None:
        """Advance by one step."""
        now = perf_counter()
        self.seconds = now - self.last if not self.seconds else 0.9 * self.seconds + 0.1 * (now - self.last)
        self.last = now
        if self.live:
            self.bar.update(self.task, advance=1, description=numbers(stats, self.seconds))


def estimating(say: Voice, bar: Progress, stop: Event) -> Callable[[str, int, int], None]:
    """What is heard while something is found out before a step (`State.between`): words of the bar, and a line now and
    then.

    It raises Stopped once `stop` is set.
    """
    said = perf_counter()

    def heard(what: str, done: int, count: int) -> None:
        nonlocal said
        if stop.is_set():
            raise Stopped
        line = f"{what}: {done} of {count}"
        if what in ("G", "D"):  # `importance` says whose
            line = f"estimating {what}'s Fisher information: {done} of {count} samples"
        bar.wait(line)
        if not done:
            said = perf_counter()
        elif perf_counter() - said > LINE_SECONDS:
            said = perf_counter()
            say(line, aloud=not bar.live)

    return heard


def numbers(stats: dict[str, Any], seconds: float) -> str:
    """`G 1.02 D 1.31 cl1 0.40 real +0.25 p 0.02 0.61 s/step`: adversarial losses by owner, other terms by
    name.
    """
    parts = [
        f"{name[0] if name.endswith('/adv') else name[2:]} {value:.2f}"
        for name, value in stats.items()
        if name[:2] in ("G/", "D/") and not name[2:].startswith(("grad", "r1", "pl"))
    ]
    if any(name.startswith("D/") for name in stats):
        parts.append(f"real {stats['real_sign']:+.2f}")
    if "ada_p" in stats:
        parts.append(f"p {stats['ada_p']:.3f}")
    return " ".join([*parts, f"{seconds:.2f} s/step"])
