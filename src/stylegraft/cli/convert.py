"""Write a source, or a source with a domain in it, in another format; the name that you give it says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Rule, Switch, check, check_outside, check_read, of_domains
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model

FORMATS = {
    ".safetensors": "ours: both networks, safe to load, bit for bit",
    ".pt": "rosinality's, for the tools that build on it: g_ema, latent_avg, d",
}


RULES: tuple[Rule, ...] = (
    ("half as_domain", lambda o: o.out.suffix.lower() != ".safetensors", "{o.out} is no .safetensors"),
)


@dataclass(frozen=True)
class Options:
    """What `stylegraft convert` takes."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A source (name, .safetensors, .pkl, .pt, hf://...); or a domain, run or direction, folded into its source."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """NAME.safetensors (ours), or NAME.pt (rosinality's layout, for older tools)."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of a domain, where it is not a shipped source."""
    strength: float = 1.0
    """Of the domain, where MODEL is one."""
    as_domain: Switch = False
    """Write the direction file of StyleDomain or HyperDomainNet as a small domain file, not folded in."""
    half: Switch = False
    """Store .safetensors in fp16: half the size, rounded."""


def run(options: Options) -> None:
    """Load, fold, write, and say what was lost."""
    from stylegraft.cli.model import find_model, load_model

    if options.out.suffix.lower() == ".pkl":
        raise StylegraftError(
            f"{options.out}: NVIDIA's .pkl holds the source text of its networks, which is not ours to write; choose"
            " .pt (older tools load it, and convert it where they need .pkl) or .safetensors"
        )
    check(options, RULES, FORMATS)
    model = find_model(options.model, options.source)
    check_read(str(options.out), options.out, model.found, model.base)
    check_outside(str(options.out), options.out)
    if options.as_domain:
        write_domain(options, model)
        return
    of_domains(options, model.found, "strength")
    source = load_model(model, options.strength)
    lost = write(options, source)

    from stylegraft.cli.console import file_size, say

    discriminator = "with its discriminator" if source.discriminator else "no discriminator"
    print(f"{options.model}: {options.out} ({file_size(options.out)}, {discriminator})")
    for note in (*source.info.get("notes", ()), *lost):
        say(f"note: {note}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def write(options: Options, source: Source) -> tuple[str, ...]:
    """Write the source in the format of OUT's name; returns what that format leaves out."""
    import torch

    from stylegraft.checkpoints import save_rosinality, save_source

    if options.out.suffix.lower() == ".pt":
        return save_rosinality(options.out, source)
    save_source(options.out, source, torch.float16 if options.half else torch.float32)
    if options.half:
        return ("fp16 rounds the weights: domains that were learnt on the file before do not fit this one",)
    return ()


def write_domain(options: Options, model: Model) -> None:
    """A direction as a domain file of ours."""
    import torch

    from stylegraft.cli.console import file_size
    from stylegraft.domains.directions import read_direction
    from stylegraft.sources import load_source

    if model.found.kind != "direction":
        raise StylegraftError(f"--as-domain: {options.model} is a {model.found.kind}, not a direction file")
    domain = read_direction(model.found.path, load_source(model.base_text))
    domain = domain if options.strength == 1.0 else domain * options.strength
    domain.save(options.out, torch.float16 if options.half else torch.float32)
    print(f"{options.model}: {options.out} ({file_size(options.out)}, {domain.count:,} numbers)")
