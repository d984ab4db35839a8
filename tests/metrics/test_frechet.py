"""FID: closed forms, an independent matrix root, and no nonsense for few images."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics import fid
from stylegraft.metrics.frechet import frechet, gaussian, gaussian_from_moments


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exactly(mean: Tensor, covariance: Tensor, n: int, seed: int) -> Tensor:
    """n samples whose sample mean and unbiased covariance are exactly the given ones."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    x = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T
    return x @ torch.linalg.cholesky(covariance).T + mean


def scipy_fid(a: Tensor, b: Tensor) -> float:
    (ma, ca), (mb, cb) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a.numpy(), b.numpy()))
    root = scipy.linalg.sqrtm(ca @ cb)
    return float(((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * np.real(root)))


def test_closed_form_of_independent_coordinates() -> None:
    sa, sb = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([2.0, 2.0, 1.5, 0.1]).double()
    ma, mb = torch.tensor([0.0, 1.0, -2.0, 5.0]).double(), torch.tensor([1.0, 1.0, 0.0, 4.5]).double()
    expected = ((ma - mb) ** 2).sum() + ((sa - sb) ** 2).sum()
    a, b = exactly(ma, torch.diag(sa**2), 50, 0), exactly(mb, torch.diag(sb**2), 70, 1)
    assert fid(a, b) == pytest.approx(expected.item(), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_equals_scipys_matrix_root(d: int, seed: int) -> None:
    a = normal(60, d, seed) @ normal(d, d, seed + 1) + normal(1, d, seed + 2)
    b = normal(45, d, seed + 3) @ normal(d, d, seed + 4)
    if d == 1:
        expected = float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    else:
        expected = scipy_fid(a, b)
    scale = float(a.square().mean() + b.square().mean()) * d
    assert fid(a, b) == pytest.approx(expected, abs=1e-6 * scale)


def test_fewer_images_than_dimensions_is_no_special_case() -> None:
    a, b = normal(7, 40, 0), normal(9, 40, 1) * 2 + 1
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    cross = torch.linalg.eigvals(ca @ cb).real.clamp_min(0).sqrt().sum()
    expected = (a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * cross
    assert fid(a, b) == pytest.approx(expected.item(), rel=1e-5)


def test_moments_and_features_agree() -> None:
    a, b = normal(200, 6, 0), normal(300, 6, 1) @ normal(6, 6, 2)
    of_moments = frechet(*(gaussian_from_moments(x.mean(0), torch.cov(x.T)) for x in (a, b)))
    assert of_moments == pytest.approx(fid(a, b), rel=1e-9)
    assert gaussian(a).root.shape == (6, 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(0, 10**6))
def test_zero_on_itself_symmetric_and_blind_to_rotation(n: int, d: int, seed: int) -> None:
    a, b = normal(n, d, seed), normal(n + 3, d, seed + 1) + 1
    rotation = torch.linalg.qr(normal(d, d, seed + 2)).Q
    assert fid(a, a) == pytest.approx(0, abs=1e-9)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-9)
    assert fid(a @ rotation, b @ rotation) == pytest.approx(fid(a, b), rel=1e-9)


def test_float32_features_lose_nothing_in_the_arithmetic() -> None:
    a, b = normal(500, 8, 0).float(), normal(500, 8, 1).float() + 100
    assert fid(a, b) == fid(a.double(), b.double())


def test_bad_features_are_refused() -> None:
    good = normal(10, 4, 0)
    with pytest.raises(StylegraftError, match="2 images"):
        fid(good, good[:1])
    with pytest.raises(StylegraftError, match=r"\[N, D\]"):
        fid(good[0], good)
    with pytest.raises(StylegraftError, match="same encoder"):
        fid(good, good[:, :3])
    with pytest.raises(StylegraftError, match=r"second set.*not finite"):
        fid(good, good / 0)
