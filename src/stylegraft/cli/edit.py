"""Edit faces along directions or single channels, on a source or under a domain, and write a grid and the codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from stylegraft.cli.flags import FACES, Device, Psi, Rule, Switch, check, of_domains
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.applications.edit import Edits
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model

MOST_IMAGES = 1024
KINDS = {".png": "a picture"}
RULES: tuple[Rule, ...] = FACES


@dataclass(frozen=True)
class Options:
    """What `stylegraft edit` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder, a domain file, or a source: its name, its file (.safetensors, .pkl, .pt) or hf://OWNER/REPO/FILE."""
    direction: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="WHAT[@ROWS][=AMOUNT]")] = ()
    """`ganspace:3=2`, `sefa:K` or a file, in standard deviations; with @0-3 or @4-16px on these rows of W+ alone."""
    channel: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="LAYER:CHANNEL:AMOUNT")] = ()
    """One channel of StyleSpace, as in b32.conv0:12:+5, or in its standard deviations b32.conv0:12:+5std."""
    sweep: Annotated[
        str | None, arg(metavar="FROM..TO", help_behavior_hint="(default: before and after)")
    ] = None
    """All amounts times FROM to TO, as in -3..3: a row a face, a column a factor."""
    seeds: Annotated[str | None, arg(metavar="RANGES", help_behavior_hint="(default: 0-7)")] = None
    """Faces to edit, as `sample` draws them of the source: `0-7`, or `7,40-43`."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: --seeds)")] = None
    """Faces to edit, of a file of codes, as `translate` leaves it."""
    psi: Psi = None
    """Truncation of the seeds' faces."""
    strength: float = 1.0
    """Of the domain: 0 is the source, 1 the domain as learnt."""
    order: Literal["before", "after"] = "before"
    """Whether the domain sees the edited code, or the face as it was; the same where it only adds to styles."""
    suppress_domain_at_edit: Switch = False
    """Take the domain's offsets off the edited channels, as StyleDomain does."""
    noise: Literal["const", "random", "none"] = "const"
    """The network's own noise maps, fresh ones, or none."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    columns: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: sweep 7, else 8)")] = None
    """Steps of a sweep, or faces in a row."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("edit.png")
    """Where the picture goes."""
    save: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: not saved)")] = None
    """Keep the edited codes, for `--codes` of other verbs."""


def run(options: Options) -> None:
    """Edit, draw, and say where things are."""
    from stylegraft.cli.codes import check_codes, chosen_seeds, load_codes
    from stylegraft.cli.edits import METHODS, parse_channel, parse_direction, parse_sweep, told
    from stylegraft.cli.model import find_model

    check(options, RULES, KINDS)
    if not options.direction and not options.channel:
        raise StylegraftError(
            "nothing to edit: give --direction or --channel; `stylegraft directions MODEL ganspace` shows some"
        )
    seeds = chosen_seeds(options.seeds)
    factors = None if options.sweep is None else parse_sweep(options.sweep, options.columns or 7)
    model = find_model(options.model, options.source)
    of_domains(options, model.found, "strength order suppress_domain_at_edit")
    check_codes(options.codes, model.base_text)
    asked = [parse_direction(text) for text in options.direction]
    channels = [parse_channel(text) for text in options.channel]
    for each in asked:
        if each.index is None and each.what in METHODS:
            raise StylegraftError(f"--direction {each.text}: which one? {each.what}:0 is the first")
    for each in (*asked, *channels):
        each.check(model.base)
    if options.suppress_domain_at_edit and not (channels or any(each.styles for each in asked)):
        raise StylegraftError(
            "--suppress-domain-at-edit: only edits of channels can suppress the domain, and there are none; give"
            " --channel, or a direction of `stylegraft directions --channels`"
        )

    import torch

    from stylegraft.applications.edit import draw, edited, edited_code
    from stylegraft.cli.console import counted, say
    from stylegraft.data.grids import paired_grid, save_grid
    from stylegraft.devices import check_device

    device = check_device(options.device, "sample")
    base, adapted, moved = load_both(model, options.strength, device)
    generator = base.generator
    latents = load_codes(generator, seeds, options.codes, psi=options.psi, default=8).to(device)
    images = len(latents) * len(factors or (0, 1))
    if images > MOST_IMAGES:
        raise StylegraftError(f"{images} images are too many for one picture; at most {MOST_IMAGES}")
    edits = [(each.find(generator)[0], each.amount) for each in asked]
    edits += [(each.find(generator), each.amount) for each in channels]
    target = None if adapted is None else adapted.generator
    batch = 16 if generator.resolution <= 256 else 4

    def faces(steps: Edits, suppress: bool) -> Tensor:
        """All faces with these edits."""
        code = edited_code(generator, latents, steps, target, order=options.order, suppress=suppress)
        return draw(target or generator, code, options.noise, batch)

    if factors is None:
        pair = faces([], False), faces(edits, options.suppress_domain_at_edit)
        paired_grid(*pair, options.out, options.columns, labels=("before", "edited"))
        print(f"{counted(len(latents), 'face')} of {options.model} before and after: {options.out}")
    else:
        steps = [[(direction, amount * factor) for direction, amount in edits] for factor in factors]
        columns = [faces(each, options.suppress_domain_at_edit) for each in steps]
        grid = torch.stack(columns, 1).flatten(0, 1)
        save_grid(grid, options.out, len(factors), labels=latents.names)
        amounts = f"amounts times {told(factors)}"
        print(f"{counted(len(latents), 'face')} of {options.model}, {amounts}: {options.out}")
    if options.save:
        edited(generator, latents, edits).to("cpu").save(options.save, generator)
        print(f"edited codes: {options.save}")
    if moved:
        say(
            "note: this domain moves the mapping; the codes are the source's, so the faces are not those that"
            " `stylegraft sample` draws of these seeds in the domain"
        )
    for note in (adapted or base).info.get("notes", ()):
        say(f"note: {note}")
    say(f"licence: {base.info.get('licence', 'not stated')}")


def load_both(model: Model, strength: float, device: str) -> tuple[Source, Source | None, bool]:
    """The source; the source with the domain in it, if there is one; whether that one's mapping is another."""
    from stylegraft.cli.terms import Term, load_terms
    from stylegraft.domains.spaces import moves_mapping
    from stylegraft.sources import load_source

    if model.found.kind == "source":
        return load_source(model.base_text, device), None, False
    base, (domain,) = load_terms([Term(str(model.found.path), model.found, strength)], model.base_text)
    adapted = base.with_domain(domain if strength == 1.0 else domain * strength)
    return base.to(device), adapted.to(device), moves_mapping(domain.deltas)
