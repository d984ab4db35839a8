"""Precision, recall, density and coverage: closed forms on a line, an independent library, blocks of any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.coverage import prdc


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def line(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.floats(0, 3), st.integers(0, 10**6))
def test_equals_the_authors_package(d: int, k: int, shift: float, seed: int):
    theirs = pytest.importorskip("prdc")
    real, fake = normal(60, d, seed), normal(45, d, seed + 1) * 1.2 + shift
    expected = theirs.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    assert prdc(real, fake, k)._asdict() == pytest.approx(expected, abs=1e-12)


def test_points_on_a_line_have_their_closed_form():
    """k = 1: the balls of 0, 1 and 4 have radius 1, 1 and 3; those of 0.5, 9 and 1 have 0.5, 8 and 0.5."""
    found = prdc(line(0, 1, 4), line(0.5, 9, 1), k=1)
    # 0.5 is in the balls of 0 and 1; 9 in none; 1 in those of 0, 1 and 4
    assert found.precision == pytest.approx(2 / 3)
    assert found.density == pytest.approx(5 / 3)
    assert found.coverage == 1
    # 0 is within 0.5 of 0.5, 1 as well; 4 is within 8 of 9
    assert found.recall == 1
    assert prdc(line(0, 1, 4), line(0.5, 0.6, 0.7), k=1) == pytest.approx((1, 0, 2, 2 / 3))


def test_a_set_is_its_own_match_and_a_far_one_has_nothing_of_it():
    x = normal(80, 4, 0)
    same = prdc(x, x)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    # each point lies in its own ball; every ball holds its centre and k others
    assert same.density == pytest.approx(6 / 5)
    assert prdc(x, x + 1000) == (0, 0, 0, 0)


def test_coverage_of_a_domain_by_itself_is_what_theory_says():
    """At equal sizes 1 - (N - 1) ... (N - k) / ((2N - 1) ... (2N - k)), nearly 1 - 2^-k  (Naeem et al.)."""
    n, k = 400, 3
    miss = torch.tensor([(n - i) / (2 * n - i) for i in range(1, k + 1)]).prod()
    found = [prdc(normal(n, 5, 2 * s), normal(n, 5, 2 * s + 1), k).coverage for s in range(10)]
    assert sum(found) / 10 == pytest.approx(1 - float(miss), abs=0.02)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    real, fake = normal(50, 6, 0), normal(41, 6, 1) + 0.5
    whole = prdc(real, fake)
    for block in (1, 7, 50):
        monkeypatch.setattr("stylegraft.metrics.coverage.BLOCK", block)
        assert prdc(real, fake) == whole


def test_features_far_from_the_origin_lose_no_digits():
    real, fake = normal(40, 3, 0), normal(40, 3, 1)
    assert prdc(real + 1e6, fake + 1e6) == prdc(real, fake)


@pytest.mark.parametrize(
    ("real", "fake", "k", "said"),
    [
        (normal(5, 3, 0), normal(9, 3, 1), 5, "5 neighbours in sets of 5 and 9"),
        (normal(9, 3, 0), normal(9, 2, 1), 5, "same encoder"),
        (normal(9, 3, 0), normal(9, 3, 1) * torch.nan, 5, "generated images: features hold"),
    ],
)
def test_bad_requests_are_refused(real: Tensor, fake: Tensor, k: int, said: str):
    with pytest.raises(StylegraftError, match=said):
        prdc(real, fake, k)
