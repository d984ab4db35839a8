"""Draw images from a source, a run or a domain file, and write them as one grid."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.checkpoints import Source
    from stylegraft.cli.resolve import Found

MOST_SEEDS = 4096  # in one picture
LAST_SEED = 2**32 - 1  # torch's CPU generator keeps 32 bits: beyond, faces would come back


@dataclass(frozen=True)
class Options:
    """What `stylegraft sample` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder, a domain file, a source file or the name of a source."""
    seeds: Annotated[str, arg(metavar="RANGES")] = "0-63"
    """One image a seed: `0-63`, or `7,40-43`. A seed gives the same face from a source and from its domains."""
    psi: float = 0.7
    """Truncation: 1 is the full variety, 0 the mean face."""
    strength: float = 1.0
    """Of the domain: 0 is the source, 1 the domain as learnt, more exaggerates it."""
    noise: Literal["const", "random", "none"] = "const"
    """The network's own noise maps (the same in every image), fresh ones (drawn from the first seed), or none."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name or file."""
    columns: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: a nearly square grid)")] = (
        None
    )
    """Images in a row."""
    device: str = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("grid.png")
    """Where the picture goes."""


def run(options: Options) -> None:
    """Render the seeds in batches and write the grid."""
    from stylegraft.cli.resolve import find

    seeds = parse_seeds(options.seeds)
    found = find(options.model, ("source", "domain", "run"))
    base = found if found.kind == "source" else find(base_name(found, options.source), ("source",))
    check(options, found)
    if found.kind != "source":
        check_base(found, base)

    from stylegraft.data.grids import save_grid
    from stylegraft.devices import check_device
    from stylegraft.sources import load_source

    device = check_device(options.device, "sample")
    source = load_source(base.path)
    if source.generator.c_dim:
        raise StylegraftError(
            f"source {source.name!r} is conditional ({source.generator.c_dim} classes); sample draws from those without"
        )
    if found.kind != "source":
        source = adapted(source, found.path, options.strength)
    images = render(source.to(device), seeds, options)
    save_grid(images, options.out, options.columns or round(len(seeds) ** 0.5))
    print(f"{len(seeds)} images of {options.model}: {options.out}")
    print(f"licence: {source.info.get('licence', 'not stated')}")


def base_name(found: Found, given: str | None) -> str:
    """The source that a domain stands on: the one given with --source, or the shipped one that the file names."""
    from stylegraft.sources import SOURCES

    if given:
        return given
    name = found.says("base", "name")
    if name not in SOURCES:
        raise StylegraftError(
            f"{found.path}: its base {name!r} does not ship with stylegraft: give the file of that source with --source"
        )
    return name


def check_base(domain: Found, base: Found) -> None:
    """Refuse another base by the two headers alone; loading compares the weights themselves."""
    wanted, found = domain.says("base", "sha256"), base.metadata.get("base", "")
    if found and found != wanted:
        raise StylegraftError(
            f"{domain.path}: the domain stands on the base {domain.says('base', 'name')!r} (sha256 {str(wanted)[:12]}),"
            f" {base.path} is another one (sha256 {found[:12]}); give its own base with --source"
        )


def check(options: Options, found: Found) -> None:
    """Refuse what makes no sense, naming the flag."""
    if found.kind == "source" and options.strength != 1.0:
        raise StylegraftError(
            f"--strength {options.strength:g}: {options.model} is a source; only domains have one"
        )
    for flag, value in (("--psi", options.psi), ("--strength", options.strength)):
        if not math.isfinite(value):
            raise StylegraftError(f"{flag} {value}: expected a finite number")
    if options.columns is not None and options.columns < 1:
        raise StylegraftError(f"--columns {options.columns}: expected at least 1")
    if not options.out.parent.is_dir():
        raise StylegraftError(f"--out {options.out}: the folder {options.out.parent} does not exist")
    if options.out.suffix.lower() != ".png":
        raise StylegraftError(f"--out {options.out}: expected a name that ends in .png")


def adapted(source: Source, domain_file: Path, strength: float) -> Source:
    """The source with the domain folded in; raises StylegraftError naming the file when it is not the domain's base."""
    from stylegraft.domains.domain import Domain

    domain = Domain.load(domain_file)
    try:
        return source.with_domain(domain if strength == 1.0 else domain * strength)
    except StylegraftError as error:
        raise StylegraftError(f"{domain_file}: {error}") from error


def render(source: Source, seeds: list[int], options: Options, batch: int = 16) -> Tensor:
    """Images [N, C, R, R] of the seeds, nominally in [-1, 1]; a seed's latent does not depend on the others."""
    import torch

    from stylegraft.adaptation.sampling import Draws

    generator = source.generator
    draws = torch.Generator().manual_seed(seeds[0])
    images = []
    with torch.inference_mode():
        for i in range(0, len(seeds), batch):
            z = Draws(seeds[i : i + batch], device=options.device).normal(generator.z_dim)
            images.append(generator(z, psi=options.psi, noise=options.noise, generator=draws).image.cpu())
    return torch.cat(images)


def parse_seeds(text: str) -> list[int]:
    """`0-3,9` -> [0, 1, 2, 3, 9]; raises StylegraftError for anything else, and beyond MOST_SEEDS or LAST_SEED."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part, re.ASCII)
        if not match:
            raise StylegraftError(
                f"--seeds {text}: {part!r} is not a seed; expected ranges like 0-63 or 7,40-43"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST_SEEDS - len(seeds) or last > LAST_SEED:
            raise StylegraftError(
                f"--seeds {text}: expected 1 to {MOST_SEEDS} seeds of at most {LAST_SEED}, ranges from low to high"
            )
        seeds += range(first, last + 1)
    return seeds
