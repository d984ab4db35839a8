"""Say what is inside a source, a domain, a run, codes or a direction: architecture, counts, hashes, licence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Switch
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import nn

    from stylegraft.checkpoints import Source
    from stylegraft.cli.resolve import Found


@dataclass(frozen=True)
class Options:
    """What `stylegraft inspect` takes."""

    what: Annotated[Positional[str], arg(metavar="FILE")]
    """A source (name, file of ours or of others, hf://...), a domain, a run folder, codes or a direction."""
    sample: Switch = False
    """Of a source: also draw 16 images, into NAME-sample.png in this folder."""


def run(options: Options) -> None:
    """Print the facts of whatever it is, after every check that loading it makes."""
    from stylegraft.cli.kept import show_codes, show_edit
    from stylegraft.cli.resolve import KEPT, MODELS, find

    found = find(options.what, (*MODELS, *KEPT))
    if options.sample and found.kind != "source":
        own = "" if found.kind in KEPT else f": stylegraft sample {options.what}"
        raise StylegraftError(f"--sample: {options.what} is a {found.kind}, not a source{own}")
    if found.kind == "source":
        show_source(found, options)
    elif found.kind == "direction":
        show_direction(found)
    elif found.kind == "file of codes":
        show_codes(found)
    elif found.kind == "direction of edit":
        show_edit(found)
    else:
        if found.kind == "run":
            show_run(found.path.parent)
        show_domain(found)


def show_source(found: Found, options: Options) -> None:
    """Architecture, parameter groups, licence, the hash that domains record."""
    from stylegraft.checkpoints import base_digest, fingerprint
    from stylegraft.cli.console import file_size, print_facts, print_table, say
    from stylegraft.sources import load_source

    source = load_source(options.what)
    generator, discriminator = source.generator, source.discriminator
    shown = {"name", "notes", "licence"}
    print_facts((
        ("source", source.name),
        ("file", f"{found.path} ({file_size(found.path)})"),
        ("architecture", fingerprint(generator.config)),
        ("image", f"{generator.resolution} px, {generator.img_channels} channels"),
        ("latent", f"z {generator.z_dim}, w {generator.w_dim}, {generator.num_ws} rows of W+"),
        ("labels", generator.c_dim or "none"),
        ("generator", f"{count(generator):,} parameters{settings(generator.config)}"),
        ("discriminator",
         f"{count(discriminator):,} parameters{settings(discriminator.config)}" if discriminator else "none"),
        *((key, value) for key, value in source.info.items()
          if key not in shown and isinstance(value, str | int | float)),
        ("domain in it", json.dumps(source.info["domain"]) if "domain" in source.info else None),
        ("licence", source.info.get("licence", "not stated")),
        ("base sha256", base_digest(generator)),
        ("file digest", found.metadata.get("digest")),
        ("file sha256", sha256(found.path) if found.foreign else None),
    ))  # fmt: skip
    for note in source.info.get("notes", ()):
        say(f"note: {note}")
    sizes = {name: parameter.numel() for name, parameter in generator.named_parameters()}
    rows = [
        (group, len(names), f"{sum(sizes[name] for name in names):,}")
        for group, names in generator.groups.items()
    ]
    print()
    print_table(("parameter group", ">tensors", ">parameters"), rows)
    if options.sample:
        draw(source, found.path.stem)


# entries of a config that the counts do not show, and how they read
SETTINGS = {
    "variant": "{}",
    "architecture": "{}",
    "mapping_layers": "mapping of {}",
    "mapping_lr_multiplier": "its rate {}",
    "mbstd_group_size": "minibatch-std of {}",
    "conv_clamp": "clamped at {}",
    "resample_filter": "filter {}",
}


def settings(config: dict[str, Any]) -> str:
    """The part of a config that counts do not tell: ` (skip, 32768 / 512 channels, mapping of 8)`."""
    from stylegraft.checkpoints.architecture import WHOLE

    parts = [
        text.format("the whole batch" if key == "mbstd_group_size" and config[key] >= WHOLE else config[key])
        for key, text in SETTINGS.items()
        if key in config and config[key] not in ("stylegan2", "mobile")
    ]
    if "channel_base" in config:
        parts.append(f"min({config['channel_base']} / resolution, {config.get('channel_max', 512)}) channels")
    return f" ({', '.join(parts)})" if parts else ""


def sha256(path: Path) -> str:
    """Of a whole file, to compare with what its publisher states."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def draw(source: Source, stem: str) -> None:
    """Sixteen samples at psi 0.7, in this folder, whatever the file says of its own name."""
    from stylegraft.cli.model import render
    from stylegraft.data.grids import save_grid

    out = Path(f"{stem}-sample.png")
    save_grid(render(source, range(16)), out)
    print(f"\n16 images, psi 0.7: {out}")


def show_direction(found: Found) -> None:
    """What a direction file says of itself; its base is not in it."""
    from stylegraft.cli.console import file_size, print_facts
    from stylegraft.domains.directions import KINDS, REFERENCE

    theirs = found.foreign
    assert theirs is not None and theirs.heads is not None
    heads = theirs.heads["heads"]
    numbers = sum(vector.array().size for vector in heads.values())
    print_facts((
        ("direction", f"{found.path} ({file_size(found.path)}, {numbers:,} numbers)"),
        *theirs.info.items(),
        ("layers", f"{1 + max(k for k, _ in heads)} convolutions"),
        ("base", "not in it: the generator it was trained on, given with --source"),
        ("note", REFERENCE if theirs.heads["styled"] else None),
        ("note", None if theirs.info.get("patch_key") in KINDS else f"stylegraft reads {' and '.join(KINDS)} alone"),
        ("file sha256", sha256(found.path)),
    ))  # fmt: skip


def show_domain(found: Found) -> None:
    """What it stands on, how it was made, what it moves."""
    from stylegraft.cli.console import file_size, print_facts, print_table
    from stylegraft.domains.domain import Domain

    domain = Domain.load(found.path)
    print_facts((
        ("domain", f"{found.path} ({file_size(found.path)}, {domain.count:,} numbers)"),
        *((key, value if isinstance(value, str) else json.dumps(value)) for key, value in domain.config.items()),
        ("base", f"{domain.base['name']} ({domain.base['fingerprint']})"),
        ("base sha256", domain.base["sha256"]),
        ("licence of the base", domain.base["licence"]),
        ("written by", f"stylegraft {found.metadata.get('library_version', '')}"),
        ("file digest", found.metadata.get("digest")),
    ))  # fmt: skip
    rows = [
        (name, " + ".join(term.form for term in terms), f"{sum(term.count for term in terms):,}")
        for name, terms in domain.deltas.items()
    ]
    print()
    print_table(("parameter", "form", ">numbers"), rows)


def show_run(folder: Path) -> None:
    """How far the run is, by the last whole line of its statistics."""
    from stylegraft.adaptation.folder import read_stats
    from stylegraft.cli.console import print_facts

    last = (read_stats(folder / "stats.jsonl") or [{}])[-1]
    taken = last.pop("step", -1) + 1  # a step's number is counted from 0
    shown = ((key, f"{value:g}" if isinstance(value, float) else value) for key, value in last.items())
    print_facts((("run", folder), ("steps taken", taken), *shown))
    print()


def count(network: nn.Module | None) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters()) if network is not None else 0
