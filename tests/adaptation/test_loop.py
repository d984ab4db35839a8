"""The one loop: equal to a hand-written one, to its own past, and to TGAN when everything else is off."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from stylegraft.adaptation import sampling
from stylegraft.adaptation.keeping import pack
from stylegraft.adaptation.loop import Diverged, phases, train
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.rates import ema_beta
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.state import begin
from stylegraft.adaptation.views import Objective, Views
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops

from .toys import RECIPES, after, fresh, golden_space, pictures, small, toy

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "losses.json"


def losses(name: str) -> list[dict[str, float]]:
    """What the golden file holds: six steps of a recipe on a toy."""
    return [
        {key: value for key, value in stats.items() if not key.startswith("time/")}
        for stats in train(fresh(name, golden_space(name)), 6)
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_the_golden_ones(name: str):
    """Bless new ones with `python -m tests.adaptation.bless`, and say why in the commit."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    for found, expected in zip(losses(name), golden, strict=True):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-5, abs=1e-5), (name, found["step"], key)


def test_equals_a_hand_written_loop():
    steps, row = 10, small("tgan", mixing=1.0)
    state = after(steps, "tgan", "full", mixing=1.0)

    begun = fresh("tgan", "full", mixing=1.0)
    G, D, images = begun.generator, copy.deepcopy(begun.discriminator).requires_grad_(True), begun.images
    base = {name: p.detach() for name, p in G.named_parameters()}
    delta = {name: torch.zeros_like(p, requires_grad=True) for name, p in base.items()}
    average = {name: torch.zeros_like(p) for name, p in base.items()}
    adam_g = torch.optim.Adam(delta.values(), lr=0.002 * 4 / 5, betas=(0.0, 0.99 ** (4 / 5)))
    adam_d = torch.optim.Adam(D.parameters(), lr=0.002 * 16 / 17, betas=(0.0, 0.99 ** (16 / 17)))
    a = None

    def draw(step, phase, n=4):
        key = sampling.Keyed(0, step, 4, torch.device("cpu"), phase)
        z, other = sampling.free(key, "z", 8, n), sampling.free(key, "z.other", 8, n)
        cutoff = 1 + int(key.once("z.cutoff") * (G.num_ws - 1))
        return key, z, other, cutoff, sampling.random_noise(key, "noise", G.noise_shapes, n)

    def moved(prefix=""):
        return {
            name.removeprefix(prefix): base[name] + delta[name] for name in base if name.startswith(prefix)
        }

    def images_of(z, other, cutoff, noise):
        w, v = (functional_call(G.mapping, moved("mapping."), (x,)) for x in (z, other))
        ws = torch.stack([w if row < cutoff else v for row in range(G.num_ws)], 1)
        return ws, functional_call(G, moved(), kwargs={"ws": ws, "noise": noise}, args=()).image

    def forget(loss, optimizer):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ops.clear_caches()

    for step in range(steps):
        _, *latents = draw(step, "D")
        with torch.no_grad():
            fake = images_of(*latents)[1]
        picked = images[sampling.data_order(0, step, 4, len(images))]
        real = sampling.mirror(picked, sampling.mirrored(0, step, range(4)))
        forget(F.softplus(D(fake).logits).mean() + F.softplus(-D(real).logits).mean(), adam_d)
        if step % 16 == 0:
            x = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(D(x).logits.sum(), x, create_graph=True)
            forget(16 * row.r1_gamma / 2 * slope.square().sum((1, 2, 3)).mean(), adam_d)
        _, *latents = draw(step, "G")
        forget(F.softplus(-D(images_of(*latents)[1]).logits).mean(), adam_g)
        if step % 4 == 0:
            key, *latents = draw(step, "pl", 2)
            ws, image = images_of(*latents)
            y = key.samples("y", 2).normal(3, 16, 16) / 16
            (jacobian,) = torch.autograd.grad((image * y).sum(), ws, create_graph=True)
            length = jacobian.square().sum(2).mean(1).sqrt()
            a = length.mean() if a is None else a.detach() + 0.01 * (length.mean() - a.detach())
            if step == 0:  # the running mean starts at the first one, which is not taught
                a = a.detach() + 0.01 * (length.mean() - a.detach())
            forget(4 * 2 * (length - a).square().mean(), adam_g)
        for name, p in delta.items():
            average[name].lerp_(p.detach(), 1 - ema_beta(row))

    for name in base:
        key = f"{name}|dense|D"
        assert torch.allclose(state.learners["G"][key], delta[name], rtol=1e-3, atol=2e-5), name
        assert torch.allclose(state.ema[key], average[name], rtol=1e-3, atol=1e-5), name
    for name, p in D.named_parameters():
        assert torch.allclose(state.discriminator.get_parameter(name), p, rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("dcl", {"cl1": 0, "cl2": 0, "cdc": False}),
        ("fixnoise", {"fm": 0, "augment": "none", "ada_kimg": 500}),
    ],
)
def test_without_its_terms_a_method_is_tgan_bit_for_bit(name: str, off: dict):
    plain, other = after(5, "tgan", "full"), after(5, name, "full", **off)
    mine, theirs = pack(plain)[0], pack(other)[0]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_view_is_computed_once_and_only_if_asked(monkeypatch):
    calls = []
    original = Views._pair
    monkeypatch.setattr(Views, "_pair", lambda self, *args: calls.append(self.owner) or original(self, *args))
    for _ in train(fresh("tgan"), 2):
        pass
    assert calls == []
    for _ in train(fresh("dcl"), 2):
        pass
    assert calls == ["D", "G"] * 2


def test_two_objectives_share_one_pair_and_its_taps():
    state, seen = fresh("tgan"), []

    def look(views: Views):
        seen.append(views.free_pair)
        return views.fake.mean()

    twins = [
        Objective(n, "G", look, ("free_pair", "fake"), taps=lambda v, n=n: (f"b8.conv{n}",)) for n in "01"
    ]
    views = Views(state, twins)
    for term in twins:
        term.loss(views)
    assert seen[0] is seen[1]
    assert set(seen[0].target.taps) == {"b8.conv0", "b8.conv1"}


def test_an_undeclared_view_is_a_programming_error():
    views = Views(fresh("tgan"), [Objective("none", "G", lambda v: v.fake.mean())])
    with pytest.raises(RuntimeError, match="did not declare"):
        views.fake


def test_a_pair_shares_latents_and_noise():
    state = fresh("dcl")
    views = Views(state, [term for term in objectives(state.recipe) if term.owner == "G" and not term.lazy])
    target, source = views.free_pair
    assert torch.equal(
        target.image, source.image
    )  # at zero delta, nothing but the draws could tell them apart


def test_the_average_has_the_stated_half_life():
    row = recipe("tgan", batch=8, ema_kimg=0.4)
    assert ema_beta(row) ** 50 == pytest.approx(0.5)  # 400 images are 50 steps of 8


def test_anchor_steps_use_the_image_exit_and_r1_sees_both():
    state = fresh("dcl")
    main, lazy = (
        [t for t in objectives(state.recipe) if t.owner == "D" and t.lazy == kind] for kind in (False, True)
    )
    exits = {"main": [], "r1": []}
    for state.step in range(0, 128):
        views = Views(state, main)
        exits["main"].append(views.exit)
        assert (views.latents.other is None) or views.exit == "patch"
        if state.step % 16 == 0:
            exits["r1"].append(Views(state, lazy).exit)
    assert exits["main"][:5] == ["image", "patch", "patch", "patch", "image"]
    assert exits["r1"] == ["image", "patch", "patch", "patch"] * 2


def test_there_are_as_many_anchors_as_images_unless_the_recipe_says():
    images = pictures(4).float() / 127.5 - 1
    few, told = (begin(toy(), images, small("dcl", anchors=n), "stylespace") for n in (0, 7))
    assert few.anchors is not None and told.anchors is not None
    assert (len(few.anchors), few.recipe.anchors) == (4, 4)
    assert (len(told.anchors), told.recipe.anchors) == (7, 7)


def test_a_phase_is_who_learns_and_whether_it_is_lazy():
    names = {phase: [t.name for t in terms] for phase, terms in phases(objectives(small("dcl"))).items()}
    assert names == {"D": ["adv", "cl2"], "R1": ["r1"], "G": ["adv", "cl1"], "PL": ["pl"]}


def test_ada_moves_every_four_steps_and_switches_on_in_a_short_run():
    ps = [stats["ada_p"] for stats in train(fresh("ada", "stylespace"), 9)]
    assert ps[:3] == [0, 0, 0]
    changes = [i for i in range(1, 9) if ps[i] != ps[i - 1]]
    assert set(changes) <= {3, 7}
    row = recipe("ada")
    assert 1000 * row.batch / (1000 * row.ada_kimg) >= row.ada_max  # the cap is in reach within 1,000 steps


def test_warm_up_leaves_the_generator_alone():
    state = after(3, "tgan", warmup=3)
    assert all(
        not torch.equal(p, q)
        for p, q in zip(state.discriminator.parameters(), fresh().discriminator.parameters(), strict=True)
    )
    assert all(torch.equal(leaf, fresh().learners["G"][name]) for name, leaf in state.learners["G"].items())


def test_a_diverged_run_stops_before_the_step_that_would_spoil_it():
    state = fresh("tgan")
    with torch.no_grad():
        state.discriminator.b4.out.bias.fill_(float("nan"))
    leaves = {name: leaf.detach().clone() for name, leaf in state.learners["G"].items()}
    with pytest.raises(Diverged, match=r"step 0: D/adv is nan.*lower lr.*with a new --out"):
        next(train(state, 1))
    assert all(torch.equal(leaf, leaves[name]) for name, leaf in state.learners["G"].items())


def test_freezed_freezes_the_early_blocks():
    state = fresh("freezed")
    assert state.learners["D"].keys() == {
        f"D.{name}" for name, _ in state.discriminator.named_parameters() if name.startswith(("b8.", "b4."))
    }


def test_more_samples_do_not_change_the_first_ones():
    """Draws are keyed by sample, so a batch of 8 begins with the batch of 4."""
    four, eight = (sampling.Keyed(0, 3, n, torch.device("cpu"), "G") for n in (4, 8))
    assert torch.equal(sampling.free(four, "z", 8), sampling.free(eight, "z", 8)[:4])


@pytest.mark.parametrize("name", ["tgan", "ada", "fixnoise"])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(name: str):
    """The parts of two images are the groups of two of minibatch-std; nothing else in these recipes looks across."""
    whole = fresh(name, "affine-light+", batch=4, mbstd=2, pl_weight=0.0)
    parts = fresh(name, "affine-light+", batch=4, mbstd=2, pl_weight=0.0, micro=2)
    for one, other in zip(train(whole, 6), train(parts, 6), strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {key for key in one if key.startswith("time/")}:
            assert one[key] == pytest.approx(other[key], rel=1e-3, abs=1e-6), (one["step"], key)


def test_parts_of_path_length_and_of_contrasts_are_their_own_batches():
    stats = list(train(fresh("dcl", "stylespace", batch=4, micro=2), 5))
    assert (
        stats[4]["G/cl1"] < torch.tensor(2.0).log() * 4
    )  # two images a part: log 2 at chance, tau sharpens it
    assert stats[4]["G/pl"] >= 0
    with pytest.raises(StylegraftError, match="field micro is 3, expected a divisor of the batch, 4"):
        recipe("tgan", batch=4, micro=3)
    with pytest.raises(StylegraftError, match="expected a micro of at least 2"):
        recipe("dcl", batch=4, micro=1)


def test_every_image_is_seen_once_an_epoch():
    order = [i for step in range(5) for i in sampling.data_order(7, step, 4, 10)]
    assert sorted(order[:10]) == list(range(10)) == sorted(order[10:])
    assert order[:10] != order[10:]


def test_recipes_are_frozen_and_complete():
    for name in RECIPES:
        for preset in ("paper", "scaled"):
            row = recipe(name, preset=preset)
            assert row.name == name
            assert row.preset == preset
            with pytest.raises(dataclasses.FrozenInstanceError):
                row.lr = 1  # type: ignore[misc]
