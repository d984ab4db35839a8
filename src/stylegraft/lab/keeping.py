"""The small files of finished cells in a second folder, which a repository can hold: a few KB a cell, no states.

    benchmarks/results/claims-faces-64/cells/dcl/full/pencil/10/d0/s0/   result.json  trace.jsonl  control.json

A study that finds a cell there has it: on another machine, and after `runs/` is gone, it goes on with what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from stylegraft.atomic import write_bytes, write_text
from stylegraft.errors import StylegraftError
from stylegraft.lab import control
from stylegraft.lab.cell import Job, Outcome
from stylegraft.lab.compare import COPY, is_study
from stylegraft.lab.record import RESULT, place, result_of
from stylegraft.lab.runners import Runner
from stylegraft.lab.study import Cell, Study
from stylegraft.lab.targets import MADE
from stylegraft.lab.trace import FILE

Hook = Callable[[Job, Callable[[str], None]], None]
FILES = (FILE, control.CONTROL, RESULT)  # the result last: a cell is there when it is


def keep(cells: Sequence[Cell], out: Path, folder: Path) -> int:
    """Copy the small files of the finished cells of a study in `out` to `folder`; of how many there was news."""
    return sum(_copy(cell, out, folder) for cell in cells if result_of(place(out, cell), cell))


def restore(study: Study, cells: Sequence[Cell], folder: Path, out: Path) -> int:
    """Bring the finished cells that `out` lacks from `folder`, so that they count as done; how many.

    What was brought for other settings is taken away, or it would stand in the way of the run.
    """
    if not is_study(out):
        return 0  # no study's folder, which `compare.run` refuses
    count = 0
    for cell in cells:
        own = place(out, cell)
        if result_of(own, cell) or (own / "config.json").is_file():
            continue
        for name in FILES:
            (own / name).unlink(missing_ok=True)
        if result_of(place(folder, cell), cell):
            count += _copy(cell, folder, out)
    if count:
        write_text(out / COPY, study.text)
    return count


def _copy(cell: Cell, here: Path, there: Path) -> bool:
    a, b = place(here, cell), place(there, cell)
    news = False
    for name in FILES:
        if not (a / name).is_file():
            continue
        data = (a / name).read_bytes()
        if not (b / name).is_file() or (b / name).read_bytes() != data:
            b.mkdir(parents=True, exist_ok=True)
            write_bytes(b / name, data)
            news = True
    return news


def keeping(runner: Runner, folder: Path, hook: Hook = control.look) -> Runner:
    """The runner, which keeps every cell as it ends.

    hook: called first with each job that is done, while its domain is at hand, and `say`; what it writes under a name
    in `FILES` is kept.
    """

    def run(jobs: Sequence[Job], say: Callable[[str], None]) -> Iterator[Outcome]:
        of = {job.cell.key: job for job in jobs}
        with closing(runner(jobs, say)) as running:  # pyright: ignore[reportArgumentType]
            for outcome in running:
                if outcome.state == "done":
                    job = of[outcome.key]
                    look([job], say, hook)
                    keep([job.cell], Path(job.out), folder)
                yield outcome

    return run


def look(jobs: Sequence[Job], say: Callable[[str], None], hook: Hook = control.look) -> None:
    """Call the hook with each job. Its errors are said and end nothing: the runs are done, the study has others."""
    for job in jobs:
        try:
            hook(job, say)
        except Exception as error:
            known = isinstance(error, StylegraftError)
            told = str(error) if known else f"{type(error).__name__}: {error}".strip().splitlines()[0]
            say(f"{job.cell.key}: done, but what is measured after it is not: {told}")


def jobs_there(study: Study, cells: Sequence[Cell], out: Path) -> list[Job]:
    """The finished cells whose control can be measured here; for each the target that its run was made on."""
    found = []
    for cell in cells:
        result = result_of(place(out, cell), cell)
        target = out / "targets" / result["shots"]["pool"] if result else None
        if target and (target / MADE).is_file():
            found.append(Job(cell, str(out.resolve()), str(target.resolve()), study.trace, study.resources))
    return [job for job in found if control.wanted(job)]
