"""Apply a domain to another source of the same family: a picture of it there, or a domain file of that source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import FACES, Device, Psi, Rule, check, check_read, psi_of
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.applications.transfer import Gap
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model
    from stylegraft.cli.terms import Term
    from stylegraft.domains import Domain

KINDS = {".png": "a picture", ".safetensors": "a domain file on the sibling"}
RULES: tuple[Rule, ...] = (
    *FACES,
    ("seeds codes psi", lambda o: o.out.suffix.lower() == ".safetensors",
     "{o.out} is a domain file, which holds no faces"),
    ("procedure", lambda o: o.procedure == "styles" and o.out.suffix.lower() == ".safetensors",
     "it is computed with two networks, which no domain file says; a file takes --procedure deltas"),
)  # fmt: skip


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
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Faces in a file of codes, as `stylegraft translate` leaves one, in place of seeds."""
    psi: Psi = None
    """Truncation of seeds: 1 is the full variety, 0 the mean face."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, and of SIBLING where that is a domain, if it is not a shipped source."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("transfer.png")
    """A picture (.png), or a domain file on the sibling (.safetensors)."""


def run(options: Options) -> None:
    """Check the line, say how far the two sources are apart, and write the picture or the file."""
    from stylegraft.cli.codes import check_codes, chosen_seeds
    from stylegraft.cli.model import find_model
    from stylegraft.cli.resolve import find
    from stylegraft.cli.terms import find_terms

    check(options, RULES, KINDS)
    seeds = chosen_seeds(options.seeds)
    (term,), base_text = find_terms([options.model], options.source)
    if term.coefficient != 1:
        raise StylegraftError(f"{options.model}: give the strength with --strength {term.coefficient:g}")
    given = find(options.to, ("source", "domain", "direction", "run"))
    sibling = find_model(options.to, None if given.kind == "source" else options.source)
    check_sibling(options, term, sibling, base_text)
    check_codes(options.codes, base_text)

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
    from stylegraft.cli.console import counted, say
    from stylegraft.data.grids import save_grid

    base, sibling = (source.to(options.device).generator for source in (parent, other))
    require_other(base, sibling)
    latents = load_codes(base, seeds, options.codes, psi=options.psi, default=8).to(options.device)
    seeds = seeds or list(range(8))
    psi = psi_of(options)
    draw = control.codes(latents) if options.codes else control.faces(base, seeds, psi)
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
    print(f"{counted(len(latents), 'face')} of {options.model} on {options.to}: {options.out}")
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


def check_sibling(options: Options, term: Term, sibling: Model, base_text: str) -> None:
    """Refuse by the headers: the same source, sources of other sizes, and an OUT that would overwrite what is read."""
    from stylegraft.cli.model import find_base

    base, own = find_base(base_text), sibling.base.metadata.get("base")
    same = base.path.samefile(sibling.base.path) or (own is not None and own == base.metadata.get("base"))
    if sibling.found.kind == "source" and same:
        raise StylegraftError(
            f"--to {options.to}: {options.model} stands on it already; `stylegraft sample {options.model}` draws it"
        )
    if same and term.found.path.samefile(sibling.found.path):
        raise StylegraftError(
            f"--to {options.to}: the domain itself, on the same source; more of it is `stylegraft mix"
            f" {options.model}:2`"
        )
    if base.resolution != sibling.base.resolution:
        raise StylegraftError(
            f"--to {options.to}: {sibling.base.resolution} px, and {options.model} stands on {base_text} of"
            f" {base.resolution} px; a domain transfers between networks of the same layers only"
        )
    check_read(f"--out {options.out}", options.out, sibling.found, base, term.found)
