"""Measure a source, a run or a domain file at full size against images of its domain: table, JSON and a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli import flags
from stylegraft.cli.flags import Device
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.cli.model import Model
    from stylegraft.lab.evaluate import Evaluation

Name = Literal[
    "fid", "fid-infinity", "kid", "prdc", "p_target", "similarity", "intra-lpips", "correspondence", "memorised",
    "ppl", "degree",
]  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `stylegraft evaluate` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder, a domain file, or a source: its name, its file (.safetensors, .pkl, .pt) or hf://OWNER/REPO/FILE."""
    reference: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(required)")] = None
    """Images of the domain, the more the better: a folder, a zip, or a set that ships. Training images are left out.
    Only `--metrics similarity` alone goes without."""
    shots: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="(default: the run's own)")] = None
    """The training images, where MODEL is not a run, which knows them."""
    encoder: Annotated[
        tuple[str, ...],
        arg(metavar="NAME ...", help_behavior_hint="(default: effnet-lite0, and more if here)"),
    ] = ()
    """What FID and its kin look through: names of `stylegraft encoders`. By default inception and clip too, if here."""
    metrics: Annotated[
        tuple[Name, ...], arg(metavar="NAME ...", help_behavior_hint="(default: all that apply)")
    ] = ()
    """Of fid, fid-infinity, kid, prdc, p_target, similarity, intra-lpips, correspondence, memorised, ppl, degree."""
    count: Annotated[int, arg(metavar="N")] = 5000
    """Images to generate; LPIPS takes the first 1,000 of them. Fewer for a quick look."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """Of latents, subsets and draws."""
    psi: float = 1.0
    """Truncation: papers measure at 1."""
    align: Annotated[
        Literal["auto", "off"] | None,
        arg(metavar="{auto,off}", help_behavior_hint="(default: as the training images were, else auto)"),
    ] = None
    """How the images are framed: `auto` finds faces and frames them as FFHQ does, `off` crops the centre."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: RUN/evaluation, or evaluation-MODEL)"),
    ] = None
    """Where result.json, report.html and the pictures go."""


def run(options: Options) -> None:
    """Check the line, measure, write the result, and print the table."""
    from stylegraft.cli.check import check_target
    from stylegraft.cli.model import find_model
    from stylegraft.encoders import split

    model = find_model(options.model, options.source)
    check(options, model)
    for name in options.encoder:
        split(name)
    for path in (options.reference, options.shots):
        if path:
            check_target(path, options.align or "auto")

    from stylegraft.devices import check_device

    check_device(options.device, "sample")
    folder = options.out or default_folder(options.model, model)
    check_folder(folder)
    found = measure(options, model)

    from stylegraft.lab.evaluation_page import write_page

    folder.mkdir(parents=True, exist_ok=True)
    found.write(folder)
    page = write_page(
        found, folder, f"{options.model} against {options.reference or 'what it was learnt from'}"
    )
    show(found)
    print(f"\nnumbers    {folder / 'result.json'}\nreport     {page}")


def check(options: Options, model: Model) -> None:
    """Refuse what makes no sense, naming the flag."""
    if not options.reference and options.metrics != ("similarity",):
        raise StylegraftError(
            "--reference: is missing; expected images of the domain, which all but --metrics similarity need"
        )
    if options.count < 2:
        raise StylegraftError(f"--count {options.count}: expected at least 2 images")
    flags.check(options)
    if options.shots and model.found.kind == "run":
        raise StylegraftError(
            f"--shots {options.shots}: {options.model} is a run and knows its training images"
        )


def check_folder(folder: Path) -> None:
    """Refuse a place that the result cannot be written to, before it is measured; nothing is made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StylegraftError(f"--out {folder}: {there} is no folder that can be written to")


def default_folder(text: str, model: Model) -> Path:
    """Inside a run; for anything else beside the user."""
    if model.found.kind == "run":
        return model.found.path.parent / "evaluation"
    return Path(f"evaluation-{Path(text).stem}")


def measure(options: Options, model: Model) -> Evaluation:
    """Load what was named, and evaluate it under a bar."""
    from stylegraft.adaptation.folder import training_images
    from stylegraft.cli.console import bar
    from stylegraft.domains.directions import load_domain
    from stylegraft.lab.evaluate import EvaluationSettings, evaluate, open_reference
    from stylegraft.sources import load_source

    base = load_source(model.base_text)
    target, source, align = base, None, options.align
    if model.found.kind != "source":
        domain = load_domain(model.found.path, base)
        target, source = base.with_domain(domain), base
        align = align or domain.config.get("target", {}).get("align")
    shots = training_images(model.found.path.parent) if model.found.kind == "run" else None
    if options.shots:
        shots = open_reference(options.shots, base, align).images
    settings = EvaluationSettings(
        count=options.count,
        seed=options.seed,
        psi=options.psi,
        encoders=options.encoder or None,
        metrics=options.metrics or None,
        device=options.device,
    )
    reference = open_reference(options.reference, base, align) if options.reference else None
    with bar() as progress:
        found = evaluate(target, source, reference, shots, settings, progress=progress)
    if all(row.value is None for row in found.rows):
        raise StylegraftError(f"nothing could be measured: {found.rows[0].note}")
    return found


def show(found: Evaluation) -> None:
    """The table, what belongs to its numbers, and what was not measured and why."""
    from stylegraft.cli.console import print_table, say

    measured = [row for row in found.rows if row.value is not None]
    columns = ("metric", ">value", ">±", ">generated", ">real", ">floor")
    table = [
        (r.name, short(r.value), short(r.spread), r.generated or "", r.real or "", short(r.floor))
        for r in measured
    ]
    print_table(columns, table)
    print()
    for row in measured:
        if row.note:
            say(f"{row.name}: {row.note}")
    for row in found.rows:
        if row.value is None:
            say(f"not measured: {row.name}: {row.note}")
    print()
    for note in found.notes:
        say(note)


def short(value: float | None) -> str:
    """Four digits, or nothing."""
    return "" if value is None else f"{value:.4g}"
