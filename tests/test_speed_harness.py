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
    for name in ("contenders", "flops", "measure", "textbook"):
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


def test_an_iteration_is_its_phases_in_their_shares(harness) -> None:
    *_, measure = harness
    taken = {
        p: {"ours": [(s, s)]} for p, s in {"D": 1.0, "G": 2.0, "EMA": 0.5, "R1": 16.0, "PL": 4.0}.items()
    }
    assert measure.iteration(taken)["ours"] == [(5.5, 5.5)]
