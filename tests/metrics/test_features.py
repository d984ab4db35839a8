"""Features of a set do not depend on how the images arrive; names say which encoder measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegraft.encoders import Encoder
from stylegraft.encoders.vgg16 import VGG16, VGG16Trunk
from stylegraft.errors import StylegraftError
from stylegraft.metrics import features, fid
from stylegraft.metrics.features import levels


class Means:
    """An encoder small enough to check by eye: the mean of each channel."""

    name, digest, dim = "means", "0", 3

    def __init__(self) -> None:
        self.batches: list[int] = []

    def preprocess(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)

    def encode(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return x.mean((2, 3))


@pytest.fixture(scope="module")
def vgg() -> VGG16:
    torch.manual_seed(0)
    return VGG16(VGG16Trunk().state_dict(), size=16)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(
        0, 256, (37, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_batch_1_and_32_agree(vgg: VGG16, images: Tensor) -> None:
    one, many = features(vgg, images, batch=1), features(vgg, images, batch=32)
    assert one.shape == (37, 512)
    assert ((one - many).norm() / many.norm()).item() < 1e-5
    other = many.flip(1)
    assert fid(one, other) == pytest.approx(fid(many, other), rel=1e-5)


def test_an_iterable_is_cut_anew(images: Tensor) -> None:
    whole = features(Means(), images)
    encoder = Means()
    assert isinstance(encoder, Encoder)
    parts = features(encoder, iter(images.split([1, 0, 20, 3, 13])), batch=10)
    assert torch.equal(parts, whole)
    assert encoder.batches == [10, 10, 10, 7]


def test_generated_and_saved_images_are_measured_alike(images: Tensor) -> None:
    generated = images.float() / 127.5 - 1 + torch.empty(images.shape).uniform_(-0.0038, 0.0038)
    assert torch.equal(features(Means(), generated), features(Means(), images))


def test_levels_clamp_round_and_keep_the_ends() -> None:
    found = levels(torch.tensor([-3.0, -1.0, 1.0, 1.2]))
    assert found.tolist() == [-1.0, -1.0, 1.0, 1.0]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(levels(levels(every)), levels(every))


def test_bad_images_are_refused() -> None:
    with pytest.raises(StylegraftError, match="no images"):
        features(Means(), [])
    with pytest.raises(StylegraftError, match="1 or 3"):
        features(Means(), torch.zeros(2, 4, 8, 8))
    with pytest.raises(StylegraftError, match="not finite"):
        features(Means(), torch.full((2, 3, 8, 8), torch.nan))
    with pytest.raises(StylegraftError, match="int64"):
        features(Means(), torch.zeros(2, 3, 8, 8, dtype=torch.int64))
