"""Staying near the source in weight space: L2-SP, and elastic weight consolidation.

Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018 (L2-SP);
Li, Zhang, Lu, Shechtman, "Few-shot Image Generation with Elastic Weight Consolidation", NeurIPS 2020. The authors' code
was never published. Distances are of effective parameters in stored units, whatever the form of the deltas, so the
penalties mean the same in every space.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.views import Objective, Views


def elastic(
    drift: Mapping[str, Tensor], fisher: Mapping[str, Tensor] | None = None, reference: float = 0.0
) -> Tensor:
    """P = sum_i F_i d_i^2 over all numbers i (F = 1 without `fisher`); with a reference drift r, P / (r^2 sum_i F_i).

    drift: {parameter: theta - theta_source}. In the second form P is 1 where every number has moved by r, so that a
    weight means the same for every network. Fisher information is above 0; where all of it is 0, so is P.
    """
    total = torch.stack(
        [_weighted(d.square(), None if fisher is None else fisher[name]) for name, d in drift.items()]
    ).sum()
    if not reference:
        return total
    mass = torch.stack(
        [total.new_full((), d.numel()) if fisher is None else fisher[name].sum() for name, d in drift.items()]
    ).sum()
    return total / (reference**2 * mass).clamp(min=torch.finfo(total.dtype).tiny)


def _weighted(squares: Tensor, fisher: Tensor | None) -> Tensor:
    return squares.sum() if fisher is None else (fisher * squares).sum()


def l2sp(views: Views) -> Tensor:
    """Squared distance to the source."""
    return elastic(views.drift, None, views.recipe.drift)


def ewc(views: Views) -> Tensor:
    """The same, weighted by the Fisher information of the source, estimated before the first step (`stages.enter`)."""
    return elastic(views.drift, views.state.fisher, views.recipe.drift)


def terms(recipe: Recipe) -> list[Objective]:
    """The two penalties, as far as the recipe gives them weight."""
    both = [
        Objective("l2sp", "G", l2sp, ("drift",), recipe.l2sp),
        Objective("ewc", "G", ewc, ("drift",), recipe.ewc),
    ]
    return [term for term in both if term.weight]
