"""Relaxed spatial structural alignment: which places of an image resemble each other stays what it is in the source.

Xiao, Li, Wang, Zha, Huang, "Few Shot Generative Model Adaption via Relaxed Spatial Structural Alignment", CVPR
2022 (arXiv 2203.04121). CDC's anchors and exits stay. The latents of the disturbance term are really disturbed
(the released code mixes them and then uses others). The projection of latents needs an inversion and is left
out. Sizes are the paper's at 256 px; on other networks they are the same shares of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives.features import convolutions
from stylegraft.adaptation.views import Objective, Views

WHOLE = 32  # px: a map above it is compared in a grid of CELLS x CELLS windows, each place with those of its window
CELLS = 4


def self_correlation(target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """L_scc = sum_l [ h(C_q^t, C_q^s) over the quarters q of map l + h(C_c^t, C_c^s) in its centre c ]

    h: mean SmoothL1; C[u, v] = <x_u, x_v> between all places u, v of a window of the map, whose places were made
    unit vectors and averaged over 2x2. target, source: L maps [B, C_l, r_l, r_l]; odd rests are cut off.
    """
    losses = []
    for t, s in zip(target, source, strict=True):
        for of_target, of_source in zip(_windows(t), _windows(s), strict=True):
            losses.append(F.smooth_l1_loss(_products(of_target, of_target), _products(of_source, of_source)))
    return torch.stack(losses).sum()


def disturbance_correlation(target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """L_dcc = sum_l mean_{a < b} mean_u sum_v | S_ab^t[u, v] - S_ab^s[u, v] |,  S_ab[u, v] = softmax_v <x_u^a, x_v^b>

    a, b: samples whose latents are near each other; u, v: places, of unit vectors, on the whole map or in the same
    of 4x4 windows (`WHOLE`). target, source: L maps [B, C_l, r_l, r_l], B at least 2.
    """
    losses = []
    for t, s in zip(target, source, strict=True):
        t, s = _cells(t), _cells(s)
        for a, b in combinations(range(len(t)), 2):
            difference = _products(t[a], t[b]).softmax(-1) - _products(s[a], s[b]).softmax(-1)
            losses.append(difference.abs().sum(-1).mean())
    return torch.stack(losses).sum() / (len(losses) // len(target))


def _windows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quarters [B, 4, C, P] and centre [B, 1, C, P] of a map [B, C, r, r] of averaged unit vectors."""
    x = F.avg_pool2d(F.normalize(x, dim=1), 2)
    half = x.shape[2] // 2
    start = half - half // 2
    return _cut(x, half), _cut(x[:, :, start : start + half, start : start + half], half)


def _cells(x: Tensor) -> Tensor:
    """Windows [B, W, C, P] of a map [B, C, r, r] of unit vectors: the whole, or `CELLS` x `CELLS`."""
    side = x.shape[2]
    return _cut(F.normalize(x, dim=1), side if side <= WHOLE else side // CELLS)


def _cut(x: Tensor, side: int) -> Tensor:
    """Windows [B, W, C, side * side] of a map [B, C, r, r]."""
    return x.unfold(2, side, side).unfold(3, side, side).flatten(2, 3).flatten(3).transpose(1, 2)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """<a_u, b_v> for all places of windows [..., C, P]: [..., P, P]."""
    return a.transpose(-1, -2) @ b


def self_taps(views: Views) -> tuple[str, ...]:
    """Convolutions of 64 to 256 px at 256: those of at least a quarter of the image, and of 8 px."""
    return tuple(convolutions(views.generator, low=max(8, views.generator.resolution // 4)))


def cross_taps(views: Views) -> tuple[str, ...]:
    """Convolutions of at most 128 px at 256: those of at most half the image."""
    return tuple(convolutions(views.generator, low=4, high=views.generator.resolution // 2))


def kept_places(views: Views) -> Tensor:
    """L_scc at fresh unmixed latents, with the same random noise in both generators."""
    target, source = views.free_pair
    taps = self_taps(views)
    return self_correlation([target.taps[tap] for tap in taps], [source.taps[tap] for tap in taps])


def kept_disturbance(views: Views) -> Tensor:
    """L_dcc at 0.85 of one latent plus 0.15 of each sample's own."""
    taps = cross_taps(views)
    target, source = ([views.share.whole(one.taps[tap]) for tap in taps] for one in views.disturbed_pair)
    return disturbance_correlation(target, source)


def terms(recipe: Recipe) -> list[Objective]:
    """Both correlations, as far as the recipe gives them weight."""
    every = recipe.cross_every
    both = [
        Objective("self_corr", "G", kept_places, ("free_pair",), recipe.self_corr, taps=self_taps),
        Objective(
            "cross_corr",
            "G",
            kept_disturbance,
            ("disturbed_pair",),
            recipe.cross_corr,
            every=every,
            taps=cross_taps,
        ),
    ]
    return [term for term in both if term.weight]
