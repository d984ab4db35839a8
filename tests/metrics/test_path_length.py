"""Path length is the squared speed of the image along the path, where that can be written down."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.metrics.path_length import path_length, ready, slerp
from stylegraft.networks.generator import build_generator

from .toys import Pixels


class Plain:
    """Squared difference of the pixels."""

    name = "plain"

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images]


class Linear:
    """An image is 2 w in its first four pixels; w is z times 3."""

    z_dim, c_dim = 4, 0

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return 3 * z

    def __call__(self, z: Tensor | None = None, c: Tensor | None = None, *, w: Tensor | None = None):
        w = self.mapping(z) if w is None else w
        return SimpleNamespace(image=2 * w.double().reshape(-1, 1, 2, 2))


def ends(count: int, seed: int) -> Tensor:
    """The pairs of latents that are drawn, [2, count, 4]."""
    return torch.randn(count, 2, 4, generator=torch.Generator().manual_seed(seed)).transpose(0, 1)


def test_on_a_line_it_is_the_squared_length_of_the_line():
    a, b = ends(50, 7).double()
    expected = 36 * (b - a).square().sum(1) * 3  # grey counts in three channels
    inside = expected.numpy()
    # the 1st percentile is between the smallest and the next, so that "lower" is the smallest: nothing goes
    found = path_length(Linear(), Plain(), count=50, seed=7, epsilon=1e-2)
    assert found.name == "ppl-w-end-plain"
    assert found.kept == 50
    assert found.mean == pytest.approx(inside.mean(), rel=1e-4)
    assert found.error == pytest.approx(inside.std() / 50**0.5, rel=1e-4)


def test_the_ends_of_the_distribution_are_left_out():
    """StyleGAN2's rule: percentiles 1, rounded down, and 99, rounded up, to steps that there are."""
    a, b = ends(300, 7).double()
    steps = np.sort(108 * (b - a).square().sum(1).numpy())
    low, high = np.percentile(steps, 1, method="lower"), np.percentile(steps, 99, method="higher")
    kept = steps[(steps >= low) & (steps <= high)]
    found = path_length(Linear(), Plain(), count=300, seed=7, epsilon=1e-2)
    assert found.kept == len(kept) < 300
    assert found.mean == pytest.approx(kept.mean(), rel=1e-4)


@pytest.mark.parametrize("place", ["end", "full"])
def test_on_a_great_circle_it_is_the_squared_angle(place):
    """The speed on the sphere of radius sqrt(4) is 2 times the angle; the image is 6 times that."""
    a, b = torch.nn.functional.normalize(ends(40, 3).double(), dim=2)
    angle = (a * b).sum(1).acos()
    found = path_length(Linear(), Plain(), space="z", place=place, count=40, seed=3, epsilon=1e-2)
    assert found.name == f"ppl-z-{place}-plain"
    assert found.mean == pytest.approx(float((12 * angle).square().mean() * 3), rel=1e-3)


def test_the_circle_begins_and_ends_where_it_should():
    a, b = ends(5, 0)
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(slerp(a, b, torch.zeros(5, 1)), unit(a) * 2)
    torch.testing.assert_close(slerp(a, b, torch.ones(5, 1)), unit(b) * 2)
    halfway = slerp(a, b, torch.full((5, 1), 0.5))
    torch.testing.assert_close(unit(halfway), unit(unit(a) + unit(b)))
    torch.testing.assert_close(halfway.norm(dim=1), torch.full((5,), 2.0))


def test_the_crop_is_the_face_and_large_images_are_averaged():
    rows = torch.arange(512.0)[None, None, :, None].expand(1, 1, 512, 512)
    columns = rows.transpose(2, 3)
    found = ready(torch.cat((rows, columns, rows), 1), crop=True)
    assert found.shape == (1, 3, 256, 256)
    assert (found[0, 0].min(), found[0, 0].max()) == (192, 447)
    assert (found[0, 1].min(), found[0, 1].max()) == (128, 383)
    whole = ready(rows, crop=False)
    assert whole.shape == (1, 3, 256, 256)
    assert whole[0, 0, 1, 0] == 2.5


@pytest.mark.parametrize("c_dim", [0, 3])
def test_a_real_network_does_not_care_for_the_batch_and_its_name_says_the_crop(c_dim: int):
    torch.manual_seed(0)
    small = dict(z_dim=8, w_dim=8, c_dim=c_dim, mapping_layers=2, channel_base=64, channel_max=8)
    network = build_generator({"architecture": "stylegan2", "resolution": 16, "img_channels": 3, **small})
    one, many = (path_length(network, Pixels(), crop=True, epsilon=1e-2, count=7, batch=n) for n in (1, 16))
    assert one.mean == pytest.approx(many.mean, rel=1e-4)
    assert one.name == "ppl-w-end-crop-pixels"
    assert one.mean > 0


def test_what_is_no_path_is_refused():
    for wrong in (dict(space="s"), dict(place="middle"), dict(count=1), dict(epsilon=0.0)):
        with pytest.raises(StylegraftError, match="expected z or w, end or full"):
            path_length(Linear(), Plain(), **wrong)
