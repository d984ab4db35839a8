"""Distances between sets of images, their realism, diversity and smoothness; a full name says the encoder: `fid-vgg16`,
`kid-effnet-lite0`, `p_target-effnet-lite0`, `intra-lpips-vgg`. docs/metrics.md says what each cannot see.
"""

from __future__ import annotations

from stylegraft.encoders import ENCODERS
from stylegraft.errors import StylegraftError, nearest
from stylegraft.metrics.coverage import PRDC, prdc
from stylegraft.metrics.diversity import IntraDistance, intra_lpips
from stylegraft.metrics.extrapolation import fid_infinity
from stylegraft.metrics.features import features
from stylegraft.metrics.frechet import fid
from stylegraft.metrics.kernel import KID, kid
from stylegraft.metrics.realism import Probe, fit_probe

__all__ = [
    "KID", "METRICS", "PRDC", "IntraDistance", "Probe", "features", "fid", "fid_infinity", "fit_probe", "intra_lpips",
    "kid", "prdc", "split_name",
]  # fmt: skip

METRICS = {"fid": fid, "kid": kid}


def split_name(name: str) -> tuple[str, str]:
    """`kid-effnet-lite0` -> (`kid`, `effnet-lite0`); raises StylegraftError for a name that is not
    metric-encoder.
    """
    names = [f"{metric}-{encoder}" for metric in METRICS for encoder in ENCODERS]
    if name not in names:
        raise StylegraftError(
            f"metric {name!r} is unknown; there are: {', '.join(names)}{nearest(name, names)}"
        )
    metric, _, encoder = name.partition("-")
    return metric, encoder
