"""What an adaptation is asked to do: one file a paper, each giving the terms a recipe puts weight on."""

from __future__ import annotations

from stylegraft.adaptation.objectives import adversarial, dcl, feature_matching
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.views import Objective

PAPERS = (adversarial, feature_matching, dcl)


def objectives(recipe: Recipe) -> list[Objective]:
    """Every term of a recipe, the adversarial game first; terms without weight are not there at all."""
    return [term for paper in PAPERS for term in paper.terms(recipe)]
