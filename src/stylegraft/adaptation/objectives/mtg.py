"""Mind the Gap: one picture, and its own inverse in the source, between which the gap of the two domains is seen.

Zhu, Abdal, Femiani, Wonka, "Mind the Gap: Domain Gap Control for Single Shot Domain Adaptation for Generative
Adversarial Networks", ICLR 2022 (arXiv 2110.08398). I_B is the picture, I_A = G_s(w_ref) its inverse:

    across    1 - cos( E(G_t(w)) - E(G_s(w)), E(I_B) - E(I_A) )        `direction`, in nada.py
    within    1 - cos( E(G_t(w)) - E(I_B),    E(G_s(w)) - E(I_A) )
    reference 1 - cos( E(G_t(w_ref)), E(I_B) ), |G_t(w_ref) - I_B|^2, LPIPS(G_t(w_ref), I_B)

With several pictures each sample of a step is given one, in turn. Departures: the inverse is found by our own descent
in W+ (`inversion`) and not by II2S; pixels and LPIPS look at no more than 256 px, reduced by averaging.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.guidance import embed
from stylegraft.adaptation.inversion.descent import SEEN_MOST, seen
from stylegraft.adaptation.objectives.nada import apart
from stylegraft.adaptation.views import Objective, Views
from stylegraft.encoders.lpips import distance


def within(target: Tensor, source: Tensor, reference: Tensor, inverse: Tensor) -> Tensor:
    """L = 1/B sum_i 1 - cos( t_i - E(I_B), s_i - E(I_A) ) of unit embeddings [B, D]."""
    return apart(target - reference, source - inverse)


def kept_within(views: Views) -> Tensor:
    """How images lie around the reference, in all guides, by their weights."""
    return views.over_guides(
        lambda i: within(*views.embedded[i], views.found("wanted", i), views.found("inverse", i))
    )


def shown(views: Views) -> Tensor:
    """The reference at its own code, in all guides, by their weights."""
    (image, which), state, side = views.referred, views.state, views.recipe.loss_resolution
    return views.over_guides(
        lambda i: apart(embed(state.guides[i][0], image, side), state.found[f"wanted/{i}"][which])
    )


def shown_pixels(views: Views) -> Tensor:
    """The same in squared pixels, of values from -1 to 1."""
    image, which = views.referred
    return F.mse_loss(_small(image), _small(views.state.images[which]))


def shown_lpips(views: Views) -> Tensor:
    """The same in LPIPS."""
    image, which = views.referred
    look = views.state.perceptual
    assert look is not None
    with torch.no_grad():
        wanted = look.embed(seen(views.state.images[which]))
    return distance(look.embed(seen(image)), wanted).mean()


def _small(images: Tensor) -> Tensor:
    return seen(images) if images.shape[-1] > SEEN_MOST else images


def terms(recipe: Recipe) -> list[Objective]:
    """Its terms but the first, as far as the recipe gives them weight."""
    four = [
        Objective("within", "G", kept_within, ("guided_pair", "embedded"), recipe.within),
        Objective("ref_clip", "G", shown, ("referred",), recipe.ref_clip),
        Objective("ref_l2", "G", shown_pixels, ("referred",), recipe.ref_l2),
        Objective("ref_lpips", "G", shown_lpips, ("referred",), recipe.ref_lpips),
    ]
    return [term for term in four if term.weight]
