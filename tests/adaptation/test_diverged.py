"""A number that is not finite stops a run in the step that made it, or is left out; what was saved stays good."""

from __future__ import annotations

import json

import pytest
import torch

from stylegraft.adaptation import loop
from stylegraft.adaptation.diverged import ROW, Diverged
from stylegraft.adaptation.folder import Folder
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.run import adapt
from stylegraft.checkpoints import tensorfile
from stylegraft.errors import StylegraftError

from .toys import fresh, pictures, toy


def go(out, steps=6, **options):
    base = {"recipe": "ada", "space": "stylespace", "every": 2, "quiet": True, "warmup": 0, "batch": 2}
    return adapt(toy(), pictures(), steps=steps, out=out, **base | options)


def poison(monkeypatch, steps, owner="G", what=float("nan"), gradient=False):
    """Losses (or gradients alone) of some steps are not finite."""
    kept = loop.backward

    def spoiled(state, acting, part, share):
        losses, signs = kept(state, acting, part, share)
        if state.step in steps and acting[0].owner == owner:
            if gradient:
                next(iter(state.learners[owner].values())).grad.fill_(what)
            else:
                losses |= {acting[0].name: torch.tensor(what)}
        return losses, signs

    monkeypatch.setattr(loop, "backward", spoiled)


@pytest.mark.parametrize(
    ("owner", "what", "gradient"), [("G", float("nan"), False), ("D", float("inf"), True)]
)
def test_a_run_stops_in_that_step_with_a_word_on_where(owner, what, gradient, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        poison(patch, {3}, owner, what, gradient)
        with pytest.raises(Diverged) as error:
            go(tmp_path / "run", 4)
    said = str(error.value)
    assert said.startswith(f"step 3: {owner}/")
    assert ("the gradient of " if gradient else "its gradients too") in said and "--nonfinite skip" in said
    assert "as it was saved at step 2" in (tmp_path / "run" / "log.txt").read_text()
    go(tmp_path / "run", 4)
    go(tmp_path / "whole", 4)
    for name in ("domain.safetensors", "state.safetensors"):
        mine, whole = (tensorfile.read(tmp_path / run / name)[0] for run in ("run", "whole"))
        assert all(torch.equal(mine[key], whole[key]) for key in whole)


@pytest.mark.parametrize("owner", ["G", "D"])
def test_a_skipped_update_changes_nothing_else(owner, monkeypatch):
    state, other = (fresh("dcl", augment="bgc", ada_kimg=0.05) for _ in range(2))
    poison(monkeypatch, {0}, owner)
    kept = {name: leaf.detach().clone() for name, leaf in state.learners[owner].items()}
    with pytest.raises(Diverged):
        next(train(other, 1))
    one = next(train(state, 1, skip=True))
    assert one["skipped"].startswith(f"step 0: {owner}/") and f"{owner}/grad" not in one
    assert all(torch.equal(leaf, kept[name]) for name, leaf in state.learners[owner].items())
    assert not any(p.grad is not None for p in state.learners[owner].values())
    assert not any(p in state.optimizers[owner].state for p in state.learners[owner].values())
    if owner == "D":  # what was seen on the way to the loss is forgotten, too
        assert state.ada and state.ada._observed == 0 and one["real_sign"] == 0
    else:
        assert float(state.path_mean) == -1


def test_a_run_with_skipped_updates_says_so_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    poison(monkeypatch, {1, 4})
    for run, parts in (("whole", (5,)), ("parts", (2, 5))):
        for steps in parts:
            go(tmp_path / run, steps, nonfinite="skip")
    whole, parts = (pack_of(tmp_path / run) for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "skipped" in line] == [1, 4]
    assert "an update is left out: step 4: G/" in (tmp_path / "whole" / "log.txt").read_text()


def pack_of(run):
    return tensorfile.read(run / "state.safetensors")[0]


def test_a_session_of_its_own_changes_nothing_of_what_is_skipped(monkeypatch):
    whole, first, second = (fresh("tgan") for _ in range(3))
    poison(monkeypatch, {2}, "D")
    stats = [*train(whole, 4, skip=True)]
    list(train(first, 2, skip=True))
    tensors, numbers = pack(first)
    unpack(second, tensors, json.loads(json.dumps(numbers)))
    for ours, theirs in zip(stats[2:], train(second, 4, skip=True), strict=True):
        assert {k: v for k, v in ours.items() if k[:5] != "time/"} == {
            k: v for k, v in theirs.items() if k[:5] != "time/"
        }
    assert "skipped" in stats[2] and stats[2]["real_sign"] == stats[1]["real_sign"]
    unpack(second, tensors, {"step": 2, "ada": None})  # a state from before
    assert (second.row, float(second.real_sign)) == (0, 0)


def test_a_run_that_only_skips_stops_after_all_in_whichever_session(monkeypatch):
    first, second = fresh("tgan"), fresh("tgan")
    poison(monkeypatch, set(range(100)))
    list(train(first, 2, skip=True))
    assert first.row == 2
    first.row = ROW - 1  # as if there had been as many
    unpack(second, *pack(first))
    with pytest.raises(Diverged, match="step 3: "):
        list(train(second, 100, skip=True))


def test_a_weight_that_an_update_spoils_stops_even_a_run_that_skips(tmp_path):
    go(tmp_path / "run", 2, nonfinite="skip")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.safetensors")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "set_rates", lambda state: state.optimizers["G"].param_groups[0].update(lr=1e38))
        with pytest.raises(Diverged, match=r"step [23]: after its update .* no finite number"):
            go(tmp_path / "run", 4, nonfinite="skip", every=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.safetensors")} == before


def test_a_state_that_holds_infinity_is_not_saved(tmp_path):
    state = fresh("tgan")
    folder = Folder(tmp_path)
    folder.save(state, {})
    before = folder.state.read_bytes()
    next(iter(state.ema.values())).fill_(float("inf"))
    with pytest.raises(Diverged, match="ema/.* holds NaN or infinity, and is not saved"):
        folder.save(state, {})
    assert folder.state.read_bytes() == before


def test_another_word_is_refused(tmp_path):
    with pytest.raises(StylegraftError, match="--nonfinite go: expected stop or skip"):
        go(tmp_path / "run", nonfinite="go")
