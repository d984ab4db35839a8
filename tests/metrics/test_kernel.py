"""KID: the unbiased estimator as written in the paper, and its expectation in closed form."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics import kid
from stylegraft.metrics.kernel import _draw, _mmd


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(x: Tensor, y: Tensor) -> float:
    """Two loops over pairs; x and y of the same number of rows."""
    m, d = x.shape

    def k(u: Tensor, v: Tensor) -> float:
        return (float(u @ v) / d + 1) ** 3

    inside = sum(k(z[i], z[j]) for z in (x, y) for i, j in itertools.permutations(range(m), 2))
    return inside / (m * (m - 1)) - 2 * sum(k(u, v) for u in x for v in y) / m**2


def test_the_whole_sets_give_the_naive_double_loop() -> None:
    a, b = normal(12, 5, 0), normal(12, 5, 1) + 0.5
    found = kid(a, b, subsets=3, subset_size=12)
    assert found.mean == pytest.approx(naive(a, b), rel=1e-10)
    assert found.spread == pytest.approx(0, abs=1e-12)


def test_subsets_give_mean_and_deviation_of_the_naive_double_loop() -> None:
    a, b = normal(20, 4, 0), normal(30, 4, 1) + 0.5
    found = kid(a, b, subsets=5, subset_size=6, seed=3)
    generator = torch.Generator().manual_seed(3)
    rows = _draw(20, 5, 6, generator), _draw(30, 5, 6, generator)
    values = torch.tensor([naive(a[i], b[j]) for i, j in zip(*rows, strict=True)], dtype=torch.float64)
    assert found.mean == pytest.approx(values.mean().item(), rel=1e-10)
    assert found.spread == pytest.approx(values.std(correction=0).item(), rel=1e-10)


def test_one_gram_matrix_and_one_a_subset_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = normal(50, 4, 0), normal(40, 4, 1)
    generator = torch.Generator().manual_seed(0)
    rows = _draw(50, 7, 9, generator), _draw(40, 7, 9, generator)
    single = torch.cat([_mmd(a, b, rows[0][i : i + 1], rows[1][i : i + 1]) for i in range(7)])
    monkeypatch.setattr("stylegraft.metrics.kernel.BLOCK", 8)
    assert torch.allclose(_mmd(a, b, *rows), single, rtol=1e-10, atol=1e-12)


def test_the_expectation_is_the_closed_form_of_two_gaussians() -> None:
    # One dimension, x ~ N(m, 1), y ~ N(0, 1): with moments M1..M3 of both, E(xy + 1)^3 = sum C(3,k) M_k(x)
    # M_k(y).
    m = 0.7
    of_x, of_y = (1, m, m**2 + 1, m**3 + 3 * m), (1, 0, 1, 0)

    def expected(u: tuple[float, ...], v: tuple[float, ...]) -> float:
        return sum(c * p * q for c, p, q in zip((1, 3, 3, 1), u, v, strict=True))

    truth = expected(of_x, of_x) + expected(of_y, of_y) - 2 * expected(of_x, of_y)
    found = kid(normal(40_000, 1, 0) + m, normal(40_000, 1, 1), subsets=40, subset_size=1000)
    assert found.mean == pytest.approx(truth, rel=0.05)


def test_unbiased_at_small_sizes() -> None:
    a, b = normal(4000, 3, 0), normal(4000, 3, 1)
    for size in (5, 50):
        found = kid(a, b, subsets=400, subset_size=size)
        assert abs(found.mean) < 4 * found.spread / 400**0.5 + 1e-3


def test_the_seed_decides() -> None:
    a, b = normal(60, 4, 0), normal(60, 4, 1)
    assert kid(a, b, seed=1) == kid(a, b, seed=1)
    assert kid(a, b, seed=1) != kid(a, b, seed=2)


def test_the_default_subset_leaves_a_spread() -> None:
    found = kid(normal(20, 4, 0), normal(1000, 4, 1))
    assert found.spread > 0


def test_bad_requests_are_refused() -> None:
    a, b = normal(20, 4, 0), normal(10, 4, 1)
    with pytest.raises(StylegraftError, match="20 and 10"):
        kid(a, b, subset_size=11)
    with pytest.raises(StylegraftError, match="same encoder"):
        kid(a, b[:, :2])
    with pytest.raises(StylegraftError, match="first set"):
        kid(a[:1], b)
