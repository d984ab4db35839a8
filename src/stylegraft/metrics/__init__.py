"""Distances between sets of images, their realism, diversity and smoothness; a full name says the encoder: `fid-vgg16`,
`kid-effnet-lite0`, `p_target-effnet-lite0`, `intra-lpips-vgg`. docs/metrics.md says what each cannot see.
"""

from __future__ import annotations

from stylegraft.metrics.coverage import PRDC, prdc
from stylegraft.metrics.diversity import IntraDistance, intra_lpips
from stylegraft.metrics.extrapolation import fid_infinity
from stylegraft.metrics.features import features
from stylegraft.metrics.frechet import fid
from stylegraft.metrics.kernel import KID, kid
from stylegraft.metrics.realism import Probe, fit_probe

__all__ = [
    "KID", "PRDC", "IntraDistance", "Probe", "features", "fid", "fid_infinity", "fit_probe", "intra_lpips",
    "kid", "prdc",
]  # fmt: skip
