"""Fix the Noise: match the source's features, but only where the noise is the anchor.

Lee, Lee, Kim, Choi, Yoo, Kim, "Fix the Noise: Disentangling Source Feature for Controllable Domain
Translation", CVPR 2023 (arXiv 2303.11545). The anchor
is the set of constant noise maps that the layers of the source own. With any other noise the generator only
has to please the discriminator, so at test time the noise decides how much of the source is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe, resolutions
from stylegraft.adaptation.objectives.features import resolution
from stylegraft.adaptation.views import Objective, Views
from stylegraft.errors import StylegraftError
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


def block_taps(recipe: Recipe, generator: Generator) -> tuple[str, ...]:
    """The last convolution of every block of `fm_layers`, after noise and activation; toRGB takes no part."""
    return _within(recipe, [name for name in generator.tap_names if name.endswith(".conv1")])


def rgb_taps(recipe: Recipe, generator: Generator) -> tuple[str, ...]:
    """The running image after every block of `fm_layers`."""
    blocks = [name.partition(".")[0] for name in generator.tap_names if name.endswith(".conv1")]
    return _within(recipe, [f"{block}.rgb" for block in blocks])


def _within(recipe: Recipe, names: Sequence[str]) -> tuple[str, ...]:
    low, high = resolutions(recipe.fm_layers)
    return tuple(name for name in names if low <= resolution(name) <= high)


# fm_match -> the taps it looks at, and whether it looks at the final image too.
MATCHES: dict[str, tuple[tuple[Callable[[Recipe, Generator], tuple[str, ...]], ...], bool]] = {
    "feature": ((block_taps,), False),
    "rgb": ((rgb_taps,), False),
    "image": ((), True),
    "all": ((block_taps, rgb_taps), True),
}


def matched_taps(recipe: Recipe, generator: Generator) -> tuple[str, ...]:
    """Every tap that the recipe's matching looks at."""
    families, _ = MATCHES[recipe.fm_match]
    return tuple(name for family in families for name in family(recipe, generator))


def check(recipe: Recipe, generator: Generator) -> None:
    """Refuse a generator without the running images, or without a block of these resolutions, by name."""
    if set(matched_taps(recipe, generator)) - set(generator.tap_names):
        raise StylegraftError(
            f"fm_match={recipe.fm_match}: this {generator.config['architecture']} generator has no running images; "
            "expected fm_match=feature, or image"
        )
    if MATCHES[recipe.fm_match][0] and not matched_taps(recipe, generator):
        blocks = ", ".join(name for name in generator.tap_names if name.endswith(".conv1"))
        raise StylegraftError(f"fm_layers={recipe.fm_layers}: no block of this generator; it has {blocks}")


def anchored_matching(views: Views) -> Tensor:
    """L_fm at the adversarial term's latents, unmixed, with anchor noise; the student's own mapping takes
    part.
    """
    maps = [
        [output.taps[name] for name in matched_taps(views.recipe, views.generator)]
        for output in views.anchored_pair
    ]
    if MATCHES[views.recipe.fm_match][1]:
        maps = [[*one, output.image] for one, output in zip(maps, views.anchored_pair, strict=True)]
    target, source = maps
    return feature_matching(target, source)


def terms(recipe: Recipe) -> list[Objective]:
    """The feature matching term, if the recipe gives it weight."""
    term = Objective(
        "fm",
        "G",
        anchored_matching,
        ("anchored_pair",),
        recipe.fm,
        taps=lambda views: matched_taps(recipe, views.generator),
        check=lambda generator: check(recipe, generator),
    )
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
