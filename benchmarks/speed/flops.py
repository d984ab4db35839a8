"""Useful operations of each phase, from formulas: direct convolutions and matrix products, a multiply-add is 2.

Up-sampling convolutions count as the transposed form, 9 Ci Co an input pixel. FIR filters, pointwise work and what a
contender does beyond the mathematics count as nothing: the share of the roof is of useful work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textbook import widths


def generator(config: Mapping[str, Any]) -> float:
    """GFLOP of one image's forward pass."""
    c, w_dim = widths(config), 512
    total = 8 * w_dim * w_dim
    for r, width in c.items():
        total += 9 * width * width * r * r + width * w_dim  # conv1
        if r > 4:
            total += 9 * c[r // 2] * width * (r // 2) ** 2 + c[r // 2] * w_dim  # conv0
        total += 3 * width * r * r + width * w_dim  # torgb
    return 2 * total / 1e9


def discriminator(config: Mapping[str, Any]) -> float:
    """GFLOP of one image's forward pass, residual architecture."""
    c = widths(config)
    top = max(c)
    total = 3 * c[top] * top * top + 9 * (c[4] + 1) * c[4] * 16 + 16 * c[4] * c[4] + c[4]
    for r in c:
        if r > 4:
            total += 9 * c[r] * c[r] * r * r + (9 + 1) * c[r] * c[r // 2] * (r // 2) ** 2
    return 2 * total / 1e9


def phases(config: Mapping[str, Any], batch: int, space: str) -> dict[str, float]:
    """GFLOP of a batch in each phase, with g and d those of one image.

    G: forward, gradient of maps, gradient of weights; style vectors alone need no gradient of kernels. R1: forward,
    backward, both again for the second order, and 2 d more only because minibatch-std is not linear.
    """
    g, d = generator(config), discriminator(config)
    own = {"stylespace": 2}.get(space, 3)
    found = {
        "infer": g * batch,
        "G": (own * g + 2 * d) * batch,
        "D": (g + 6 * d) * batch,
        "R1": 6 * d * batch,
        "PL": 2 * own * g * max(1, batch // 2),
    }
    found["iteration"] = found["G"] + found["D"] + found["PL"] / 4 + found["R1"] / 16
    return found
