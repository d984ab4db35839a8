"""JoJoGAN: every face that shares the coarse rows of a reference's code is made to look like the reference.

Chong and Forsyth, "JoJoGAN: One Shot Face Stylization", ECCV 2022 (arXiv 2112.11641). The reference is inverted; the
finer rows of its code are replaced by random ones, which gives many pairs of a code and one picture; images of these
codes are compared with the picture in the source's discriminator, which is frozen:

    L = mean over maps l of  mean |D_l(G_t(mix(w_ref, w))) - D_l(I_ref)|

D_l: of the blocks that read R, R/4, R/8 and R/16 px (1024: 512, 128, 64 and 32 px after them), those above 4 px.
Departure: maps are taken at the second convolution of a block, before its residual is added, where this discriminator
has a tap.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views
from stylegraft.networks.discriminator import Discriminator

BLOCKS = (1, 4, 8, 16)  # the resolution of the image over that of the block


def features_distance(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """The mean over maps l of mean |a_l - b_l|; made, wanted: [B, C_l, r_l, r_l] each."""
    return torch.stack([(a - b).abs().mean() for a, b in zip(made, wanted, strict=True)]).mean()


def taps(discriminator: Discriminator) -> tuple[str, ...]:
    """The maps that are compared."""
    names = (f"b{discriminator.resolution // part}.conv1" for part in BLOCKS)
    return tuple(name for name in names if name in discriminator.tap_names)


def stylised(views: Views) -> Tensor:
    """L of this step's mixtures."""
    made, wanted = views.mixture
    judge = views.state.source_discriminator
    assert isinstance(judge, Discriminator)
    names = taps(judge)
    with torch.no_grad():
        theirs = views.discriminator_features(names, wanted, source=True)
    ours = views.discriminator_features(names, made, source=True)
    return features_distance([maps[0] for maps in ours], [maps[0] for maps in theirs])


def terms(recipe: Recipe) -> list[Objective]:
    """The distance, if the recipe gives it weight."""
    term = Objective("jojo", "G", stylised, ("mixture", "discriminator_features"), recipe.jojo)
    return [term] if term.weight else []
