"""HyperDomainNet's in-domain angle consistency: images of a batch keep the angles they have in the source.

Alanov, Titov, Vetrov, "HyperDomainNet: Universal Domain Adaptation for Generative Adversarial Networks", NeurIPS 2022
(arXiv 2210.08884). Its domain modulation is the space `hdn`; the direction beside it is StyleGAN-NADA's (`nada`). Where
its hypernetwork learns several domains a step, the direction between these is a term of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives.nada import apart
from stylegraft.adaptation.views import Objective, Views


def angles(target: Tensor, source: Tensor) -> Tensor:
    """L = 2 / (B (B - 1)) sum_{i > j} ( cos(s_i, s_j) - cos(t_i, t_j) )^2 of unit embeddings [B, D], B at least 2."""
    n = len(target)
    squares = (source @ source.T - target @ target.T).square()
    return torch.tril(squares, diagonal=-1).sum() * 2 / (n * (n - 1))


def kept_angles(views: Views) -> Tensor:
    """The angles in all guides, by their weights; of several domains each by itself, the mean."""
    domains = len(views.students)

    def kept(i: int) -> Tensor:
        target, source = (map(views.share.whole, one.chunk(domains)) for one in views.embedded[i])
        return torch.stack([angles(t, s) for t, s in zip(target, source, strict=True)]).mean()

    return views.over_guides(kept)


def between(target: Tensor, wanted: Tensor) -> Tensor:
    """L = 2 / (K (K - 1)) sum_{a > b} 1/B sum_i 1 - cos( t_ai - t_bi, d_a - d_b )

    target: unit embeddings [K, B, D] of the same latents in K domains; wanted: what these ask for [K, D], K at least 2.
    """
    first, second = torch.triu_indices(len(target), len(target), 1)
    apart_by = (wanted[first] - wanted[second])[:, None].expand(-1, target.shape[1], -1)
    return apart((target[first] - target[second]).flatten(0, 1), apart_by.flatten(0, 1))


def told_apart(views: Views) -> Tensor:
    """The direction between domains in all guides, by their weights."""
    domains = len(views.students)
    return views.over_guides(
        lambda i: between(views.embedded[i][0].unflatten(0, (domains, -1)), views.asked[f"wanted/{i}"])
    )


def terms(recipe: Recipe) -> list[Objective]:
    """Both, as far as the recipe gives them weight; the second where there are several domains."""
    weight = recipe.tt_direction if recipe.domains else 0.0
    both = [
        Objective("indomain", "G", kept_angles, ("guided_pair", "embedded"), recipe.indomain),
        Objective("tt_direction", "G", told_apart, ("guided_pair", "embedded"), weight),
    ]
    return [term for term in both if term.weight]
