"""Say what is inside a source, a domain file or a run: architecture, counts, hashes, licence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from torch import nn

    from stylegraft.cli.resolve import Found


@dataclass(frozen=True)
class Options:
    """What `stylegraft inspect` takes."""

    what: Annotated[Positional[str], arg(metavar="FILE")]
    """A source (name or file), a domain file or a run folder."""


def run(options: Options) -> None:
    """Print the facts of whatever it is, after every check that loading it makes."""
    from stylegraft.cli.resolve import find

    found = find(options.what, ("source", "domain", "run"))
    if found.kind == "source":
        show_source(found)
        return
    if found.kind == "run":
        show_run(found.path.parent)
    show_domain(found)


def show_source(found: Found) -> None:
    """Architecture, parameter groups, licence, the hash that domains record."""
    from stylegraft.checkpoints import base_digest, fingerprint, load
    from stylegraft.cli.console import file_size, print_facts, print_table

    source = load(found.path)
    generator = source.generator
    print_facts((
        ("source", source.name),
        ("file", f"{found.path} ({file_size(found.path)})"),
        ("architecture", fingerprint(generator.config)),
        ("image", f"{generator.resolution} px, {generator.img_channels} channels"),
        ("latent", f"z {generator.z_dim}, w {generator.w_dim}, {generator.num_ws} rows of W+"),
        ("labels", generator.c_dim or "none"),
        ("generator", f"{count(generator):,} parameters"),
        ("discriminator", f"{count(source.discriminator):,} parameters" if source.discriminator else "none"),
        *((key, value) for key, value in source.info.items() if key != "name" and isinstance(value, str | int | float)),
        ("base sha256", base_digest(generator)),
        ("file digest", found.metadata.get("digest")),
    ))  # fmt: skip
    sizes = {name: parameter.numel() for name, parameter in generator.named_parameters()}
    rows = [
        (group, len(names), f"{sum(sizes[name] for name in names):,}")
        for group, names in generator.groups.items()
    ]
    print()
    print_table(("parameter group", ">tensors", ">parameters"), rows)


def show_domain(found: Found) -> None:
    """What it stands on, how it was made, what it moves."""
    from stylegraft.cli.console import file_size, print_facts, print_table
    from stylegraft.domains.domain import Domain

    domain = Domain.load(found.path)
    print_facts((
        ("domain", f"{found.path} ({file_size(found.path)}, {domain.count:,} numbers)"),
        *((key, value if isinstance(value, str) else json.dumps(value)) for key, value in domain.config.items()),
        ("base", f"{domain.base['name']} ({domain.base['fingerprint']})"),
        ("base sha256", domain.base["sha256"]),
        ("licence of the base", domain.base["licence"]),
        ("written by", f"stylegraft {found.metadata.get('library_version', '')}"),
        ("file digest", found.metadata.get("digest")),
    ))  # fmt: skip
    rows = [
        (name, " + ".join(term.form for term in terms), f"{sum(term.count for term in terms):,}")
        for name, terms in domain.deltas.items()
    ]
    print()
    print_table(("parameter", "form", ">numbers"), rows)


def show_run(folder: Path) -> None:
    """How far the run is, by the last whole line of its statistics."""
    from stylegraft.adaptation.folder import read_stats
    from stylegraft.cli.console import print_facts

    last = (read_stats(folder / "stats.jsonl") or [{}])[-1]
    taken = last.pop("step", -1) + 1  # a step's number is counted from 0
    shown = ((key, f"{value:g}" if isinstance(value, float) else value) for key, value in last.items())
    print_facts((("run", folder), ("steps taken", taken), *shown))
    print()


def count(network: nn.Module | None) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters()) if network is not None else 0
