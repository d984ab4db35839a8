"""Learn a new domain from a few images, one image or a sentence.

The same command resumes a run, a larger --steps extends it, Ctrl-C saves.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from stylegraft.cli.flags import Device, Switch, check
from stylegraft.distributed import rank
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.adaptation.recipes import Recipe
    from stylegraft.adaptation.run import Run
    from stylegraft.lab.trace import Tracer


@dataclass(frozen=True)
class Options:
    """What `stylegraft adapt` takes."""

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """Name of a shipped source (`stylegraft sources`), or a source file."""
    target: Annotated[Positional[str | None], arg(metavar="[TARGET]", help_behavior_hint="")] = None
    """A folder of pictures, a zip, one picture, or a set that ships: pencil, lorelei; none with --text or --image."""
    text: Annotated[str | None, arg(metavar="WORDS", help_behavior_hint="")] = None
    """In place of TARGET: the domain in words, such as "pencil drawing" (docs/one-shot.md). Needs a guide."""
    image: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """In place of TARGET: one picture whose style every face gets."""
    texts: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """A domain for each line of a text file, in a folder of its own in --out; they share the source's passes.
    With --recipe hypernet one network that gives any sentence its domain."""
    images: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """The same for each picture of a folder, as --image for one."""
    from_text: Annotated[str | None, arg(metavar="WORDS", help_behavior_hint='(default: "photo")')] = None
    """With --text: what the source shows, in words."""
    guide: Annotated[
        str | None, arg(metavar="NAMES", help_behavior_hint="(default: the first that is here)")
    ] = None
    """Encoders that read the words and compare pictures, such as clip, or "clip:FOLDER, siglip=0.5" with weights."""
    recipe: Annotated[
        str | None, arg(metavar="NAME", help_behavior_hint="(default: dcl; --text: nada, --image: difa)")
    ] = None
    """How it is learnt: `stylegraft recipes`."""
    space: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the recipe's)")] = None
    """What moves: a name of `stylegraft spaces`, or one's own such as "affine@32..64 + lowrank:8(conv@64)"."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the recipe's)")] = None
    """Steps in which the generator learns; the recipe's warm-up comes before them."""
    batch: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the recipe's)")] = None
    """Images a step."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Of every random draw; the same command with the same seed gives the same domain."""
    device: Device = "cpu"
    """`cpu` or `cuda`."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/TARGET)")] = None
    """The run folder."""
    resolution_for_loss: Annotated[
        int | None, arg(metavar="R", help_behavior_hint="(default: as they are)")
    ] = None
    """Guides see pictures of at most R px, for less memory with large sources."""
    align: Annotated[str, arg(metavar="auto|off|CSV")] = "auto"
    """`auto` finds faces and frames them as FFHQ does, `off` crops the centre, a CSV gives the eyes of each picture."""
    preset: Annotated[
        Literal["paper", "scaled"] | None,
        arg(metavar="{paper,scaled}", help_behavior_hint="(default: paper from 256 px on, else scaled)"),
    ] = None
    """The paper's settings or ours for small networks."""
    changes: Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")] = ()
    """Change one field of the recipe, such as cdc=no or cl1=1.0. `stylegraft recipes NAME` lists them."""
    every: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 100, in long runs 500)")] = (
        None
    )
    """Steps between previews, and between evaluations where one of the next five asks for them."""
    until: Annotated[str | None, arg(metavar="p_target=P", help_behavior_hint="(default: --steps alone)")] = (
        None
    )
    """Stop at the first evaluation with so much realism, such as p_target=0.9 (docs/schedules.md)."""
    floor: Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="(default: none)")] = None
    """Stop when the samples' diversity falls under this share of the source's, such as 0.8."""
    patience: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: none)")] = None
    """Stop when the best score (p_target times the share of diversity kept) is N evaluations old."""
    keep: Literal["last", "best"] = "last"
    """Which point of the run becomes domain.safetensors; with `best`, the last is kept beside it."""
    hold_out: Annotated[int, arg(metavar="N")] = 0
    """Keep N pictures out of training, to judge p_target by; without, it is judged in folds."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """What a NaN or infinite loss or gradient does: `stop` the run, its last save as it was, or `skip` that update."""
    trace: Switch = False
    """Measure quality and diversity at 0, 50, 100, 200, 500, 1000 ... steps, and write a report (docs/traces.md)."""
    reference: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="(default: none)")] = None
    """With --trace: images of the target beyond TARGET, for KID, p_target and copies."""
    trace_every: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 0, 50, 100 ...)")] = (
        None
    )
    """With --trace: steps between its points."""
    dry_run: Switch = False
    """Print the plan: what moves, and what it will cost in time and memory, measured on two steps."""


def run(options: Options) -> None:
    """Check the line, hand it to the library, and say where things are."""
    if (options.texts or options.images) and not is_hypernet(options):
        from stylegraft.cli.many import run_many

        run_many(options)
        return
    row, target, out = checked(options)

    from stylegraft.adaptation.run import adapt

    observer = tracer(options, out) if options.trace and not options.dry_run and not rank() else None
    done = adapt(
        options.source,
        target,
        text=options.text,
        texts=texts_of(options),
        recipe=row,
        out=None if options.dry_run else out,
        observer=observer,
        dry_run=options.dry_run,
        **settings(options),
    )
    if observer and done.folder:
        from stylegraft.lab.report import write_report

        observer.finish()
        write_report(done.folder)
    if done.folder:
        show_result(done, done.folder, options)


def is_hypernet(options: Options) -> bool:
    """Whether one network learns on all sentences."""
    from stylegraft.adaptation.recipes import PAPER
    from stylegraft.cli.settings import parse

    row = PAPER.get(options.recipe or "")
    return bool(row and parse(options.changes).get("domains", row.domains))


def texts_of(options: Options) -> list[str] | None:
    """The lines of --texts, where one network learns on them."""
    from stylegraft.cli.many import lines_of

    return [str(line) for line in lines_of(options.texts)] if options.texts else None


def settings(options: Options) -> dict[str, Any]:
    """What the line says of a run, whatever is asked for."""
    names = (
        "from_text",
        "space",
        "seed",
        "device",
        "align",
        "every",
        "until",
        "floor",
        "patience",
        "keep",
        "hold_out",
        "nonfinite",
    )
    return {name: getattr(options, name) for name in names} | {"guides": options.guide}


def checked(options: Options) -> tuple[Recipe, str | None, Path]:
    """The recipe, the target and the folder of one run, once all goes together; torch is not imported yet."""
    from stylegraft.adaptation.checks import check_precision
    from stylegraft.adaptation.lock import check_free
    from stylegraft.adaptation.place import check_folder, default_folder
    from stylegraft.adaptation.recipes import preset_of, recipe
    from stylegraft.adaptation.request import ask, default_recipe
    from stylegraft.adaptation.rules import eyes
    from stylegraft.adaptation.rules import parse as parse_rules
    from stylegraft.cli.check import check_target
    from stylegraft.cli.resolve import find
    from stylegraft.cli.settings import parse
    from stylegraft.domains.expression import find_space

    check(options)
    asked = {"steps": options.steps, "batch": options.batch, "loss_resolution": options.resolution_for_loss}
    changes: dict[str, Any] = parse(options.changes) | {
        field: value for field, value in asked.items() if value is not None
    }
    source = find(options.source, ["source"])
    preset = options.preset or preset_of(source.resolution)
    name = options.recipe or default_recipe(options.text, options.image)
    if options.resolution_for_loss is not None and not recipe(name, preset=preset).guided:
        raise StylegraftError(
            f"--resolution-for-loss {options.resolution_for_loss}: is for what a guide sees, and {name} has none"
        )
    row = recipe(name, preset=preset, **changes)
    check_precision(row, options.device)
    request = ask(
        row,
        text=options.text,
        texts=texts_of(options),
        from_text=options.from_text,
        pictures=options.target or options.images,
        image=options.image,
        guides=options.guide,
    )
    find_space(options.space or row.space)
    target = options.target or (str(options.image) if options.image else None)
    out = options.out or default_folder(str(target or options.texts or request.name))
    eyes(parse_rules(options.until, options.floor, options.patience, options.keep, options.hold_out))
    if options.image:
        check_one(options.image)
    if target:
        check_target(target, options.align)
    if not rank():  # which alone writes
        check_folder(out, 0 if options.dry_run else source.path.stat().st_size)
        check_free(out)
    check_trace(options)
    return row, target, out


def check_one(image: Path) -> None:
    """Refuse a folder or zip where one picture is asked for."""
    if image.is_dir() or image.suffix.lower() == ".zip":
        raise StylegraftError(f"--image {image}: expected one picture; several go in place of TARGET")


def check_trace(options: Options) -> None:
    """Refuse what a trace could not do, or lacks the weights for."""
    from stylegraft.adaptation.rules import probe
    from stylegraft.checkpoints import assets
    from stylegraft.cli.check import check_target

    given = {"--reference": options.reference, "--trace-every": options.trace_every}
    for flag, value in given.items():
        if value is not None and not options.trace:
            raise StylegraftError(f"{flag} {value}: is for --trace, which is not there")
    if options.trace_every is not None and options.trace_every < 1:
        raise StylegraftError(f"--trace-every {options.trace_every}: expected at least 1 step between points")
    if options.trace and (options.text is not None or options.texts):
        raise StylegraftError(
            "--trace: measures how near samples come to pictures of the target, and --text has none"
        )
    if options.reference:
        check_target(options.reference, "off")
    if options.trace:
        probe("--trace")
        assets.find("lpips")


def tracer(options: Options, out: Path) -> Tracer:
    """What records the run."""
    from stylegraft.lab.panel import Settings
    from stylegraft.lab.trace import Tracer

    return Tracer(out, Settings(reference=options.reference), every=options.trace_every)


def show_result(done: Run, folder: Path, options: Options) -> None:
    """Where the domain and the pictures are, and what to type next."""
    from stylegraft.cli.console import file_size
    from stylegraft.sources import SOURCES

    domain, shown = folder / "domain.safetensors", shlex.quote(str(folder))
    if done.hypernet:
        show_hypernet(done, folder)
        return
    named = options.target or options.image or options.text or ""
    base = "" if options.source in SOURCES else f" --source {shlex.quote(options.source)}"
    report = f"\nreport     {folder / 'report.html'}" if options.trace else ""
    print(f"""
pictures   {folder / "grid.png"}     source above, {named if options.text else Path(named).stem} below
           {folder / "previews"}     the same along the way
domain     {domain}     {file_size(domain)}, {done.domain.count:,} numbers{report}

next       stylegraft sample {shown}{base} --seeds 0-63 --out grid.png
           stylegraft sample {shown}{base} --strength 0.5 --out half.png
           stylegraft inspect {shown}""")


def show_hypernet(done: Run, folder: Path) -> None:
    """The same of a hypernetwork."""
    from stylegraft.cli.console import file_size

    assert done.hypernet is not None
    network, shown = folder / "hypernet.safetensors", shlex.quote(str(folder))
    print(f"""
pictures   {folder / "grid.png"}     source above, some of its sentences below
network    {network}     {file_size(network)}, gives {done.domain.count:,} numbers

next       stylegraft hypernet {shown} "WORDS" --out domain.safetensors
           stylegraft hypernet {shown}""")
