"""The adversarial game of StyleGAN2: non-saturating logistic losses, lazy R1, lazy path length.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (appendix B for the lazy
terms); Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018 (R1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective, Views


def generator_logistic(views: Views) -> Tensor:
    """L_G = E softplus(-D(G(z)))."""
    return F.softplus(-views.logits(views.fake, "fake")).mean()


def discriminator_logistic(views: Views) -> Tensor:
    """L_D = E softplus(D(G(z))) + E softplus(-D(x)); real and fake pass D together, minibatch-std apart."""
    fake, real = views.real_fake_logits
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def r1(views: Views) -> Tensor:
    """R1 = 1/2 E ||d D(aug(x)) / d x||^2, with respect to the image before augmentation.

    A patch exit counts by the mean of its logits. Weight gamma.
    """
    real = views.real.detach().requires_grad_()
    logits = views.logits(real, "real")
    views.observe_real(logits)
    (gradient,) = torch.autograd.grad(logits.flatten(1).mean(1).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def path_length(views: Views) -> Tensor:
    """PL = E (|J y| - a)^2 with J = dG/dw, y ~ N(0, 1) / sqrt(HW), and a the running mean of |J y|, on half
    a batch.

    |J y|^2 is the mean over the rows of W+. a starts at the first step's mean, not at 0: a pretrained
    generator would spend a short run on shrinking its path lengths.
    """
    ws, images = views.paths
    shape, half = images.shape[1:], views.half
    y = views.keyed.fed(lambda draws: draws.samples("y", half).normal(*shape)) / images[0, 0].numel() ** 0.5
    (jacobian,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    lengths = jacobian.square().sum(2).mean(1).sqrt()
    return (lengths - views.running_path_mean(views.share.mean(lengths.mean()))).square().mean()


def terms(recipe: Recipe) -> list[Objective]:
    """The game itself, and its two lazy regularisers, as far as the recipe gives them weight."""
    if not recipe.adv:
        return []
    lazy = [
        Objective("r1", "D", r1, ("real",), recipe.r1_gamma, every=recipe.r1_every, lazy=True),
        Objective(
            "pl",
            "G",
            path_length,
            ("paths",),
            recipe.pl_weight,
            every=recipe.pl_every,
            lazy=True,
            in_order=True,
        ),
    ]
    return [
        Objective("adv", "D", discriminator_logistic, ("fake", "real", "real_fake_logits")),
        Objective("adv", "G", generator_logistic, ("fake",), recipe.adv),
        *(term for term in lazy if term.weight),
    ]
