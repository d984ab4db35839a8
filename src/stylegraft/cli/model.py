"""The model of a command line: a source, or a domain (file, run, direction) on its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stylegraft.applications.files import CODES
from stylegraft.cli.resolve import KEPT, MODELS, Found, Kind, find, no_file
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.checkpoints import Source


@dataclass(frozen=True)
class Model:
    """found: what was named; base: the source under it (itself, of a source) and the text that names that one."""

    found: Found
    base: Found
    base_text: str


def find_model(text: str, source: str | None, wanted: Sequence[Kind] = MODELS) -> Model:
    """Resolve a model and its base without importing torch; raises StylegraftError for a base that is another one.

    wanted: the kinds of models that will do.
    """
    found = find(text, wanted)
    if found.kind == "source":
        if source:
            raise StylegraftError(f"--source {source}: {text} is a source itself; only domains have one")
        return Model(found, found, text)
    base_text = base_name(found, source)
    base = find_base(base_text)
    if found.foreign is None:
        check_base(found, base)
    return Model(found, base, base_text)


def find_base(text: str) -> Found:
    """The source of this name; of a run or a domain the line says how to make a source of it."""
    found = find(text, (*MODELS, *KEPT))
    if found.kind in ("run", "domain", "direction"):
        raise StylegraftError(
            f"--source {text}: a {found.kind}, expected a source; `stylegraft convert {text} NAME.safetensors` folds"
            " it into one"
        )
    return found if found.kind == "source" else find(text, ("source",))


def base_name(found: Found, given: str | None) -> str:
    """The source that a domain stands on: the one given with --source, or the shipped one that the file names."""
    from stylegraft.sources import SOURCES

    if given:
        return given
    if found.foreign is not None:
        raise StylegraftError(
            f"{found.path}: a direction of StyleDomain or HyperDomainNet, which does not hold its generator: give the"
            " rosinality .pt that it was trained on with --source"
        )
    name = found.says(str, "base", "name")
    if name not in SOURCES:
        raise StylegraftError(
            f"{found.path}: its base {name!r} does not ship with stylegraft: give the file of that source with --source"
        )
    return name


def check_base(domain: Found, base: Found) -> None:
    """Refuse another base of a domain by the two headers alone; loading compares the weights themselves."""
    wanted, found = domain.says(str, "base", "sha256"), base.metadata.get("base", "")
    if found and found != wanted:
        name, what = (
            domain.says(str, "base", "name"),
            "hypernetwork" if domain.kind == "hypernetwork" else "domain",
        )
        raise StylegraftError(
            f"{domain.path}: the {what} stands on the base {name!r} (sha256 {wanted[:12]}),"
            f" {base.path} is another one (sha256 {found[:12]}); give its own base with --source"
        )


def check_kept(what: str, path: Path, kind: Kind, base: Found) -> Found:
    """A file of codes or a direction of edit, by its header; raises StylegraftError for another file or base."""
    if not path.exists():
        raise StylegraftError(f"{what} {no_file(path)}".strip())
    if path.is_dir():
        inside = path / CODES
        hint = f", such as {inside}" if kind == "file of codes" and inside.exists() else ""
        raise StylegraftError(f"{what} {path}: a folder, expected a {kind}{hint}".strip())
    kept = find(str(path), (kind,))
    wanted, found = kept.says(str, "config", "base"), base.metadata.get("base", "")
    if found and wanted != found:
        raise StylegraftError(
            f"{what} {path}: a {kind} of the source of sha256 {wanted[:12]}, and {base.path} is another one"
            f" ({found[:12]}); it does not move between sources".strip()
        )
    return kept


def load_model(model: Model, strength: float = 1.0) -> Source:
    """The networks of a model, a domain folded in at this strength.

    Raises StylegraftError naming the file when the domain stands on another base.
    """
    from stylegraft.domains.directions import load_domain
    from stylegraft.sources import load_source

    source = load_source(model.base_text)
    if model.found.kind == "source":
        return source
    domain = load_domain(model.found.path, source)
    try:
        return source.with_domain(domain if strength == 1.0 else domain * strength)
    except StylegraftError as error:
        raise StylegraftError(f"{model.found.path}: {error}") from error


def render(
    source: Source,
    seeds: Sequence[int],
    *,
    psi: float = 0.7,
    noise: Literal["const", "random", "none"] = "const",
    label: int | None = None,
    device: str = "cpu",
) -> Tensor:
    """Images [N, C, R, R] of the seeds, nominally in [-1, 1]; a seed's latent does not depend on the others.

    label: the class of all of them, of a conditional source; None takes the classes in turn.
    """
    import torch

    from stylegraft.adaptation.sampling import Draws, labels

    generator = source.generator
    batch = 16 if generator.resolution <= 256 else 4
    draws = torch.Generator().manual_seed(seeds[0])
    images = []
    with torch.inference_mode():
        for i in range(0, len(seeds), batch):
            part = seeds[i : i + batch]
            z = Draws(list(part), device=device).normal(generator.z_dim)
            c = labels(generator, part if label is None else [label] * len(part))
            images.append(generator(z, c, psi=psi, noise=noise, generator=draws).image.cpu())
    return torch.cat(images)
