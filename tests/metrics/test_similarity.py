"""Quality and diversity by cosines equal their sums written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from stylegraft.errors import StylegraftError
from stylegraft.metrics.similarity import similarity

RNG = torch.Generator().manual_seed(0)
FEATURES = torch.randn(13, 6, generator=RNG) + 0.5
TARGET = torch.randn(4, 6, generator=RNG)


def test_equals_the_sums_over_images_and_pairs():
    found = similarity(FEATURES, TARGET[0], encoder="toy")
    pairs = [1 - float(cosine_similarity(FEATURES[i], FEATURES[j], 0)) for i in range(13) for j in range(i)]
    assert (found.encoder, found.count) == ("toy", 13)
    assert found.quality == pytest.approx(float(cosine_similarity(FEATURES, TARGET[:1]).mean()), rel=1e-5)
    assert found.diversity == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_of_several_targets_the_mean_direction_counts_not_their_lengths():
    mean = torch.nn.functional.normalize(TARGET, dim=1).mean(0)
    expected = similarity(FEATURES, mean).quality
    assert similarity(FEATURES, TARGET).quality == pytest.approx(expected)
    assert similarity(FEATURES, TARGET * torch.tensor([[1.0], [5], [9], [2]])).quality == pytest.approx(
        expected
    )


def test_copies_have_quality_and_no_diversity():
    found = similarity(TARGET[:1].expand(5, -1), TARGET[0])
    assert found.quality == pytest.approx(1)
    assert found.diversity == pytest.approx(0, abs=1e-12)
    opposite = similarity(torch.stack((TARGET[0], -TARGET[0])), TARGET[0])
    assert (opposite.quality, opposite.diversity) == pytest.approx((0, 2), abs=1e-12)


def test_other_shapes_are_refused():
    with pytest.raises(StylegraftError, match="a target"):
        similarity(FEATURES, TARGET[:, :5])
    with pytest.raises(StylegraftError, match="at least 2"):
        similarity(FEATURES[:1], TARGET)
