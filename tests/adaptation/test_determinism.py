"""What is equal where, as docs/reliability.md says it, where no other test holds it."""

from __future__ import annotations

import pytest
import torch

from stylegraft.adaptation.loop import Stats, train

from .toys import fresh


def test_threads_change_the_order_of_sums_alone():
    found: list[list[Stats]] = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(list(train(fresh("tgan", "affine-light+", batch=2), 2)))
        finally:
            torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        for key in one.keys() - {key for key in one if key.startswith("time/")}:
            assert one[key] == pytest.approx(other[key], rel=1e-3, abs=1e-6), (one["step"], key)
