"""DiffAugment's transforms equal a plain re-implementation, let gradients through, and treat each image on its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.augment import augment
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.transforms import SETS

NAMES = SETS["diffaugment"]


class Given:
    """Uniform draws handed out call by call, each [B, n]."""

    def __init__(self, *calls: Tensor) -> None:
        self.calls = list(calls)

    def uniform(self, *shape: int) -> Tensor:
        values = self.calls.pop(0)
        assert values.shape[1:] == shape
        return values

    def normal(self, *shape: int) -> Tensor:
        raise AssertionError("DiffAugment draws uniform numbers alone")


def images(count: int = 5, height: int = 16, width: int = 16, channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(4)
    return torch.rand(count, channels, height, width, generator=rng, dtype=torch.float64) * 2 - 1


def draws(count: int, first: int = 0, dtype: torch.dtype = torch.float64) -> Draws:
    return Draws([seed_of(3, 0, "diff", first + i) for i in range(count)], dtype=dtype)


def plainly(x: Tensor, name: str, u: list[float]) -> Tensor:
    """The transform of one image [C, H, W], pixel by pixel."""
    channels, height, width = x.shape
    out = x.clone()
    if name == "diff-brightness":
        return x + (u[0] - 0.5)
    if name == "diff-contrast":
        mean = x.sum() / x.numel()
        return (x - mean) * (0.5 + u[0]) + mean
    if name == "diff-saturation":
        for i in range(height):
            for j in range(width):
                mean = sum(x[c, i, j] for c in range(channels)) / channels
                for c in range(channels):
                    out[c, i, j] = (x[c, i, j] - mean) * 2 * u[0] + mean
        return out
    if name == "diff-translation":
        reach_x, reach_y = math.floor(width / 8 + 0.5), math.floor(height / 8 + 0.5)
        dx = -reach_x + math.floor(u[0] * (2 * reach_x + 1))
        dy = -reach_y + math.floor(u[1] * (2 * reach_y + 1))
        for i in range(height):
            for j in range(width):
                inside = 0 <= i - dy < height and 0 <= j - dx < width
                out[:, i, j] = x[:, i - dy, j - dx] if inside else 0
        return out
    side_x, side_y = math.floor(width / 2 + 0.5), math.floor(height / 2 + 0.5)
    # the box is [centre - side // 2, centre - side // 2 + side), its centre anywhere from 0 to the far edge
    left = math.floor(u[0] * (width + 1 - side_x % 2)) - side_x // 2
    top = math.floor(u[1] * (height + 1 - side_y % 2)) - side_y // 2
    for i in range(height):
        for j in range(width):
            if top <= i < top + side_y and left <= j < left + side_x:
                out[:, i, j] = 0
    return out


@pytest.mark.parametrize("size", [(16, 16), (9, 14), (8, 7)])
@pytest.mark.parametrize("name", NAMES)
def test_each_transform_equals_a_plain_one(name: str, size: tuple[int, int]):
    x = images(6, *size)
    u = draws(6).uniform(3 if name in ("diff-translation", "diff-cutout") else 2)
    found = augment(x, 1.0, Given(u), name)
    expected = torch.stack([plainly(a, name, b[1:].tolist()) for a, b in zip(x, u, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert not torch.equal(found, x)


def test_the_policy_is_the_five_in_the_papers_order():
    x = images()
    calls = draws(5)
    u = [calls.uniform(n) for n in (2, 2, 2, 3, 3)]
    expected = x
    for name, values in zip(NAMES, u, strict=True):
        expected = torch.stack(
            [plainly(a, name, b[1:].tolist()) for a, b in zip(expected, values, strict=True)]
        )
    for policy in ("diffaugment", "diff-color,diff-translation,diff-cutout"):
        torch.testing.assert_close(augment(x, 1.0, Given(*u), policy), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["diff-translation", "diff-cutout"])
def test_the_ends_of_the_unit_interval_are_the_ends_of_the_range(name: str):
    """The largest number below 1 moves no further than the paper's largest shift; a box may half leave the image."""
    x = torch.ones(2, 1, 8, 8, dtype=torch.float64)
    ends = torch.tensor([[0.0, 0.0, 0.0], [0.5, 1 - 2**-53, 1 - 2**-53]], dtype=torch.float64)
    low, high = augment(x, 1.0, Given(ends), name)
    kept = {"diff-translation": 7 * 7, "diff-cutout": 64 - 2 * 2}[name]
    assert (low.sum(), high.sum()) == (kept, kept)
    assert torch.equal(low, high.flip(1, 2))


def test_every_shift_is_as_likely():
    x = torch.zeros(4000, 1, 8, 8)
    x[:, :, 4, 4] = 1
    counts = augment(x, 1.0, draws(4000), "diff-translation").sum(0)[0]
    assert (counts[3:6, 3:6] - 4000 / 9).abs().max() < 5 * (4000 / 9) ** 0.5
    assert counts.sum() == counts[3:6, 3:6].sum()


def test_gradients_flow_to_any_order():
    x = images(2, 6, 6).requires_grad_()
    u = [draws(2).uniform(n) for n in (2, 2, 2, 3, 3)]

    def squared(x: Tensor) -> Tensor:
        return augment(x, 1.0, Given(*u), "diffaugment").square().mean((2, 3))

    assert torch.autograd.gradcheck(squared, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(squared, (x,), fast_mode=True)


def test_pictures_do_not_depend_on_how_the_batch_is_split():
    x = images(8).float()
    whole = augment(x, 1.0, draws(8, dtype=torch.float32), "diffaugment")
    halves = [augment(x[i : i + 4], 1.0, draws(4, i, torch.float32), "diffaugment") for i in (0, 4)]
    torch.testing.assert_close(whole, torch.cat(halves), atol=1e-6, rtol=0)


def test_below_one_p_is_the_share_of_images_that_a_transform_changes():
    """And those it leaves are left bit for bit, whatever the other transforms draw."""
    x = images(600, 8, 8)
    for name in NAMES:
        out = augment(x, 0.4, draws(600), name)
        same = (out == x).all(3).all(2).all(1).double().mean().item()
        assert same == pytest.approx(1 - 0.4 * (8 / 9 if name == "diff-translation" else 1), abs=0.07)


def test_grey_images_keep_their_one_channel():
    x = images(3, channels=1)
    assert augment(x, 1.0, draws(3), "diffaugment").shape == x.shape
    torch.testing.assert_close(augment(x, 1.0, draws(3), "diff-saturation"), x)
