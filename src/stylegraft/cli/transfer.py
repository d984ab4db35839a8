"""Apply a domain to another source of the same family: a picture of it there, or a domain file of that source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.applications.transfer import Gap
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model
    from stylegraft.cli.terms import Term
    from stylegraft.domains import Domain

MOST_SEEDS = 512


@dataclass(frozen=True)
class Options:
    """What `stylegraft transfer` takes."""

    model: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """A run folder or a domain file."""
    to: Annotated[str, arg(metavar="SIBLING")]
    """A source that was fine-tuned from the domain's; or a domain or run, folded into its source, in place of one."""
    procedure: Annotated[
        Literal["styles", "deltas"] | None,
        arg(
            metavar="{styles,deltas}", help_behavior_hint="(default: a picture shows both, a file is deltas)"
        ),
    ] = None
    """`styles`: the style vectors of the domain's own source, through the sibling's synthesis network (StyleDomain).
    `deltas`: the domain's deltas on the sibling's parameters."""
    strength: Annotated[
        float | None, arg(metavar="P", help_behavior_hint="(default: styles 0.85, deltas 1)")
    ] = None
    """Of the domain. 0.85 is StyleDomain's."""
    seeds: Annotated[str | None, arg(metavar="RANGES", help_behavior_hint="(default: 0-7)")] = None
    """The faces: `0-7`, or `7,40-43`."""
    codes: Annotated[Path | None, arg(metavar="FILE")] = None
    """Faces in a file of codes, as `stylegraft translate` leaves one, in place of seeds."""
    psi: float = 0.7
    """Truncation of seeds: 1 is the full variety, 0 the mean face."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, and of SIBLING where that is a domain, if it is not a shipped source."""
    device: str = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("transfer.png")
    """A picture (.png), or a domain file on the sibling (.safetensors)."""


def run(options: Options) -> None:
    """Check the line, say how far the two sources are apart, and write the picture or the file."""
    from stylegraft.cli.codes import check_codes
    from stylegraft.cli.model import find_model
    from stylegraft.cli.resolve import find
    from stylegraft.cli.terms import find_terms

    seeds = check_codes(options.seeds, options.codes)
    check(options)
    (term,), base_text = find_terms([options.model], options.source)
    if term.coefficient != 1:
        raise StylegraftError(f"{options.model}: give the strength with --strength {term.coefficient:g}")
    given = find(options.to, ("source", "domain", "direction", "run"))
    sibling = find_model(options.to, None if given.kind == "source" else options.source)
    check_sizes(options, sibling, base_text)

    from stylegraft.applications.transfer import gap
    from stylegraft.cli.model import load_model
    from stylegraft.cli.terms import load_terms
    from stylegraft.devices import check_device

    check_device(options.device, "sample")
    parent, (domain,) = load_terms([term], base_text)
    other = load_model(sibling)
    if given.kind != "source":
        other = replace(other, name=f"{other.name} with {label(options.to)}")
    try:
        apart = gap(parent.generator, other.generator)
    except StylegraftError as error:
        raise StylegraftError(f"--to {options.to}: {error}") from error
    say_gap(apart, base_text, options.to)
    if options.out.suffix.lower() == ".png":
        picture(options, term, domain, parent, other, seeds)
    else:
        file(options, domain, parent, other, given.kind != "source")


def picture(
    options: Options, term: Term, domain: Domain, parent: Source, other: Source, seeds: list[int] | None
) -> None:
    """A column a face: both sources, the domain on its own, and on the sibling by each procedure."""
    import torch

    from stylegraft.applications import control
    from stylegraft.applications.transfer import (
        STRENGTHS,
        carried,
        require_other,
        transfer_domain,
        transfer_styles,
    )
    from stylegraft.cli.codes import load_codes
    from stylegraft.cli.console import say
    from stylegraft.data.grids import save_grid

    base, sibling = (source.to(options.device).generator for source in (parent, other))
    require_other(base, sibling)
    latents = load_codes(base, seeds, options.codes, psi=options.psi, default=8).to(options.device)
    seeds = seeds or list(range(8))
    draw = control.codes(latents) if options.codes else control.faces(base, seeds, options.psi)
    noise, theirs = base.noise("const"), sibling.noise("const")
    name, to = term.label, label(options.to)
    rows = {
        parent.name: draw(base, noise),
        f"{parent.name}, {name}": draw(domain.on(base), noise),
        to: draw(sibling, theirs),
    }
    for procedure in (options.procedure,) if options.procedure else STRENGTHS:
        strength = STRENGTHS[procedure] if options.strength is None else options.strength
        caption = f"{to}, {name} ({procedure} {strength:g})"
        if procedure == "deltas":
            rows[caption] = draw(transfer_domain(domain, parent, other, strength).on(sibling), theirs)
        elif options.procedure or carried(domain):
            rows[caption] = control.codes(transfer_styles(base, domain, latents, strength))(sibling, theirs)
        share = carried(domain)
        if procedure == "styles" and share < 1:
            say(
                f"note: styles carry what {options.model} moves of style vectors, {share:.0%} of its numbers; the rest,"
                " such as kernels, stays behind: --procedure deltas takes all"
            )
    save_grid(torch.cat(tuple(rows.values())).cpu(), options.out, len(latents), labels=tuple(rows))
    print(f"{len(latents)} face{'s' * (len(latents) != 1)} of {options.model} on {options.to}: {options.out}")
    say(f"licence: {other.info.get('licence', 'not stated')}")


def file(options: Options, domain: Domain, parent: Source, other: Source, folded: bool) -> None:
    """A domain file whose base is the sibling."""
    from stylegraft.applications.transfer import STRENGTHS, transfer_domain
    from stylegraft.cli.console import file_size, say

    strength = STRENGTHS["deltas"] if options.strength is None else options.strength
    found = transfer_domain(domain, parent, other, strength)
    found.save(options.out)
    print(
        f"{options.model} on {options.to}: {options.out} ({file_size(options.out)}, {found.count:,} numbers)"
    )
    if folded:
        say(
            f"its base is {options.to} folded into {parent.name}: `stylegraft convert {options.to} SIBLING.safetensors`"
            f" writes that, `stylegraft sample {options.out} --source SIBLING.safetensors` draws it"
        )
    say(f"licence: {other.info.get('licence', 'not stated')}")


def say_gap(apart: Gap, parent: str, sibling: str) -> None:
    """How far the two sources are apart, and a warning where that is far."""
    from stylegraft.cli.console import say

    groups = ", ".join(f"{group} {distance:.3f}" for group, distance in apart.groups.items())
    say(
        f"{label(parent)} and {label(sibling)}, of one architecture, are apart by (|difference| / |parent|): {groups}"
        + ("; one mapping in both" if not apart.groups.get("mapping") else "")
    )
    group, most = apart.largest
    if apart.verdict == "unrelated":
        say(
            f"warning: {group} is {most:.2f} apart, as of networks that have no ancestor in common (they are 1.4):"
            " channels do not mean the same in both, and what follows is probably noise"
        )
    elif apart.verdict == "far":
        say(
            f"warning: {group} is {most:.2f} apart, far for a fine-tuned sibling: look at the picture before you"
            " trust it"
        )


def label(text: str) -> str:
    """A short name for captions: the run's folder, the file's name without its ending, or the source's."""
    return Path(text).stem


# Refusing early
# --------------------------------------------------------------------------------------------


def check(options: Options) -> None:
    """Refuse what makes no sense, naming the flag."""
    for flag, value in (("--psi", options.psi), ("--strength", options.strength)):
        if value is not None and not math.isfinite(value):
            raise StylegraftError(f"{flag} {value}: expected a finite number")
    if not options.out.parent.is_dir():
        raise StylegraftError(f"--out {options.out}: the folder {options.out.parent} does not exist")
    suffix = options.out.suffix.lower()
    if suffix not in (".png", ".safetensors"):
        raise StylegraftError(
            f"--out {options.out}: expected a name that ends in .png or, for a domain file, .safetensors"
        )
    if suffix == ".safetensors" and options.procedure == "styles":
        raise StylegraftError(
            f"--out {options.out}: styles are computed with two networks, which no domain file says; a file takes"
            " --procedure deltas"
        )
    if suffix == ".safetensors" and (options.seeds or options.codes):
        raise StylegraftError(
            f"--out {options.out}: a domain file holds no faces; --seeds and --codes are of a picture"
        )


def check_sizes(options: Options, sibling: Model, base_text: str) -> None:
    """Refuse sources of other sizes by their headers, the same source, and an OUT that would overwrite what is read."""
    from stylegraft.cli.resolve import find

    base = find(base_text, ("source",))
    if sibling.found.kind == "source" and base.path.samefile(sibling.found.path):
        raise StylegraftError(
            f"--to {options.to}: {options.model} stands on it already; `stylegraft sample {options.model}` draws it"
        )
    if base.resolution != sibling.base.resolution:
        raise StylegraftError(
            f"--to {options.to}: {sibling.base.resolution} px, and {options.model} stands on {base_text} of"
            f" {base.resolution} px; a domain transfers between networks of the same layers only"
        )
    for path in (sibling.found.path, base.path):
        if options.out.exists() and options.out.samefile(path):
            raise StylegraftError(
                f"--out {options.out}: this would overwrite what is read; choose another name"
            )
