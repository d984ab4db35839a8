"""Run a study: recipes, spaces, targets, draws and seeds against each other, with curves, a table and an answer."""

from __future__ import annotations

import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.cli import flags
from stylegraft.cli.flags import Rule, Switch

if TYPE_CHECKING:
    from stylegraft.lab.cell import Outcome
    from stylegraft.lab.compare import Plan
    from stylegraft.lab.results import Group, Row
    from stylegraft.lab.study import Study

RULES: tuple[Rule, ...] = (
    ("processes", lambda o: o.ray, "--ray {o.ray} deals the runs; expected one of them"),
    (
        "ray",
        lambda o: o.dry_run,
        "--dry-run measures in this process and asks no cluster; leave one of them out",
    ),
    ("report", lambda o: o.dry_run, "--dry-run writes no table; leave one of them out"),
    ("processes ray", lambda o: o.report, "--report runs nothing; leave one of them out"),
)
STUDY = "study.toml"  # what a study's folder holds: `lab.compare.COPY`, known here without torch


@dataclass(frozen=True)
class Options:
    """What `stylegraft compare` takes."""

    study: Annotated[Positional[str], arg(metavar="[STUDY]", help_behavior_hint="")] = ""
    """A study.toml (docs/compare.md), a study's folder, or pictures (a folder, a zip, a set that ships)."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/NAME)")] = None
    """The study's folder; the same command again goes on there."""
    processes: Annotated[int, arg(metavar="N")] = 0
    """Run N cells at a time, each in a process of its own; 0: one after the other, in this one."""
    ray: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: no Ray)")] = None
    """Run each cell as a task of the Ray cluster at this address, such as auto; `local` starts one here."""
    keep: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: nowhere)")] = None
    """Keep the small results of finished cells here as well; cells whose result is here count as done."""
    wave: Annotated[int | None, arg(metavar="K", help_behavior_hint="(default: all)")] = None
    """Only this wave, counted from 1."""
    dry_run: Switch = False
    """Print the cells, the pairs that are refused and why, and the hours, measured on a few steps of each."""
    report: Switch = False
    """Run nothing: write the table anew from what there is."""
    example: Switch = False
    """Print a study.toml to begin with."""


def run(options: Options) -> None:
    """Read the study, run what is left of it, and print the table and the answer."""
    from stylegraft.errors import StylegraftError
    from stylegraft.lab.example import EXAMPLE

    if options.example:
        if options.study:
            raise StylegraftError(
                f"{options.study}: --example prints a study; `stylegraft compare --example > {options.study}` writes it"
            )
        print(EXAMPLE, end="")
        return
    if not options.study:
        raise StylegraftError(
            "compare: expected a study.toml (`stylegraft compare --example > study.toml` makes one), a study's folder, "
            "or pictures (a folder, a zip, a packaged set)"
        )
    if options.processes < 0:
        raise StylegraftError(f"--processes {options.processes}: expected at least 0")
    flags.check(options, RULES)
    for flag, folder in (("--out", options.out), ("--keep", options.keep)):
        if folder and folder.exists() and not folder.is_dir():
            raise StylegraftError(f"{flag} {folder}: a file; expected a folder, or a new name")
    study, out = opened(options.study, options.out, paths=not options.report)
    if options.dry_run:
        show_plan(study, options.keep or out, options)
        return
    rows, outcomes = measured(study, out, options)
    show_table(study, rows, out)
    check(rows, outcomes)


def opened(text: str, out: Path | None, *, paths: bool) -> tuple[Study, Path]:
    """The study that is meant, and its folder. paths: whether its pictures must be there."""
    from stylegraft.cli.check import check_target
    from stylegraft.cli.resolve import no_file
    from stylegraft.data.targets import TARGETS
    from stylegraft.data.texts import there
    from stylegraft.errors import StylegraftError
    from stylegraft.lab.example import of_pictures
    from stylegraft.lab.study import slug
    from stylegraft.lab.studyfile import read
    from stylegraft.sources import SOURCES

    path, copy = Path(text), Path(text) / STUDY
    if copy.is_file():
        try:
            return read(copy, paths=paths), out or path
        except StylegraftError as error:
            raise StylegraftError(
                f"{error}. This is the copy in the study's folder, and paths begin there: name the file that it was "
                "run from"
            ) from None
    if text in SOURCES and not there(path):
        raise StylegraftError(
            f"{text}: a source; expected pictures, or a study.toml that names it as its source"
        )
    if not there(path) and text not in TARGETS and path.suffix.lower() != ".toml":
        raise StylegraftError(
            f"{no_file(path)}; expected pictures (a folder, a zip, a set that ships), a study.toml or a study's folder"
        )
    pictures = path.is_dir() or text in TARGETS or (path.suffix.lower() == ".zip" and path.is_file())
    if pictures and paths:
        check_target(text, "auto")
    study = of_pictures(text) if pictures else read(path, paths=paths)
    return study, out or Path("runs") / slug(study.name)


def check(rows: list[Row], outcomes: list[Outcome]) -> None:
    """After the table: an error where a run of this call failed, or where nothing has succeeded."""
    from stylegraft.errors import StylegraftError

    states = [one.state for one in outcomes]
    count, bad = len(states), {name: states.count(name) for name in ("failed", "refused")}
    if outcomes and "busy" not in states and not any(row.state == "done" for row in rows):
        why = next(one.text for one in outcomes)
        raise StylegraftError(
            f"no run succeeded: {bad['failed']} failed, {bad['refused']} refused; the first: {why}"
        )
    if bad["failed"]:
        why = next(one.text for one in outcomes if one.state == "failed")
        raise StylegraftError(f"{bad['failed']} of {count} runs failed; the first: {why}")


def measured(study: Study, out: Path, options: Options) -> tuple[list[Row], list[Outcome]]:
    """Run what is left, unless the table alone is asked for; the rows of the table, and how the runs ended."""
    from stylegraft.errors import StylegraftError
    from stylegraft.lab import compare, keeping
    from stylegraft.lab.cluster import on_ray
    from stylegraft.lab.results import read_rows
    from stylegraft.lab.runners import here, processes

    if options.keep:
        found = compare.listed(study)
        keeping.restore(study, found, options.keep, out)
        keeping.keep(found, out, options.keep)
    if options.report:
        if not (out / compare.COPY).is_file():
            raise StylegraftError(
                f"--report: {out} holds no study yet; run it without --report, or say its --out"
            )
        return read_rows(compare.listed(study, options.wave), out), []
    runner = processes(options.processes) if options.processes else here
    if options.ray:
        runner = on_ray(None if options.ray == "local" else options.ray)
    if options.keep:
        runner = keeping.keeping(runner, options.keep)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's way to say Ctrl-C
    try:
        outcomes = compare.run(study, out, runner=runner, wave=options.wave, say=say)
    except KeyboardInterrupt:
        say(f"stopped, saved; the same command continues {out}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return read_rows(compare.listed(study, options.wave), out), outcomes


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def show_plan(study: Study, out: Path, options: Options) -> None:
    """What would run."""
    from stylegraft.cli.console import print_table
    from stylegraft.lab.compare import plan, total

    plans = plan(study, out, options.wave, say)
    names = ("source", "recipe", "space", "target", "shots")
    print_table(
        (*names, ">runs", ">done", ">a run"),
        [(*one.group, one.runs, one.done, time_of(one)) for one in plans if not one.refused],
        study.name,
        tight=True,
    )
    refused = [one for one in plans if one.refused]
    if refused:
        print("\nrefused:")
        for one in refused:
            print(f"  {' / '.join(one.group)} ({one.runs} run{'s' * (one.runs > 1)}): {one.refused}")
    print(f"\n{total(plans, max(1, options.processes))}; making targets and preparing panels is not counted")
    print(f"on {'a GPU' if study.resources.gpu else 'this CPU'}, as it is loaded now")


MEANING = (
    "p_target, diversity and KID of the averaged weights at the end, means over the runs; .5, .7, .9: diversity where "
    "p_target first comes to that share of the way from p(source) to p(real), and the step where it comes to .9; a "
    "dash: not reached."
)


def scale(found: list[Group]) -> str:
    """The two ends of p_target."""
    from stylegraft.lab.results import ends

    told = next((ends(group).split("..") for group in found if group.done), None)
    return f": p(source) {told[0]}, p(real) {told[1]}" if told and len(told) == 2 else ""


def short(group: Group) -> list[str]:
    """A group as a line of 80 characters."""
    from stylegraft.lab.results import LEVELS

    runs = f"{len(group.done)}/{len(group.rows)}"
    if not group.done:
        states = ", ".join(sorted({row.state for row in group.rows}))
        return [f"{group.method} {group.space}", f"{runs} {states}", *[""] * 7]
    at = [group.reached(share) for share in LEVELS]
    numbers = [
        group.last("quality"),
        group.last("diversity"),
        *(one[1] if one else None for one in at),
        group.last("kid"),
    ]
    step = f"{at[-1][0].value:.0f}" if at[-1] else "-"
    return [
        f"{group.method} {group.space}",
        runs,
        *(f"{one.value:.3f}" if one else "-" for one in numbers),
        step,
    ]


def time_of(one: Plan) -> str:
    """Of one run, for reading."""
    from stylegraft.adaptation.plan import duration

    return duration(one.seconds) if one.seconds is not None else "-"


def show_table(study: Study, rows: list[Row], out: Path) -> None:
    """Write and print the table, and the answer."""
    from stylegraft.cli.console import print_table
    from stylegraft.cli.console import say as paragraph
    from stylegraft.lab.results import problems
    from stylegraft.lab.study_page import FILES, write_results

    told = write_results(study.name, rows, out)
    print()
    for (source, target, shots), own in problems(rows).items():
        heads = ("method, space", "runs", ">p_target", ">divers.", ">at .5", ">.7", ">.9", ">KID", ">step")
        title = f"{target}, {shots} shots, from {source}{scale(own)}"
        print_table(heads, map(short, own), title, tight=True)
        print()
    paragraph(MEANING)
    print()
    for line in told:
        paragraph(line)
    print("\ntable      " + "\n           ".join(str(out / name) for name in FILES))
    print(f"runs       {shlex.quote(str(out / 'cells'))}, each as `stylegraft adapt` leaves one")
