"""DiFa: one picture's style place by place, and of each face what the two domains have in common.

Zhang et al., "Towards Diverse and Faithful One-shot Adaption of Generative Adversarial Networks", NeurIPS 2022 (arXiv
2207.08736). Its global term is the `direction` of nada.py, from the mean of the source; here are

    attentive  max( mean_i min_j 1 - cos(t_i, r_j),  mean_j min_i 1 - cos(t_i, r_j) )
               over the tokens t of an adapted image and r of the reference (relaxed earth mover's distance)
    scc        mean | m (c_t - c_s) |
               over the codes c of a pair's images, m = 1 for the share of their numbers whose mean difference over the
               last `scc_window` steps is smallest; its weight rises from 0 at step `scc_window` to 1 at `scc_full`

Codes are those of the source's inversion encoder (the paper: e4e's), in deviations of w. A source without one gives a
stand-in of ours: the means of the channels of both generators' maps, of the layers that read those rows. Departure: the
window ends with the step before, so that micro-batches change nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.guidance import reduced
from stylegraft.adaptation.views import Objective, Views
from stylegraft.encoders.guides import tokens
from stylegraft.networks.generator import Generator


def relaxed_emd(a: Tensor, b: Tensor) -> Tensor:
    """Of tokens a [B, T, C], b [B, U, C], the mean over B: the larger of how far each a lies from its nearest b, and
    each b from its nearest a, in 1 - cos.
    """
    cost = 1 - F.normalize(a, dim=2) @ F.normalize(b, dim=2).transpose(1, 2)
    return torch.maximum(cost.min(2).values.mean(1), cost.min(1).values.mean(1)).mean()


def held(differences: Tensor, share: float) -> Tensor:
    """m [D]: 1 for the round(share D) numbers with the least |mean over steps|; differences: [steps, D]."""
    sizes = differences.mean(0).abs()
    mask = torch.zeros_like(sizes)
    mask[sizes.argsort(stable=True)[: round(share * len(sizes))]] = 1
    return mask


def agreement(target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """mean |m t - m s| over codes [B, D]."""
    return (mask * (target - source)).abs().mean()


def ramp(step: int, window: int, full: int) -> float:
    """0 up to step `window`, then linear, 1 from step `full` on."""
    return min(1.0, max(0.0, step - window) / max(1, full - window))


def attentive(views: Views) -> Tensor:
    """In all guides, by their weights."""
    image, side, guides = views.guided_pair.target.image, views.recipe.loss_resolution, views.state.guides
    return views.over_guides(
        lambda i: relaxed_emd(tokens(guides[i][0], reduced(image, side)), views.found("tokens", i))
    )


def maps(generator: Generator, rows: int) -> tuple[str, ...]:
    """Taps of the convolutions that read the first rows of W+."""
    names = [layer.name for layer in generator.layers if layer.row < rows and layer.kind != "torgb"]
    return tuple(name for name in names if name in generator.tap_names)


def code_taps(views: Views) -> tuple[str, ...]:
    """The taps that codes are made of; none where there is an encoder."""
    return () if views.state.coder else maps(views.generator, views.recipe.scc_rows)


def codes(views: Views) -> tuple[Tensor, Tensor]:
    """Of the pair's images, [B, D] each: the student's, the source's."""
    target, source = views.guided_pair
    coder = views.state.coder
    if coder is not None:
        with torch.no_grad():
            known = coder(source.image)
        return coder(target.image).flatten(1), known.flatten(1)
    taps = code_taps(views)
    return tuple(torch.cat([one.taps[tap].mean((2, 3)) for tap in taps], dim=1) for one in (target, source))  # pyright: ignore


def consistency(views: Views) -> Tensor:
    """L_scc by its weight of this step; remembers how the codes differ."""
    state, recipe = views.state, views.recipe
    target, source = codes(views)
    before = state.recall.get("scc")
    mask = torch.ones_like(target[0]) if before is None else held(before, recipe.scc_share)
    remember(views, views.share.mean((target - source).detach().mean(0)))
    strength = ramp(state.step - recipe.warmup, recipe.scc_window, recipe.scc_full)
    return strength * agreement(target, source, mask)


def remember(views: Views, difference: Tensor) -> None:
    """Enter this step's mean difference into the window once all parts of the batch have been seen."""
    state, (part, parts) = views.state, views.compared.part
    whole = difference / parts + (state.recall.pop("scc/part") if part else 0)
    if part + 1 < parts:
        state.recall["scc/part"] = whole
        return
    kept = state.recall.get("scc", whole.new_zeros(0, len(whole)))
    state.recall["scc"] = torch.cat((kept, whole[None]))[-views.recipe.scc_window :]


def terms(recipe: Recipe) -> list[Objective]:
    """Both terms, as far as the recipe gives them weight."""
    both = [
        Objective("attentive", "G", attentive, ("guided_pair",), recipe.attentive),
        Objective("scc", "G", consistency, ("guided_pair",), recipe.scc, taps=code_taps, in_order=True),
    ]
    return [term for term in both if term.weight]
