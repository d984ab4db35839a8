"""How a domain is learnt: the table of methods, their objectives, the one loop, the run folder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_API = {
    "adapt": "stylegraft.adaptation.run",
    "Run": "stylegraft.adaptation.run",
    "Recipe": "stylegraft.adaptation.recipes",
    "recipe": "stylegraft.adaptation.recipes",
}

__all__ = list(_API)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Look names up when first used: the table of recipes must not cost an import of torch."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_API[name]), name)
