"""Noise maps that are optimised with a code, and kept noise: Karras et al., CVPR 2020, appendix D.

Without a penalty they would learn the photo.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.networks.generator import Noise

SMALLEST = 8  # px: of the maps whose autocorrelation counts


def autocorrelation(noise: Noise) -> Tensor:
    """[B]: how much noise maps repeat themselves, summed over maps and their reductions by two, down to 8 px:
    (mean n roll_x(n))^2 + (mean n roll_y(n))^2 (Karras et al. 2020, eq. 8 of appendix D).
    """
    total: Any = 0.0
    for n in noise.values():
        while True:
            for side in (2, 3):
                total = total + (n * n.roll(1, side)).mean((1, 2, 3)).square()
            if n.shape[-1] <= SMALLEST:
                break
            n = F.avg_pool2d(n, 2) * 2  # of independent numbers: unit variance again
    return total


@torch.no_grad()
def normalise(noise: Noise) -> None:
    """Bring each map back to zero mean and unit variance, in place."""
    for n in noise.values():
        n -= n.mean((1, 2, 3), keepdim=True)
        n /= n.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-8)
