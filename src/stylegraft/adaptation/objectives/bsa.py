"""Batch statistics adaptation: no game; each training image has a latent of its own, at which G has to show it.

Noguchi and Harada, "Image Generation From Small Datasets via Batch Statistics Adaptation", ICCV 2019 (arXiv
1904.01774). Scales and shifts of channels are a space (`scale-shift`), and here is what they learn from:

    L = 1/N sum_i ( |G(z_i + e) - x_i| + sum_l |V_l(G(z_i + e)) - V_l(x_i)| ) + L_emd(z) + sum_t mean(d_t^2)

with z_i learnt, e ~ N(0, jitter^2), |.| the mean over pixels and channels, V_l the maps of VGG16's first ten
convolutions. Departures: the mapping normalises z, so latents are normalised before they are jittered or compared, and
begin at normal draws, as zero has no direction; L_emd is over all latents, not only those of the step; the training
images are not mirrored, since a mirrored one would need another latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.views import Objective, Views
from stylegraft.domains.deltas import FORMS
from stylegraft.encoders.protocol import resize
from stylegraft.encoders.vgg16 import LAYERS, VGG16Trunk, load_vgg16, normalise
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops

LATENTS = "shots|latent"  # their name among the learners of G
TAPS = tuple(layer[0] for layer in LAYERS if layer)[:10]  # conv1_1 to conv4_3, after the ReLU
SEES = 256  # px that VGG16 looks at, at most
DRAWS = 10  # Gaussian latents for each learnt one


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """sum_l mean |a_l - b_l|; a, b: maps [N, C_l, r_l, r_l], or one pair of images."""
    return torch.stack([(x - y).abs().mean() for x, y in zip(a, b, strict=True)]).sum()


def earth_mover(z: Tensor, draws: Tensor) -> Tensor:
    """mean_i min_k |z_i - r_k|^2 + mean_k min_i |z_i - r_k|^2: every latent lies near a draw, every draw near a latent.

    z [n, d] are learnt, r = draws [m, d]. It is not the earth mover's distance, whose name the code gives it.
    """
    squares = z.square().sum(1)[:, None] - 2 * z @ draws.T + draws.square().sum(1)
    return squares.min(1).values.mean() + squares.min(0).values.mean()


def size(tensors: Sequence[Tensor]) -> Tensor:
    """sum_t mean(d_t^2) over the tensors d_t."""
    return torch.stack([tensor.square().mean() for tensor in tensors]).sum()


def pixel_distance(views: Views) -> Tensor:
    """In pixels, in [-1, 1]."""
    made, wanted = views.fitted
    return distance([made], [wanted])


def vgg_distance(views: Views) -> Tensor:
    """In VGG16's maps, at no more than 256 px."""
    eye, side = views.state.eye, min(views.generator.resolution, SEES)
    assert eye is not None
    made, wanted = (normalise(resize(images, side)) for images in views.fitted)
    with torch.no_grad():
        maps = eye(wanted, TAPS)
    return distance(eye(made, TAPS), maps)


def latent_distance(views: Views) -> Tensor:
    """L_emd of all learnt latents, against draws of this step that all parts of the batch share."""
    latents = views.state.latents
    assert latents is not None
    (draws,) = views.keyed.shared("latents.draws").normal(DRAWS * len(latents), latents.shape[1])
    return earth_mover(ops.normalise(latents), ops.normalise(draws))


def adaptation_size(views: Views) -> Tensor:
    """Of the deltas' parts that start at zero: where these are zero, so is the delta."""
    parts = {
        id(leaf): leaf
        for terms in views.state.deltas.values()
        for term in terms
        for part, leaf in term.parts.items()
        if part not in FORMS[term.form].start
    }
    return size(list(parts.values()))


def first_latents(recipe: Recipe, count: int, z_dim: int, seed: int) -> Tensor | None:
    """Latents [count, z_dim] to start from, one an image; None where the recipe has no use for them."""
    if not recipe.reconstructs:
        return None
    return Draws([seed_of(seed, 0, "shots.latent", i) for i in range(count)]).normal(z_dim)


def load_eye(recipe: Recipe, device: str) -> VGG16Trunk | None:
    """VGG16, where the recipe looks through it; raises StylegraftError, with the command, where its weights are
    missing.
    """
    if not recipe.bsa_vgg:
        return None
    try:
        return load_vgg16(device=device).trunk
    except StylegraftError as error:
        raise StylegraftError(
            f"recipe field bsa_vgg looks through VGG16: {error}, or do without: --set bsa_vgg=0"
        ) from error


def terms(recipe: Recipe) -> list[Objective]:
    """The four terms, as far as the recipe gives them weight."""
    four = [
        Objective("pixel", "G", pixel_distance, ("fitted",), recipe.bsa_pixel),
        Objective("vgg", "G", vgg_distance, ("fitted",), recipe.bsa_vgg),
        Objective("emd", "G", latent_distance, (), recipe.bsa_emd),
        Objective("decay", "G", adaptation_size, (), recipe.bsa_decay),
    ]
    return [term for term in four if term.weight]
