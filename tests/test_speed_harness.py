"""The textbook StyleGAN2 of the speed harness is the library's to rounding; its counts are those of formulas."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

SPEED = Path(__file__).parents[1] / "benchmarks" / "speed"
pytestmark = pytest.mark.skipif(not SPEED.is_dir(), reason="the benchmarks are not part of this installation")


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SPEED))
    import contenders
    import flops

    import measure

    yield contenders, flops, measure
    for name in (path.stem for path in SPEED.glob("*.py")):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("space", ["full", "affine-light+", "stylespace"])
@pytest.mark.parametrize("grouped", [False, True])
def test_both_sides_have_the_same_outputs_losses_and_gradients(harness, space: str, grouped: bool) -> None:
    contenders, *_ = harness
    source = contenders.random_source("16/128/16")
    source.generator.requires_grad_(False)
    ours = contenders.Ours(source, space, 4, "cpu")
    theirs = contenders.Textbook(source, ours, grouped)
    assert max(contenders.output_errors(source, ours, theirs, 4).values()) < 1e-5
    for phase, (loss, gradient) in contenders.phase_errors(ours, theirs).items():
        assert loss < 1e-4, phase
        assert gradient < 1e-2, phase


def test_in_float64_both_sides_are_the_same_to_rounding(harness, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders, *_ = harness

    class Double(contenders.sampling.Draws):
        def normal(self, *shape: int) -> torch.Tensor:
            return super().normal(*shape).double()

        def uniform(self, *shape: int) -> torch.Tensor:
            return super().uniform(*shape).double()

    monkeypatch.setattr(contenders.sampling, "Draws", Double)
    torch.set_default_dtype(torch.float64)
    try:
        source = contenders.random_source("16/64/8")
        source.generator.double().requires_grad_(False)
        ours = contenders.Ours(source, "full", 4, "cpu")
        theirs = contenders.Textbook(source, ours, False)
        assert max(contenders.output_errors(source, ours, theirs, 4).values()) < 1e-12
        for phase, errors in contenders.phase_errors(ours, theirs).items():
            assert max(errors) < 1e-12, phase
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_both_sides_freeze_is_the_same(harness) -> None:
    contenders, *_ = harness
    source = contenders.random_source("32/128/16")
    source.generator.requires_grad_(False)
    ours = contenders.Ours(source, "stylespace", 4, "cpu", "freezed")
    theirs = contenders.Textbook(source, ours, False)
    assert ours.state.frozen.start == 16
    assert not [name for name in theirs.judged if name.startswith("D.b32.")]
    for phase, (loss, gradient) in contenders.phase_errors(ours, theirs).items():
        assert loss < 1e-4, phase
        assert gradient < 1e-2, phase


def test_operations_are_those_that_torch_counts(harness) -> None:
    contenders, flops, _ = harness
    from torch.utils.flop_counter import FlopCounterMode

    source = contenders.random_source("16/128/16")
    config = source.generator.config
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        source.discriminator(torch.zeros(1, 3, 16, 16))
    assert counted.get_total_flops() == pytest.approx(
        flops.discriminator(config) * 1e9, rel=0.2
    )  # FIR is extra


def test_who_begins_takes_turns_and_who_fails_is_left_out(harness) -> None:
    *_, measure = harness
    called: list[str] = []
    tasks = {("G", who): lambda who=who: called.append(who) for who in ("ours", "theirs")}
    tasks["D", "broken"] = lambda: 1 / 0
    taken, errors = measure.in_turns(tasks, "cpu", rounds=3, warmup=1, seconds=60)
    assert called == ["ours", "theirs", "theirs", "ours"] * 2
    assert {who: len(rounds) for who, rounds in taken["G"].items()} == {"ours": 3, "theirs": 3}
    assert taken["D"] == {}
    assert errors == {"D, broken": "ZeroDivisionError: division by zero"}


@pytest.mark.parametrize(("threads", "counted"), [(1, 50.0), (2, 1000.0)])
def test_several_threads_are_timed_by_the_clock(harness, monkeypatch, threads: int, counted: float) -> None:
    *_, measure = harness
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    taken = {"ours": [(1.0, 0.05)] * 3, "theirs": [(2.0, 0.2)] * 3}
    rows = measure.summary(taken, "cpu")
    assert rows["ours"]["ms"] == counted
    assert rows["theirs"]["over ours"] == ([4.0] * 3 if threads == 1 else [2.0] * 3)


@pytest.mark.parametrize("key", ["threads", "huge pages asked for", "machine", "torch"])
def test_cells_of_another_machine_are_not_added(harness, key: str) -> None:
    import run

    now = {"machine": "a", "cpu": "b", "threads": 1, "huge pages asked for": "0", "torch": "2"}
    run.require_same({}, now, Path("speed.json"))
    run.require_same(now | {"commit": "x", "rows": {"cell": {}}}, now, Path("speed.json"))
    with pytest.raises(SystemExit, match=f"speed.json is of {key} 3"):
        run.require_same(now | {key: 3, "rows": {"cell": {}}}, now, Path("speed.json"))


def test_an_iteration_is_its_phases_in_their_shares(harness) -> None:
    *_, measure = harness
    taken = {
        p: {"ours": [(s, s)]} for p, s in {"D": 1.0, "G": 2.0, "EMA": 0.5, "R1": 16.0, "PL": 4.0}.items()
    }
    assert measure.iteration(taken)["ours"] == [(5.5, 5.5)]


def test_a_step_without_a_trick_has_the_same_gradients(harness) -> None:
    contenders, *_ = harness
    import tricks

    from stylegraft.adaptation import loop
    from stylegraft.adaptation.stages import thaw

    ours = contenders.Ours(contenders.random_source("16/64/8"), "full", 4, "cpu")

    def gradients(phase: str) -> torch.Tensor:
        acting = ours.plan[phase]
        thaw(ours.state, acting[0].owner)
        loop.backward(ours.state, acting, (0, 1))
        found = []
        for p in ours.state.learners[acting[0].owner].values():
            found.append(torch.zeros(1) if p.grad is None else p.grad.flatten())
            p.grad = None
        return torch.cat(found)

    expected = {phase: gradients(phase) for phase in ("D", "G")}
    for name, (undo, row) in tricks.TRICKS.items():
        if row != tricks.FULL or undo is tricks.drawing:  # which has other draws
            continue
        phase = "D" if "reals" in name else "G"
        with undo(ours):
            found = gradients(phase)
        assert (found - expected[phase]).norm() < 1e-3 * found.norm(), name
    assert all(g["fused"] for optimizer in ours.state.optimizers.values() for g in optimizer.param_groups)
