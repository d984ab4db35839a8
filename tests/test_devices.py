"""What is offered on a device has run there; what has not is refused by name, and so is a device that is not there."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tests.adaptation import toys

from stylegraft import devices
from stylegraft.adaptation import loop
from stylegraft.adaptation.graphs import SWITCH, Graphs, graphs_of
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints import Source, load
from stylegraft.domains import w_avg_shift
from stylegraft.domains.domain import base_tensors
from stylegraft.errors import StylegraftError

HERE = [kind for kind, count in devices.available().items() if count]
here = pytest.mark.parametrize("device", HERE)


@pytest.fixture
def source(toy_file: Path) -> Source:
    return load(toy_file)


@pytest.fixture
def every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: {"cpu": 1, "cuda": 2, "mps": 1})


@here
def test_images_are_those_of_the_cpu(source: Source, device: str) -> None:
    devices.check_device(device, "sample")
    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = source.generator(z, psi=0.7).image
        found = source.to(device).generator(z.to(device), psi=0.7).image.cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@here
def test_the_mean_of_w_moves_as_on_the_cpu(source: Source, device: str) -> None:
    base = base_tensors(source.generator)
    moved = {name: base[name].flip(0).clone() for name in source.generator.groups["mapping"]}

    def shift(on: str) -> torch.Tensor:
        there = {name: tensor.to(on) for name, tensor in moved.items()}
        return w_avg_shift(source.to(on).generator, there, samples=64)

    assert shift("cpu").any()
    torch.testing.assert_close(shift(device), shift("cpu"), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", [kind for kind in HERE if kind != "cpu"])
@pytest.mark.parametrize(
    ("name", "precision", "near"),
    [
        ("fixnoise", "fp32", 0.01),
        ("dcl", "fp32", 0.01),
        ("dcl", "tf32", 0.05),
        ("dcl", "bf16", 0.05),
        ("dcl", "fp16", 0.05),
    ],
)
def test_adapt_starts_from_the_losses_of_the_cpu_and_learns(
    source: Source, device: str, name: str, precision: str, near: float
) -> None:
    if ("adapt", device) in devices.REFUSED:
        pytest.skip(f"adapt is refused on {device}")
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(1)).byte()

    def run(on: str, **changes: str):
        asked = {"recipe": name, "steps": 5, "batch": 2, "space": "full", "quiet": True}
        return adapt(source.to(on), images, device=on, **asked, **changes)

    found, expected = run(device, precision=precision), run("cpu")
    first = {key: value for key, value in expected.stats[0].items() if key[:2] in ("D/", "G/")}
    assert {key: found.stats[0][key] for key in first} == pytest.approx(first, rel=near, abs=near / 100)
    parts = [part for terms in found.domain.deltas.values() for term in terms for part in term.parts.values()]
    assert all(torch.isfinite(part).all() for part in parts)
    assert any(part.any() for part in parts)


@pytest.mark.skipif("cuda" not in HERE, reason="no GPU that torch sees")
@pytest.mark.parametrize("architecture", ["stylegan2", "mobile"])
@pytest.mark.parametrize(
    "name", ["tgan", "ada", "dcl", "cdc", "ewc", "fixnoise", "freezed", "ui2i", "rssa", "diffaugment"]
)
def test_a_run_with_cuda_graphs_finds_what_it_finds_without(
    name: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Graphs] = []

    def run(switch: str) -> list[dict]:
        monkeypatch.setenv(SWITCH, switch)
        row = toys.small(name, **toys.WITHOUT.get(architecture, {}).get(name, {}))
        _, images = toys.request_of(row)
        state = begin(copy.deepcopy(toys.toy(architecture)).to("cuda"), images, row, "full", device="cuda")
        return list(train(state, 20))

    def remember(state: State) -> Graphs | None:
        graphs = graphs_of(state)
        made.extend([graphs] if graphs else [])
        return graphs

    monkeypatch.setattr(loop, "graphs_of", remember)
    expected, found = run("0"), run("1")
    (graphs,) = made
    assert not graphs.untaped and not graphs.given_up
    assert sum(one.replay is not None for programs in graphs.programs.values() for one in programs) >= 3
    for ours, theirs in zip(found, expected, strict=True):
        for key, value in theirs.items():
            if key[:2] in ("D/", "G/"):  # rounding grows from step to step
                assert ours[key] == pytest.approx(value, rel=0.02 * (1 + ours["step"] / 2), abs=0.02)


@pytest.mark.usefixtures("every_kind")
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu' is unknown; expected cpu, cuda, mps or, say, cuda:1"),
        ("", "device '' is unknown"),
        ("cuda:", "device 'cuda:' is unknown"),
        ("cuda:x", "device 'cuda:x' is unknown"),
        ("cuda:2", "device 'cuda:2': this installation of torch sees 2 of its kind; use --device cpu"),
        ("mps:1", "sees 1 of its kind"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str, message: str) -> None:
    with pytest.raises(StylegraftError, match=message):
        devices.check_device(device, "sample")


def test_a_kind_that_torch_does_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: {"cpu": 1, "cuda": 0, "mps": 0})
    with pytest.raises(StylegraftError, match="device 'cuda': this installation of torch sees none"):
        devices.check_device("cuda", "sample")


@pytest.mark.usefixtures("every_kind")
def test_adapt_on_mps_is_refused_by_name_and_sampling_is_not(toy_file: Path) -> None:
    with pytest.raises(
        StylegraftError, match="'mps': adapt is refused there, never run on mps; use --device cpu"
    ):
        adapt(toy_file, torch.zeros(1, 3, 16, 16), device="mps")
    assert devices.check_device("mps", "sample") == "mps"
    assert devices.check_device("cuda:1", "adapt") == "cuda:1"
