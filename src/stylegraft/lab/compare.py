"""A study from its file to its runs: what will run, what is refused and why, how long it takes; then all of it.

Run the same command again and it goes on: a finished cell is skipped, an interrupted one continues as `adapt` does, a
failed one is tried again. Several at a time on one folder are safe: a cell that another process has is skipped.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from stylegraft.adaptation.folder import make_folder
from stylegraft.adaptation.plan import duration
from stylegraft.adaptation.recipes import preset_of, recipe
from stylegraft.adaptation.run import adapt
from stylegraft.atomic import write_text
from stylegraft.data.files import few
from stylegraft.errors import StylegraftError
from stylegraft.lab.cell import Job, Outcome, failed, source_of
from stylegraft.lab.panel import Panel, Settings
from stylegraft.lab.record import place, result_of
from stylegraft.lab.runners import Runner, here
from stylegraft.lab.study import Cell, Study, cells
from stylegraft.lab.targets import pool_size, prepare, refusal
from stylegraft.lab.trace import WEIGHTS, cadence

COPY = "study.toml"  # in the study's folder: the file as it was last run


@dataclass(frozen=True)
class Plan:
    """One recipe in one space and its runs. seconds: of one run, with its trace; None where nobody knows. refused: why
    it cannot run.
    """

    group: tuple[str, str, str, str, str]
    runs: int
    done: int
    seconds: float | None = None
    refused: str = ""

    @property
    def left(self) -> float:
        """Seconds of the runs that are not done."""
        return 0.0 if self.refused else (self.seconds or 0.0) * (self.runs - self.done)


def resolution_of(source: str) -> int:
    """The side of a source's images, in pixels."""
    return source_of(source, "cpu").generator.resolution


def listed(study: Study, wave: int | None = None) -> list[Cell]:
    """The cells of a study, or of one of its waves."""
    return cells(study, resolution_of, wave)


# Before it runs
# --------------------------------------------------------------------------------------------


def plan(study: Study, out: Path, wave: int | None = None, say: Callable[[str], None] = print) -> list[Plan]:
    """What would run and how long it would take: measured on a few steps of each recipe in each space, and on one look
    of the panel, unless a cell of that kind is done. Nothing is written.
    """
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in listed(study, wave):
        groups.setdefault(cell.group, []).append(cell)
    pools = {cells[0].target: pool_size(cells[0].target) for cells in groups.values()}
    looks = {name: _look(name, study) for name in {cells[0].source for cells in groups.values()}}
    found, tried = [], dict[Any, tuple[float | None, str]]()
    for group, own in groups.items():
        results = [result for cell in own if (result := result_of(place(out, cell), cell))]
        reasons = [refusal(cell.shots, cell.draw, pools[cell.target]) for cell in own]
        possible = [cell for cell, why in zip(own, reasons, strict=True) if not why]
        found += [Plan(group, reasons.count(why), 0, refused=why) for why in dict.fromkeys(reasons) if why]
        if not possible:
            continue
        first = possible[0]
        kind = (first.source, first.method.recipe, first.space, str(first.asked))
        if results:
            tried[kind] = sum(one["training seconds"] for one in results) / len(results), ""
        elif kind not in tried:
            say(f"measuring {first.method.label} in {first.space}")
            tried[kind] = _trial(first, first.shots or pools[first.target], study)
        seconds, why = tried[kind]
        if seconds is not None:
            steps = cadence(_steps(first), study.trace.every, study.trace.full_at)
            seconds += looks[first.source] * len(steps) * len(WEIGHTS)
        found.append(Plan(group, len(possible), len(results), seconds, why))
    return found


def total(plans: Sequence[Plan], at_once: int = 1) -> str:
    """The hours that are left, in a line."""
    left = sum(one.left for one in plans)
    runs = sum(one.runs - one.done for one in plans if not one.refused)
    if at_once > 1:
        best = f"at best {duration(left / at_once)} by {at_once} at a time"
        return f"{runs} runs are left: about {duration(left)} one after the other, {best}"
    return f"{runs} runs are left: about {duration(left)}"


def _steps(cell: Cell) -> int:
    preset = preset_of(resolution_of(cell.source))
    return recipe(cell.method.recipe, **{"preset": preset, **cell.asked}).steps


def _trial(cell: Cell, count: int, study: Study) -> tuple[float | None, str]:
    """Seconds of a run, or why the library refuses it; on noise, of which neither depends."""
    source = source_of(cell.source, "cpu")
    g = source.generator
    noise = torch.randint(0, 256, (count, g.img_channels, g.resolution, g.resolution), dtype=torch.uint8)
    try:
        done = adapt(
            source,
            noise,
            recipe=cell.method.recipe,
            space=cell.space,
            device=study.resources.device,
            dry_run=True,
            quiet=True,
            **cell.asked,
        )
    except StylegraftError as error:
        return None, str(error)
    assert done.plan
    return done.plan.total, ""


def _look(name: str, study: Study) -> float:
    """Seconds in which the panel measures a generator once; its preparation is not in it."""
    g = source_of(name, "cpu").generator
    shots = torch.randint(0, 256, (10, g.img_channels, g.resolution, g.resolution), dtype=torch.uint8)
    panel = Panel(g, shots, Settings(**dict(study.trace.settings)))
    panel.measure(g)
    started = perf_counter()
    panel.measure(g)
    return perf_counter() - started


# Running it
# --------------------------------------------------------------------------------------------


def jobs_of(
    study: Study, out: Path, wave: int | None = None, say: Callable[[str], None] = print
) -> tuple[list[Job], list[Outcome]]:
    """The runs that are left, their targets made, and what is refused for its shots. Writes the study's folder."""
    found = listed(study, wave)  # refuses before anything is written
    _enter(study, out)
    jobs, refused = list[Job](), list[Outcome]()
    prepared: dict[Any, Any] = {}
    for cell in found:
        if result_of(place(out, cell), cell):
            continue
        kind = (cell.target, cell.source)
        if kind not in prepared:
            prepared[kind] = prepare(cell.target, source_of(cell.source, "cpu"), out / "targets", say)
            for note in prepared[kind].notes:
                say(note)
        target = prepared[kind]
        if why := refusal(cell.shots, cell.draw, target.pool):
            refused.append(failed(Outcome(cell.key, "refused", why), place(out, cell)))
            continue
        jobs.append(Job(cell, str(out.resolve()), str(target.folder.resolve()), study.trace, study.resources))
    return jobs, refused


def run(
    study: Study,
    out: Path,
    *,
    runner: Runner = here,
    wave: int | None = None,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Run what is left of a study, or of one of its waves, into its folder; how each cell of this call ended.

    A run that failed for another reason than the library's own refusal is tried again after the others, `retries`
    times. Ctrl-C saves what is running, and is passed on. Raises StylegraftError where the weights that the runs are
    looked at through are not here.
    """
    Settings(**dict(study.trace.settings)).ready()  # missing weights are found now, not cell by cell
    jobs, refused = jobs_of(study, out, wave, say)
    outcomes = {one.key: one for one in refused}
    for why in dict.fromkeys(one.text for one in refused):
        keys = [one.key for one in refused if one.text == why]
        say(f"refused  {few(keys)}: {why}")
    count = len(listed(study, wave))
    say(f"{count - len(jobs) - len(refused)} of {count} cells are done, {len(jobs)} to run")
    left, waiting = jobs, waves(study, {*outcomes, *(job.cell.key for job in jobs)}) if wave is None else {}
    for attempt in range(study.resources.retries + 1):
        if attempt and left:
            say(f"trying {len(left)} failed runs again ({attempt} of {study.resources.retries})")
        ended, started = 0, perf_counter()
        with closing(runner(left, say)) as running:  # pyright: ignore[reportArgumentType]
            for outcome in running:
                ended += 1
                outcomes[outcome.key] = outcome
                rest = (perf_counter() - started) / ended * (len(left) - ended)
                say(
                    f"{outcome.state:<8} {outcome.key}: {outcome.text} ({duration(outcome.seconds)}; {ended} of "
                    f"{len(left)}" + (f", about {duration(rest)} left)" if rest else ")")
                )
                finished = complete(waiting, outcome)
                for number in finished if rest else ():
                    say(
                        f"wave {number} of {len(study.waves)} is complete; its answer, while the others run: "
                        f"stylegraft compare {shlex.quote(str(out))} --wave {number} --report"
                    )
        left = [job for job in left if job.cell.key in outcomes and outcomes[job.cell.key].again]
        if not left:
            break
    return list(outcomes.values())


def waves(study: Study, undone: set[str]) -> dict[int, set[str]]:
    """Of each wave, counted from 1, those of its cells that are not done; nothing of a wave that is."""
    own = {k: {cell.key for cell in listed(study, k)} & undone for k in range(1, len(study.waves) + 1)}
    return {k: keys for k, keys in own.items() if keys}


def complete(waiting: dict[int, set[str]], outcome: Outcome) -> list[int]:
    """Take a cell that is done out of the waves that wait for it; those that wait for nothing now."""
    if outcome.state == "done":
        for keys in waiting.values():
            keys.discard(outcome.key)
    found = [k for k, keys in waiting.items() if not keys]
    for k in found:
        del waiting[k]
    return found


def is_study(out: Path) -> bool:
    """Whether a study is, or can be, in this folder: it has the file, or nothing but what a kill left of writing it."""
    try:
        there = list(out.iterdir()) if out.is_dir() else []
    except OSError as error:
        raise StylegraftError(f"{out}: cannot be read: {error.strerror or error}") from error
    return (out / COPY).is_file() or all(path.match(f".{COPY}.*.tmp") for path in there)


def _enter(study: Study, out: Path) -> None:
    """Make the study's folder, and write down what is run there."""
    if not is_study(out):
        raise StylegraftError(
            f"--out {out}: holds files that are no study's; choose a new name, or an empty folder"
        )
    make_folder(out)
    write_text(out / COPY, study.text)
