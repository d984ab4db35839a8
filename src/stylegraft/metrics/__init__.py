"""Distances between sets of images; a full name says the encoder: `fid-vgg16`, `kid-effnet-lite0`."""

from __future__ import annotations

from stylegraft.encoders import ENCODERS
from stylegraft.errors import StylegraftError, nearest
from stylegraft.metrics.features import features
from stylegraft.metrics.frechet import fid
from stylegraft.metrics.kernel import KID, kid

__all__ = ["KID", "METRICS", "features", "fid", "kid", "split_name"]

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
