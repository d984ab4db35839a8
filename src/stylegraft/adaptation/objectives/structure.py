"""Structure loss: the coarse layout of an adapted image stays that of its source.

Back, "Fine-Tuning StyleGAN2 For Cartoon Face Generation", arXiv 2106.12445 (FreezeSG). The running image of a
skip generator at low resolution is layout and hardly anything else. Departure: both generators see the same
noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator


def structure(target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """L_structure = sum_r mean (rgb_r^t - rgb_r^s)^2 over the running images [B, 3, r, r] of some resolutions."""
    return torch.stack([F.mse_loss(t, s) for t, s in zip(target, source, strict=True)]).sum()


def lowest(levels: int) -> tuple[str, ...]:
    """The running images of the lowest resolutions: b4.rgb, b8.rgb, ..."""
    return tuple(f"b{4 << level}.rgb" for level in range(levels))


def check(generator: Generator, levels: int) -> None:
    """Refuse a generator without running images, or with fewer."""
    kind, there = (
        generator.config["architecture"],
        [tap for tap in generator.tap_names if tap.endswith(".rgb")],
    )
    if not there:
        raise StylegraftError(f"this {kind} generator has no running images; --set structure=0 goes without")
    if set(lowest(levels)) - set(there):
        raise StylegraftError(
            f"structure_levels={levels}: this {kind} generator has {len(there)} running images; expected at most that"
        )


def kept_structure(views: Views) -> Tensor:
    """L_structure at fresh unmixed latents, with the same random noise in both generators."""
    target, source = views.free_pair
    taps = lowest(views.recipe.structure_levels)
    return structure([target.taps[tap] for tap in taps], [source.taps[tap] for tap in taps])


def terms(recipe: Recipe) -> list[Objective]:
    """The structure loss, if the recipe gives it weight."""
    levels = recipe.structure_levels
    term = Objective(
        "structure",
        "G",
        kept_structure,
        ("free_pair",),
        recipe.structure,
        taps=lambda views: lowest(levels),
        check=lambda generator: check(generator, levels),
    )
    return [term] if term.weight else []
