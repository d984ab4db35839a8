"""FID-infinity takes away the bias of the generated set's size, and says how well its line fits."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics import fid
from stylegraft.metrics.extrapolation import fid_infinity, line


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_line_and_its_error_are_scipys():
    x, y = [0.1, 0.2, 0.5, 0.9], [1.3, 1.2, 2.0, 2.4]
    expected = scipy.stats.linregress(x, y)
    assert line(x, y) == pytest.approx((expected.intercept, expected.slope, expected.intercept_stderr))


def test_a_perfect_generator_has_no_distance_but_a_biased_fid():
    """Both sets are of one Gaussian: FID of M images is about (tr(C) + D (D + 1) / 4) / M, and 0 at infinity."""
    d, m = 20, 600
    real, fake = normal(60_000, d, 0), normal(m, d, 1)
    biased = fid(real, fake)
    assert biased == pytest.approx((d + d * (d + 1) / 4) / m, rel=0.2)
    found = fid_infinity(real, fake, smallest=200)
    assert abs(found.value) < biased / 4
    assert found.slope == pytest.approx(d + d * (d + 1) / 4, rel=0.25)
    assert found.error < biased / 4


def test_a_true_distance_is_left():
    real, fake = normal(20_000, 8, 0), normal(20_000, 8, 1) + 0.5
    assert fid_infinity(real, fake).value == pytest.approx(8 * 0.25, rel=0.05)


def test_sizes_are_even_the_last_is_the_whole_and_the_seed_decides():
    real, fake = normal(50, 3, 0), normal(40, 3, 1)
    found = fid_infinity(real, fake, points=5, smallest=20)
    assert found.sizes == (20, 25, 30, 35, 40)
    assert found.values[-1] == pytest.approx(fid(real, fake), rel=1e-9)
    assert found == fid_infinity(real, fake, points=5, smallest=20)
    assert found != fid_infinity(real, fake, points=5, smallest=20, seed=1)


@pytest.mark.parametrize(("points", "smallest"), [(2, 10), (15, 38), (5, 1), (5, 41)])
def test_sizes_that_make_no_line_are_refused(points: int, smallest: int):
    with pytest.raises(StylegraftError, match="all different"):
        fid_infinity(normal(50, 3, 0), normal(40, 3, 1), points=points, smallest=smallest)
