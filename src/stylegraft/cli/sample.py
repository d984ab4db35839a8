"""Draw images from a source, a run or a domain file, and write them as one grid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Device, check, of_domains
from stylegraft.errors import StylegraftError
from stylegraft.seeds import LAST_SEED

MOST_SEEDS = 4096  # in one picture
MOST_PIXELS = 1 << 27  # the same


@dataclass(frozen=True)
class Options:
    """What `stylegraft sample` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder, a domain file, or a source: its name, its file (.safetensors, .pkl, .pt) or hf://OWNER/REPO/FILE."""
    seeds: Annotated[
        str | None,
        arg(metavar="RANGES", help_behavior_hint="(default: 0-63, above 128 px 0-15)"),
    ] = None
    """One image a seed: `0-63`, or `7,40-43`. A seed gives the same face from a source and from its domains."""
    label: Annotated[
        int | None, arg(metavar="CLASS", help_behavior_hint="(default: the classes in turn, one a seed)")
    ] = None
    """Of a conditional source: the class to draw, counted from 0."""
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
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    columns: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: a nearly square grid)")] = (
        None
    )
    """Images in a row."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("grid.png")
    """Where the picture goes."""


def run(options: Options) -> None:
    """Render the seeds in batches and write the grid."""
    from stylegraft.cli.model import find_model, load_model, render

    check(options, kinds={".png": "a grid"})
    seeds = None if options.seeds is None else parse_seeds(options.seeds)
    model = find_model(options.model, options.source)
    of_domains(options, model.found, "strength")

    from stylegraft.cli.console import counted, say
    from stylegraft.data.grids import save_grid
    from stylegraft.devices import check_device

    device = check_device(options.device, "sample")
    source = load_model(model, options.strength)
    classes = source.generator.c_dim
    if options.label is not None and not 0 <= options.label < classes:
        have = f"has the classes 0 to {classes - 1}" if classes else "has no classes"
        raise StylegraftError(f"--label {options.label}: {options.model} {have}")
    seeds = seeds or list(range(64 if source.generator.resolution <= 128 else 16))
    side = max(source.generator.resolution, 128)
    if len(seeds) * side**2 > MOST_PIXELS:
        raise StylegraftError(
            f"--seeds: {len(seeds)} images of {side} px are too many for one picture; at most {MOST_PIXELS // side**2}"
        )
    images = render(
        source.to(device),
        seeds,
        psi=options.psi,
        noise=options.noise,
        label=options.label,
        device=options.device,
    )
    save_grid(images, options.out, options.columns or round(len(seeds) ** 0.5))
    for note in source.info.get("notes", ()):
        say(f"note: {note}")
    print(f"{counted(len(seeds), 'image')} of {options.model}: {options.out}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


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
