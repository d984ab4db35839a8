"""Domains: small files of deltas over a frozen base, the forms they take and the spaces they live in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.domains.apply import Adapted, w_avg_shift
    from stylegraft.domains.deltas import FORMS, Delta, FormSpec
    from stylegraft.domains.domain import Domain
    from stylegraft.domains.expression import find_space
    from stylegraft.domains.pruning import prune
    from stylegraft.domains.spaces import canonical, count, default_block, resolve, start
    from stylegraft.domains.table import SPACES, Space

__all__ = [
    "FORMS",
    "SPACES",
    "Adapted",
    "Delta",
    "Domain",
    "FormSpec",
    "Space",
    "canonical",
    "count",
    "default_block",
    "find_space",
    "prune",
    "resolve",
    "start",
    "w_avg_shift",
]

__getattr__ = lookup(
    __name__,
    {
        "apply": ("Adapted", "w_avg_shift"),
        "deltas": ("FORMS", "Delta", "FormSpec"),
        "domain": ("Domain",),
        "expression": ("find_space",),
        "pruning": ("prune",),
        "spaces": ("canonical", "count", "default_block", "resolve", "start"),
        "table": ("SPACES", "Space"),
    },
)
