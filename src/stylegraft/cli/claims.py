"""Test the papers' claims on the runs of a study: claim, measured, holds or does not hold."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from stylegraft.lab.claims import Verdict

STUDY = "study.toml"  # what a study's folder holds: `lab.compare.COPY`, known here without torch


@dataclass(frozen=True)
class Options:
    """What `stylegraft claims` takes."""

    study: Annotated[Positional[str], arg(metavar="[STUDY]", help_behavior_hint="")] = ""
    """A study.toml whose runs `stylegraft compare` made, or its folder; none, or a claim as C5: when it holds."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/NAME)")] = None
    """The study's folder."""
    keep: Annotated[
        Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: results/NAME beside the study)")
    ] = None
    """Where the small results of finished cells are kept; the tables are written beside it, as FOLDER.md and .json."""
    charts: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: no charts)")] = None
    """Write the charts here, as SVG."""


def run(options: Options) -> None:
    """Keep what is finished, judge the claims by all that is kept, and print and write the tables."""
    from stylegraft.data.texts import there
    from stylegraft.errors import StylegraftError
    from stylegraft.lab.claims import CLAIMS, judge
    from stylegraft.lab.claims_history import INTRO, history

    asked = [claim for claim in CLAIMS if options.study in ("", claim.id)]
    if asked and not (options.study and there(Path(options.study))):
        for flag, value in (("--out", options.out), ("--keep", options.keep), ("--charts", options.charts)):
            if value is not None:
                raise StylegraftError(f"{flag} {value}: is for a study, and none is there")
        for claim in asked:
            paragraphs(f"{claim.id}  {claim.says} ({claim.by})", [claim.criterion])
        if changed := history(options.study):
            paragraphs(INTRO, [])
        for when, lines in changed.items():
            paragraphs(when, lines)
        return

    from stylegraft.lab.study import slug
    from stylegraft.lab.studyfile import read

    path = Path(options.study)
    copy = path / STUDY
    study = read(copy if path.is_dir() else path, paths=False)
    out = options.out or (path if path.is_dir() else Path("runs") / slug(study.name))
    folder = options.keep or study.path.parent / "results" / slug(study.name)

    from stylegraft.lab import claims_report, keeping
    from stylegraft.lab.compare import listed

    cells = listed(study)
    keeping.look(keeping.jobs_there(study, cells, out), say)
    keeping.keep(cells, out, folder)
    rows = claims_report.rows_of(study, folder)
    verdicts = judge(rows)
    claims_report.write(study, rows, verdicts, folder)
    for verdict in verdicts:
        show(verdict)
    done = sum(row.state == "done" for row in rows)
    print(f"{done} of {len(rows)} runs are done; {claims_report.summary(verdicts)}")
    print(f"\ntables     {folder}.md\n           {folder}.json")
    if options.charts:
        made = claims_report.write_charts(rows, options.charts, folder.name)
        print(f"charts     {len(made)} in {options.charts}")


def show(verdict: Verdict) -> None:
    """A claim and what is said of it."""
    claim = verdict.claim
    paragraphs(f"{claim.id}  {claim.says} {verdict.answer.upper()}", verdict.measured)


def paragraphs(head: str, lines: tuple[str, ...] | list[str]) -> None:
    """A sentence, and what stands under it."""
    from stylegraft.cli.console import say as paragraph

    paragraph(head)
    for line in lines:
        paragraph(f"    {line}")
    print()


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
