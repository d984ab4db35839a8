"""Cross-domain correspondence: how the images of a batch resemble each other stays what it is in the source.

Ojha, Li, Lu, Efros, Lee, Shechtman, Zhang, "Few-shot Image Generation via Cross-domain Correspondence", CVPR
2021 (arXiv 2104.06820), equations 1-3; its anchors and its two exits are in `exits.py` and `sampling.py`. Two
departures: both generators see the same noise, and the loss is the mean of the KL over the batch, where the
released code takes the mean over all entries, so that its weight depends on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives.features import convolutions, cosines
from stylegraft.adaptation.views import Objective, Views


def relations(maps: Sequence[Tensor], which: Tensor) -> Tensor:
    """log p_i = log softmax_{j != i} cos(x_i, x_j) of each sample's own features x, those of the map `which[i]`: maps
    [N, C_k, r_k, r_k] of K taps, which [N] -> [N, N - 1].
    """
    own = torch.arange(len(which), device=which.device)
    alike = torch.stack([cosines(x, x) for x in maps])[which, own]
    others = own[None, :-1] + (own[None, :-1] >= own[:, None])
    return alike.gather(1, others).log_softmax(1)


def distance_consistency(
    target: Sequence[Tensor], source: Sequence[Tensor], which: Tensor | None = None
) -> Tensor:
    """L_dist = 1/N sum_i KL( p_i^s || p_i^t ),  p_i = softmax_{j != i} cos(x_i, x_j)

    target, source: of each of K taps its maps of G_t and G_s at the same latents, [N, C_k, r_k, r_k]. which: [N], each
    sample's tap; without it sample i has the i-th. 0 where both are alike, and always where N is below 3.
    """
    if which is None:
        which = torch.arange(len(target), device=target[0].device)
    log_p, log_q = relations(source, which), relations(target, which)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()


def sample_taps(views: Views) -> tuple[list[str], Tensor]:
    """(taps, which of them is each sample's): any convolution but the 4x4 ones."""
    return views.compared.spread("dist.tap", convolutions(views.generator))


def generator_consistency(views: Views) -> Tensor:
    """L_dist at fresh unmixed latents, with the same noise in both generators."""
    taps, which = sample_taps(views)
    target, source = ([views.share.whole(one.taps[tap]) for tap in taps] for one in views.free_pair)
    return distance_consistency(target, source, which)


def terms(recipe: Recipe) -> list[Objective]:
    """The distance consistency, if the recipe gives it weight."""
    term = Objective(
        "dist",
        "G",
        generator_consistency,
        ("free_pair",),
        recipe.dist,
        taps=lambda views: tuple(sample_taps(views)[0]),
    )
    return [term] if term.weight else []
