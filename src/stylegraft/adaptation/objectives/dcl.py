"""Dual contrastive learning: keep what the source's diversity says, in the features of G and of D.

Zhao, Ding, Huang, Cheung, "A Closer Look at Few-shot Image Generation", CVPR 2022 (arXiv 2205.03805). The
training code was never published; this is our reading:

- CL1 has its positive in the denominator, so it is never below zero;
- one tap is drawn a step for G (any feature map but the 4x4 ones) and, independently, one for D (each map
once);
- CL1 reaches G only, CL2 reaches D only, and no source D is used;
- the anchors and the patch exit of CDC stay (`exits.py`, field `cdc` of the recipe).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.views import Objective, Views


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of a [N, ...] with every row of b [M, ...], on flattened features: [N, M]."""
    return F.normalize(a.flatten(1), dim=1) @ F.normalize(b.flatten(1), dim=1).T


def cl1(target: Tensor, source: Tensor, tau: float = 0.07) -> Tensor:
    """Generator contrast: sample i of the target must resemble its own source features, not the source's
    sample j.

    L = -1/N sum_i log( f(t_i, s_i) / sum_j f(t_i, s_j) ),  f(a, b) = exp(cos(a, b) / tau)

    target, source: [N, C, r, r], one tap of G_t and G_s at the same latents and noise. 0 where N is 1.
    """
    logits = cosines(target, source) / tau
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def cl2(target: Tensor, source: Tensor, real: Tensor, tau: float = 0.07) -> Tensor:
    """Discriminator contrast: in D's features an adapted image stays near its own source image, away from
    real ones.

    L = -1/N sum_i log( f(t_i, s_i) / ( f(t_i, s_i) + sum_j f(t_i, x_j) ) )

    target, source: [N, C, r, r], one tap of D on G_t(z_i) and G_s(z_i); real: [M, C, r, r], the same tap on
    training images. 0 where M is 0.
    """
    positive = cosines(target, source).diagonal()[:, None]
    logits = torch.cat((positive, cosines(target, real)), dim=1) / tau
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def generator_tap(views: Views) -> tuple[str, ...]:
    """The tap of this step's CL1: any convolution but the 4x4 ones, which hardly depend on z."""
    names = [name for name in views.generator.tap_names if ".conv" in name and not name.startswith("b4.")]
    return (views.keyed.choice("cl1.tap", names),)


def discriminator_tap(views: Views) -> tuple[str, ...]:
    """The tap of this step's CL2: any feature map of D."""
    return (views.keyed.choice("cl2.tap", views.discriminator.tap_names),)


def generator_contrast(views: Views) -> Tensor:
    """CL1 at fresh unmixed latents, with the same noise in both generators."""
    (tap,) = generator_tap(views)
    pair = views.free_pair
    return cl1(pair.target.taps[tap], pair.source.taps[tap], views.recipe.tau)


def discriminator_contrast(views: Views) -> Tensor:
    """CL2 on the images of a fresh pair and the step's real ones, as D sees them (augmented where D's
    inputs are).
    """
    (tap,) = discriminator_tap(views)
    return cl2(*views.discriminator_features(tap), views.recipe.tau)


def terms(recipe: Recipe) -> list[Objective]:
    """The two contrasts, as far as the recipe gives them weight."""
    both = [
        Objective("cl1", "G", generator_contrast, ("free_pair",), recipe.cl1, taps=generator_tap),
        Objective(
            "cl2", "D", discriminator_contrast, ("free_pair", "real", "discriminator_features"), recipe.cl2
        ),
    ]
    return [term for term in both if term.weight]
