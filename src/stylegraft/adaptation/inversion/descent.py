"""Inverting photos: the code of a source whose image is the photo, found by descent from a guess.

The projector of Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), appendix D, with
three departures: the network's own noise maps stay as they are unless asked, since those are what a domain is drawn
with afterwards; the distance is LPIPS on VGG16 with its learnt heads, plus the squared difference of pixels; and the
descent runs in coordinates of unit deviation (`space`) with a pull to the mean.

    loss of a photo = LPIPS(G(x), photo) + mean (G(x) - photo)^2 + pull mean x^2  [+ 1e5 autocorrelation of its noise]

No photo's result depends on the others: on a CPU each goes alone, elsewhere losses of a batch are summed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.adam import Adam
from stylegraft.adaptation.inversion.encoder import find_encoder, guess
from stylegraft.adaptation.inversion.noise import autocorrelation, normalise
from stylegraft.adaptation.inversion.space import PSI, Coordinates, coordinates, rows_of_styles
from stylegraft.adaptation.sampling import Draws, labels, seed_of
from stylegraft.encoders.lpips import LPIPS, distance
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, Noise

Start = Literal["mean", "best", "encoder"]
STARTS: tuple[Start, ...] = ("mean", "best", "encoder")


@dataclass(frozen=True)
class Recipe:
    """steps; rate: Adam's, in deviations a step; explore: deviation of the noise on the coordinates at the start, which
    falls to zero at three quarters of the steps. Karras et al. let the rate rise over the first 5 % and fall, as a
    cosine, over the last 25 %.
    """

    steps: int
    rate: float
    explore: float = 0.0
    rise: float = 0.05
    fall: float = 0.25


RECIPES = {
    "fast": Recipe(steps=100, rate=0.1),
    "good": Recipe(steps=1000, rate=0.05, explore=0.05),
}
PULL = 3e-3  # weight of the mean square of the coordinates: costs 1 % of LPIPS, keeps them 8 % nearer to the mean
NOISE_WEIGHT = 1e5  # of the noise maps' autocorrelation: Karras et al.
SEEN_LEAST, SEEN_MOST = 64, 256  # px of the images that LPIPS looks at
CANDIDATES = 64  # samples that `best` chooses from, and that say what a usual distance is


class Found(NamedTuple):
    """What was found, one row a photo.

    ws [N, num_ws, w_dim]: rows of W+; styles {layer: [N, channels]}: in space S alone; images [N, C, R, R]: what the
    codes are in the source with its own noise; lpips, rmse [N]: how far from the photos, rmse in fractions of the range
    from black to white; usual: the median LPIPS between two samples of the source; curve: mean LPIPS of the photos at
    the start of each step.
    """

    ws: Tensor
    styles: dict[str, Tensor]
    images: Tensor
    lpips: Tensor
    rmse: Tensor
    usual: float
    curve: tuple[float, ...]


def find_codes(
    generator: Generator,
    photos: Tensor,
    perceptual: LPIPS,
    *,
    space: str,
    recipe: Recipe,
    start: Start,
    seed: int = 0,
    optimise_noise: bool = False,
    count: int = CANDIDATES,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Codes of photos [N, C, R, R] in [-1, 1] on the generator's device, framed as the source's own images are.

    space: of `space.SPACES`. start: `mean`, the mean face; `best`, the nearest of `count` samples; `encoder`, what the
    encoder of this source guesses. optimise_noise: let noise maps move too, and drop them at the end: the code then
    need not explain grain. On a GPU all photos are one batch.
    """
    z, ws, usual = candidates(generator, Look(perceptual, photos), count)
    if start == "mean":
        ws = generator.mapping.w_avg.expand_as(ws)
    where = coordinates(space, generator)
    # Sums of another batch round otherwise, and a hundred steps make up to 0.09 of w of that. On a CPU a batch is at
    # most a third faster, so there each photo goes alone: the same bits in any company.
    size = 1 if photos.device.type == "cpu" else len(photos)
    found = []
    for first in range(0, len(photos), size):
        part = slice(first, first + size)
        rows = _encoded(generator, photos[part]) if start == "encoder" else ws[part]
        x = where.of(z[part] if space == "z" else rows)
        ahead = progress and (
            lambda k, first=first: progress(first * recipe.steps + k * size, len(photos) * recipe.steps)
        )
        look = Look(perceptual, photos[part])
        x, curve = descend(generator, where, x, look, recipe, seed, optimise_noise, ahead)
        with torch.no_grad():
            code = where.code(x)
            images = _render(generator, code)
            styles = code.get("styles", {})
            rows = rows_of_styles(generator, styles) if styles else code["ws"]
            found.append((rows, styles, images, *look(images), curve))
    rows, styles, images, lpips, pixels, curves = zip(*found)
    return Found(
        torch.cat(rows).contiguous(),
        {layer: torch.cat([s[layer] for s in styles]) for layer in styles[0]},
        torch.cat(images),
        torch.cat(lpips),
        torch.cat(pixels).sqrt() / 2,
        usual,
        tuple(sum(values) / len(values) for values in zip(*curves)),
    )


class Look:
    """How far images [N, C, R, R] are from the photos: LPIPS [N] and mean squared difference of the pixels [N].

    LPIPS looks at images of at least `SEEN_LEAST` px, enlarged by bicubic interpolation, and at most `SEEN_MOST`,
    reduced by averaging.
    """

    def __init__(self, perceptual: LPIPS, photos: Tensor) -> None:
        self.perceptual, self.photos = perceptual, photos
        with torch.no_grad():
            self.embedded = perceptual.embed(seen(photos))

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.perceptual.embed(seen(images))
        return distance(found, self.embedded), (images - self.photos).square().mean((1, 2, 3))


def seen(images: Tensor) -> Tensor:
    """Images at the size at which LPIPS looks at them."""
    side = images.shape[-1]
    if side > SEEN_MOST:
        return F.interpolate(images, size=SEEN_MOST, mode="area")
    if side < SEEN_LEAST:
        return F.interpolate(images, size=SEEN_LEAST, mode="bicubic", align_corners=False)
    return images


@torch.no_grad()
def candidates(generator: Generator, look: Look, count: int) -> tuple[Tensor, Tensor, float]:
    """z [N, z_dim] and rows of W+ [N, num_ws, w_dim] of the sample nearest to each photo, and the median distance
    between neighbours of the list: two faces that have nothing to do with each other.
    """
    z = Draws([seed_of(0, 0, "candidates", i) for i in range(count)], look.photos.device).normal(
        generator.z_dim
    )
    c = labels(generator, range(count))
    ws = generator.ws(generator.mapping(z, c), PSI)
    distances, apart, before = [], [], None
    for i in range(count):
        found = look.perceptual.embed(seen(generator(ws=ws[i : i + 1]).image))
        distances.append(distance(found, look.embedded))
        if before is not None:
            apart.append(float(distance(found, before)))
        before = found
    best = torch.stack(distances).argmin(0)
    return z[best], ws[best], float(torch.tensor(apart).median())


def descend(
    generator: Generator,
    where: Coordinates,
    x: Tensor,
    look: Look,
    recipe: Recipe,
    seed: int,
    optimise_noise: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, list[float]]:
    """Coordinates [N, rows, n] after the steps of a recipe, and the photos' mean LPIPS at the start of each step.

    Random draws of a photo depend on `seed` and on its pixels alone.
    """
    keys = [_key(photo) for photo in look.photos]
    x = x.detach().clone().requires_grad_()
    noise = dict(generator.noise("const"))
    if optimise_noise:
        noise = {k: n.expand(len(x), -1, -1, -1).clone().requires_grad_() for k, n in noise.items()}
    moving = [x, *(noise.values() if optimise_noise else ())]
    optimiser = Adam(moving, betas=(0.9, 0.999))
    curve = []
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe)
        disturbance = recipe.explore * max(0.0, 1 - step / recipe.steps / 0.75) ** 2
        tried = x
        if disturbance:
            draws = Draws([seed_of(seed, step, "explore", key) for key in keys], x.device)
            tried = x + disturbance * draws.normal(*x.shape[1:])
        lpips, pixels = look(_render(generator, where.code(tried), noise))
        loss = lpips + pixels + PULL * x.square().mean((1, 2))
        if optimise_noise:
            loss = loss + NOISE_WEIGHT * autocorrelation(noise)
        optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimiser.step()
        if optimise_noise:
            normalise(noise)
        curve.append(float(lpips.detach().mean()))
        if progress:
            progress(step + 1)
    return x.detach(), curve


def schedule(step: int, recipe: Recipe) -> float:
    """The share of the rate at a step: a linear rise, and a cosine's fall (Karras et al. 2020, appendix D)."""
    t = (step + 1) / recipe.steps
    falling = min(1.0, (1 - step / recipe.steps) / recipe.fall)
    return (0.5 - 0.5 * math.cos(math.pi * falling)) * min(1.0, t / recipe.rise)


def default_start(generator: Generator, space: str) -> Start:
    """The encoder where this source has one and it speaks of the space, else the best sample."""
    return "encoder" if space != "z" and find_encoder(generator) else "best"


def _encoded(generator: Generator, photos: Tensor) -> Tensor:
    path = find_encoder(generator)
    if path is None:
        raise StylegraftError("start encoder: this source has none; use start best or mean")
    return guess(path, generator, photos)


def _render(generator: Generator, code: dict[str, Any], noise: Noise | Literal["const"] = "const") -> Tensor:
    return generator(**code, noise=noise).image


def _key(photo: Tensor) -> int:
    return int.from_bytes(hashlib.sha256(photo.cpu().numpy().tobytes()).digest()[:8], "little")
