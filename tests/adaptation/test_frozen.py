"""What frozen blocks of D made of a training image is kept, and changes nothing."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from stylegraft.adaptation import frozen, loop
from stylegraft.adaptation.frozen import Frozen
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import acting_at, phases, train
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.stages import thaw
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.views import Views
from stylegraft.networks.discriminator import build_discriminator

from .toys import DISCRIMINATOR, after, fresh, pictures, small, toy


def doubled(policy: str, architecture: str = "resnet", **changes: Any) -> State:
    """A state before its first step, D and the images in float64."""
    torch.manual_seed(3)
    judge = build_discriminator({**DISCRIMINATOR, "architecture": architecture}).double().eval()
    images = pictures().double() / 127.5 - 1
    row = small("freezed", discriminator=policy, **changes)
    return begin(dataclasses.replace(toy(), discriminator=judge), images, row, "stylespace")


def judged(state: State, step: int) -> list[torch.Tensor]:
    """Logits of fake and real in the D phase of a step, and the gradients of its loss."""
    state.step = step
    views = Views(state, acting_at(phases(objectives(state.recipe))["D"], step))
    views.__dict__["fake"] = torch.randn(
        state.images[:4].shape, generator=torch.Generator().manual_seed(step)
    ).double()
    thaw(state, "D")
    logits = views.real_fake_logits
    learners = list(loop.active(state, "D").values())
    return [*logits, *torch.autograd.grad(logits[0].square().mean() - logits[1].mean(), learners)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fakes each call of `Frozen.maps` is given."""
    seen: list[int] = []
    original = Frozen.maps
    monkeypatch.setattr(
        Frozen, "maps", lambda self, x, *rest: seen.append(len(x)) or original(self, x, *rest)
    )
    return seen


@pytest.mark.parametrize(
    ("policy", "architecture", "start"),
    [("upto-8", "resnet", 8), ("rank1(b8.conv1) + head", "resnet", 8), ("head", "orig", 4)],
)
def test_logits_and_gradients_are_those_of_one_batch(
    policy: str, architecture: str, start: int, calls: list[int]
):
    state, plain = doubled(policy, architecture), doubled(policy, architecture)
    plain.frozen = None
    assert state.frozen is not None and state.frozen.start == start
    for step in (0, 7):
        for found, expected in zip(judged(state, step), judged(plain, step), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
    assert calls == [4, 4]


def test_it_acts_only_where_blocks_never_learn(monkeypatch: pytest.MonkeyPatch):
    assert doubled("all").frozen is None
    assert doubled("rank1(b16.conv0) + head").frozen is None
    assert doubled("all", warmup=2, warmup_judge="head").frozen is None  # frozen for a stage only
    assert doubled("upto-8", "skip").frozen is None  # whose next block reads the image
    kept = doubled("upto-8").frozen
    assert kept is not None and kept.nbytes == 2 * 10 * 8 * 8 * 8 * 8  # images, channels, px, float64
    monkeypatch.setattr(frozen, "LIMIT", kept.nbytes - 1)
    assert doubled("upto-8").frozen is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [4, 4]),
        ({"micro": 2, "mbstd": 2}, [2, 2, 2, 2]),
        ({"augment": "bgc", "ada_mode": "fixed", "ada_p": 0.5}, []),
        ({"mask": 0.5}, []),
        ({"cdc": True}, [4]),  # of four steps one judges whole images
    ],
)
def test_it_acts_where_images_are_judged_as_they_are(
    changes: dict[str, Any], expected: list[int], calls: list[int]
):
    state = fresh("freezed", "stylespace", **{"pl_weight": 0.0, "r1_gamma": 0.0, **changes})
    for _ in train(state, 2):
        pass
    assert calls == expected


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"augment": "bgc"}, True),  # p begins at 0, and may come back
        ({"augment": "bgc", "ada_p": 0.5}, True),
        ({"augment": "bgc", "ada_mode": "ramp"}, True),
        ({"augment": "bgc", "ada_mode": "ramp", "ada_p": 0.1}, False),
        ({"augment": "bgc", "ada_mode": "fixed", "ada_p": 0.5}, False),
        ({"mask": 0.5}, False),
    ],
)
def test_maps_are_kept_where_an_image_may_come_as_it_is(changes: dict[str, Any], kept: bool):
    assert (doubled("upto-8", **changes).frozen is not None) == kept


def test_a_resumed_run_is_the_whole_one_bit_for_bit():
    whole, half, resumed = after(3, "freezed"), after(1, "freezed"), fresh("freezed")
    unpack(resumed, *copy.deepcopy(pack(half)))
    for _ in train(resumed, 3):
        pass
    mine, theirs = pack(whole)[0], pack(resumed)[0]
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert whole.frozen is not None and resumed.frozen is not None
    assert len(whole.frozen.known) > len(resumed.frozen.known) > 0


def test_what_was_kept_is_forgotten_with_the_weights_or_images_it_came_from():
    state, other = doubled("upto-8"), doubled("upto-8")
    judged(state, 0)
    with torch.no_grad():
        for one in (state, other):
            one.discriminator.get_parameter("b16.conv0.weight").mul_(1.5)
            one.images = one.images.flip(0)
    for found, expected in zip(judged(state, 0), judged(other, 0), strict=True):
        assert torch.equal(found, expected)
