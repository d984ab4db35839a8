"""Find directions that edit faces, without labels or from two folders of pictures, and show what each does."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Device, Psi, Rule, check, psi_of
from stylegraft.cli.resolve import no_file
from stylegraft.cli.sample import parse_seeds
from stylegraft.data.texts import read_text
from stylegraft.errors import StylegraftError, nearest
from stylegraft.seeds import LAST_SEED

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.applications.directions import Direction
    from stylegraft.networks.generator import Generator

LEAST = 100  # samples
LEAST_PICTURES = 5  # in a folder, as `applications.labels` asks
KINDS = {".png": "a picture"}
METHODS = ("sefa", "ganspace")
RULES: tuple[Rule, ...] = (
    ("codes", lambda o: not o.labels, "it goes with --labels"),
    ("samples encoder align", lambda o: not o.folders, "it goes with --folders"),
    ("channels", lambda o: o.what, "it goes with --folders or --labels"),
    ("save", lambda o: o.what.partition("@")[0] in METHODS,
     "which direction? WHAT takes its number then, as in sefa:0"),
)  # fmt: skip
FACTORS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Options:
    """What `stylegraft directions` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The source; of a run or a domain file, whose pictures are shown then, the one it stands on."""
    what: Annotated[Positional[str], arg(metavar="[WHAT]", help_behavior_hint="")] = ""
    """`sefa` or `ganspace`, `ganspace:3` or a direction file; with @0-3 or @4-16px on these rows of W+ alone."""
    folders: Annotated[
        tuple[Path, Path] | None, arg(metavar="WITH WITHOUT", help_behavior_hint="(default: none)")
    ] = None
    """Instead of WHAT: pictures with an attribute, and pictures without it."""
    labels: Annotated[Path | None, arg(metavar="CSV", help_behavior_hint="(default: none)")] = None
    """Instead of WHAT: a line `name,value` for each face, the name a seed, or a code of --codes."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: seeds)")] = None
    """With --labels: the file of codes whose names it uses."""
    channels: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: the plane's normal in W)")
    ] = None
    """With --folders or --labels: the direction that moves the N channels of StyleSpace which differ most."""
    samples: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 1000)")] = None
    """With --folders: faces of the source that the classifier looks at."""
    encoder: Annotated[
        str | None, arg(metavar="NAME", help_behavior_hint="(default: effnet-lite0, else vgg16)")
    ] = None
    """With --folders: what the classifier looks through, of `stylegraft encoders`."""
    align: Annotated[str | None, arg(metavar="auto|off|CSV", help_behavior_hint="(default: auto)")] = None
    """With --folders: `auto` finds faces and frames them as FFHQ does, `off` crops the centre, a CSV gives the eyes."""
    count: Annotated[int, arg(metavar="N")] = 8
    """Directions of a method to list and show."""
    seeds: Annotated[str, arg(metavar="RANGES")] = "0-3"
    """Faces to show a direction on: the first one where there are several directions."""
    psi: Psi = None
    """Truncation of these faces."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("directions.png")
    """Where the picture goes: from -3 to 3 standard deviations."""
    save: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: not saved)")] = None
    """Where the one direction goes, for `stylegraft edit --direction FILE=AMOUNT`; named as the file is."""


def run(options: Options) -> None:
    """Find, list, show and save."""
    from stylegraft.cli.codes import check_codes
    from stylegraft.cli.edit import load_both
    from stylegraft.cli.edits import parse_direction, told
    from stylegraft.cli.model import find_model

    check(options, RULES, KINDS)
    if sum((bool(options.what), options.folders is not None, options.labels is not None)) != 1:
        raise StylegraftError(
            "give one of: a method (sefa, ganspace) or direction file, --folders WITH WITHOUT, --labels CSV"
        )
    if options.samples is not None and options.samples < LEAST:
        raise StylegraftError(f"--samples {options.samples}: expected at least {LEAST}")
    if options.model.partition(":")[0] in METHODS and options.what:
        raise StylegraftError(
            f"{options.model}: expected the model first, `directions {options.what} {options.model}`"
        )
    asked = parse_direction(options.what) if options.what else None
    if asked and asked.amount != 1:
        raise StylegraftError(
            f"{options.what}: an amount goes with `stylegraft edit`; here -3 to 3 are shown"
        )
    model = find_model(options.model, options.source)
    check_codes(options.codes, model.base_text)
    if asked:
        asked.check(model.base)
    labels = read_labels(options.labels, options.codes is None) if options.labels else {}
    seeds = parse_seeds(options.seeds)
    if options.folders:
        check_folders(options)

    import torch

    from stylegraft.applications.edit import draw, edited_code
    from stylegraft.applications.latents import of_seeds
    from stylegraft.cli.console import say
    from stylegraft.data.grids import save_grid
    from stylegraft.devices import check_device

    device = check_device(options.device, "sample")
    base, adapted, _ = load_both(model, 1.0, device)
    generator = base.generator
    found = asked.find(generator, options.count) if asked else [learn(options, generator, labels)]
    show(found)
    latents = of_seeds(generator, seeds, psi_of(options))
    target = None if adapted is None else adapted.generator
    if len(found) > 1:
        rows = [(direction.name, direction, latents[:1]) for direction in found]
    else:
        rows = [(name, found[0], latents[i : i + 1]) for i, name in enumerate(latents.names)]
    images = [
        draw(target or generator, edited_code(generator, face, [(direction, factor)], target))
        for _, direction, face in rows
        for factor in FACTORS
    ]
    save_grid(torch.cat(images), options.out, len(FACTORS), labels=[name for name, _, _ in rows])
    shown = latents.names[0] if len(found) > 1 else found[0].name
    print(f"{shown} at {told(FACTORS)} std: {options.out}")
    if options.save:
        replace(found[0], name=options.save.stem).save(options.save, generator)
        print(f"stylegraft edit {options.model} --direction {options.save}=2")
    say(f"licence: {base.info.get('licence', 'not stated')}")


def learn(options: Options, generator: Generator, labels: dict[str, float]) -> Direction:
    """The direction of two folders or of labels; prints what is known of its way there."""
    from stylegraft.applications.labels import attribute_channels, boundary, channels_direction

    if options.folders:
        codes, scores = judged(options, generator)
    else:
        codes, scores = labelled(options, generator, labels)
    found = boundary(generator, codes, scores)
    print(
        f"plane in W: {found.info['accuracy']:.0%} of held-out codes on the right side, of {found.info['codes']}"
    )
    channels = attribute_channels(generator, codes, scores, options.channels or options.count)
    print(
        "channels that differ most: "
        + ", ".join(f"{c.layer}:{c.index} ({c.difference:+.1f} std)" for c in channels)
    )
    return channels_direction(generator, channels) if options.channels else found


def judged(options: Options, generator: Generator) -> tuple[Tensor, Tensor]:
    """w of samples, and how sure a probe of the two folders is that each has the attribute."""
    from stylegraft.adaptation import rules
    from stylegraft.applications.labels import score, tell_apart
    from stylegraft.cli.console import bar, say
    from stylegraft.data.images import load_images
    from stylegraft.encoders import load_encoder

    assert options.folders is not None
    encoder = load_encoder(options.encoder or rules.probe("the classifier of two folders"), options.device)
    sets = [
        load_images(path, generator.resolution, generator.img_channels, options.align or "auto")
        for path in options.folders
    ]
    for images in sets:
        for note in images.notes:
            if note.startswith("warning"):
                say(note)
    probe = tell_apart(encoder, sets[0].images, sets[1].images, options.device)
    print(
        f"{len(sets[0])} pictures with, {len(sets[1])} without: {encoder.name} puts {probe.accuracy:.0%} of"
        " held-out ones on the right side"
    )
    with bar() as progress:
        return score(
            generator,
            encoder,
            probe,
            options.samples or 1000,
            psi_of(options),
            lambda done, total: progress(f"images seen through {encoder.name}", done, total),
        )


def labelled(options: Options, generator: Generator, labels: dict[str, float]) -> tuple[Tensor, Tensor]:
    """Codes that have labels: w of seeds, rows of W+ of codes of a file; and the labels."""
    import torch

    from stylegraft.applications.latents import Latents, of_seeds

    scores = torch.tensor(list(labels.values()), dtype=torch.float64)
    if options.codes is None:
        return of_seeds(generator, [int(name) for name in labels], 1.0).ws[:, 0].cpu(), scores
    latents = Latents.load(options.codes, generator)
    place = {name: i for i, name in enumerate(latents.names)}
    for name in labels:
        if name not in place:
            raise StylegraftError(
                f"{options.labels}: {name!r} is no code of {options.codes}{nearest(name, place)}"
            )
    return latents.ws[[place[name] for name in labels]], scores


def show(found: Sequence[Direction]) -> None:
    """What is known of each direction, in a table where there are several."""
    from stylegraft.cli.console import print_table

    if len(found) == 1:
        return
    columns = ("direction", ">std of w", ">share")
    rows = [(d.name, f"{d.info['std']:.2f}", f"{d.info['share']:.1%}") for d in found]
    print_table(columns, rows)
    of = "what w moves in the styles" if found[0].kind == "sefa" else "the variance of w"
    print(f"\nshare: of {of}; together {sum(d.info['share'] for d in found):.0%}")


def read_labels(path: Path, seeds: bool) -> dict[str, float]:
    """`name,value` lines, a header if there is one; raises StylegraftError naming the line.

    seeds: the names are seeds.
    """
    if not path.exists():
        raise StylegraftError(f"--labels {no_file(path)}")
    labels: dict[str, float] = {}
    for number, line in enumerate(read_text(path, "lines name,value").splitlines(), 1):
        try:
            row = next(csv.reader([line]), [])
        except csv.Error:  # a field longer than any name
            row = [line[:40]]
        if not row or (number == 1 and [cell.strip().lower() for cell in row] == ["name", "value"]):
            continue
        try:
            name, value = row[0].strip(), float(row[1])
        except (IndexError, ValueError):
            name, value = "", math.nan
        if len(row) != 2 or not math.isfinite(value):
            raise StylegraftError(f"{path} line {number}: expected name,value; found {','.join(row)!r}")
        if seeds and not (name.isascii() and name.isdigit() and int(name) <= LAST_SEED):
            raise StylegraftError(
                f"{path} line {number}: {name!r} is no seed; names of codes go with --codes"
            )
        if name in labels:
            raise StylegraftError(f"{path} line {number}: {name!r} is there twice")
        labels[name] = value
    if not labels:
        raise StylegraftError(f"{path}: no labels in it; expected lines name,value")
    return labels


def check_folders(options: Options) -> None:
    """Refuse folders without pictures before anything is loaded."""
    from stylegraft.cli.check import check_pictures
    from stylegraft.encoders import split

    for folder in options.folders or ():
        check_pictures(str(folder), LEAST_PICTURES)
    if options.encoder:
        split(options.encoder)
