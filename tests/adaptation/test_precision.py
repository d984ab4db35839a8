"""A run in 16 bits learns what the run in float32 learns; where it cannot be, one line says so."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.cores import AVX512

from stylegraft.adaptation import plan
from stylegraft.adaptation.checks import CHOICES, ON_CPU, check_precision
from stylegraft.adaptation.loop import PHASES, train
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.sameness import differing
from stylegraft.cli.adapt import Options, checked
from stylegraft.errors import StylegraftError
from stylegraft.networks import precision as networks

from .toys import fresh, pictures, small, toy


def test_its_names_are_those_of_the_networks():
    assert CHOICES["precision"] == tuple(networks.PRECISIONS)
    assert ON_CPU.keys() == networks.PRECISIONS.keys() - {"fp32"}
    with pytest.raises(
        StylegraftError, match=r"precision is 'fp61' \(did you mean 'fp16'\?\); expected fp32, tf32, "
    ):
        recipe("tgan", precision="fp61")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_of_all_phases_finds_the_losses_of_float32_and_moves_float32(precision: str):
    """dcl looks at maps of both networks; R1 and path length act in step 0."""
    other, whole = fresh("dcl", "full", precision=precision), fresh("dcl", "full")
    (found,), (expected,) = train(other, 1), train(whole, 1)
    assert {f"time/{phase}" for phase in PHASES} <= found.keys()
    for name, value in expected.items():
        if "/" in name and not name.startswith("time/"):
            # Path length comes last, after a step of Adam, which moves each weight by its gradient's sign.
            far = AVX512 and "pl" in name
            near = {"rel": 0.5, "abs": 1e-3} if far else {"rel": 0.05, "abs": 1e-4}
            assert found[name] == pytest.approx(value, **near), name
    for owner in ("G", "D"):
        assert {leaf.dtype for leaf in other.learners[owner].values()} == {torch.float32}
        for leaf in other.optimizers[owner].state.values():
            assert leaf["exp_avg"].dtype == torch.float32
    assert networks.half() is None, "after the step all is as it was"


def test_a_run_has_one_precision_and_those_before_it_had_float32():
    before, now = asdict(small("tgan")), asdict(small("tgan", precision="bf16"))
    assert differing({"recipe": before}, {"recipe": now}) == ("recipe.precision", "fp32", "bf16")
    del before["precision"]
    assert differing({"recipe": before}, {"recipe": asdict(small("tgan"))}) is None


def test_a_plan_that_does_not_fit_names_it_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch):
    state = fresh("tgan", "full", batch=8)
    row = state.recipe
    assert plan.savings(row, 64, half=True) == [*plan.savings(row, 64), "precision=bf16"]
    for precision in ("bf16", "fp16"):
        assert "precision=bf16" not in plan.savings(replace(row, precision=precision), 64, half=True)

    monkeypatch.setattr(plan, "LARGE", 0)
    monkeypatch.setattr(plan, "step_memory", lambda state: 1 << 40)
    monkeypatch.setattr(plan, "free_memory", lambda device: 1)
    monkeypatch.setattr(plan, "peak_memory", lambda device: 1)
    for device, told in (("cuda", True), ("cpu", False)):
        state.recipe, state.device = row, torch.device(device)
        assert ("--set precision=bf16" in plan.forecast(state)[1]) == told


def test_the_plan_says_what_is_not_float32():
    state = fresh("tgan")
    assert not any("precision" in line for line in plan.describe(state, "affine-light+"))
    for name, said in (
        ("bf16", "precision: bf16 in G and D from 8 px on, float32 in all else"),
        ("tf32", "precision: TF32 in matrix products and convolutions"),
    ):
        state.recipe = replace(state.recipe, precision=name)
        assert said in plan.describe(state, "affine-light+")


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("tf32", "--set precision=tf32: needs --device cuda; a CPU has no such products"),
        (
            "bf16",
            "--set precision=bf16: needs --device cuda; a CPU takes 5 to 20 times as long for it as for fp32",
        ),
        (
            "fp16",
            "--set precision=fp16: needs --device cuda; a CPU takes 5 to 20 times as long for it as for fp32",
        ),
    ],
)
def test_a_cpu_is_refused_it_before_anything_is_written(precision: str, said: str, tmp_path: Path):
    out = tmp_path / "run"
    with pytest.raises(StylegraftError) as error:
        adapt(toy(), pictures(), recipe=small("tgan"), precision=precision, out=out)
    assert str(error.value) == said
    with pytest.raises(StylegraftError) as error:
        checked(Options("faces-64", "pencil", changes=(f"precision={precision}",), out=out))
    assert str(error.value) == said
    assert not out.exists()


def test_a_generator_without_such_layers_is_refused_it():
    mobile = toy("mobile").generator.half_blocks
    row = small("tgan", precision="fp16")
    with pytest.raises(
        StylegraftError, match="=fp16: this generator has no layers that compute so; expected"
    ):
        check_precision(row, "cuda", mobile)
    for other in (replace(row, precision="tf32"), replace(row, precision="fp32")):
        check_precision(other, "cuda:1", mobile)
    check_precision(row, "cuda:1", toy().generator.half_blocks)


def test_a_run_that_diverges_in_fp16_is_told_of_bf16():
    from stylegraft.adaptation.diverged import Diverged, require_numbers

    for precision, told in (("fp16", True), ("bf16", False)):
        state = SimpleNamespace(step=3, recipe=small("tgan", precision=precision), learners={"G": {}})
        with pytest.raises(Diverged) as error:
            require_numbers(state, "G", {"G/adv": float("nan")})  # pyright: ignore
        assert ("or set precision=bf16, with a new --out" in str(error.value)) == told
