"""List the spaces: what can be made to move in a generator, with exact counts of the numbers trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source


@dataclass(frozen=True)
class Options:
    """What `stylegraft spaces` takes."""

    source: Annotated[Positional[str], arg(metavar="[SOURCE]", help_behavior_hint="")] = ""
    """A source (name or file) to count on; without one, where each space comes from."""
    space: Annotated[Positional[str], arg(metavar="[SPACE]", help_behavior_hint="")] = ""
    """One space in detail: a name, or an expression such as "affine@32..64 + lowrank:8(conv@64)"."""


def run(options: Options) -> None:
    """Print the table of spaces, or one space by group."""
    from stylegraft.cli.console import print_table
    from stylegraft.domains.expression import find_space
    from stylegraft.domains.table import SPACES
    from stylegraft.errors import StylegraftError

    if not options.source:
        print_table(("space", "what moves", "from"), [(n, s.summary, s.paper) for n, s in SPACES.items()])
        print("\nstylegraft spaces SOURCE counts them on a source, for example on faces-64.")
        return
    if options.space and is_space(options.source):
        raise StylegraftError(
            f'{options.source}: expected the source first, `spaces {options.space} "{options.source}"`'
        )
    if options.space:
        find_space(options.space)
    elif is_space(options.source):
        raise StylegraftError(
            f"spaces {options.source!r}: a space, whose numbers depend on the source; expected a source first, as in"
            f' `stylegraft spaces faces-64 "{options.source}"`'
        )
    from stylegraft.sources import load_source

    source = load_source(options.source)
    if options.space:
        show_one(source, options.space)
    else:
        show_all(source)


def is_space(text: str) -> bool:
    """Whether a text is a space or an expression, and neither a source nor a file."""
    from stylegraft.cli.resolve import is_source
    from stylegraft.domains.expression import find_space
    from stylegraft.errors import StylegraftError

    try:
        return not is_source(text) and bool(find_space(text))
    except StylegraftError:
        return False


def show_all(source: Source) -> None:
    """Every space of the table, with what it trains on this source; a dash where the network lacks it."""
    from stylegraft.cli.console import print_table, say, share
    from stylegraft.domains.spaces import canonical, count
    from stylegraft.domains.table import SPACES
    from stylegraft.errors import StylegraftError

    whole = sum(parameter.numel() for parameter in source.generator.parameters())
    rows = []
    for name, space in SPACES.items():
        try:
            numbers = count(name, source.generator)
        except StylegraftError:
            rows.append((name, f"not here: {space.lacking or space.summary}", "-", "-"))
        else:
            rows.append(
                (canonical(name, source.generator), space.summary, f"{numbers:,}", share(numbers, whole))
            )
    print(f"{source.name}: {whole:,} parameters in the generator; a share is of them\n")
    print_table(("space", "what moves", ">numbers", ">share"), rows)
    print()
    say(
        "A number behind @ may be another resolution of the source; affine-light+ also takes a rank:"
        " affine-light+:8@32. Groups and forms make spaces of one's own, counted by"
        ' stylegraft spaces SOURCE "affine@32..64 + lowrank:8(conv@64)".'
    )


def show_one(source: Source, space: str) -> None:
    """What one space trains on this source, by group of parameters."""
    from stylegraft.cli.console import print_table, share
    from stylegraft.domains.spaces import canonical, counts, groups_of, resolve

    generator = source.generator
    labels = {
        name: group for group, members in groups_of(generator).items() if "/" not in group for name in members
    }
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for name, spec, numbers in counts(resolve(space, generator), generator):
        row = labels[name], f"{spec.form}:{spec.rank}" if spec.rank else spec.form
        tensors, total = rows.get(row, (0, 0))
        rows[row] = tensors + 1, total + numbers
    numbers = sum(total for _, total in rows.values())
    whole = sum(parameter.numel() for parameter in generator.parameters())
    print(f"{canonical(space, generator)} on {source.name}")
    print(f"{numbers:,} numbers, {share(numbers, whole)} of the generator\n")
    print_table(
        ("group", "form", ">tensors", ">numbers"),
        [(*row, tensors, f"{total:,}") for row, (tensors, total) in rows.items()],
    )
