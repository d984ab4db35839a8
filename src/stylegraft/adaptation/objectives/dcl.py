"""Dual contrastive learning: keep what the source's diversity says, in the features of G and of D.

Zhao, Ding, Huang, Cheung, "A Closer Look at Few-shot Image Generation", CVPR 2022 (arXiv 2205.03805). The
training code was never published; what the paper leaves open is a field of the recipe, whose default is our
reading:

- `cl1_positive`: CL1 has its positive in the denominator, so it is never below zero;
- `cl_taps`: one tap is drawn a step for G (any convolution but the 4x4 ones) and, independently, one for D
  (each map once);
- `cl_latents`: the contrasts look at free latents;
- `cl2_negatives`: CL2 pushes away from the real images of the step;
- `cl2_to_g`: CL1 reaches G only, CL2 reaches D only; no source D is used;
- `cdc`: the anchors and the patch exit of CDC stay (`exits.py`).

WeditGAN's contrast (Duan et al., AAAI 2024) is `cl_taps=each`, `cl2_negatives=source`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives.features import convolutions, cosines, last_of_each
from stylegraft.adaptation.views import Objective, Pair, Views


def cl1(target: Tensor, source: Tensor, tau: float = 0.07, positive: bool = True) -> Tensor:
    """Generator contrast: sample i of the target must resemble its own source features, not the source's
    sample j.

    L = -1/N sum_i log( f(t_i, s_i) / sum_j f(t_i, s_j) ),  f(a, b) = exp(cos(a, b) / tau)

    target, source: [N, C, r, r], one tap of G_t and G_s at the same latents and noise. 0 where N is 1. Without
    `positive`, j = i is left out of the sum, and N is at least 2.
    """
    logits = cosines(target, source) / tau
    if positive:
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf)
    return (others.logsumexp(1) - logits.diagonal()).mean()


def cl2(target: Tensor, source: Tensor, negatives: Tensor, tau: float = 0.07) -> Tensor:
    """Discriminator contrast: in D's features an adapted image stays near its own source image, away from
    real ones.

    L = -1/N sum_i log( f(t_i, s_i) / ( f(t_i, s_i) + sum_j f(t_i, x_j) ) )

    target, source: [N, C, r, r], one tap of D on G_t(z_i) and G_s(z_i); negatives: [M, C, r, r], the same tap
    on training images. 0 where M is 0. With other source images as x_j (j != i) it is `cl1`.
    """
    positive = cosines(target, source).diagonal()[:, None]
    logits = torch.cat((positive, cosines(target, negatives)), dim=1) / tau
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def generator_taps(views: Views) -> tuple[str, ...]:
    """The taps of this step's CL1: one convolution but the 4x4 ones, or the last of each block."""
    names = convolutions(views.generator)
    if views.recipe.cl_taps == "each":
        return tuple(last_of_each(names))
    return (views.keyed.choice("cl1.tap", names),)


def discriminator_taps(views: Views) -> tuple[str, ...]:
    """The taps of this step's CL2: one feature map of D, or the last of each block."""
    names = views.discriminator.tap_names
    if views.recipe.cl_taps == "each":
        return tuple(last_of_each(names))
    return (views.keyed.choice("cl2.tap", names),)


PAIRS: dict[str, str] = {"free": "free_pair", "anchors": "anchor_pair"}  # cl_latents -> view
NEGATIVES: dict[str, tuple[tuple[str, ...], Callable[[Views], tuple[Tensor, ...]]]] = {
    # cl2_negatives -> the view it needs, and the images as D sees them
    "real": (("real",), lambda views: (views.augmented(views.real, "real"),)),
    "shots": (("shots",), lambda views: (views.augmented(views.shots, "shots", whole=True),)),
    "source": ((), lambda views: ()),
}


def generator_contrast(views: Views) -> Tensor:
    """CL1 at fresh unmixed latents, with the same noise in both generators; summed over the taps."""
    recipe, pair, whole = views.recipe, _pair(views), views.share.whole
    losses = [
        cl1(whole(pair.target.taps[tap]), whole(pair.source.taps[tap]), recipe.tau, recipe.cl1_positive)
        for tap in generator_taps(views)
    ]
    return torch.stack(losses).sum()


def discriminator_contrast(views: Views) -> Tensor:
    """CL2 on the images of a fresh pair and its negatives, as D sees them (augmented where D's inputs are); summed
    over the taps.

    A pair is augmented alike, so that nothing but the domain tells its two images apart.
    """
    recipe, pair, whole = views.recipe, _pair(views), views.share.whole
    _, negatives = NEGATIVES[recipe.cl2_negatives]
    spread = recipe.cl2_negatives == "real"  # all shots are in every process
    images = [views.augmented(output.image, "pair") for output in pair]
    losses = [
        (cl2 if others else cl1)(
            whole(target), whole(source), *(whole(one) if spread else one for one in others), tau=recipe.tau
        )
        for target, source, *others in views.discriminator_features(
            discriminator_taps(views), *images, *negatives(views)
        )
    ]
    return torch.stack(losses).sum()


def _pair(views: Views) -> Pair:
    return getattr(views, PAIRS[views.recipe.cl_latents])


def terms(recipe: Recipe) -> list[Objective]:
    """The two contrasts, as far as the recipe gives them weight."""
    pair = PAIRS[recipe.cl_latents]
    needs = (pair, *NEGATIVES[recipe.cl2_negatives][0], "discriminator_features")
    both = [
        Objective("cl1", "G", generator_contrast, (pair,), recipe.cl1, taps=generator_taps),
        Objective("cl2", "D", discriminator_contrast, needs, recipe.cl2),
    ]
    if recipe.cl2_to_g:
        both.append(Objective("cl2", "G", discriminator_contrast, needs, recipe.cl2))
    return [term for term in both if term.weight]
