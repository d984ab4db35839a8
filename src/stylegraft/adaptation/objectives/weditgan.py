"""WeditGAN: a domain is an offset in W+, held perpendicular to what varies in the source.

Duan, Niu, Hong, Zhang, "WeditGAN: Few-Shot Image Generation via Latent Space Relocation", AAAI 2024 (arXiv
2305.06671). The offset itself is a space; here is its optional regulariser. The contrast that the paper tries
as another is `dcl` with its fields.
"""

from __future__ import annotations

from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views


def perpendicular(offsets: Tensor, ws: Tensor) -> Tensor:
    """L_perp = E_i sum_k <w_ik - w_jk, d_k>^2,  j = i + 1 around the batch

    offsets: d [B, K, w_dim] or [K, w_dim], what the domain adds to the row that each of the K layers reads; ws: the
    source's own rows [B, K, w_dim], B at least 2.
    """
    return ((ws - ws.roll(-1, 0)) * offsets).sum(2).square().sum(1).mean()


def kept_directions(views: Views) -> Tensor:
    """L_perp at the adversarial term's latents, unmixed; in a space that moves no row it says nothing."""
    student, source = views.rows
    return perpendicular(views.share.whole(student - source), views.share.whole(source))


def terms(recipe: Recipe) -> list[Objective]:
    """The regulariser, if the recipe gives it weight."""
    term = Objective("perp", "G", kept_directions, ("rows",), recipe.perp)
    return [term] if term.weight else []
