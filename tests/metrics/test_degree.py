"""A control that moves evenly is told from one that switches, and the noise path starts at the anchor."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.degree import degree, ranks, spearman

from .toys import Pixels, apart, flat

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def path(*levels: list[int]) -> list[tuple[float, Tensor]]:
    return [(a, flat(images)) for a, images in zip(PLACES, levels, strict=True)]


def test_an_even_path_is_monotone_and_smooth():
    source = flat([50, 90])
    found = degree(source, path([50, 90], [60, 100], [70, 110], [80, 120], [90, 130]), Pixels())
    assert found.name == "degree-pixels"
    assert (found.rising, found.count, found.amounts) == (1, 2, PLACES)
    assert found.spearman == pytest.approx(1)
    assert found.smoothness == pytest.approx(1, rel=1e-5)
    expected = [apart(source[0], flat([50 + 10 * i])[0]) for i in range(5)]
    assert found.distances == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert found.steps == pytest.approx([expected[1]] * 4, rel=1e-5)


def test_a_switch_has_all_of_its_way_in_one_step():
    found = degree(flat([50]), path([50], [50], [90], [90], [90]), Pixels())
    assert found.smoothness == pytest.approx(4)
    assert found.rising == 0.25
    # ranks 0.5 0.5 3 3 3 against 0 1 2 3 4
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(PLACES, [0, 0, 1, 1, 1]).statistic)


def test_a_way_back_is_seen_in_each_image():
    found = degree(flat([50, 50]), path([50, 50], [60, 60], [70, 55], [80, 52], [90, 50]), Pixels())
    assert found.rising == pytest.approx(5 / 8)
    assert found.spearman == pytest.approx(
        (1 + scipy.stats.spearmanr(PLACES, [0, 100, 25, 4, 0]).statistic) / 2
    )


def test_a_control_that_does_nothing_has_no_direction():
    found = degree(flat([50]), path([60], [60], [60], [60], [60]), Pixels())
    assert (found.rising, found.spearman) == (0, 0)
    assert math.isnan(found.smoothness)


def test_ranks_and_correlation_are_scipys():
    values = torch.randint(0, 5, (20, 9), generator=torch.Generator().manual_seed(0)).double()
    other = torch.randn(20, 9, generator=torch.Generator().manual_seed(1)).double()
    assert ranks(values).numpy() + 1 == pytest.approx(scipy.stats.rankdata(values.numpy(), axis=1))
    expected = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(values.numpy(), other.numpy())]
    assert spearman(values, other).numpy() == pytest.approx(expected)


def test_a_path_of_one_place_is_refused():
    with pytest.raises(StylegraftError, match="1 places"):
        degree(flat([50]), [(0.0, flat([50]))], Pixels())
