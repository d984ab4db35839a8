"""What an adaptation is asked to do: one file a paper, each giving the terms a recipe puts weight on.

A file here that has a function `terms` takes part; nothing lists them.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.views import Objective
from stylegraft.networks.generator import Generator

FILES = sorted(
    (module.name for module in iter_modules(__path__)), key=lambda name: (name != "adversarial", name)
)
PAPERS = [paper for name in FILES if hasattr(paper := import_module(f"{__name__}.{name}"), "terms")]


def objectives(recipe: Recipe) -> list[Objective]:
    """Every term of a recipe, the adversarial game first; terms without weight are not there at all."""
    return [term for paper in PAPERS for term in paper.terms(recipe)]


def check(recipe: Recipe, generator: Generator) -> None:
    """Raise StylegraftError, by name, where a term needs what this generator does not have."""
    for term in objectives(recipe):
        term.check(generator)
