"""What a domain is for: one module an application; the command line and the studio call these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.applications.latents import Latents, of_seeds

__all__ = [
    "Latents",
    "of_seeds",
]

__getattr__ = lookup(
    __name__,
    {
        "latents": ("Latents", "of_seeds"),
    },
)
