"""A run's random numbers are a function of (seed, step, stream, sample), not of how the work is split."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylegraft.adaptation.sampling import Draws, seed_of


def test_seeds_are_the_same_on_every_machine():
    assert seed_of(0, 0, "z", 0) == 977462344027632154
    assert seed_of(7, 1000, "augment.real", 3) == 1843216944680483726


def test_seeds_differ_in_every_argument():
    seeds = {
        seed_of(s, t, name, i) for s in range(4) for t in range(25) for name in ("z", "y") for i in range(10)
    }
    assert len(seeds) == 4 * 25 * 2 * 10
    assert seed_of(1, 11, "z", 1) != seed_of(11, 1, "z", 1)
    assert seed_of(0, 0, "z:1", 2) != seed_of(0, 0, "z", 12)


@given(st.integers(-(2**63), 2**63), st.integers(0, 2**40), st.text(max_size=20), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_every_seed_fits_a_generator(seed, step, stream, index):
    value = seed_of(seed, step, stream, index)
    assert 0 <= value < 2**63
    Draws([value]).uniform()


@pytest.mark.parametrize("shape", [(), (3,), (2, 17)])
def test_a_batch_of_eight_draws_what_two_batches_of_four_draw(shape):
    seeds = [seed_of(3, 14, "augment", i) for i in range(8)]

    def numbers(part):
        draws = Draws(part)
        return torch.stack([draws.uniform(*shape), draws.normal(*shape)], 1)

    whole = numbers(seeds)
    assert torch.equal(whole, torch.cat([numbers(seeds[:4]), numbers(seeds[4:])]))
    assert torch.equal(whole[5:6], numbers(seeds[5:6]))


def test_draws_have_their_shape_range_and_moments():
    draws = Draws([seed_of(0, i, "moments", 0) for i in range(20)])
    assert len(draws) == 20
    u, n = draws.uniform(50, 40), draws.normal(50, 40)
    assert u.shape == n.shape == (20, 50, 40)
    assert draws.uniform().shape == (20,)
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.002
    assert abs(n.mean()) < 0.02 and abs(n.var() - 1) < 0.03  # true normals: no missing sqrt(2)
    assert abs(torch.corrcoef(u.flatten(1)).fill_diagonal_(0)).max() < 0.1


def test_draws_keep_the_requested_precision():
    assert Draws([1], dtype=torch.float64).normal(2).dtype == torch.float64
