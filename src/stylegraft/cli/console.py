"""How the verbs print: tables that fit 80 columns, sizes and counts for reading, licences in one line."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stylegraft.errors import plain

WORD = 16  # letters


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str | None = None,
    *,
    tight: bool = False,
) -> None:
    """Print a table; a column whose name starts with `>` is aligned to the right. Long cells wrap, nothing is cut.

    tight: less room between the columns, and words of up to `WORD` letters stay whole.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0) if tight else (0, 1),
    )
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    for i, column in enumerate(columns):
        right = column.startswith(">")
        words = [len(word) for row in cells for word in row[i].split()] if tight and not right else [0]
        table.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right,
            min_width=min(WORD, max(words, default=0)) or None,
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def say(text: str) -> None:
    """Print a paragraph, wrapped at words to the width of the terminal (80 where there is none), and indented as it
    begins.
    """
    width, indent = (
        min(100, shutil.get_terminal_size((80, 24)).columns),
        " " * (len(text) - len(text.lstrip(" "))),
    )
    print(textwrap.fill(plain(text), width, subsequent_indent=indent, break_on_hyphens=False))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print `name: value` lines, the values in one column, empty ones left out."""
    shown = [(plain(name), plain(str(value))) for name, value in facts if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0) + 2
    for name, value in shown:
        print(f"{name + ':':<{width}}{value}")


def file_size(path: Path) -> str:
    """The size of a file, or of all in a folder, for reading: `38.3 KB`, `20.4 MB` (powers of 1000)."""
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    size = float(sum(part.stat().st_size for part in files))
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def counted(count: int, thing: str) -> str:
    """`1 face`, `3 faces`."""
    return f"{count} {thing}{'s' * (count != 1)}"


def share(part: int, whole: int) -> str:
    """A share in per cent with enough digits to be more than zero: `0.12 %`, `100 %`."""
    per_cent = 100 * part / max(1, whole)
    return f"{per_cent:.0f} %" if per_cent >= 99.95 else f"{per_cent:.2f} %"


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on the terminal for what is under way; without a terminal, a line for each thing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks = {}

        def progress(what: str, done: int, total: int) -> None:
            metric = not what.startswith("images")
            kind, text = ("metrics", f"measuring {what}") if metric else (what, what)
            if kind not in tasks:
                tasks[kind] = shown.add_task(kind)
            shown.update(tasks[kind], description=text, completed=done, total=total or None)
            if metric and not sys.stderr.isatty():
                print(text, file=sys.stderr, flush=True)

        yield progress
