"""Quality and diversity by cosines of embeddings, as StyleDomain measures them with CLIP.

Source: Alanov et al., "StyleDomain", ICCV 2023, arXiv:2212.10229, and HyperDomainNet, NeurIPS 2022:

    quality    mean of cos(E(x_i), target)           target: of a text, or of the training images
    diversity  mean over i > j of 1 - cos(E(x_i), E(x_j))

Any encoder gives both, and the names carry it; only with the same CLIP do they compare to published numbers. Quality by
the training images rewards their copies: read it beside diversity and memorisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.errors import StylegraftError
from stylegraft.metrics.frechet import check


@dataclass(frozen=True)
class Similarity:
    """Quality, -1 to 1, and diversity, 0 to 2, of `count` images in features of `encoder`."""

    encoder: str
    quality: float
    diversity: float
    count: int


def similarity(features: Tensor, target: Tensor, *, encoder: str = "features") -> Similarity:
    """Both of features [N, D] of generated images, with N of at least 2, against the target's [D] or [T, D].

    Of several rows (templates of a text, training images) the mean of their directions counts.
    Raises StylegraftError for wrong shapes and values that are not finite.
    """
    units = F.normalize(check(features, "similarity, generated images"), dim=1)
    rows = target.double().reshape(-1, target.shape[-1])
    if rows.shape[1] != units.shape[1] or not len(rows) or not torch.isfinite(rows).all():
        raise StylegraftError(
            f"similarity: a target {list(target.shape)} for features {list(features.shape)}; expected finite rows of as"
            " many numbers"
        )
    centre = F.normalize(F.normalize(rows, dim=1).mean(0), dim=0)
    count = len(units)
    # sum over all i, j of u_i . u_j is |sum u|^2, of which the N on the diagonal are 1
    cosine = (units.sum(0).square().sum() - units.square().sum()) / (count * (count - 1))
    return Similarity(encoder, float((units @ centre).mean()), float(1 - cosine), count)
