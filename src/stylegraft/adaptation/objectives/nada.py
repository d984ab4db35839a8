"""StyleGAN-NADA: adapted images differ from the source's, in the space of an image-text encoder, as words differ.

Gal, Patashnik, Maron, Bermano, Chechik, Cohen-Or, "StyleGAN-NADA: CLIP-Guided Domain Adaptation of Image Generators",
SIGGRAPH 2022 (arXiv 2108.00946). With pictures in place of words the direction is that from the source's mean to theirs
(its image mode, and the global term of DiFa), or from a picture's own inverse to it (the across-domain term of Mind the
Gap). The paper's choice of layers is in `rows`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views

# Length of the difference of two unit embeddings below which it hardly has a direction. Every run starts at 0, where
# the slope of a cosine is infinite, and Adam's mean of squares would remember that for a thousand steps.
FLOOR = 0.05


def apart(a: Tensor, b: Tensor) -> Tensor:
    """1 - cos(a_i, b_i) of rows [B, D], the mean: a scalar. Where a row of a is shorter than `FLOOR` it is not
    lengthened to 1 but divided by that, so that the slope stays finite and 0 counts as 1.
    """
    a = a / torch.linalg.vector_norm(a, dim=1, keepdim=True).clamp_min(FLOOR)
    return 1 - (a * F.normalize(b, dim=1)).sum(1).mean()


def direction(target: Tensor, source: Tensor, wanted: Tensor) -> Tensor:
    """L = 1/B sum_i 1 - cos( E(t_i) - E(s_i), d_i )

    target, source: unit embeddings [B, D] of a pair's images; wanted: d [B or 1, D], any length.
    """
    return apart(target - source, wanted.expand_as(target))


def towards(views: Views) -> Tensor:
    """The direction in all guides, by their weights."""
    return views.over_guides(lambda i: direction(*views.embedded[i], views.found("direction", i)))


def nearness(views: Views) -> Tensor:
    """1 - cos( E(t_i), wanted ) in all guides, by their weights: the paper's global term."""
    return views.over_guides(lambda i: apart(views.embedded[i][0], views.found("wanted", i)))


def terms(recipe: Recipe) -> list[Objective]:
    """Both losses, as far as the recipe gives them weight."""
    both = [
        Objective("direction", "G", towards, ("guided_pair", "embedded"), recipe.direction),
        Objective("near", "G", nearness, ("guided_pair", "embedded"), recipe.near),
    ]
    return [term for term in both if term.weight]
