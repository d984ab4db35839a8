"""Control of source features: how much of the source a face keeps on its way to a domain, by three ways.

The noise is the control of Fix the Noise (Lee et al., CVPR 2023): it acts in a domain that was learnt with that recipe,
whose images on the anchor were held to the source's. Swapped layers and interpolated weights act in every domain, and
are what that paper compares with. `domains.paths` has the ways themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.sampling import Draws
from stylegraft.applications.latents import BATCH, Latents, draw_codes, of_seeds
from stylegraft.data.grids import save_sheet
from stylegraft.domains.domain import Domain
from stylegraft.domains.paths import (
    Draw,
    Mode,
    Way,
    layer_path,
    noise_path,
    of_latents,
    resolutions,
    weight_path,
)
from stylegraft.errors import StylegraftError, nearest
from stylegraft.metrics.degree import Degree, degree
from stylegraft.metrics.diversity import Distance
from stylegraft.networks.generator import Generator

WAYS = {
    # way       what moves from 0 to 1
    "noise":   "the noise, from the domain's anchor to maps drawn once",
    "layers":  "the blocks that are the domain's, from the finest on",
    "weights": "the strength of the domain",
}  # fmt: skip


@dataclass(frozen=True)
class Blend:
    """How noise is blended. mode: linear (the paper's), vp or slerp (ours, `networks.generator.blend_noise`); seed: of
    the random maps, one set for all faces and all a; layers: those that follow a, None all; fixed: {layer: amount}.
    """

    mode: Mode = "linear"
    seed: int = 0
    layers: Sequence[str] | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)


def control_path(
    name: str,
    generator: Generator,
    domain: Domain,
    draw: Draw,
    amounts: Sequence[float] | None = None,
    blend: Blend = Blend(),
) -> Way:
    """(a, images [N, C, R, R]) along one of `WAYS`, rendered as they are asked for; the base `generator` is untouched.

    amounts: None takes tenths, of `layers` its own places, one a block. Raises StylegraftError for an unknown way, and
    for amounts of noise or layers beyond 0 to 1.
    """
    if name not in WAYS:
        raise StylegraftError(f"way {name!r} is unknown{nearest(name, WAYS)}; expected {', '.join(WAYS)}")
    if name != "weights":
        for a in (*(amounts or ()), *blend.fixed.values()):
            if not 0 <= a <= 1:
                raise StylegraftError(f"amount {a:g}: {name} goes from 0 to 1")
    given = () if amounts is None else (amounts,)
    if name == "layers":
        return layer_path(generator, domain, draw, *given)
    if name == "weights":
        return weight_path(generator, domain, draw, *given)
    how = {"mode": blend.mode, "seed": blend.seed, "layers": blend.layers, "fixed": blend.fixed}
    return noise_path(domain.on(generator), draw, *given, **how)


def faces(generator: Generator, seeds: Sequence[int], psi: float = 0.7) -> Draw:
    """The faces that `stylegraft sample` draws of these seeds, each network with its own mapping; of a conditional
    source the rows of W+ of the source's, as `codes`.
    """
    if generator.c_dim:
        return codes(of_seeds(generator, seeds, psi))
    z = Draws(list(seeds), device=generator.get_buffer("mapping.w_avg").device).normal(generator.z_dim)
    return of_latents(z, psi, BATCH)


def codes(latents: Latents) -> Draw:
    """Codes that are kept, as `draw_codes` draws them in every network."""
    return lambda network, noise: draw_codes(network, latents, noise)


def learnt_for_noise(domain: Domain) -> bool:
    """Whether some part of this domain was learnt with Fix the Noise, so that noise can control it."""

    def learnt(config: Mapping[str, Any]) -> bool:
        """A mix that was shaped or pruned is one part of the next, so parts have parts."""
        if config.get("recipe") == "fixnoise":
            return True
        return any(learnt(part["config"]) for part in config.get("mix", ()))

    return learnt(domain.config)


# What is made of it


@torch.no_grad()
def control_curve(
    name: str,
    generator: Generator,
    domain: Domain,
    draw: Draw,
    distance: Distance,
    amounts: Sequence[float] | None = None,
    blend: Blend = Blend(),
) -> Degree:
    """How evenly one way leads away from the source's images of the same codes (`metrics.degree`).

    Swapped layers are measured at their own places, whatever `amounts`: between them nothing happens.
    """
    source = draw(generator, generator.noise("const"))
    places = None if name == "layers" else amounts
    return degree(source, control_path(name, generator, domain, draw, places, blend), distance)


@torch.no_grad()
def write_sheet(
    path: str | Path,
    generator: Generator,
    domain: Domain,
    draw: Draw,
    ways: Sequence[str],
    amounts: Sequence[float],
    blend: Blend = Blend(),
) -> None:
    """A PNG with a row for each face and way: the source's image, then those along `amounts`."""
    source = draw(generator, generator.noise("const"))
    along = [
        [images for _, images in control_path(name, generator, domain, draw, amounts, blend)] for name in ways
    ]
    tiles = torch.stack(
        [torch.stack([source, *images], 1) for images in along], 1
    )  # [N, ways, 1 + places, C, R, R]
    row = [[["source"], *([caption(generator, name, a)] for a in amounts)] for name in ways]
    captions = [tile for _ in range(len(source)) for each in row for tile in each]
    save_sheet(
        tiles.flatten(0, 2), path, captions=captions, marked=[False] * len(captions), columns=1 + len(amounts)
    )


def caption(generator: Generator, name: str, a: float) -> str:
    """`noise 0.17`; of swapped layers, from which resolution on they are the domain's."""
    if name != "layers":
        return f"{name} {a:.2g}"
    found = resolutions(generator)
    blocks = round(a * len(found))
    return f"from {found[blocks - 1]} px" if blocks else "no layers"


@torch.no_grad()
def frames(
    generator: Generator,
    domain: Domain,
    draw: Draw,
    ways: Sequence[str],
    amounts: Sequence[float],
    blend: Blend = Blend(),
) -> Iterator[Tensor]:
    """Frames [C, (1 + ways) R, N R], one a place: the source's images in the first row, then a row a way."""
    source = draw(generator, generator.noise("const"))
    paths = [control_path(name, generator, domain, draw, amounts, blend) for name in ways]
    for places in zip(*paths, strict=True):
        rows = [source, *(images for _, images in places)]
        yield torch.cat([torch.cat(tuple(images), 2) for images in rows], 1)


def there_and_back(steps: int) -> list[float]:
    """Amounts from 0 to 1 in `steps` places and back to the last before 0, so that a film of them loops."""
    up = [i / (steps - 1) for i in range(steps)]
    return [*up, *up[-2:0:-1]]
