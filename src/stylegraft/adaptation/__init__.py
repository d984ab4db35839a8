"""How a domain is learnt: the table of methods, their objectives, the one loop, the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.adaptation.recipes import Recipe, recipe
    from stylegraft.adaptation.run import Run, adapt

__all__ = ["Recipe", "Run", "adapt", "recipe"]

__getattr__ = lookup(__name__, {"recipes": ("Recipe", "recipe"), "run": ("Run", "adapt")})
