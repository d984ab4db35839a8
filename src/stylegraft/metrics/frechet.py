"""Fréchet distance of two feature sets as Gaussians: FID (Heusel et al., NeurIPS 2017, arXiv:1706.08500).

    d^2 = |m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))          (equation 6)

With any square roots C = R^T R the last trace is the sum of the singular values of R_a R_b^T, so no matrix
root is taken, few samples in many dimensions are no special case, and equal sets give zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and a square root [r, D] of the covariance (root^T root), float64."""

    mean: Tensor
    root: Tensor


def check(features: Tensor, name: str) -> Tensor:
    """Features as float64 [N, D]; raises StylegraftError for other shapes, N < 2, or values not finite."""
    if features.ndim != 2 or features.shape[0] < 2:
        raise StylegraftError(
            f"{name}: features of shape {list(features.shape)}, expected [N, D] with N of at least 2 images"
        )
    features = features.double()
    if not torch.isfinite(features).all():
        raise StylegraftError(f"{name}: features hold values that are not finite")
    return features


def gaussian(features: Tensor) -> Gaussian:
    """Fit to features [N, D]; the covariance is the unbiased one (divided by N - 1)."""
    features = check(features, "gaussian")
    mean = features.mean(0)
    root = (features - mean) / (len(features) - 1) ** 0.5
    if root.shape[0] > root.shape[1]:
        root = torch.linalg.qr(root, mode="r").R
    return Gaussian(mean, root)


def gaussian_from_moments(mean: Tensor, covariance: Tensor) -> Gaussian:
    """From a mean [D] and covariance [D, D], by eigen-decomposition; negative eigenvalues count as zero."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return Gaussian(mean.double(), values.clamp_min(0).sqrt()[:, None] * vectors.T)


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians, never below zero."""
    if a.mean.shape != b.mean.shape:
        raise StylegraftError(
            f"features of {len(a.mean)} and of {len(b.mean)} numbers an image cannot be compared; "
            "same encoder on both sides?"
        )
    cross = torch.linalg.svdvals(a.root @ b.root.T).sum()
    distance = (a.mean - b.mean).square().sum() + a.root.square().sum() + b.root.square().sum() - 2 * cross
    return max(distance.item(), 0.0)


def fid(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance of two sets of features [N, D] and [M, D], float64.

    Biased upwards for small sets (by about tr(C) / N): compare only values at equal N, and give the floor
    between two halves of one domain.
    Raises StylegraftError for wrong shapes, fewer than two images, or values that are not finite.
    """
    return frechet(
        gaussian(check(features_a, "fid, first set")), gaussian(check(features_b, "fid, second set"))
    )
