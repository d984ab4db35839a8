"""How a generator is looked at, during a run (`watch`) and beside it (`lab.panel`): fixed latents, views of pictures,
and a probe that says whether an image is of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.rules import FOLDS
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.domains.apply import Adapted
from stylegraft.encoders.protocol import Encoder
from stylegraft.metrics.features import features
from stylegraft.metrics.realism import Probe, fit_probe
from stylegraft.networks.generator import Generator

SMALLEST_CROP = 0.85  # of the side


@dataclass(frozen=True)
class Sight:
    """A fitted probe. targets [M, D]: features of what it was fitted on, where those are the training images, so that
    each sample is judged by a head that has not seen what it resembles; None where they are others.
    """

    probe: Probe
    targets: Tensor | None = None

    @property
    def name(self) -> str:
        """Of the number: `p_target-ENCODER`, in folds `p_target-ENCODER/folds`."""
        return self.probe.name + (FOLDS if self.targets is not None else "")

    def p_target(self, found: Tensor) -> float:
        """Mean probability of samples, by their features [N, D]."""
        if self.targets is None:
            return float(self.probe.p(found).mean())
        nearest = (F.normalize(found, dim=1) @ F.normalize(self.targets, dim=1).T).argmax(1)
        return float(self.probe.p_cross(found, nearest).mean())


def fit_sight(
    encoder: Encoder,
    source: Tensor,
    pool: Tensor,
    seed: int,
    stream: str,
    *,
    learnt: bool,
    device: torch.device | str = "cpu",
) -> Sight:
    """Fit a probe on images (uint8) of the source [N, C, R, R] and of the target [M, C, R, R], in views.

    A pool smaller than the source's is seen in several views an image. learnt: the pool is what the generator is
    trained on.
    """
    copies = max(1, len(source) // len(pool))
    groups = [i for i in range(len(pool)) for _ in range(copies)]
    targets = features(encoder, views(pool[groups], seed, f"{stream}.target"), device=device)
    sources = features(encoder, views(source, seed, f"{stream}.view"), device=device)
    probe = fit_probe(sources, targets, seed, encoder=encoder.name, groups=groups)
    return Sight(probe, targets if learnt else None)


def some(images: Tensor, count: int, seed: int, stream: str) -> Tensor:
    """At most `count` of the images, drawn with the seed, in their own order."""
    rng = torch.Generator().manual_seed(seed_of(seed, 0, stream, 0))
    return images[torch.randperm(len(images), generator=rng)[:count].sort().values]


def latents(seed: int, stream: str, count: int, device: torch.device | str = "cpu") -> Draws:
    """Draws of the fixed samples of a purpose."""
    return Draws([seed_of(seed, 0, stream, i) for i in range(count)], device)


def draw(network: Generator | Adapted, z: Tensor) -> Tensor:
    """uint8 images [N, C, R, R] of latents, without truncation, the network's own noise."""
    return to_uint8(render(network, z, psi=1.0))


def views(images: Tensor, seed: int, stream: str) -> Tensor:
    """Each image [N, C, R, R] (uint8) in another view: mirrored or not, a square crop of at least 85 % of the side.

    Both classes of a probe are seen so, or it would learn what a crop looks like.
    """
    draws = Draws([seed_of(seed, 0, stream, i) for i in range(len(images))])
    side = images.shape[-1]
    out = []
    for image, (flip, size, x, y) in zip(to_float(images), draws.uniform(4).tolist(), strict=True):
        crop = round(side * (SMALLEST_CROP + (1 - SMALLEST_CROP) * size))
        left, top = round(x * (side - crop)), round(y * (side - crop))
        part = image[None, :, top : top + crop, left : left + crop]
        part = F.interpolate(part, (side, side), mode="bilinear", align_corners=False)
        out.append(part.flip(3) if flip < 0.5 else part)
    return to_uint8(torch.cat(out))
