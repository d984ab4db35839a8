"""ADA's transforms equal the paper's, are safe to differentiate twice, and p is steered within its bounds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from stylegraft.adaptation import resampling
from stylegraft.adaptation.augment import (
    augment,
    band_gains,
    inverse_affine,
    rotation,
    scaling,
    translation,
)
from stylegraft.adaptation.controller import AdaController, controller
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.transforms import SETS, TRANSFORMS, parse_transforms
from stylegraft.errors import StylegraftError

GOLDEN = load_file(Path(__file__).parents[1] / "data" / "golden" / "augment_32px.safetensors")
CASES = sorted(key for key in GOLDEN if "." in key)


class Percentile:
    """The golden file's convention: every uniform is q, every normal erfinv(2q - 1), less the sqrt(2) of a true
    normal. The file leaves the rotation after `aniso` at zero, so the uniform call `upright` gives 1/2."""

    def __init__(self, q: float, batch: int, upright: int | None) -> None:
        self.q, self.batch, self.upright, self.calls = q, batch, upright, 0

    def uniform(self, *shape: int) -> torch.Tensor:
        q = 0.5 if self.calls == self.upright else self.q
        self.calls += 1
        return torch.full((self.batch, *shape), q)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.full((self.batch, *shape), 2 * self.q - 1).erfinv()


def draws_for(batch: int, step: int = 0, dtype: torch.dtype = torch.float32) -> Draws:
    return Draws([seed_of(0, step, "test", i) for i in range(batch)], dtype=dtype)


def pictures(batch: int, size: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return draws_for(batch, 99, dtype).uniform(channels, size, size) * 2 - 1


# The transforms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_transform_equals_golden(case):
    name, q = case.split(".", 1)
    second_rotation = {"rotate": 1, "bgc": 6}.get(name)
    images = GOLDEN["in"]
    out = augment(images, 1.0, Percentile(float(q), len(images), second_rotation), name)
    torch.testing.assert_close(out, GOLDEN[case], atol=1e-4, rtol=0)


def test_wavelet_filters_equal_golden():
    where = torch.device("cpu"), torch.float32
    torch.testing.assert_close(resampling.sym6(*where), GOLDEN["Hz_geom"], atol=1e-7, rtol=0)
    torch.testing.assert_close(resampling.filter_bank(*where), GOLDEN["Hz_fbank"], atol=1e-7, rtol=0)


@pytest.mark.parametrize(("taps", "moments"), [(resampling.SYM2, 2), (resampling.SYM6, 6)])
def test_wavelets_satisfy_their_defining_equations(taps, moments):
    h = torch.tensor(taps, dtype=torch.float64)
    k = torch.arange(len(h), dtype=torch.float64)
    assert len(h) == 2 * moments
    for shift in range(0, len(h), 2):  # orthonormal to their even translates
        assert abs(h[shift:] @ h[: len(h) - shift] - float(shift == 0)) < 1e-12
    for order in range(moments):  # vanishing moments of the high-pass partner
        assert abs(((-1) ** k * h) @ (k / len(h)) ** order) < 1e-12


def test_filter_bank_adds_up_to_the_identity():
    total = resampling.filter_bank(torch.device("cpu"), torch.float64).sum(0)
    impulse = torch.zeros(43, dtype=torch.float64)
    impulse[21] = 1
    torch.testing.assert_close(total, impulse, atol=1e-12, rtol=0)


@pytest.mark.parametrize("transforms", ["bgc", "bgcfnc"])
def test_probability_zero_returns_the_images_bit_for_bit(transforms):
    x = pictures(2, 8)
    assert augment(x, 0.0, draws_for(2), transforms) is x


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_fires_with_probability_p(name):
    x = pictures(400, 8)
    changed = [
        ((augment(x, p, draws_for(400), name) - x).abs().amax((1, 2, 3)) > 1e-4).float().mean().item()
        for p in (0.3, 1.0)
    ]
    idle = {
        "xflip": 1 / 2,
        "rotate90": 1 / 4,
        "lumaflip": 1 / 2,
        "xint": 1 / 4,
        "diff-translation": 1 / 9,
    }.get(name, 0.0)  # i = 0
    expected = [(1 - idle) * p for p in (0.3, 1.0)]
    if name == "imgfilter":
        expected[0] = 1 - 0.7**4  # one gate a band
    tolerance = (
        0.15 if name == "cutout" else 0.08
    )  # a centre in a corner may miss the outermost pixels' middles
    assert changed == pytest.approx(expected, abs=tolerance)


def test_draws_do_not_depend_on_p():
    """The same seeds rotate by the same angle at any p at which they rotate."""
    size, names = 8, parse_transforms("rotate90,scale")
    often, seldom = (inverse_affine(p, draws_for(200), names, size, size) for p in (1.0, 0.5))
    assert often is not None and seldom is not None
    same = (often == seldom).all(2).all(1).float().mean().item()
    assert 0.2 < same < 0.45  # both fired with 1/4, plus quarter turns by 0


@pytest.mark.parametrize("transforms", ["bgc", "bgcfnc"])
def test_pictures_do_not_depend_on_how_the_batch_is_split(transforms):
    x = pictures(8, 32)
    seeds = [seed_of(5, 0, "augment", i) for i in range(8)]
    whole = augment(x, 0.6, Draws(seeds), transforms)
    halves = [augment(x[i : i + 4], 0.6, Draws(seeds[i : i + 4]), transforms) for i in (0, 4)]
    torch.testing.assert_close(whole, torch.cat(halves), atol=2e-5, rtol=0)


def test_noise_has_the_variance_of_its_definition():
    """sigma = |N(0, 0.1^2)|: variance p E[sigma^2] = 0.01 p over all samples, mean zero, fourth moment
    p 3 E[sigma^4] = 9e-4 p, and white: neighbours and channels uncorrelated."""
    batch = 3000
    x = torch.zeros(batch, 3, 8, 8)
    for p in (0.5, 1.0):
        noise = augment(x, p, draws_for(batch, step=7), "noise")
        power = noise.square().mean((1, 2, 3))
        assert noise.mean().abs() < 1e-3
        assert power.mean().item() == pytest.approx(0.01 * p, rel=0.1)
        assert noise.pow(4).mean().item() == pytest.approx(9e-4 * p, rel=0.3)
        assert (power == 0).float().mean().item() == pytest.approx(1 - p, abs=0.03)
        for a, b in ((noise[..., 1:], noise[..., :-1]), (noise[:, 0], noise[:, 1])):
            assert (a * b).mean().abs() < 0.02 * 0.01


@given(seed=st.integers(0, 2**32), p=st.floats(0.01, 1))
@settings(max_examples=25, deadline=None)
def test_band_gains_keep_the_expected_power(seed, p):
    """One amplified band: sum of power_j gain_j^2 = 1. Several: the product of their normalisations."""
    draws = Draws([seed_of(seed, 0, "bands", i) for i in range(16)], dtype=torch.float64)
    gains = band_gains(p, draws)
    natural = torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13
    assert (gains > 0).all()
    relative = gains / gains.median(dim=1, keepdim=True).values
    single = ((relative - 1).abs() > 1e-9).sum(1) == 1
    power = (gains.square() @ natural)[single]
    torch.testing.assert_close(power, torch.ones_like(power))


def test_a_constant_grey_image_survives_every_frequency_band():
    """Filtering scales a constant by the gain of the lowest band up to the edges: the mirror has no border."""
    x = torch.full((4, 3, 8, 8), 0.5)
    out = augment(x, 1.0, draws_for(4), "imgfilter")
    torch.testing.assert_close(out, out[:, :1, :1, :1].expand_as(out), atol=1e-5, rtol=0)


def test_shapes_other_than_square_colour_images():
    for shape in ((2, 1, 32, 32), (2, 3, 16, 24), (1, 3, 8, 8)):
        out = augment(torch.rand(shape), 1.0, draws_for(shape[0]), "bgcfnc")
        assert out.shape == shape and out.isfinite().all()


def test_grey_images_take_the_mean_row_of_the_colour_matrix():
    grey = pictures(6, 8, channels=1)
    rgb = grey.expand(-1, 3, -1, -1)
    for name in ("brightness", "contrast", "lumaflip", "color"):
        expected = augment(rgb, 1.0, draws_for(6), name).mean(1, keepdim=True)
        torch.testing.assert_close(augment(grey, 1.0, draws_for(6), name), expected)
    torch.testing.assert_close(augment(grey, 1.0, draws_for(6), "hue,saturation"), grey)


# Resampling -------------------------------------------------------------------------------------------------


@given(
    angle=st.floats(-math.pi, math.pi),
    zoom=st.floats(0.5, 2),
    shift=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
)
@settings(max_examples=25, deadline=None)
def test_the_sufficient_margin_gives_the_picture_of_the_largest(angle, zoom, shift):
    x = pictures(1, 16, dtype=torch.float64)
    a, s, tx, ty = torch.tensor([[angle], [zoom], *([t] for t in shift)], dtype=torch.float64)
    inverse = rotation(a) @ scaling(s, 1 / s) @ translation(tx, ty)
    torch.testing.assert_close(
        resampling.warp(x, inverse), resampling.warp(x, inverse, margin=(15, 15)), atol=1e-9, rtol=0
    )


def test_shifts_by_whole_pixels_are_exact_and_mirror_the_edge():
    """sym6 up and down again is the identity, so a shift loses nothing."""
    x = pictures(1, 16, dtype=torch.float64)
    two, three = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    shifted = resampling.warp(x, translation(-two, -three))  # two to the right, three down
    torch.testing.assert_close(shifted[..., 3:, 2:], x[..., :-3, :-2], atol=1e-9, rtol=0)
    torch.testing.assert_close(shifted[..., 3:, :2], x[..., :-3, 1:3].flip(3), atol=1e-9, rtol=0)


def test_flips_and_quarter_turns_of_a_smooth_picture():
    """x points right, y down, the origin is the centre. (sym6 is not symmetric: white noise would change.)"""
    y, x = torch.meshgrid(*[torch.arange(32, dtype=torch.float64)] * 2, indexing="ij")
    picture = (torch.sin(x / 6) + torch.cos(y / 5 + x / 9))[None, None]
    one = torch.ones(1, dtype=torch.float64)
    for inverse, expected in (
        (scaling(-one, one), picture.flip(3)),
        (rotation(one * math.pi / 2), picture.rot90(1, (2, 3))),
    ):
        difference = (resampling.warp(picture, inverse) - expected).abs()
        assert difference[..., 8:-8, 8:-8].max() < 0.03
        assert (picture - expected).abs().max() > 1


def test_augmentation_is_twice_differentiable_in_the_images():
    x = pictures(2, 6, dtype=torch.float64).requires_grad_()

    def squared(x):  # the transforms are affine in x: square, so that second derivatives are not zero
        return augment(x, 1.0, draws_for(2, dtype=torch.float64), "bgcfnc").square().mean((2, 3))

    assert torch.autograd.gradcheck(squared, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(squared, (x,), fast_mode=True)


def test_filters_first_built_for_inference_serve_training():
    resampling.sym6.cache_clear()
    resampling.filter_bank.cache_clear()
    x = pictures(2, 8)
    with torch.inference_mode():
        augment(x, 1.0, draws_for(2), "bgcf")
    x.requires_grad_()
    augment(x, 1.0, draws_for(2), "bgcf").square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_r1_through_augmentation_reaches_the_discriminator():
    x = pictures(3, 16).requires_grad_()
    w = torch.full((3, 1, 1), 0.3, requires_grad=True)
    logits = (w * augment(x, 0.7, draws_for(3), "bgc")).square().sum((1, 2, 3))
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    r1 = gradient.square().sum((1, 2, 3)).mean()
    r1.backward()
    assert w.grad is not None and w.grad.isfinite().all() and (w.grad != 0).all()


def test_the_lookup_for_older_pytorch_equals_the_native_one(monkeypatch):
    x = pictures(2, 5, dtype=torch.float64).requires_grad_()
    grid = draws_for(2, 3, torch.float64).uniform(4, 6, 2) * 2.6 - 1.3  # some points lie outside
    native = torch.nn.functional.grid_sample(x, grid, align_corners=False)
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1"))
    own = resampling.bilinear(x, grid)
    assert own.grad_fn is not None and "Lookup" in own.grad_fn.name()
    assert torch.equal(own, native)
    weight = draws_for(2, 4, torch.float64).normal(3, 4, 6)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (own, native)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(lambda x: resampling.bilinear(x, grid), (x,))
    assert torch.autograd.gradgradcheck(lambda x: resampling.bilinear(x, grid).pow(3), (x,))


# Names and bad input ----------------------------------------------------------------------------------------


def test_sets_hold_the_papers_transforms():
    assert len(SETS["bgcfnc"]) == 15  # 16 with both rotations
    assert len(SETS["diffaugment"]) == 5  # brightness, saturation, contrast, translation, cutout
    assert set(TRANSFORMS) == {*SETS["bgcfnc"], *SETS["diffaugment"]}
    assert parse_transforms("diff-color,diff-translation,diff-cutout") == parse_transforms("diffaugment")
    assert parse_transforms("blit, color,cutout") == {*SETS["blit"], *SETS["color"], "cutout"}
    assert parse_transforms("bgc") == parse_transforms("bg,color")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: augment(pictures(1, 8), 0.5, draws_for(1), "bgd"), "'bgd'.*did you mean"),
        (lambda: augment(pictures(1, 8), 0.0, draws_for(1), "flip"), "no transform or set"),
        (lambda: augment(pictures(1, 8), 1.5, draws_for(1)), "p = 1.5"),
        (lambda: augment(pictures(1, 8), float("nan"), draws_for(1)), "p = nan"),
        (lambda: augment(pictures(1, 8, channels=4), 0.5, draws_for(1)), r"\[1, 4, 8, 8\]"),
        (lambda: AdaController(p_max=1.2), "p_max = 1.2"),
        (lambda: AdaController(interval=0), "interval = 0"),
        (lambda: AdaController(mode="slow"), "mode 'slow'"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(call, message):
    with pytest.raises(StylegraftError, match=message):
        call()


# The controller ---------------------------------------------------------------------------------------------


@given(
    signs=st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=200),
    kimg=st.floats(0.01, 10),
    p_max=st.floats(0, 1),
    batch=st.integers(1, 64),
)
@settings(max_examples=50, deadline=None)
def test_p_stays_between_zero_and_its_cap(signs, kimg, p_max, batch):
    ada = AdaController(kimg=kimg, p_max=p_max, interval=2)
    for sign in signs:
        ada.observe(torch.full((3, 1), sign))
        assert 0 <= ada.step(batch) <= p_max
        assert ada.capped <= (ada.p == p_max)


def test_p_rises_and_falls_at_the_stated_speed():
    ada = AdaController(kimg=0.5, interval=4, p_max=0.79)
    logits = torch.ones(4, 1)
    for iteration in range(1, 161):
        ada.observe(logits)
        p = ada.step(batch=4)
        updates = iteration // 4
        assert p == pytest.approx(min(updates * 4 * 4 / (1000 * 0.5), 0.79))
        assert ada.capped == (updates * 0.032 > 0.79)
    assert "capped at 0.79" in str(ada)
    for iteration in range(1, 41):
        ada.observe(-logits)
        assert ada.step(batch=4) == pytest.approx(0.79 - iteration // 4 * 0.032)
    assert "capped" not in str(ada) and "r_t -1.00" in str(ada)


def test_p_follows_the_mean_sign_since_the_last_update():
    """75 % positive: r_t = 0.5 < 0.6, p falls; 85 %: r_t = 0.7, p rises. A logit's size does not count."""
    for positive, direction in ((75, -1), (85, 1)):
        ada = AdaController(kimg=1, interval=2, p=0.4)
        logits = torch.cat([torch.full((positive,), 0.01), torch.full((100 - positive,), -99.0)])
        for part in logits.split(50):
            ada.observe(part)
            ada.step(batch=50)
        assert ada.p == pytest.approx(0.4 + direction * 0.1)


def test_an_image_counts_once_however_many_logits_judge_it():
    """Four images judged whole and positive, four by 64 negative patches each: r_t is 0, not -0.97."""
    ada = AdaController(interval=1)
    ada.observe(torch.ones(4, 1))
    ada.observe(-torch.ones(4, 1, 8, 8))
    ada.step(batch=8)
    assert ada.r_t == 0


def test_no_logits_leave_p_alone_and_a_fixed_p_never_moves():
    ada = AdaController(p=0.3, interval=1)
    assert ada.step(4) == 0.3
    fixed = AdaController(mode="fixed", p=0.9, interval=1)
    fixed.observe(torch.ones(8))
    assert fixed.step(8) == fixed.p == 0.9 and not fixed.capped
    assert "fixed" in str(fixed)


def test_a_ramp_rises_at_its_speed_whatever_the_discriminator_says():
    ramp = AdaController(mode="ramp", p=0.1, kimg=0.4, p_max=0.5, interval=4)
    for iteration in range(1, 81):
        ramp.observe(-torch.ones(4, 1))
        assert ramp.step(batch=4) == pytest.approx(min(0.1 + iteration // 4 * 16 / 400, 0.5))
    assert "rising to 0.5" in str(ramp)


def test_a_recipe_says_how_p_moves():
    assert controller(recipe("tgan")) is None
    ada = controller(recipe("ada", preset="paper"))
    assert ada is not None and (ada.mode, ada.p, ada.p_max, ada.kimg) == ("adaptive", 0.0, 0.8, 100.0)
    diff = controller(recipe("diffaugment"))
    assert diff is not None and (diff.mode, diff.p) == ("fixed", 1.0)
    half = controller(recipe("ada", ada_mode="fixed", ada_p=0.3))
    assert half is not None and (half.mode, half.p) == ("fixed", 0.3)
    with pytest.raises(StylegraftError, match="ada_p is 0 and ada_mode is fixed"):
        recipe("ada", ada_mode="fixed")
    with pytest.raises(StylegraftError, match=r"ada_mode is 'ramped' \(did you mean 'ramp'\?\)"):
        recipe("ada", ada_mode="ramped")
    with pytest.raises(StylegraftError, match=r"ada_p is 1\.5, expected 0 to 1"):
        recipe("ada", ada_p=1.5)


@pytest.mark.parametrize("stop", [0, 1, 6, 11])
def test_a_resumed_controller_continues_as_if_it_had_not_stopped(stop):
    signs = [draws_for(1, i).normal(4)[0] + 0.8 for i in range(12)]
    whole, first, second = (AdaController(kimg=0.3, interval=4) for _ in range(3))
    trajectory = []
    for logits in signs:
        whole.observe(logits)
        trajectory.append(whole.step(4))
    for logits in signs[:stop]:
        first.observe(logits)
        first.step(4)
    state = first.state_dict()
    assert all(type(value) is float for value in state.values())
    second.load_state_dict(state)
    for i, logits in enumerate(signs[stop:], stop):
        second.observe(logits)
        assert second.step(4) == trajectory[i]
    assert second.state_dict() == pytest.approx(whole.state_dict(), nan_ok=True)
