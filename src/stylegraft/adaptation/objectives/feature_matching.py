"""Fix the Noise: match the source's features, but only where the noise is the anchor.

Lee, Lee, Kim, Choi, Yoo, Kim, "Fix the Noise: Disentangling Source Feature for Controllable Domain
Translation", CVPR 2023 (arXiv 2303.11545). The anchor
is the set of constant noise maps that the layers of the source own. With any other noise the generator only
has to please the discriminator, so at test time the noise decides how much of the source is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.views import Objective, Views
from stylegraft.networks.generator import Generator

# noise_effect below which FixNoise has nothing to hold on to. Noise of a strength of 1/200 of a map's RMS accounts
# for 1/40,000 of its power: anchor noise and any other then give the same features, and no image is free of L_fm.
DEAD_NOISE = 0.005


def feature_matching(target: Sequence[Tensor], source: Sequence[Tensor]) -> Tensor:
    """L_fm = mean_z 1/L sum_l mean_hw sum_c (t_l - s_l)^2 for L pairs of feature maps [B, C_l, r_l, r_l]."""
    distances = [
        (t.float() - s.float()).square().sum(1).mean((1, 2)) for t, s in zip(target, source, strict=True)
    ]
    return torch.stack(distances).mean(0).mean()


def block_taps(views: Views) -> tuple[str, ...]:
    """The last convolution of every block, after noise and activation; toRGB takes no part."""
    return tuple(name for name in views.generator.tap_names if name.endswith(".conv1"))


def anchored_matching(views: Views) -> Tensor:
    """L_fm at the adversarial term's latents, unmixed, with anchor noise; the student's own mapping takes
    part.
    """
    target, source = views.anchored_pair
    names = block_taps(views)
    return feature_matching([target.taps[name] for name in names], [source.taps[name] for name in names])


def terms(recipe: Recipe) -> list[Objective]:
    """The feature matching term, if the recipe gives it weight."""
    term = Objective("fm", "G", anchored_matching, ("anchored_pair",), recipe.fm, taps=block_taps)
    return [term] if term.weight else []


@torch.no_grad()
def noise_effect(generator: Generator, samples: int = 4) -> float:
    """Noise strength over the RMS of the layer's feature map, in the layer where that is largest; noise maps
    have an RMS of 1.
    """
    device = next(generator.parameters()).device
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    taps = generator(z, taps=tuple(generator.noise_shapes)).taps
    strengths = {name: generator.get_parameter(f"synthesis.{name}.noise_strength") for name in taps}
    return max(float(strengths[name].abs() / x.square().mean().sqrt()) for name, x in taps.items())
