"""Translating photos: the face of an inverted photo, drawn in a domain at several degrees of the source.

`keep` says how much of the source stays, from 1, the source's own drawing of the face, to 0, the domain's. Of a domain
that was learnt by Fix the Noise (Lee et al., CVPR 2023) that is the noise: kept 1 it is the anchor, on which that
method holds the domain to the source, kept 0 fresh noise. Of every other one it is the domain's strength, 1 - keep.

By a reference, StyleDomain's image-to-image translation (Alanov et al., ICCV 2023): the rows of W+ that make up pose
and shape come from the photo, the others from a second picture, which is inverted too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from stylegraft.adaptation.inversion.encoder import row_sizes
from stylegraft.applications.control import learnt_for_noise
from stylegraft.applications.latents import Latents, draw_codes
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, blend_noise

Along = Literal["strength", "noise"]
SHAPE_BELOW = (
    16  # px: layers that read smaller maps take the photo's rows; in StyleGAN2 those are the paper's 0 to 3
)


def default_along(domain: Domain) -> Along:
    """What `keep` moves of this domain: `noise` where Fix the Noise learnt some part of it, else `strength`."""
    return "noise" if learnt_for_noise(domain) else "strength"


def check_degrees(degrees: Sequence[float], how: Along) -> None:
    """Raise StylegraftError for none, for numbers that are not finite, and for a blend of noise beyond its ends."""
    if not degrees:
        raise StylegraftError("--keep-source: no degree was given; expected numbers from 0 to 1")
    for degree in degrees:
        if not math.isfinite(degree):
            raise StylegraftError(
                f"--keep-source {degree}: expected a finite number, from 0 (domain) to 1 (source)"
            )
        if how == "noise" and not 0 <= degree <= 1:
            raise StylegraftError(f"--keep-source {degree:g}: along the noise it goes from 0 to 1")


@torch.no_grad()
def translate_codes(
    generator: Generator,
    domain: Domain,
    latents: Latents,
    keep: Sequence[float] = (1.0, 0.75, 0.5, 0.25, 0.0),
    *,
    how: Along | None = None,
    seed: int = 0,
) -> Tensor:
    """Images [N, len(keep), C, R, R] of the codes in the domain at each degree; the base `generator` is not touched.

    how: what `keep` moves, None as the domain was learnt (`default_along`). seed: of the fresh noise at the end. The
    rows of a code go to the domain's style layers as they are, whatever happened to its mapping; styles are moved as
    those of its rows (`latents.draw_codes`). Raises StylegraftError for a domain of another base and for degrees that
    make no sense.
    """
    how = how or default_along(domain)
    check_degrees(keep, how)
    if how == "noise":
        fresh = generator.noise("random", 1, torch.Generator().manual_seed(seed))
        adapted = domain.on(generator)
        return torch.stack(
            [draw_codes(adapted, latents, blend_noise(adapted.noise("const"), fresh, 1 - k)) for k in keep], 1
        )
    columns = []
    for degree in keep:
        drawn = generator if degree == 1 else (domain * (1 - degree)).on(generator)
        columns.append(draw_codes(drawn, latents))
    return torch.stack(columns, 1)


def shape_rows(generator: Generator, below: int = SHAPE_BELOW) -> list[int]:
    """The rows of W+ whose layers read maps below so many px, whatever a toRGB that shares a row reads.

    Raises StylegraftError where that is none of them, or all.
    """
    sizes = row_sizes(generator)
    if not min(sizes) < below <= max(sizes):
        raise StylegraftError(
            f"--shape-below {below}: leaves one side no layer; expected more than {min(sizes)}, at most {max(sizes)}"
        )
    return [row for row, size in enumerate(sizes) if size < below]


def with_reference(
    generator: Generator, photos: Latents, reference: Latents, below: int = SHAPE_BELOW
) -> Latents:
    """The photos' codes with the rows, or the styles, of layers that read maps of `below` px and more from a reference.

    Raises StylegraftError unless the reference is one code, of the same space, and both sides keep a row.
    """
    rows = shape_rows(generator, below)
    if len(reference) != 1 or bool(reference.styles) != bool(photos.styles):
        raise StylegraftError("the reference: expected one code, of the photos' space")
    mask = torch.zeros(generator.num_ws, 1, dtype=torch.bool, device=photos.ws.device)
    mask[rows] = True
    styles = {
        layer.name: photos.styles[layer.name]
        if layer.row in rows
        else reference.styles[layer.name].expand(len(photos), -1)
        for layer in generator.layers
        if photos.styles
    }
    return replace(photos, ws=torch.where(mask, photos.ws, reference.ws), styles=styles)
