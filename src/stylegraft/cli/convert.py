"""Write a source, or a source with a domain in it, in another format; the name that you give it says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source
    from stylegraft.cli.model import Model

FORMATS = {
    ".safetensors": "ours: both networks, safe to load, bit for bit",
    ".pt": "rosinality's, for the tools that build on it: g_ema, latent_avg, d",
}


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
    as_domain: bool = False
    """Write the direction file of StyleDomain or HyperDomainNet as a small domain file, not folded in."""
    half: bool = False
    """Store .safetensors in fp16: half the size, rounded."""


def run(options: Options) -> None:
    """Load, fold, write, and say what was lost."""
    from stylegraft.cli.model import find_model, load_model

    check(options)
    model = find_model(options.model, options.source)
    check_out(options.out, model)
    if options.as_domain:
        write_domain(options, model)
        return
    if model.found.kind == "source" and options.strength != 1.0:
        raise StylegraftError(
            f"--strength {options.strength:g}: {options.model} is a source; only domains have one"
        )
    source = load_model(model, options.strength)
    lost = write(options, source)

    from stylegraft.cli.console import file_size, say

    discriminator = "with its discriminator" if source.discriminator else "no discriminator"
    print(f"{options.model}: {options.out} ({file_size(options.out)}, {discriminator})")
    for note in (*source.info.get("notes", ()), *lost):
        say(f"note: {note}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def check(options: Options) -> None:
    """Refuse what makes no sense before anything is read."""
    suffix = options.out.suffix.lower()
    if suffix == ".pkl":
        raise StylegraftError(
            f"{options.out}: NVIDIA's .pkl holds the source text of its networks, which is not ours to write; choose"
            " .pt (older tools load it, and convert it where they need .pkl) or .safetensors"
        )
    if suffix not in FORMATS:
        known = "; ".join(f"{name} is {what}" for name, what in FORMATS.items())
        raise StylegraftError(f"{options.out}: the end of the name says the format: {known}")
    if options.half and suffix != ".safetensors":
        raise StylegraftError("--half: only .safetensors is written in fp16")
    if not options.out.parent.is_dir():
        raise StylegraftError(f"{options.out}: the folder {options.out.parent} does not exist")


def check_out(out: Path, model: Model) -> None:
    """Refuse to write over what is read, or into a run."""
    for path, what in (
        (model.found.path, "the file that is being converted"),
        (model.base.path, "its source"),
    ):
        if out.exists() and out.samefile(path):
            raise StylegraftError(f"{out}: this would overwrite {what}; choose another name")
    if (out.parent / "config.json").exists() and (out.parent / "stats.jsonl").exists():
        raise StylegraftError(f"{out}: this is inside the run {out.parent}; choose a place outside")


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
    if options.out.suffix.lower() != ".safetensors":
        raise StylegraftError(f"{options.out}: a domain file ends in .safetensors")
    domain = read_direction(model.found.path, load_source(model.base_text))
    domain = domain if options.strength == 1.0 else domain * options.strength
    domain.save(options.out, torch.float16 if options.half else torch.float32)
    print(f"{options.model}: {options.out} ({file_size(options.out)}, {domain.count:,} numbers)")
