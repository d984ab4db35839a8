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


def relations(features: Tensor, i: int) -> Tensor:
    """log p_i = log softmax_{j != i} cos(x_i, x_j) of features x [N, C, r, r]: [N - 1]."""
    others = torch.cat((features[:i], features[i + 1 :]))
    return cosines(features[i : i + 1], others)[0].log_softmax(0)


def distance_consistency(target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """L_dist = 1/N sum_i KL( p_i^s || p_i^t ),  p_i = softmax_{j != i} cos(x_i, x_j)

    target, source: for each i of the N samples its tap of G_t and G_s at the same latents, [N, C_i, r_i, r_i].
    0 where both are alike, and always where N is below 3.
    """
    divergences = []
    for i, (t, s) in enumerate(zip(target, source, strict=True)):
        log_p, log_q = relations(s, i), relations(t, i)
        divergences.append((log_p.exp() * (log_p - log_q)).sum())
    return torch.stack(divergences).mean()


def sample_taps(views: Views) -> list[str]:
    """For each sample a tap of its own: any convolution but the 4x4 ones."""
    return views.compared.choices("dist.tap", convolutions(views.generator))


def generator_consistency(views: Views) -> Tensor:
    """L_dist at fresh unmixed latents, with the same noise in both generators."""
    names = sample_taps(views)
    taps = sorted(set(names))
    target, source = ({tap: views.share.whole(one.taps[tap]) for tap in taps} for one in views.free_pair)
    return distance_consistency([target[tap] for tap in names], [source[tap] for tap in names])


def terms(recipe: Recipe) -> list[Objective]:
    """The distance consistency, if the recipe gives it weight."""
    term = Objective(
        "dist",
        "G",
        generator_consistency,
        ("free_pair",),
        recipe.dist,
        taps=lambda views: tuple(sample_taps(views)),
    )
    return [term] if term.weight else []
