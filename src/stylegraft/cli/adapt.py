"""Learn a new domain from a few images: the same command resumes a run, a larger --steps extends it, Ctrl-C saves."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

if TYPE_CHECKING:
    from stylegraft.adaptation.run import Run


@dataclass(frozen=True)
class Options:
    """What `stylegraft adapt` takes."""

    source: Annotated[Positional[str], arg(metavar="SOURCE")]
    """Name of a shipped source (`stylegraft sources`), or a source file."""
    target: Annotated[Positional[str], arg(metavar="TARGET")]
    """A folder of pictures, a zip, one picture, or a set that ships: pencil, lorelei."""
    recipe: Annotated[str, arg(metavar="NAME")] = "dcl"
    """How it is learnt: `stylegraft recipes`."""
    space: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the recipe's)")] = None
    """What moves: a name of `stylegraft spaces`, or one's own such as "affine@32..64 + lowrank:8(conv@64)"."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the recipe's)")] = None
    """Steps in which the generator learns; the recipe's warm-up comes before them."""
    batch: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the recipe's)")] = None
    """Images a step."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Of every random draw; the same command with the same seed gives the same domain."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/TARGET)")] = None
    """The run folder."""
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
    dry_run: FlagCreatePairsOff[bool] = False
    """Print the plan: what moves, and what it will cost in time and memory, measured on two steps."""


def run(options: Options) -> None:
    """Check the line, hand it to the library, and say where things are."""
    from stylegraft.adaptation.place import check_folder, default_folder
    from stylegraft.adaptation.recipes import preset_of, recipe
    from stylegraft.adaptation.rules import eyes
    from stylegraft.adaptation.rules import parse as parse_rules
    from stylegraft.cli.check import check_target
    from stylegraft.cli.resolve import find
    from stylegraft.cli.settings import parse
    from stylegraft.domains.expression import find_space

    asked = {"steps": options.steps, "batch": options.batch}
    changes: dict[str, Any] = parse(options.changes) | {
        field: value for field, value in asked.items() if value is not None
    }
    source = find(options.source, ["source"])
    preset = options.preset or preset_of(source.resolution)
    row = recipe(options.recipe, preset=preset, **changes)
    find_space(options.space or row.space)
    out = options.out or default_folder(options.target)
    eyes(parse_rules(options.until, options.floor, options.patience, options.keep, options.hold_out))
    check_target(options.target, options.align)
    check_folder(out, 0 if options.dry_run else source.path.stat().st_size)

    from stylegraft.adaptation.run import adapt

    done = adapt(
        options.source,
        options.target,
        recipe=row,
        space=options.space,
        seed=options.seed,
        out=None if options.dry_run else out,
        device=options.device,
        align=options.align,
        every=options.every,
        until=options.until,
        floor=options.floor,
        patience=options.patience,
        keep=options.keep,
        hold_out=options.hold_out,
        dry_run=options.dry_run,
    )
    if done.folder:
        show_result(done, done.folder, options)


def show_result(done: Run, folder: Path, options: Options) -> None:
    """Where the domain and the pictures are, and what to type next."""
    from stylegraft.cli.console import file_size
    from stylegraft.sources import SOURCES

    domain, shown = folder / "domain.safetensors", shlex.quote(str(folder))
    base = "" if options.source in SOURCES else f" --source {shlex.quote(options.source)}"
    print(f"""
pictures   {folder / "grid.png"}     source above, {Path(options.target).stem} below
           {folder / "previews"}     the same along the way
domain     {domain}     {file_size(domain)}, {done.domain.count:,} numbers

next       stylegraft sample {shown}{base} --seeds 0-63 --out grid.png
           stylegraft sample {shown}{base} --strength 0.5 --out half.png
           stylegraft inspect {shown}""")
