"""Phases that are recorded and played again: what they find is what they would have found. `recorder` replays on a CPU
as a CUDA graph does; tests/test_devices.py has the real ones.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.adaptation.recorder import record, storage
from tests.adaptation.toys import fresh
from torch import Tensor

from stylegraft.adaptation import loop
from stylegraft.adaptation.augment import augment, augmented
from stylegraft.adaptation.controller import AdaController
from stylegraft.adaptation.graphs import MOST, Graphs, Program, Unrecorded, Work, graphs_of
from stylegraft.adaptation.sampling import Keyed, Latents, mixed
from stylegraft.adaptation.state import State
from stylegraft.adaptation.tape import Tape, Untaped

CPU = torch.device("cpu")
EVERY = {"r1_every": 1, "pl_every": 1}
# Of what each method adds to a step one that has it, and how many steps meet it three times: taped, recorded, replayed.
RUNS = [
    ("ada", "full", "stylegan2", 4, EVERY),
    ("ada", "stylespace", "mobile", 4, EVERY),
    ("diffaugment", "affine-light+", "stylegan2", 4, EVERY),
    ("dcl", "affine+", "stylegan2", 10, {}),
    ("cdc", "affine+", "mobile", 8, {}),
    ("fixnoise", "style+", "stylegan2", 3, {}),
    ("maskedd", "style+", "stylegan2", 6, {}),
    ("ewc", "stylespace", "stylegan2", 3, {}),
    ("minegan", "miner + full", "stylegan2", 5, {}),
    ("tgan", "stylespace-sparse", "stylegan2", 6, {"warmup": 2}),
    ("bsa", "stylespace", "stylegan2", 3, {}),
]


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> list[Graphs]:
    """Every run of `train` with graphs, which come here."""
    made: list[Graphs] = []

    def make(state: State) -> Graphs:
        made.append(Graphs(state.device, record))
        return made[-1]

    monkeypatch.setattr(loop, "graphs_of", make)
    return made


def keyed(step: int = 0, tape: Tape | None = None) -> Keyed:
    return Keyed(0, step, 4, CPU, "G", tape=tape)


def parts(keyed: Keyed) -> tuple[Tensor, str]:
    return keyed.fed(lambda draws: draws.samples("z").normal(2)), keyed.choice("which", "abc")


@pytest.mark.parametrize(("name", "space", "kind", "steps", "changes"), RUNS)
def test_a_run_finds_what_it_finds_without(
    name: str, space: str, kind: str, steps: int, changes: dict[str, Any], taped: list[Graphs]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "graphs_of", lambda state: None)
        expected = list(loop.train(fresh(name, space, kind, **changes), steps))
    state = fresh(name, space, kind, **changes)
    alike(list(loop.train(state, steps)), expected)
    for graphs in taped:
        assert not graphs.given_up
        assert {phase[0] for phase in graphs.untaped} == ({"G"} if name == "bsa" else set()), graphs.untaped
        replayed = {
            phase[0] for phase, programs in graphs.programs.items() if any(one.replay for one in programs)
        }
        assert replayed == (set() if name == "bsa" else {"D", "G"})


def alike(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            if not key.startswith("time/"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=2e-5), (key, ours["step"])


def test_a_tape_tells_the_numbers_of_another_step_in_the_same_tensors() -> None:
    tape = Tape(CPU)
    z, chosen = parts(keyed(0, tape))
    assert torch.equal(z, parts(keyed(0))[0]) and chosen == parts(keyed(0))[1]
    step = next(step for step in range(1, 99) if parts(keyed(step))[1] == chosen)
    assert tape.fits(step, {})
    tape.refill(step)
    tape.rewind()
    again, same = parts(keyed(0, tape))
    assert again is z and same == chosen
    assert torch.equal(again, parts(keyed(step))[0])
    assert not all(tape.fits(step, {}) for step in range(99))


def test_what_is_drawn_past_a_tape_is_refused() -> None:
    for ask in (Keyed.samples, Keyed.shared, Keyed.once):
        with pytest.raises(Untaped, match="z"):
            ask(keyed(0, Tape(CPU)), "z")


def test_other_questions_than_the_taped_ones_are_refused() -> None:
    tape = Tape(CPU)
    parts(keyed(0, tape))
    tape.rewind()
    with pytest.raises(Untaped, match="question 0"):
        keyed(0, tape).choice("which", "abc")
    keyed(0, tape).fed(lambda draws: draws.samples("z").normal(2))
    with pytest.raises(Untaped, match="1 questions of 2"):
        tape.ended()


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "transforms", ["blit", "geom", "color", "filter", "noise", "cutout", "diffaugment", "bgcfnc"]
)
def test_transforms_of_one_shape_are_the_same(transforms: str, p: float) -> None:
    images = torch.rand(4, 3, 12, 20) * 2 - 1
    plain = augment(images, p, keyed().samples("augment.real"), transforms)
    ada = AdaController(mode="fixed", p=p, p_max=1.0)
    taped = augmented(images, ada, keyed(0, Tape(CPU)), "real", transforms)
    torch.testing.assert_close(taped, plain, rtol=1e-4, atol=1e-5)


def test_taps_of_each_sample_are_the_same_on_a_tape() -> None:
    names, which = keyed().spread("tap", "abcde")
    every, chosen = keyed(0, Tape(CPU)).spread("tap", "abcde")
    assert every == [*"abcde"]
    assert [names[i] for i in which.tolist()] == [every[i] for i in chosen.tolist()]


def test_one_tape_serves_all_crossovers() -> None:
    generator = fresh().generator
    tape = Tape(CPU)
    taped = mixed(keyed(0, tape), "z", generator, 0.5)
    crossings = set()
    for step in range(30):
        assert tape.fits(step, {})
        tape.refill(step)
        plain: Latents = mixed(keyed(step), "z", generator, 0.5)
        crossings.add(plain.cutoff if plain.other is not None else None)
        torch.testing.assert_close(taped.ws(generator), plain.ws(generator))
    assert len(crossings) > 2


def test_a_run_on_a_cpu_or_with_parts_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert graphs_of(fresh()) is None
    made: list[torch.device] = []
    monkeypatch.setattr("stylegraft.adaptation.graphs.Graphs", made.append)
    for space, changes, count in (
        ("full", {}, 1),
        ("singular-values", {}, 0),
        ("full", {"micro": 1}, 0),
        ("full", {"recompute": True}, 0),
        ("full", {"judge": "projected"}, 0),
    ):
        state = fresh("tgan", space, **{"batch": 2} | changes)
        state.device = torch.device("cuda")
        made.clear()
        graphs_of(state)
        assert len(made) == count, (space, changes)
    monkeypatch.setenv("STYLEGRAFT_CUDA_GRAPHS", "0")
    state = fresh()
    state.device = torch.device("cuda")
    assert graphs_of(state) is None


@pytest.mark.parametrize("error", [Unrecorded("operation not permitted"), torch.OutOfMemoryError("no room")])
def test_graphs_are_given_up_once_and_said_to_be(error: Exception, taped: list[Graphs]) -> None:
    def fails(work: Work) -> Work:
        work()
        raise error

    state = fresh("tgan")
    run = loop.train(state, 4)
    found = [next(run)]
    taped[0].record = fails
    found += list(run)
    why = [one.pop("graphs") for one in found if "graphs" in one]
    assert why == [f"{type(error).__name__}: {error}"]
    assert not taped[0].programs and not taped[0].buffers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "graphs_of", lambda state: None)
        alike(found, list(loop.train(fresh("tgan"), 4)))


def test_memory_that_ends_in_a_taped_step_gives_them_up(taped: list[Graphs], monkeypatch: pytest.MonkeyPatch):
    real = loop.backward

    def backward(*args: Any, tape: Tape | None = None, **kwargs: Any):
        found = real(*args, tape=tape, **kwargs)
        if tape is not None:
            raise torch.OutOfMemoryError("no room")
        return found

    monkeypatch.setattr(loop, "backward", backward)
    (stats,) = loop.train(fresh("tgan"), 1)
    assert stats.pop("graphs") == "OutOfMemoryError: no room"
    monkeypatch.setattr(loop, "graphs_of", lambda state: None)
    alike([stats], list(loop.train(fresh("tgan"), 1)))


def test_an_update_that_is_left_out_changes_nothing(
    taped: list[Graphs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay's gradients and path mean are put back as others are."""
    state = fresh("tgan", pl_every=1)
    for _ in loop.train(state, 6):
        pass
    before = float(state.path_mean)
    assert before > 0
    graphs = taped[0]
    play = Program.play

    def spoilt(self: Program, *args: Any):
        losses, signs = play(self, *args)
        return {name: loss * float("nan") for name, loss in losses.items()}, signs

    monkeypatch.setattr(loop, "graphs_of", lambda state: graphs)
    monkeypatch.setattr(Program, "play", spoilt)
    leaves = {name: leaf.detach().clone() for name, leaf in state.learners["G"].items()}
    (stats,) = loop.train(state, 7, skip=True)
    assert "G/pl" in stats["skipped"]
    assert float(state.path_mean) == before
    assert all(torch.equal(leaf, leaves[name]) for name, leaf in state.learners["G"].items())
    assert all(leaf.grad is None for leaf in state.learners["G"].values())


def test_programs_share_their_gradients(taped: list[Graphs]) -> None:
    state = fresh("dcl", "full")
    for _ in loop.train(state, 8):
        pass
    recorded = [one for programs in taped[0].programs.values() for one in programs if one.replay]
    assert len(recorded) > 3
    held = {storage(g) for one in recorded for g in one.gradients if g is not None}
    assert len(held) <= sum(map(len, state.learners.values()))


def test_no_more_than_so_many_graphs_a_phase() -> None:
    graphs, state = Graphs(CPU, record), fresh()

    def body(tape: Tape | None):
        key = Keyed(0, state.step, 4, CPU, "G", tape=tape)
        return {"loss": torch.tensor(float(key.told("step", lambda draws: draws.step)))}, []

    for state.step in range(MOST + 3):
        losses, _ = graphs.run("phase", state, [], body)
        assert losses["loss"] == state.step
    assert len(graphs.programs["phase"]) == MOST
