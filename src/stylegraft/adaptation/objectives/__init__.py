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
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

PAPERS = (adversarial, feature_matching, dcl, cdc, rssa, maskedd, structure, weditgan, bsa, ewc)


def objectives(recipe: Recipe) -> list[Objective]:
    """Every term of a recipe, the adversarial game first; terms without weight are not there at all."""
    return [term for paper in PAPERS for term in paper.terms(recipe)]


def check(recipe: Recipe, generator: Generator) -> None:
    """Raise StylegraftError, by name, where a term needs what this generator does not have, or G has nothing to learn
    from.
    """
    terms = objectives(recipe)
    if not any(term.owner == "G" for term in terms):
        raise StylegraftError(
            "recipe field adv is 0 and no other term has weight, so that the generator has nothing to learn from: "
            "expected adv=1, or weight on another term"
        )
    for term in terms:
        term.check(generator)
