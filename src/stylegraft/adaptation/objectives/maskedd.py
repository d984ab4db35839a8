"""Masked discrimination: D judges by a random part of what it sees, and keeps the source's relations itself.

Zhu, Ma, Chen, Yuan, "Few-shot Image Generation via Masked Discrimination", arXiv 2210.15194. The masks are in
`exits.py` (field `mask`), CDC's anchors, exits and distance consistency of G stay, and D has a consistency of
its own, which is here.

Our reading, where only the abstract and the released settings were at hand: masked features keep their mean
size (over the share that is left), and the source's last layers go on judging them, where the authors start
new ones.
"""

from __future__ import annotations

from torch import Tensor

from stylegraft.adaptation.exits import patch_tap
from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives.cdc import distance_consistency
from stylegraft.adaptation.views import Objective, Views

TAPS = 4  # at 256 px: the two maps of 32 px and the two of 16 px that CDC's patch head may sit on


def sample_taps(views: Views) -> tuple[list[str], Tensor]:
    """(taps of D, which of them is each sample's): the patch exit's or one of the three after it."""
    names = views.discriminator.tap_names
    first = names.index(patch_tap(views.generator.resolution))
    return views.compared.spread("dist_d.tap", names[first : first + TAPS])


def discriminator_consistency(views: Views) -> Tensor:
    """L_Ddist = 1/N sum_i KL( p_i^s || p_i^t ),  p_i = softmax_{j != i} cos(x_i, x_j)

    x^t: features of D on G_t(z), x^s: of the source's D on G_s(z), augmented alike; not masked.
    """
    taps, which = sample_taps(views)
    target, source = (views.augmented(output.image, "pair") for output in views.free_pair)
    of_target, of_source = (
        [views.share.whole(maps) for (maps,) in found]
        for found in (
            views.discriminator_features(taps, target),
            views.discriminator_features(taps, source, source=True),
        )
    )
    return distance_consistency(of_target, of_source, which)


def terms(recipe: Recipe) -> list[Objective]:
    """D's consistency, if the recipe gives it weight."""
    needs = ("free_pair", "discriminator_features")
    term = Objective("dist", "D", discriminator_consistency, needs, recipe.dist_d)
    return [term] if term.weight else []
