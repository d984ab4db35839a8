"""The judge on VGG16's features keeps the promises of any discriminator; here VGG16 has random weights."""

from __future__ import annotations

import pytest
import torch

from stylegraft.adaptation import projected
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import begin
from stylegraft.checkpoints import assets
from stylegraft.domains import Domain
from stylegraft.encoders.vgg16 import VGG16Trunk
from stylegraft.errors import StylegraftError

from .toys import pictures, small, toy


@pytest.fixture(autouse=True)
def random_vgg(monkeypatch: pytest.MonkeyPatch):
    class Weights:
        @property
        def trunk(self) -> VGG16Trunk:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return VGG16Trunk()

    monkeypatch.setattr(projected, "load_vgg16", Weights)


def judge(resolution: int = 16) -> projected.Projected:
    torch.manual_seed(1)
    return projected.load_projected(resolution, 3)


def fresh(name: str = "dcl", **changes):
    row = small(name, judge="projected", **{"cdc": False, "batch": 2, **changes})
    return begin(toy(), pictures().float() / 127.5 - 1, row, "stylespace")


def test_every_map_counts_alike_and_gradients_reach_the_image():
    d = judge()
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    out = d(x, taps=("relu3_3",))
    assert out.logits is not None and out.logits.shape == (2, 5, 8, 8)
    assert out.taps["relu3_3"].shape == (2, 64, 16, 16)  # 64 px are looked at, at the least
    out.logits.sum().backward()
    assert x.grad is not None and x.grad.abs().amax((1, 2, 3)).min() > 0
    stopped = d(x, taps=("relu3_3",), stop="relu3_3")
    assert stopped.logits is None
    assert torch.equal(stopped.taps["relu3_3"], out.taps["relu3_3"])


def test_heads_are_bounded_whatever_their_weights():
    """Each layer has a largest singular value of 1, so scaling the stored kernels changes nothing."""
    d, x = judge(), torch.randn(2, 3, 16, 16)
    before = d(x).logits
    with torch.no_grad():
        for head in d.heads.values():
            for name in ("first", "second", "last"):
                head.get_parameter(name).mul_(7)
    torch.testing.assert_close(d(x).logits, before, atol=1e-5, rtol=1e-4)


def test_only_the_heads_learn_and_only_they_are_kept():
    state = fresh()
    heads = {f"D.{name}" for name, _ in state.discriminator.named_parameters()}
    assert state.learners["D"].keys() == heads
    assert all(name.startswith("D.heads.") for name in heads)
    tensors, _ = pack(state)
    assert not any("trunk" in name for name in tensors)
    trunk = [value.clone() for value in state.discriminator.buffers()]
    before = {name: p.detach().clone() for name, p in state.learners["D"].items()}
    list(train(state, 1))
    assert all(torch.equal(a, b) for a, b in zip(trunk, state.discriminator.buffers(), strict=True))
    assert all(not torch.equal(before[name], p.detach()) for name, p in state.learners["D"].items())


@pytest.mark.parametrize("name", ["ada", "dcl"])
def test_a_stopped_run_goes_on_bit_for_bit(name: str):
    whole, first = fresh(name), fresh(name)
    list(train(whole, 2))
    list(train(first, 1))
    again = fresh(name)
    unpack(again, *pack(first))
    list(train(again, 2))
    for key, tensor in pack(whole)[0].items():
        assert torch.equal(tensor, pack(again)[0][key]), key


def test_a_source_without_a_discriminator_needs_no_warm_up(tmp_path):
    from stylegraft.checkpoints import Source

    source = Source("alone", toy().generator)
    run = adapt(
        source, pictures(), recipe=recipe("dcl", judge="projected", steps=2, batch=2), space="stylespace",
        out=tmp_path / "run", align="off", quiet=True,
    )  # fmt: skip
    assert [one["step"] for one in run.stats] == [0, 1]
    assert "G/adv" in run.stats[0]
    assert Domain.load(tmp_path / "run").count == run.domain.count


def test_what_it_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StylegraftError, match="no patch exit"):
        recipe("dcl", judge="projected", cdc=True)
    with pytest.raises(StylegraftError, match="expected stylegan2 or projected"):
        recipe("dcl", judge="vgg")
    monkeypatch.undo()
    monkeypatch.setattr(
        assets, "find", lambda name, where="": (_ for _ in ()).throw(StylegraftError(f"assets get {name}"))
    )
    with pytest.raises(StylegraftError, match="judge=projected looks through VGG16: assets get lpips"):
        projected.load_projected(16, 3)
