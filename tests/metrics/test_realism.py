"""The realism probe is the minimum of its loss, soft, reproducible, and honest about images that it has not seen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stylegraft.checkpoints import assets
from stylegraft.data.targets import open_target
from stylegraft.encoders import load_encoder
from stylegraft.errors import StylegraftError
from stylegraft.metrics import features
from stylegraft.metrics.realism import balance, calibration_error, fit_probe, fold, newton


def here(asset: str) -> bool:
    try:
        assets.find(asset)
    except StylegraftError:
        return False
    return True


def normal(count: int, mean: float = 0.0, dim: int = 6, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=rng, dtype=torch.float64) + mean


def loss(theta: Tensor, x: Tensor, labels: Tensor, l2: float) -> Tensor:
    """The balanced logistic loss, written out image by image."""
    total = 0.5 * l2 * theta[:-1].square().sum()
    for row, label in zip(x, labels, strict=True):
        logit = row @ theta[:-1] + theta[-1]
        count = (labels == label).sum()
        total = total + torch.log1p(torch.exp(-(2 * label - 1) * logit)) / (2 * count)
    return total


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("shift", [0.3, 20.0])  # the classes overlap, or are far apart
def test_newton_finds_where_the_gradient_of_the_loss_is_zero(l2: float, shift: float):
    x = torch.cat((normal(30), normal(12, shift, seed=1)))
    labels = torch.cat((torch.zeros(30), torch.ones(12))).double()
    theta = newton(x, labels, l2).requires_grad_()
    (slope,) = torch.autograd.grad(loss(theta, x, labels, l2), theta)
    assert slope.abs().max() < 1e-9


def test_two_points_have_their_closed_form():
    """At -a and a the bias is zero and the slope w solves a / (1 + exp(w a)) = l2 w."""
    a, l2 = 2.0, 0.05
    theta = newton(torch.tensor([[-a], [a]], dtype=torch.float64), torch.tensor([0.0, 1.0]).double(), l2)
    w, bias = theta.tolist()
    assert bias == pytest.approx(0, abs=1e-12)
    assert a / (1 + math.exp(w * a)) == pytest.approx(l2 * w, rel=1e-9)


def test_classes_count_alike_however_many_images_they_have():
    x, y = normal(20), normal(10, 0.5, seed=1)
    one = newton(torch.cat((x, y)), torch.cat((torch.zeros(20), torch.ones(10))).double(), 0.01)
    many = newton(torch.cat((x, y, y, y)), torch.cat((torch.zeros(20), torch.ones(30))).double(), 0.01)
    torch.testing.assert_close(one, many, atol=1e-8, rtol=0)


def test_far_domains_are_told_apart_softly():
    probe = fit_probe(normal(60), normal(20, 6.0, seed=1), encoder="toy")
    assert probe.name == "p_target-toy"
    assert probe.accuracy == 1.0
    assert probe.p_source < 0.1
    assert probe.p_real > 0.9
    between = probe.p(torch.stack([torch.full((6,), t).double() for t in (0.0, 1.5, 3.0, 4.5, 6.0)]))
    assert bool((between.diff() > 0).all())
    assert between[2] == pytest.approx(0.5, abs=0.15)
    assert 0 < float(between[0])
    assert "held-out accuracy 1.00" in str(probe)


def test_one_domain_twice_cannot_be_told_apart_and_it_says_so():
    probe = fit_probe(normal(200), normal(200, seed=1))
    assert probe.accuracy == pytest.approx(0.5, abs=0.1)
    assert probe.p_real == pytest.approx(0.5, abs=0.05)
    assert probe.calibration < 0.1


def test_the_same_features_give_the_same_probe():
    one, two = (fit_probe(normal(30), normal(10, 1.0, seed=1), 3) for _ in range(2))
    assert torch.equal(one.head.weight, two.head.weight)
    assert (one.accuracy, one.calibration, one.l2) == (two.accuracy, two.calibration, two.l2)


def test_fewer_images_than_features_and_features_that_never_move_are_no_problem():
    x, y = normal(8, dim=40), normal(5, 2.0, dim=40, seed=1)
    x[:, 3] = y[:, 3] = 1.0
    probe = fit_probe(x, y)
    assert probe.p(y).mean() > 0.6 > 0.4 > probe.p(x).mean()


def test_views_of_one_image_are_held_out_together():
    """Every target image stands alone, far from the others and nearer to the source; each has eight equal views. Only a
    probe that learnt its views by heart could call it real."""
    directions = torch.eye(12, dtype=torch.float64)[:6] * 8
    views = directions.repeat_interleave(8, 0)
    groups = [i for i in range(6) for _ in range(8)]
    source = torch.eye(12, dtype=torch.float64)[6:].repeat(8, 1) * 2
    honest, fooled = fit_probe(source, views, groups=groups), fit_probe(source, views)
    for i in range(6):
        assert len(honest.fold_of[8 * i : 8 * i + 8].unique()) == 1
    assert honest.p_real < fooled.p_real


def test_a_copy_of_a_training_image_is_judged_by_heads_that_did_not_see_it():
    x, y = normal(40), normal(10, 1.0, seed=1)
    probe = fit_probe(x, y, 5)
    crossed = probe.p_cross(y, torch.arange(10))
    for i in range(10):
        head = probe.folds[int(probe.fold_of[i])]
        assert crossed[i] == pytest.approx(float(head.p(y[i : i + 1])[0]), rel=1e-12)
    assert crossed.mean() < probe.p(y).mean()
    assert crossed.mean() == pytest.approx(probe.p_real)


def test_a_held_out_set_is_what_accuracy_and_anchors_are_measured_on():
    x, y = normal(40), normal(40, 2.0, seed=1)
    swapped = fit_probe(x, y, held_out=(normal(30, 2.0, seed=2), normal(30, seed=3)))
    assert swapped.accuracy < 0.1
    assert swapped.p_source > 0.8
    assert swapped.calibration > 0.6
    assert torch.equal(swapped.head.weight, fit_probe(x, y).head.weight)


def test_calibration_error_of_closed_forms():
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0]).double()
    assert calibration_error(labels, labels) == 0
    assert calibration_error(1 - labels, labels) == 1
    assert calibration_error(torch.full((4,), 0.5).double(), labels) == pytest.approx(0)
    assert calibration_error(torch.full((4,), 0.8).double(), labels) == pytest.approx(0.3)
    assert float(balance(torch.tensor([0.0, 1, 1, 1])).sum()) == 1


def test_folds_are_of_one_size_and_follow_the_seed():
    places = fold(13, 5, 1)
    assert sorted(torch.bincount(places).tolist()) == [2, 2, 3, 3, 3]
    assert torch.equal(places, fold(13, 5, 1))
    assert not torch.equal(places, fold(13, 5, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fit_probe(normal(5), normal(1)), "N of at least 2"),
        (lambda: fit_probe(normal(5), normal(4), groups=[0, 0, 0, 0]), "one target image"),
        (lambda: fit_probe(normal(5), normal(4, dim=7)), r"\[5, 6\], target features \[4, 7\]"),
        (lambda: fit_probe(normal(5), normal(4), groups=[0, 1]), "2 groups"),
        (lambda: fit_probe(normal(5) * math.nan, normal(4)), "not finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, said: str):
    with pytest.raises(StylegraftError, match=said):
        call()


@pytest.mark.skipif(not here("effnet"), reason="needs `stylegraft assets get effnet`")
def test_ten_drawings_of_one_kind_are_told_from_another():
    """With the encoder that the rules use: from ten pictures of each, right about those that it did not see."""
    encoder = load_encoder("effnet-lite0")
    one, other = (
        features(encoder, open_target(name, 64, 3, "auto").images) for name in ("pencil", "lorelei")
    )
    probe = fit_probe(one, other, encoder=encoder.name)
    assert probe.name == "p_target-effnet-lite0"
    assert probe.accuracy == 1.0
    assert probe.p_source < 0.2 < 0.8 < probe.p_real
