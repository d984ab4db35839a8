"""FID and KID agree with torchmetrics', which is given the very same encoder, and do not depend on the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stylegraft.encoders import load_encoder
from stylegraft.encoders.random_tiny import RandomTiny
from stylegraft.metrics import features, fid, kid
from stylegraft.metrics.features import levels

# Not from torchmetrics.image, which leaves them out where torch-fidelity, which they do not need, is missing.
FrechetInceptionDistance = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance
KernelInceptionDistance = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance


class Module(nn.Module):
    """Our encoder as torchmetrics takes one: uint8 images to features, of which it asks how many there are."""

    def __init__(self, encoder: RandomTiny) -> None:
        super().__init__()
        self.encoder, self.num_features = encoder, encoder.dim

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(levels(images))


@pytest.fixture(scope="module")
def encoder() -> RandomTiny:
    found = load_encoder("random-tiny")
    assert isinstance(found, RandomTiny)
    return found


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    sets = (torch.rand(count, 3, 8, 8, generator=rng) ** power for count, power in ((240, 1), (180, 0.7)))
    real, fake = ((nn.functional.interpolate(x, (32, 32)) * 255).to(torch.uint8) for x in sets)
    return real, fake


def test_fid_is_theirs(encoder: RandomTiny, images: tuple[Tensor, Tensor]):
    metric = FrechetInceptionDistance(feature=Module(encoder))
    for part, real in zip(images, (True, False)):
        metric.update(part, real=real)
    found = fid(*(features(encoder, part) for part in images))
    assert found == pytest.approx(float(metric.compute()), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`:UserWarning")
def test_kid_is_theirs_over_subsets_that_are_the_whole(encoder: RandomTiny, images: tuple[Tensor, Tensor]):
    real, fake = images[0][:180], images[1]
    metric = KernelInceptionDistance(feature=Module(encoder), subsets=3, subset_size=180)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    expected, _ = metric.compute()
    found = kid(*(features(encoder, part) for part in (real, fake)), subsets=3, subset_size=180)
    assert found.mean == pytest.approx(float(expected), rel=1e-3)  # theirs is in float32
    assert found.spread == pytest.approx(0, abs=1e-9)


def test_neither_depends_on_the_batch(encoder: RandomTiny, images: tuple[Tensor, Tensor]):
    one, many = ([features(encoder, part, batch=batch) for part in images] for batch in (1, 32))
    assert fid(*one) == pytest.approx(fid(*many), rel=1e-5)
    assert kid(*one).mean == pytest.approx(kid(*many).mean, rel=1e-5)
