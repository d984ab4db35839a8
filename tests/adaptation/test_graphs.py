"""Phases that are recorded and played again: what they find is what they would have found. On a CPU the recorded work
is simply done again, with everything but the launch of a CUDA graph; tests/test_devices.py has that.
"""

from __future__ import annotations

import pytest
import torch
from tests.adaptation.toys import GENERATORS, GUIDED, OWN, fresh
from torch import Tensor

from stylegraft.adaptation import loop
from stylegraft.adaptation.graphs import MOST, Graphs, graphs_of
from stylegraft.adaptation.sampling import Keyed, Latents, mixed
from stylegraft.adaptation.state import State
from stylegraft.adaptation.tape import Tape, Untaped

CPU = torch.device("cpu")
STEPS = 9
# Terms that draw past the tape: these phases run as they are.
UNTAPED = {"bsa": {"G"}}
SPACE = {"adam": "adam", "minegan": "miner + full", "rick": "full"}
NAMES = sorted(name for name in OWN if name not in GUIDED)


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> list[Graphs]:
    """Every run of `train` with graphs, which come here."""
    made: list[Graphs] = []

    def make(state: State) -> Graphs:
        made.append(Graphs(state.device, lambda work: work))
        return made[-1]

    monkeypatch.setattr(loop, "graphs_of", make)
    return made


def keyed(step: int = 0, tape: Tape | None = None) -> Keyed:
    return Keyed(0, step, 4, CPU, "G", tape=tape)


def parts(keyed: Keyed) -> tuple[Tensor, str]:
    return keyed.fed(lambda draws: draws.samples("z").normal(2)), keyed.choice("which", "abc")


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_finds_what_it_finds_without(name: str, kind: str, taped: list[Graphs]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "graphs_of", lambda state: None)
        plain = fresh(name, SPACE.get(name, "affine-light+"), kind)
        expected = list(loop.train(plain, STEPS))
    state = fresh(name, SPACE.get(name, "affine-light+"), kind)
    found = list(loop.train(state, STEPS))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            if not key.startswith("time/"):
                assert ours[key] == pytest.approx(theirs[key], rel=2e-3, abs=2e-5), (key, ours["step"])
    (graphs,) = taped
    assert {phase[0] for phase in graphs.refused} == UNTAPED.get(name, set()), graphs.refused
    assert name == "bsa" or any(one.replay for programs in graphs.programs.values() for one in programs)


def test_a_tape_tells_the_numbers_of_another_step_in_the_same_tensors() -> None:
    tape = Tape(CPU)
    z, chosen = parts(keyed(0, tape))
    assert torch.equal(z, parts(keyed(0))[0]) and chosen == parts(keyed(0))[1]
    step = next(step for step in range(1, 99) if parts(keyed(step))[1] == chosen)
    assert tape.fits(step)
    tape.refill(step)
    tape.rewind()
    again, same = parts(keyed(0, tape))
    assert again is z and same == chosen
    assert torch.equal(again, parts(keyed(step))[0])
    assert not all(tape.fits(step) for step in range(99))


def test_what_is_drawn_past_a_tape_is_refused() -> None:
    for ask in (Keyed.samples, Keyed.shared):
        with pytest.raises(Untaped, match="z"):
            ask(keyed(0, Tape(CPU)), "z")


def test_one_tape_serves_all_crossovers() -> None:
    generator = fresh().generator
    tape = Tape(CPU)
    taped = mixed(keyed(0, tape), "z", generator, 0.5)
    crossings = set()
    for step in range(30):
        assert tape.fits(step)
        tape.refill(step)
        plain: Latents = mixed(keyed(step), "z", generator, 0.5)
        crossings.add(plain.cutoff if plain.other is not None else None)
        torch.testing.assert_close(taped.ws(generator), plain.ws(generator))
    assert len(crossings) > 2


def test_a_run_on_a_cpu_or_with_parts_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert graphs_of(fresh()) is None
    made: list[torch.device] = []
    monkeypatch.setattr("stylegraft.adaptation.graphs.Graphs", made.append)
    for changes, count in (({}, 1), ({"micro": 1}, 0), ({"recompute": True}, 0), ({"judge": "projected"}, 0)):
        state = fresh(**{"batch": 2} | changes)
        state.device = torch.device("cuda")
        made.clear()
        graphs_of(state)
        assert len(made) == count, changes
    monkeypatch.setenv("STYLEGRAFT_CUDA_GRAPHS", "0")
    state = fresh()
    state.device = torch.device("cuda")
    assert graphs_of(state) is None


def test_a_phase_that_cannot_be_recorded_runs_as_it_is(taped: list[Graphs]) -> None:
    def fails(work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing")

    state, plain = fresh("dcl"), fresh("dcl")
    run = loop.train(state, STEPS)
    found = [next(run)]
    taped[0].record = fails
    found += list(run)
    expected = list(loop.train(plain, STEPS))
    assert any("capturing" in why for why in taped[0].refused.values())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["G/adv"] == pytest.approx(theirs["G/adv"], rel=1e-3)


def test_no_more_than_so_many_graphs_a_phase() -> None:
    graphs, state = Graphs(CPU, lambda work: work), fresh()

    def body(tape: Tape | None):
        key = Keyed(0, state.step, 4, CPU, "G", tape=tape)
        return {"loss": torch.tensor(float(key.told(lambda draws: draws.step)))}, []

    for state.step in range(MOST + 3):
        losses, _ = graphs.run("phase", state, [], body)
        assert losses["loss"] == state.step
    assert len(graphs.programs["phase"]) == MOST
