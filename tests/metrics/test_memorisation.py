"""Copies are found, whatever the batch; the threshold is the domain's own, and leaves every image itself out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import closest
from stylegraft.metrics.memorisation import memorisation, real_threshold

from .toys import Pixels, apart, flat, pictures


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_equals_a_plain_loop(batch: int):
    generated, shots, reference = pictures(20), pictures(3, seed=1), pictures(30, seed=2)
    to_shot = [min(apart(image, shot) for shot in shots) for image in generated]
    to_other = [min(apart(a, b) for j, b in enumerate(reference) if j != i) for i, a in enumerate(reference)]
    threshold = np.quantile(to_other, 0.01)
    found = memorisation(generated, shots, reference, Pixels(), batch=batch)
    assert found.name == "memorised-pixels"
    assert found.count == 20
    assert found.threshold == pytest.approx(threshold, rel=1e-5)
    assert found.share == np.mean(np.array(to_shot) < threshold)
    assert (found.mean, found.median) == pytest.approx((np.mean(to_shot), np.median(to_shot)), rel=1e-5)


def test_copies_are_memorised_and_images_of_the_domain_are_not():
    reference = pictures(200)
    shots = pictures(4, seed=1)
    copies = memorisation(shots[[0, 1, 1, 3]], shots, reference, Pixels())
    assert copies.share == 1
    assert copies.median == pytest.approx(0, abs=1e-4)
    assert memorisation(pictures(100, seed=3), shots, reference, Pixels()).share < 0.05


def test_each_real_image_leaves_itself_out_but_not_its_twin():
    images = flat([10, 10, 60, 70, 200])
    values, index = closest(images, images, Pixels(), others_too=True, batch=2, memory=1)
    assert index.tolist() == [1, 0, 3, 2, 3]
    assert values[:2].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert values[2] == pytest.approx(apart(images[2], images[3]), rel=1e-5)


def test_a_threshold_may_be_measured_once():
    generated, shots, reference = pictures(20), pictures(3, seed=1), pictures(30, seed=2)
    threshold = real_threshold(reference, Pixels())
    assert memorisation(generated, shots, threshold, Pixels()) == memorisation(
        generated, shots, reference, Pixels()
    )


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(StylegraftError, match="0 training images"):
        memorisation(pictures(3), torch.empty(0, 3, 6, 6, dtype=torch.uint8), pictures(3), Pixels())
    with pytest.raises(StylegraftError, match="reference of 1 images"):
        memorisation(pictures(3), pictures(2), pictures(1), Pixels())
