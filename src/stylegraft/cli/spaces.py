"""List the spaces: what can be made to move in a generator, with exact counts of the numbers trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Options:
    """What `stylegraft spaces` takes."""

    source: Annotated[Positional[str], arg(metavar="[SOURCE]")] = ""
    """A source (name or file) to count on; without one, the size that the paper gives for a 512-px StyleGAN2."""
    block: Annotated[
        int | None, arg(metavar="PX", help_behavior_hint="(default: 64, or half the resolution if smaller)")
    ] = None
    """Resolution of the block that `affine+` and `affine-light+` also train."""


def run(options: Options) -> None:
    """Print the table of spaces."""
    from stylegraft.cli.console import print_table, share
    from stylegraft.domains.table import SPACES

    if not options.source:
        print_table(
            ("space", "what moves", "in the paper (512 px)"),
            [(n, s.summary, s.paper) for n, s in SPACES.items()],
        )
        print("\nstylegraft spaces SOURCE counts them on a source, for example on faces-64.")
        return
    from stylegraft.domains.spaces import count
    from stylegraft.sources import load_source

    source = load_source(options.source)
    whole = sum(parameter.numel() for parameter in source.generator.parameters())
    counts = {name: count(name, source.generator, options.block) for name in SPACES}
    print(f"{source.name}: {whole:,} parameters in the generator\n")
    print_table(
        ("space", "what moves", ">trained", ">of the generator"),
        [
            (name, space.summary, f"{counts[name]:,}", share(counts[name], whole))
            for name, space in SPACES.items()
        ],
    )
