"""What an adaptation is asked to do: one file a paper, each giving the terms a recipe puts weight on."""

from __future__ import annotations

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.objectives import (
    adversarial,
    bsa,
    cdc,
    dcl,
    ewc,
    feature_matching,
    maskedd,
    rssa,
    structure,
    weditgan,
)
from stylegraft.adaptation.views import Objective
from stylegraft.networks.generator import Generator

PAPERS = (adversarial, feature_matching, dcl, cdc, rssa, maskedd, structure, weditgan, bsa, ewc)


def objectives(recipe: Recipe) -> list[Objective]:
    """Every term of a recipe, the adversarial game first; terms without weight are not there at all."""
    return [term for paper in PAPERS for term in paper.terms(recipe)]


def check(recipe: Recipe, generator: Generator) -> None:
    """Raise StylegraftError, by name, where a term needs what this generator does not have."""
    for term in objectives(recipe):
        term.check(generator)
