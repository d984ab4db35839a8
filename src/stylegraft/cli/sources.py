"""List the pretrained sources that ship with the package: what they are, their size, their licence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`stylegraft sources` takes nothing."""


def run(options: Options) -> None:
    """Print the table of sources."""
    from stylegraft.cli.console import file_size, print_table, say
    from stylegraft.errors import StylegraftError
    from stylegraft.sources import SOURCES, source_path

    def size(name: str) -> str:
        try:
            return file_size(source_path(name))
        except StylegraftError:
            return "not installed"

    rows = [(name, row.summary, size(name), row.licence) for name, row in SOURCES.items()]
    print_table(("source", "what it is", ">size", "licence of the weights"), rows)
    print()
    say(
        "`stylegraft inspect NAME` looks inside; wherever a source is asked for, the path of a source file will do too."
    )
