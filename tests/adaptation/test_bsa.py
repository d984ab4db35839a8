"""BSA: each training image is shown at a latent of its own, and nobody plays against anybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.importance import leaf_fisher
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.memory import on_meta, step_memory
from stylegraft.adaptation.objectives import bsa, objectives
from stylegraft.adaptation.outcome import domain_of
from stylegraft.adaptation.plan import describe
from stylegraft.adaptation.progress import numbers
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sampling import data_order
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.views import Views
from stylegraft.checkpoints import Source, assets
from stylegraft.checkpoints.identity import describe_base
from stylegraft.encoders.vgg16 import VGG16Trunk
from stylegraft.errors import StylegraftError

from .toys import fresh, pictures, small, toy


def values(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def random_eye(*args: Any, **kwargs: Any) -> Any:
    """VGG16 with random weights."""

    class Weights:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk = VGG16Trunk().requires_grad_(False)

    return Weights


def views_of(state: State) -> Views:
    return Views(state, objectives(state.recipe))


def steps(state: State, count: int) -> State:
    for _ in train(state, count):
        pass
    return state


# Each term, against loops over numpy in float64


def test_the_distance_is_the_equation():
    a, b = ([values(3, 2 + i, 4, 4, seed=s + i) for i in range(3)] for s in (0, 10))
    expected = 0.0
    for x, y in zip(a, b, strict=True):
        total = 0.0
        for p, q in zip(x.numpy().ravel(), y.numpy().ravel(), strict=True):
            total += abs(p - q)
        expected += total / x.numel()
    assert float(bsa.distance(a, b)) == pytest.approx(expected, rel=1e-12)
    assert float(bsa.distance(a, a)) == 0


def test_the_distance_of_latents_is_the_equation():
    z, r = values(3, 5, seed=0), values(30, 5, seed=1)
    squares = np.array([[((a - b) ** 2).sum() for b in r.numpy()] for a in z.numpy()])
    expected = np.mean([min(row) for row in squares]) + np.mean([min(column) for column in squares.T])
    assert float(bsa.earth_mover(z, r)) == pytest.approx(expected, rel=1e-12)
    assert float(bsa.earth_mover(z, z)) == pytest.approx(0, abs=1e-12)


def test_the_size_of_the_adaptation_is_the_equation():
    tensors = [values(4, seed=0), values(2, 3, seed=1)]
    expected = sum(np.mean([v**2 for v in t.numpy().ravel()]) for t in tensors)
    assert float(bsa.size(tensors)) == pytest.approx(expected, rel=1e-12)


def test_a_step_is_what_its_parts_say(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bsa, "load_vgg16", random_eye)
    state = steps(fresh("bsa", "scale-shift", bsa_vgg=0.057), 2)
    views, eye = views_of(state), state.eye
    found = {term.name: float(term.loss(views).detach()) for term in objectives(state.recipe)}
    made, wanted = (images.detach() for images in views.fitted)
    assert found["pixel"] == pytest.approx(float((made - wanted).abs().mean()), rel=1e-5)
    assert eye is not None and bsa.TAPS == (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
    shift, scale = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps = [
        eye((images / 2 + 0.5 - shift[:, None, None]) / scale[:, None, None], bsa.TAPS)
        for images in (made, wanted)
    ]
    expected = sum(float((a - b).abs().mean()) for a, b in zip(*maps, strict=True))
    assert found["vgg"] == pytest.approx(expected, rel=1e-3)
    leaves = [leaf.detach() for name, leaf in state.learners["G"].items() if name != bsa.LATENTS]
    assert found["decay"] == pytest.approx(float(bsa.size(leaves)), rel=1e-5)
    assert found["decay"] > 0


def test_what_does_not_start_at_zero_has_no_size():
    """V of a low-rank delta says nothing as long as U is zero."""
    assert float(bsa.adaptation_size(views_of(fresh("bsa", "affine-light+"))).detach()) == 0
    assert float(bsa.adaptation_size(views_of(fresh("bsa", "rank-1"))).detach()) == 0


# Latents


def test_latents_follow_their_own_images():
    state = fresh("bsa", "scale-shift", bsa_emd=0.0)
    assert state.latents is not None
    for step in range(3):
        before = state.latents.detach().clone()
        seen = set(data_order(0, step, 4, 10))
        steps(state, step + 1)
        moved = {i for i in range(10) if not torch.equal(state.latents[i], before[i])}
        assert moved == seen


def test_each_image_is_made_at_its_own_latent_and_is_not_mirrored():
    state = fresh("bsa", "scale-shift", bsa_jitter=0.0)
    made, wanted = views_of(state).fitted
    order = data_order(0, 0, 4, 10)
    assert torch.equal(wanted, state.images[order])
    assert state.latents is not None
    again = views_of(state)
    noise = again._random_noise("fitted.noise")
    assert torch.allclose(made, again.student(state.latents[order], noise=noise).image, atol=1e-5)
    assert not torch.allclose(made, again.student(state.latents[order].flip(0), noise=noise).image, atol=1e-2)


def test_the_length_of_a_latent_means_nothing():
    """Only its direction reaches the image, so jitter and distances are taken where the lengths are alike."""
    state = fresh("bsa", "scale-shift")
    before = {term.name: float(term.loss(views_of(state)).detach()) for term in objectives(state.recipe)}
    assert state.latents is not None
    with torch.no_grad():
        state.latents.mul_(0.2)
    for term in objectives(state.recipe):
        assert float(term.loss(views_of(state)).detach()) == pytest.approx(before[term.name], rel=1e-4)


def test_latents_are_no_part_of_the_domain_and_have_a_rate_of_their_own():
    state = steps(fresh("bsa", "scale-shift", bsa_lr=0.05), 2)
    begun = fresh("bsa", "scale-shift", bsa_lr=0.05)
    assert bsa.LATENTS in state.learners["G"] and bsa.LATENTS not in state.ema
    domain = domain_of(
        state, {"space": "scale-shift", "seed": 0, "target": {}, "source": describe_base(toy())}
    )
    assert domain.deltas.keys() == state.deltas.keys()
    groups = state.optimizers["G"].param_groups
    assert [(group["lr"], len(group["params"])) for group in groups] == [
        (pytest.approx(0.02), len(state.ema)),
        (0.05, 1),
    ]
    assert state.latents is not None and begun.latents is not None
    assert float((state.latents - begun.latents).detach().abs().max()) > 0.04


def test_it_learns_to_show_the_images():
    state = fresh("bsa", "scale-shift", lr=0.001)
    losses = [stats["G/pixel"] for stats in train(state, 120)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


# The one loop


def test_nobody_plays():
    state = fresh("bsa", "scale-shift")
    start = {name: p.detach().clone() for name, p in state.discriminator.named_parameters()}

    def refused(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("D was asked")

    state.discriminator.forward = refused
    stats = list(train(state, 17))
    assert all(torch.equal(p, start[name]) for name, p in state.discriminator.named_parameters())
    assert {key for one in stats for key in one if key[:2] in ("D/", "G/")} == {
        "G/pixel",
        "G/emd",
        "G/decay",
        "G/grad",
    }
    assert all(one["real_sign"] == 0 for one in stats)
    assert "real" not in numbers(stats[-1], 1.0)
    assert not any(name.startswith("D/") for name in pack(state)[0]), "a D that never learns is not kept"


def test_a_resumed_run_is_the_uninterrupted_one():
    whole = steps(fresh("bsa", "scale-shift"), 3)
    tensors, told = pack(whole)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}, dict(told)
    assert f"leaf/{bsa.LATENTS}" in kept[0] and f"adam/G/{bsa.LATENTS}/exp_avg_sq" in kept[0]
    resumed = fresh("bsa", "scale-shift")
    unpack(resumed, *kept)
    (mine, _), (theirs, _) = pack(steps(whole, 6)), pack(steps(resumed, 6))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_parts_of_a_step_are_the_whole_step(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bsa, "load_vgg16", random_eye)
    whole, parts = (fresh("bsa", "scale-shift", micro=micro, bsa_vgg=0.057) for micro in (0, 2))
    for a, b in zip(train(whole, 3), train(parts, 3), strict=True):
        for key in ("G/pixel", "G/vgg", "G/emd", "G/decay"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-6), key
    for name, leaf in whole.learners["G"].items():
        assert torch.allclose(leaf, parts.learners["G"][name], atol=1e-4), name


def test_it_goes_with_a_game_and_with_other_terms():
    state = fresh("bsa", "scale-shift", adv=0.5, pl_weight=2.0, r1_gamma=1.0, cl1=1.0)
    stats = next(train(state, 1))
    assert {"D/adv", "D/r1", "G/adv", "G/pl", "G/pixel", "G/cl1", "D/grad.r1", "G/grad.pl"} <= stats.keys()
    assert leaf_fisher(state, "G", state.learners["G"], 1).keys() == state.ema.keys()
    alone = fresh("tgan", "scale-shift", adv=0.0, warmup=0, bsa_pixel=1.0, cl1=1.0)
    assert {key for key in next(train(alone, 1)) if key[:2] in ("G/", "D/")} == {"G/cl1", "G/pixel", "G/grad"}


def test_what_it_will_cost_is_found_without_a_step(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bsa, "load_vgg16", random_eye)
    state = fresh("bsa", "scale-shift", bsa_vgg=0.057)
    ghost = on_meta(state)
    assert ghost.latents is ghost.learners["G"][bsa.LATENTS]
    assert step_memory(state) > step_memory(fresh("bsa", "scale-shift")) > 0


def test_the_plan_says_that_nobody_judges(tmp_path, capsys: pytest.CaptureFixture[str]):
    lines = "\n".join(describe(fresh("bsa", "scale-shift"), "scale-shift"))
    assert "D: none, no adversarial game is played" in lines
    assert "each training image has a latent of its own" in lines
    assert "minibatch" not in lines
    lonely = Source("lonely", toy().generator, None)
    row = small("bsa", steps=3)
    run = adapt(lonely, pictures(), recipe=row, out=tmp_path / "run")
    said = capsys.readouterr().err
    assert "no discriminator;" not in said and "train the discriminator alone" not in said
    assert "D(real)" not in said
    assert [one["step"] for one in run.stats] == [0, 1, 2]
    again = adapt(lonely, pictures(), recipe=row, out=tmp_path / "run", steps=5)
    straight = adapt(lonely, pictures(), recipe=row, steps=5)
    for name, terms in again.domain.deltas.items():
        for a, b in zip(terms, straight.domain.deltas[name], strict=True):
            assert all(torch.equal(a.parts[part], b.parts[part]) for part in a.parts)
    plan = adapt(lonely, pictures(), recipe=row, dry_run=True).plan
    assert plan is not None and plan.count == sum(
        leaf.numel() for leaf in fresh("bsa", "scale-shift").ema.values()
    )


# What is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"augment": "bgc"}, r"augment is bgc and adv is 0.*expected augment=none, or adv=1"),
        ({"cdc": True}, r"cdc is yes and adv is 0.*expected cdc=no, or adv=1"),
        ({"cl2": 0.5}, r"cl2 is 0.5 and adv is 0.*expected cl2=0, or adv=1"),
        ({"warmup": 10}, r"warmup is 10 and adv is 0.*expected warmup=0, or adv=1"),
        ({"bsa_pixel": 0, "bsa_vgg": 0}, "no term looks at the training images.* weight on bsa_pixel or bsa_vgg$"),
        ({"bsa_pixel": 0, "bsa_vgg": 0, "adv": 1}, r"bsa_emd is 0.*nothing without bsa_pixel or bsa_vgg: .* bsa_emd=0"),
        ({"bsa_pixel": -1}, r"bsa_pixel is -1.0, expected at least 0"),
    ],
)  # fmt: skip
def test_what_cannot_go_together_is_refused(changes: dict[str, Any], said: str):
    with pytest.raises(StylegraftError, match=said):
        recipe("bsa", **changes)


def test_a_run_without_any_term_is_refused():
    with pytest.raises(
        StylegraftError, match="adv is 0 and no term looks at the training images.*expected adv=1"
    ):
        fresh("tgan", adv=0.0)


def test_missing_weights_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str, *others: str) -> dict[str, Tensor]:
        raise StylegraftError(f"run: stylegraft assets get {name}")

    monkeypatch.setattr(assets, "tensors", missing)
    images = pictures().float() / 127.5 - 1
    with pytest.raises(
        StylegraftError, match="VGG16: run: stylegraft assets get lpips, or .*--set bsa_vgg=0"
    ):
        begin(toy(), images, recipe("bsa"), "scale-shift")
    assert begin(toy(), images, recipe("bsa", bsa_vgg=0.0), "scale-shift").eye is None


def test_the_row_has_the_paper_s_weights():
    row = PAPER["bsa"]
    assert (row.adv, row.bsa_pixel, row.bsa_emd, row.bsa_decay, row.bsa_jitter) == (0, 1, 0.1, 0.02, 0.01)
    assert row.bsa_vgg == pytest.approx(0.001 * 255 * 0.225, rel=0.01)
    assert row.space == "scale-shift"
