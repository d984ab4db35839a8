"""MobileStyleGAN's own parts: the wavelet, and that no derivative splits into one convolution a channel."""

from __future__ import annotations

import torch

from stylegraft.networks.haar import haar, inverse_haar, merge

from .conftest import normal, toy_mobile
from .counting import Count


def test_the_wavelet_is_orthonormal():
    """W^T W = I for the whole transform as a matrix: no energy is gained or lost, and its transpose undoes it."""
    size = 8 * 3 * 2
    w = torch.stack([inverse_haar(row.view(1, 8, 3, 2)).flatten() for row in torch.eye(size).double()])
    assert torch.equal(w @ w.T, torch.eye(size).double())


def test_the_transform_and_its_inverse_undo_each_other():
    image, bands = normal(2, 3, 8, 12), normal(2, 12, 4, 6)
    torch.testing.assert_close(inverse_haar(haar(image)), image)
    torch.testing.assert_close(haar(inverse_haar(bands)), bands)


def test_the_wavelet_can_be_differentiated_twice():
    """It is linear: a function of it has the second derivatives that finite differences find."""
    bands = normal(1, 8, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(merge, bands)
    assert torch.autograd.gradgradcheck(lambda x: merge(x).sin(), bands)


def test_a_wavelet_band_alone_is_its_direction():
    """The low-pass band is brightness; detail changes sign from top to bottom, left to right, or both."""
    bands = torch.zeros(4, 4, 1, 1)
    bands[range(4), range(4)] = 2.0
    low, vertical, horizontal, diagonal = inverse_haar(bands)[:, 0].tolist()
    assert low == [[1, 1], [1, 1]]
    assert vertical == [[1, 1], [-1, -1]]
    assert horizontal == [[1, -1], [1, -1]]
    assert diagonal == [[1, -1], [-1, 1]]


def test_the_details_of_a_channel_lie_together():
    """Bands of two channels: low 0, low 1, then the three details of channel 0, those of channel 1."""
    for band, channel in enumerate((0, 1, 0, 0, 0, 1, 1, 1)):
        x = torch.zeros(1, 8, 1, 1)
        x[0, band] = 1.0
        assert [bool(m.any()) for m in inverse_haar(x)[0]] == [channel == 0, channel == 1]


def test_path_length_runs_a_few_convolutions_a_layer_however_many_channels():
    """Depthwise layers, too, cost a constant number; PyTorch's own double backward would run one for each channel."""

    def convolutions(width: int) -> int:
        g = toy_mobile(resolution=16, channels={"4": width, "8": width})
        ws = normal(1, g.num_ws, g.w_dim).requires_grad_()
        with Count() as count:
            image = g(ws=ws).image
            (slope,) = torch.autograd.grad(image.square().sum(), ws, create_graph=True)
            torch.autograd.grad(slope.square().sum(), list(g.synthesis.parameters()), allow_unused=True)
        return count.convolutions

    layers = 3  # the dense one at 4 px, two depthwise; the two pointwise are matrix products
    assert convolutions(8) == convolutions(32) == 6 * layers
