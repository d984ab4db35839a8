"""HyperDomainNet's in-domain angle consistency: images of a batch keep the angles they have in the source.

Alanov, Titov, Vetrov, "HyperDomainNet: Universal Domain Adaptation for Generative Adversarial Networks", NeurIPS 2022
(arXiv 2210.08884). Its domain modulation is the space `hdn`; the direction beside it is StyleGAN-NADA's (`nada`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views


def angles(target: Tensor, source: Tensor) -> Tensor:
    """L = 2 / (B (B - 1)) sum_{i > j} ( cos(s_i, s_j) - cos(t_i, t_j) )^2 of unit embeddings [B, D], B at least 2."""
    n = len(target)
    squares = (source @ source.T - target @ target.T).square()
    return torch.tril(squares, diagonal=-1).sum() * 2 / (n * (n - 1))


def kept_angles(views: Views) -> Tensor:
    """The angles in all guides, by their weights."""
    pairs = zip(views.weights, views.embedded, strict=True)
    return torch.stack([weight * angles(t, s) for weight, (t, s) in pairs]).sum()


def terms(recipe: Recipe) -> list[Objective]:
    """The angle consistency, if the recipe gives it weight."""
    term = Objective("indomain", "G", kept_angles, ("guided_pair", "embedded"), recipe.indomain)
    return [term] if term.weight else []
