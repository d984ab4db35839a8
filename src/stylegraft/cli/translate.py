"""Translate photos: find their faces, invert them into the source, and draw them in a domain at several degrees."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.applications.files import CODES
from stylegraft.cli.flags import Device, Rule, Switch, check
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.applications.latents import Latents
    from stylegraft.applications.photos import Photo
    from stylegraft.checkpoints import Source
    from stylegraft.cli.terms import Term

MOST_DEGREES = 32
COLUMNS = 5
RULES: tuple[Rule, ...] = (
    ("codes", lambda o: o.photos, "photos are inverted anew; give one of them"),
    ("space recipe start optimise_noise align", lambda o: o.codes and not o.reference,
     "nothing is inverted: --codes {o.codes} has been already"),
    ("shape_below", lambda o: not o.reference, "it goes with --reference, which takes the other layers"),
    ("columns", lambda o: ".." not in o.keep_source,
     "--keep-source {o.keep_source} says each degree; columns are of a range such as 1..0"),
    ("start", lambda o: o.start == "encoder" and o.space == "z",
     "it guesses rows of W+, which no z gives; use --space w, w+ or s"),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `stylegraft translate` takes."""

    model: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """A run folder or a domain file; `runs/a:0.7` takes it at strength 0.7."""
    photos: Annotated[
        Positional[tuple[str, ...]], arg(metavar="PHOTO [PHOTO ...]", help_behavior_hint="")
    ] = ()
    """Pictures, or one folder or zip of them."""
    keep_source: Annotated[str, arg(metavar="FROM..TO")] = "1..0"
    """How much of the source stays, 1 all and 0 none: `1..0` is a range, `1,0.4` are single degrees."""
    along: Annotated[
        Literal["strength", "noise"] | None,
        arg(
            metavar="{strength,noise}",
            help_behavior_hint="(default: noise for runs of fixnoise, else strength)",
        ),
    ] = None
    """What --keep-source moves: the domain's strength (1 - keep), or the noise from the anchor (1) to fresh (0)."""
    columns: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 5)")] = None
    """Degrees of a range."""
    reference: Annotated[str | None, arg(metavar="IMAGE", help_behavior_hint="")] = None
    """Pose and shape from the photo, everything else from this picture's code."""
    shape_below: Annotated[int | None, arg(metavar="PX", help_behavior_hint="(default: 16)")] = None
    """With --reference: layers that read maps below so many px follow the photo."""
    space: Annotated[
        Literal["z", "w", "w+", "s"] | None, arg(metavar="{z,w,w+,s}", help_behavior_hint="(default: w+)")
    ] = None
    """Where the photo's code is looked for: z stays most like the source's faces, s comes closest to the photo."""
    recipe: Annotated[
        Literal["fast", "good"] | None, arg(metavar="{fast,good}", help_behavior_hint="(default: fast)")
    ] = None
    """100 or 1,000 steps."""
    start: Annotated[
        Literal["mean", "best", "encoder"] | None,
        arg(
            metavar="{mean,best,encoder}",
            help_behavior_hint="(default: encoder where the source has one, else best)",
        ),
    ] = None
    """The mean face, the nearest of 64 samples, or the guess of the encoder that ships with the source."""
    optimise_noise: Switch = False
    """Let noise maps move while inverting, and drop them: the code need not explain grain then."""
    align: Annotated[
        Literal["auto", "off"] | None, arg(metavar="{auto,off}", help_behavior_hint="(default: auto)")
    ] = None
    """`auto` finds the face and frames it as FFHQ does, `off` crops the centre."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Codes of an earlier translation, in place of photos: nothing is inverted."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Of the inversion, and of the fresh noise."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: RUN/translated, or translated-DOMAIN)"),
    ] = None
    """Where grid.png, the single pictures and codes.safetensors go: a folder, made in one that exists."""


def run(options: Options) -> None:
    """Check the line, invert what is not inverted yet, draw, and say how well it went."""
    from stylegraft.cli.codes import check_codes
    from stylegraft.cli.terms import find_terms

    check(options, RULES)
    degrees = parse_degrees(options.keep_source, options.columns or COLUMNS)
    if options.along == "noise" and not all(0 <= degree <= 1 for degree in degrees):
        raise StylegraftError(f"--keep-source {options.keep_source}: along the noise it goes from 0 to 1")
    if options.codes is None and not options.photos:
        raise StylegraftError(
            "translate: expected photos: files, a folder or a zip; or --codes of an earlier one"
        )
    terms, base_text = find_terms([options.model], options.source)
    check_codes(options.codes, base_text)
    check_photos(options)
    options = replace(options, space=space_of_reference(options))
    folder = options.out or default_folder(terms[0])
    check_folder(folder)

    from stylegraft.devices import check_device

    check_device(options.device, "sample")
    translate_all(options, terms[0], base_text, degrees, folder)


def translate_all(options: Options, term: Term, base_text: str, degrees: list[float], folder: Path) -> None:
    """What remains once the line is in order."""
    from stylegraft.applications import translate as application
    from stylegraft.cli.console import counted, say
    from stylegraft.cli.terms import load_terms
    from stylegraft.data.images import load_images
    from stylegraft.data.pixels import to_float

    base, (domain,) = load_terms([term], base_text)
    if term.coefficient != 1:
        domain = domain * term.coefficient
    how = options.along or application.default_along(domain)
    application.check_degrees(degrees, how)
    base.to(options.device)
    generator = base.generator
    size, channels = generator.resolution, generator.img_channels
    below = options.shape_below or application.SHAPE_BELOW
    align = options.align or "auto"
    if options.reference:
        application.shape_rows(generator, below)  # refuses a size that leaves one side nothing
    folder.mkdir(exist_ok=True)

    photos: list[Photo] = []
    tiles: list[Tensor] = []
    if options.codes:
        from stylegraft.applications.latents import Latents

        latents = Latents.load(options.codes, generator)
    else:
        paths = options.photos[0] if len(options.photos) == 1 else options.photos
        images = load_images(paths, size, channels, align)
        tiles.append(to_float(images.images))
        latents, photos = inverted(options, base, images, folder / CODES)
        for note in images.notes:
            if "targets.png" not in note:  # a word to who trains on them
                say(f"note: {note}")
        show(photos)
    captions = [["photo"]] * len(tiles) + [["inversion"]]
    tiles.append(application.draw_codes(generator, latents.to(options.device)).cpu())
    if options.reference:
        image = load_images(options.reference, size, channels, align)
        code, one = inverted(options, base, image, folder / "reference.safetensors")
        show(one)
        latents = application.with_reference(generator, latents, code, below)
        tiles.insert(-1, to_float(image.images).expand(len(latents), -1, -1, -1))
        captions.insert(-1, ["reference"])
    drawn = application.translate_codes(
        generator, domain, latents.to(options.device), degrees, how=how, seed=options.seed
    ).cpu()
    tiles += list(drawn.unbind(1))
    captions += [[f"keep {degree:g}"] for degree in degrees]
    write(folder, latents, tiles, captions, degrees, drawn, photos)
    meaning = (
        "its strength is 1 - keep" if how == "strength" else "noise from the anchor, keep 1, to a fresh one"
    )
    say(f"{len(latents)} in {options.model}, {counted(len(degrees), 'degree')}: {meaning}")
    print(f"grid       {folder / 'grid.png'}\npictures   {folder / 'NAME-keep-DEGREE.png'}")
    if not options.codes:
        print(f"codes      {folder / CODES}")
    say(f"licence: {base.info.get('licence', 'not stated')}")


def inverted(options: Options, base: Source, images, path: Path) -> tuple[Latents, list[Photo]]:
    """Codes of the pictures, under a bar."""
    from stylegraft.applications.photos import invert_photos
    from stylegraft.cli.console import bar

    with bar() as progress:
        return invert_photos(
            base,
            images,
            path,
            space=options.space or "w+",
            recipe=options.recipe or "fast",
            start=options.start,
            seed=options.seed,
            optimise_noise=options.optimise_noise,
            progress=progress,
        )


def show(photos: Sequence[Photo]) -> None:
    """A table of the inversions, and a plain word about those that went wrong."""
    from stylegraft.cli.console import print_table, say

    rows = [
        (p.name, p.how, f"{p.lpips:.3f}", f"{p.rmse:.3f}", p.verdict + (", known already" if p.kept else ""))
        for p in photos
    ]
    print_table(("photo", "framed", ">LPIPS", ">RMSE", "inversion"), rows)
    for p in photos:
        if p.verdict == "failed":
            face = "; no face was found in it" if p.missed else ""
            say(
                f"warning: {p.name}: the inversion failed: LPIPS {p.lpips:.3f}, where two different faces of this"
                f" source are {p.usual:.3f} apart{face}. What is drawn of it is not this picture. Is it an upright,"
                " whole face? --recipe good and --space s come closer"
            )
        elif p.missed:
            say(f"warning: {p.name}: no face was found in it; its centre was taken")
    print()


def write(
    folder: Path,
    latents: Latents,
    tiles: Sequence[Tensor],
    captions: Sequence[Sequence[str]],
    degrees: Sequence[float],
    drawn: Tensor,
    photos: Sequence[Photo],
) -> None:
    """grid.png, one row a photo, and a file for each drawing."""
    import torch

    from stylegraft.data.grids import save_grid, save_sheet

    images = torch.stack(list(tiles), 1)
    columns = images.shape[1]
    failed = [p.verdict == "failed" for p in photos] or [False] * len(latents)
    lines = [[*caption] for caption in captions] * len(latents)
    if photos:
        for i, photo in enumerate(photos):
            lines[i * columns] = [photo.name, *(["no face"] if photo.missed else [])]
            at = i * columns + [c[0] for c in captions].index("inversion")
            lines[at] = [f"{photo.verdict}, LPIPS {photo.lpips:.3f}"]
    marked = [failed[i] and k == 0 for i in range(len(latents)) for k in range(columns)]
    save_sheet(images.flatten(0, 1), folder / "grid.png", captions=lines, marked=marked, columns=columns)
    for name, row in zip(file_names(latents.names), drawn):
        for degree, image in zip(degrees, row):
            save_grid(image[None], folder / f"{name}-keep-{degree:g}.png", 1, scale=1)


def file_names(names: Sequence[str]) -> list[str]:
    """A file's name for each code: without the suffix where that leaves them apart, without what no file may have."""
    stems = [Path(name).stem for name in names]
    chosen = stems if len(set(stems)) == len(stems) else list(names)
    return [re.sub(r"[^\w.-]+", "-", name) for name in chosen]


# Refusing early
# --------------------------------------------------------------------------------------------


def parse_degrees(text: str, columns: int) -> list[float]:
    """`1..0` -> `columns` numbers from 1 to 0; `1,0.4` -> [1.0, 0.4]; raises StylegraftError for anything else."""
    if ".." in text and columns < 2:
        raise StylegraftError(f"--columns {columns}: expected at least 2 degrees of a range")
    try:
        ends = [float(part) for part in text.split("..")] if ".." in text else None
        degrees = [float(part) for part in text.split(",")] if ends is None else ends
    except ValueError:
        raise StylegraftError(
            f"--keep-source {text}: expected a range like 1..0, or degrees like 1,0.5,0"
        ) from None
    if not all(math.isfinite(degree) for degree in degrees):
        raise StylegraftError(f"--keep-source {text}: expected finite numbers, 1 the source and 0 the domain")
    if ends is not None:
        if len(ends) != 2:
            raise StylegraftError(f"--keep-source {text}: a range has two ends, like 1..0")
        degrees = [ends[0] + (ends[1] - ends[0]) * i / (columns - 1) for i in range(columns)]
    if len(degrees) > MOST_DEGREES:
        raise StylegraftError(
            f"--keep-source: {len(degrees)} degrees; at most {MOST_DEGREES} fit into a picture"
        )
    return [round(degree, 4) for degree in degrees]


def check_photos(options: Options) -> None:
    """Refuse photos that are none, before torch is imported."""
    from stylegraft.cli.check import check_pictures

    for path in (*options.photos, options.reference):
        if path is not None:
            if len(options.photos) > 1 and Path(path).is_dir():
                raise StylegraftError(
                    f"{path}: a folder among several photos; give it alone, or name its files"
                )
            seen = check_pictures(path)
            if path == options.reference and seen != 1:
                raise StylegraftError(f"--reference {path}: {seen} pictures, expected one")


def space_of_reference(options: Options) -> Literal["z", "w", "w+", "s"] | None:
    """--space, which a reference shares with --codes: one in S goes with codes in S alone."""
    if options.codes is None or options.reference is None:
        return options.space
    from stylegraft.checkpoints.headers import tensor_names

    styles = any(name.startswith("style|") for name in tensor_names(options.codes))
    if options.space and (options.space == "s") != styles:
        found, use = ("S", "s") if styles else ("W+", "w+, w or z")
        raise StylegraftError(
            f"--space {options.space}: --codes {options.codes} are in {found}: use --space {use}"
        )
    return options.space or ("s" if styles else "w+")


def check_folder(folder: Path) -> None:
    """Refuse a place that cannot be written to, and one inside a folder that is not there; nothing is made."""
    there = folder if folder.exists() else folder.absolute().parent
    if not there.exists():
        raise StylegraftError(f"--out {folder}: the folder {folder.parent} does not exist")
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StylegraftError(f"--out {folder}: {there} is no folder that can be written to")


def default_folder(term: Term) -> Path:
    """Inside a run; for a file beside the user."""
    path = term.found.path
    return path.parent / "translated" if term.found.kind == "run" else Path(f"translated-{path.stem}")
