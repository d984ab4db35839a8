"""Domains: small files of deltas over a frozen base, the forms they take and the spaces they live in."""

from __future__ import annotations

from stylegraft.domains.apply import Adapted, w_avg_shift
from stylegraft.domains.deltas import FORMS, Delta, FormSpec
from stylegraft.domains.domain import Domain
from stylegraft.domains.spaces import SPACES, Space, count, default_block, resolve, start

__all__ = [
    "FORMS",
    "SPACES",
    "Adapted",
    "Delta",
    "Domain",
    "FormSpec",
    "Space",
    "count",
    "default_block",
    "resolve",
    "start",
    "w_avg_shift",
]
