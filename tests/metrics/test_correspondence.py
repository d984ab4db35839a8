"""Pairs are compared one by one, whatever the batch, and equal images are at exactly 0."""

from __future__ import annotations

import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.metrics.correspondence import correspondence, paired

from .toys import Pixels, apart, pictures, random_lpips


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_equals_a_plain_loop(batch: int):
    a, b = pictures(9), pictures(9, seed=1)
    expected = torch.tensor([apart(x, y) for x, y in zip(a, b)])
    found = correspondence(a, b, Pixels(), batch=batch)
    assert (found.name, found.count) == ("correspondence-pixels", 9)
    assert found.mean == pytest.approx(float(expected.mean()), rel=1e-5)
    assert found.spread == pytest.approx(float(expected.std(correction=0)), rel=1e-4)


def test_an_image_is_at_exactly_nothing_from_itself_as_pixels_or_as_float():
    a = pictures(5)
    assert correspondence(a, a.float() / 127.5 - 1, Pixels()).mean == 0


def test_lpips_by_its_embedding_is_lpips():
    model = random_lpips()
    a, b = pictures(5, size=16), pictures(5, seed=1, size=16)
    expected = model(a / 127.5 - 1, b / 127.5 - 1)
    torch.testing.assert_close(paired(a, b, model, batch=2), expected.double(), rtol=1e-5, atol=0)


def test_sets_of_other_shapes_are_refused():
    with pytest.raises(StylegraftError, match="one shape"):
        correspondence(pictures(5), pictures(4), Pixels())
    with pytest.raises(StylegraftError, match="one shape"):
        correspondence(pictures(0), pictures(0), Pixels())
