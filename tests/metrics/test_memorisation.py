"""Copies are found, whatever the batch; the thresholds are the domain's own, and leave every image itself out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import pairwise
from stylegraft.metrics.memorisation import memorisation, real_thresholds

from .toys import Pixels, apart, flat, pictures


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_equals_a_plain_loop(batch: int):
    generated, shots, reference = pictures(20), pictures(3, seed=1), pictures(30, seed=2)
    to_shot = [min(apart(image, shot) for shot in shots) for image in generated]
    to_other = [min(apart(a, b) for j, b in enumerate(reference) if j != i) for i, a in enumerate(reference)]
    pairs = [apart(a, b) for i, a in enumerate(reference) for b in reference[:i]]
    threshold, nearest = np.quantile(pairs, 0.01), np.quantile(to_other, 0.01)
    found = memorisation(generated, shots, reference, Pixels(), batch=batch)
    assert found.name == "memorised-pixels"
    assert found.count == 20
    assert found.threshold == pytest.approx(threshold, rel=1e-5)
    assert found.threshold_nearest == pytest.approx(nearest, rel=1e-5)
    assert nearest < threshold
    assert found.share == np.mean(np.array(to_shot) < threshold)
    assert found.share_nearest == np.mean(np.array(to_shot) < nearest)
    assert found.apart.tolist() == pytest.approx(to_shot, rel=1e-5)
    assert found.which.tolist() == [min(range(3), key=lambda k: apart(one, shots[k])) for one in generated]
    assert (found.mean, found.median) == pytest.approx((np.mean(to_shot), np.median(to_shot)), rel=1e-5)


def test_copies_are_memorised_and_images_of_the_domain_are_not():
    reference = pictures(200)
    shots = pictures(4, seed=1)
    copies = memorisation(shots[[0, 1, 1, 3]], shots, reference, Pixels())
    assert copies.share == 1
    assert copies.median == pytest.approx(0, abs=1e-4)
    assert copies.share_nearest == 1
    new = memorisation(pictures(400, seed=3), shots, reference, Pixels())
    # One pair in a hundred is nearer than the threshold, and each image has four shots to be near to.
    assert 0.005 < new.share < 0.08
    assert new.share_nearest < 0.02


def test_the_threshold_of_pairs_does_not_fall_with_the_reference_and_that_of_the_nearest_does():
    few, many = (real_thresholds(pictures(count, seed=4), Pixels()) for count in (40, 300))
    assert many.pairs == pytest.approx(few.pairs, rel=0.1)
    assert many.nearest < 0.95 * few.nearest


def test_each_real_image_leaves_itself_out_but_not_its_twin():
    images = flat([10, 10, 60, 70, 200])
    for batch, memory in ((2, 1), (16, 1 << 30)):
        found = pairwise(images, Pixels(), batch=batch, memory=memory)
        assert torch.equal(found, found.T) and found.diagonal().eq(0).all()
        assert found[0, 1] == pytest.approx(0, abs=1e-6)
        assert found[2, 4] == pytest.approx(apart(images[2], images[4]), rel=1e-5)
    assert real_thresholds(images, Pixels()).nearest == pytest.approx(0, abs=1e-6)


def test_a_threshold_may_be_measured_once():
    generated, shots, reference = pictures(20), pictures(3, seed=1), pictures(30, seed=2)
    thresholds = real_thresholds(reference, Pixels())
    assert memorisation(generated, shots, thresholds, Pixels()) == memorisation(
        generated, shots, reference, Pixels()
    )


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(StylegraftError, match="0 training images"):
        memorisation(pictures(3), torch.empty(0, 3, 6, 6, dtype=torch.uint8), pictures(3), Pixels())
    with pytest.raises(StylegraftError, match="reference of 1 images"):
        memorisation(pictures(3), pictures(2), pictures(1), Pixels())
