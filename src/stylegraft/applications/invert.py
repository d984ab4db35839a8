"""Inverting photos: codes of the source that can be kept, and a verdict on each (`adaptation.inversion` finds them)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.adaptation.inversion.descent import (
    CANDIDATES,
    RECIPES,
    STARTS,
    Recipe,
    Start,
    default_start,
    find_codes,
)
from stylegraft.adaptation.inversion.space import check_space
from stylegraft.applications.latents import Latents
from stylegraft.checkpoints.source import Source
from stylegraft.encoders.lpips import LPIPS
from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.generator import Generator

__all__ = ["RECIPES", "STARTS", "Inversion", "Recipe", "Start", "default_start", "invert_images", "verdict"]

# Shares of the usual distance of two samples. Held-out faces lie at 0.08, 95 % of them below 0.12; of pictures that are
# no upright face 7 in 9 lie above 0.25 (benchmarks/results/inversion.json, faces-64, w+, fast).
FAIR, FAILED = 0.12, 0.25


@dataclass(frozen=True, eq=False)
class Inversion:
    """latents: the codes; images [N, C, R, R]: what they are in the source with its own noise; lpips, rmse [N]: how far
    these are from the photos, rmse in fractions of the range from black to white; usual: the median LPIPS between two
    samples of the source; curve: mean LPIPS of the photos at the start of each step.
    """

    latents: Latents
    images: Tensor
    lpips: Tensor
    rmse: Tensor
    usual: float
    curve: tuple[float, ...] = ()

    def verdicts(self) -> list[str]:
        """`good`, `fair` or `failed`, one a photo."""
        return [verdict(float(d), self.usual) for d in self.lpips]


def verdict(lpips: float, usual: float) -> str:
    """How an inversion went: its distance to the photo over the usual one between two faces of the source."""
    share = lpips / usual
    return "failed" if not share <= FAILED else "fair" if share > FAIR else "good"


def invert_images(
    source: Source | Generator,
    photos: Tensor,
    names: Sequence[str] = (),
    *,
    space: str = "w+",
    recipe: str | Recipe = "fast",
    start: Start | None = None,
    seed: int = 0,
    optimise_noise: bool = False,
    perceptual: LPIPS | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Codes of photos [N, C, R, R] in [-1, 1], framed as the source's own images are.

    space: of `SPACES`. start: `mean`, the mean face; `best`, the nearest of 64 samples; `encoder`, what the encoder of
    this source guesses; None takes the encoder where there is one. optimise_noise: let noise maps move too, and drop
    them at the end: the code then need not explain grain. On a GPU all photos are one batch. Raises StylegraftError for
    photos of another size, unknown names, and an encoder that is not there.
    """
    generator = source.generator if isinstance(source, Source) else source
    check_space(space, generator)
    _check(generator, photos, names)
    row = recipe if isinstance(recipe, Recipe) else _recipe(recipe)
    start = start or default_start(generator, space)
    if space == "z" and start != "best":
        raise StylegraftError(f"start {start}: it gives a w, which has no z; in space z use best")
    device = generator.get_buffer("mapping.w_avg").device
    photos = photos.to(device)
    if perceptual is None:
        from stylegraft.encoders.lpips import load_lpips

        perceptual = load_lpips("vgg", device)
    found = find_codes(
        generator,
        photos,
        perceptual,
        space=space,
        recipe=row,
        start=start,
        seed=seed,
        optimise_noise=optimise_noise,
        count=CANDIDATES,
        progress=progress,
    )
    about = {"space": space, "start": start, "seed": seed, "steps": row.steps}
    shown = tuple(names) or tuple(f"photo {i}" for i in range(len(photos)))
    latents = Latents(found.ws, shown, found.styles, about)
    return Inversion(latents, found.images, found.lpips, found.rmse, found.usual, found.curve)


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise StylegraftError(
            f"recipe {name!r} is unknown{nearest(name, RECIPES)}; expected {', '.join(RECIPES)}"
        )
    return RECIPES[name]


def _check(generator: Generator, photos: Tensor, names: Sequence[str]) -> None:
    size = (generator.img_channels, generator.resolution, generator.resolution)
    if photos.ndim != 4 or tuple(photos.shape[1:]) != size or not len(photos):
        raise StylegraftError(
            f"photos {list(photos.shape)}; expected [N, {', '.join(map(str, size))}] in [-1, 1]"
        )
    if not bool(torch.isfinite(photos).all()):
        raise StylegraftError("photos: not all finite; expected numbers in [-1, 1]")
    if names and len(names) != len(photos):
        raise StylegraftError(f"{len(names)} names for {len(photos)} photos")
