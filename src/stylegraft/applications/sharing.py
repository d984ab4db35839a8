"""What is shared of a domain: the file, its model card, and a picture of samples. Nothing else of a run is looked at.

Not the training pictures, nor the sheets and previews that show them; and no path of this machine.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stylegraft.applications.card import Measured, card
from stylegraft.applications.hub import CARD, DOMAIN, PREVIEW
from stylegraft.applications.latents import of_seeds
from stylegraft.applications.privacy import without_paths
from stylegraft.atomic import write_bytes, write_error, write_text
from stylegraft.checkpoints import tensorfile
from stylegraft.checkpoints.source import Source
from stylegraft.data.grids import paired_grid
from stylegraft.domains.domain import Domain
from stylegraft.networks.generator import Generator

SEEDS, PSI = range(16), 0.7  # of the preview; the card says so


def write_folder(
    folder: Path, path: Path, source: Source, *, repo: str, name: str, numbers: Measured | None = None
) -> Domain:
    """Write what is shared of the domain file `path`, which stands on `source`, into `folder`; returns the domain.

    The file is copied byte for byte, unless its texts hold paths of this machine, which lose their folders.
    """
    domain = Domain.load(path, source.generator)
    clean = replace(domain, config=without_paths(domain.config), base=without_paths(domain.base))
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    if (clean.config, clean.base) == (domain.config, domain.base):
        write_bytes(folder / DOMAIN, path.read_bytes())
    else:
        clean.save(folder / DOMAIN, _dtype(path))
    adapted = source.with_domain(domain).generator
    paired_grid(_samples(source.generator), _samples(adapted), folder / PREVIEW, labels=("source", "domain"))
    write_text(folder / CARD, card(clean, name, repo=repo, numbers=numbers, pictures=PREVIEW))
    return clean


def _samples(generator: Generator) -> Tensor:
    """Samples of SEEDS: never anything that was trained on."""
    codes = of_seeds(generator, SEEDS, PSI)
    with torch.no_grad():
        return torch.cat([generator(ws=part).image for part in codes.ws.split(4)])


def _dtype(path: Path) -> torch.dtype:
    kinds = {tensor.dtype for tensor in tensorfile.read(path)[0].values()}
    return torch.float16 if kinds == {torch.float16} else torch.float32
