"""Phases of a step as CUDA graphs: one launch in place of some thousand, where Python and not the GPU sets the pace.

A phase is taped when it is new, recorded as a graph when that tape fits for the first time again, and replayed from
then on. Phases differ by their terms, by D's exit and by what is chosen at random, such as the tap of a contrast; each
has a graph of its own, all in one pool of memory. What differs by its numbers only (latents, noise, which images, the
crossover of styles, ADA's transforms) is copied into place before a replay. A taped phase finds what an untaped one
does, to rounding; it may compute more, as it has to fit other numbers, too: both latents of a mix, every tap that a
sample may have, ADA's canvas at its largest.

A phase that draws past its tape stays untaped. Where a recording fails, or memory ends, all graphs are given up and the
run goes on untaped. They take about as much memory again as a step does. Measured: benchmarks/results/graphs.json.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.state import State
from stylegraft.adaptation.tape import Tape, Untaped
from stylegraft.domains.deltas import Delta
from stylegraft.networks import ops

MOST = 64  # graphs of one phase
LARGEST = 256  # px; above, kernels take longer than their launches
SWITCH = "STYLEGRAFT_CUDA_GRAPHS"  # 0: without

Found = tuple[dict[str, Tensor], list[Tensor]]  # losses by name, and the signs of D on real images
Body = Callable[[Tape | None], Found]
Work = Callable[[], None]
Record = Callable[[Work], Work]


class Unrecorded(Exception):
    """A phase could not be recorded."""


@dataclass
class Program:
    """A phase with its tape and, once it is recorded, its graph. The tensors that it reads and writes stay the same."""

    tape: Tape
    replay: Work | None = None
    path_mean: Tensor = field(default_factory=lambda: torch.tensor(-1.0))  # read
    moved: Tensor | None = None  # path_mean after it; None where it does not move
    losses: dict[str, Tensor] = field(default_factory=dict)
    signs: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor | None] = field(default_factory=list)

    def record(
        self, record: Record, body: Body, state: State, learners: Sequence[Tensor], buffers: Sequence[Tensor]
    ) -> None:
        """Make the graph: of the losses, and of the gradients, which are written into `buffers`, one a learner."""
        self.path_mean = state.path_mean.clone()

        def work() -> None:
            before, state.path_mean = state.path_mean, self.path_mean
            self.tape.rewind()
            try:
                self.losses, self.signs = body(self.tape)
                self.tape.ended()
                self.moved = None if state.path_mean is self.path_mean else state.path_mean
                found = [leaf.grad for leaf in learners]
                self.gradients = [
                    None if own is None else held for own, held in zip(found, buffers, strict=True)
                ]
                held = [one for one in self.gradients if one is not None]
                if held:
                    torch._foreach_copy_(held, [one for one in found if one is not None])  # pyright: ignore
            finally:
                state.path_mean = before
                for leaf in learners:
                    leaf.grad = None

        self.replay = record(work)

    def play(self, state: State, learners: Sequence[Tensor]) -> Found:
        """This step's losses, signs and gradients, as of the tape's numbers. They last until the next replay."""
        assert self.replay is not None
        self.path_mean.copy_(state.path_mean)
        self.replay()
        for leaf, gradient in zip(learners, self.gradients, strict=True):
            leaf.grad = gradient
        if self.moved is not None:
            state.path_mean = self.moved.clone()
        return self.losses, self.signs


class Graphs:
    """The programs of a run's phases. record: how work becomes something to replay, `Recorder` on CUDA."""

    def __init__(self, device: torch.device, record: Record | None = None) -> None:
        self.device = device
        self.record = record or Recorder(device)
        self.programs: dict[Hashable, list[Program]] = {}
        self.buffers: dict[int, Tensor] = {}  # of gradients, by the learner's id: all programs share them
        self.untaped: dict[Hashable, str] = {}  # phases that draw past a tape, and what
        self.given_up = ""  # why, once they are

    def run(self, phase: Hashable, state: State, learners: Sequence[Tensor], body: Body) -> Found:
        """What `body` finds in this step: losses and signs, with gradients in its learners, which have none yet."""
        if self.given_up or phase in self.untaped:
            return body(None)
        path_mean = state.path_mean
        try:
            return self._taped(phase, state, learners, body)
        except Untaped as error:
            self.untaped[phase] = str(error)
            self.programs.pop(phase, None)
        except (Unrecorded, torch.OutOfMemoryError) as error:
            self._give_up(error)
        state.path_mean = path_mean
        for leaf in learners:
            leaf.grad = None
        return body(None)

    def _taped(self, phase: Hashable, state: State, learners: Sequence[Tensor], body: Body) -> Found:
        programs, known = self.programs.setdefault(phase, []), dict[Hashable, Any]()
        program = next((one for one in programs if one.tape.fits(state.step, known)), None)
        if program is None:
            if len(programs) == MOST:
                return body(None)
            tape = Tape(self.device)
            found = body(tape)
            programs.append(Program(tape))
            return found
        program.tape.refill(state.step)
        if program.replay is None:
            for leaf in learners:
                self.buffers.setdefault(id(leaf), torch.empty_like(leaf, requires_grad=False))
            program.record(self.record, body, state, learners, [self.buffers[id(leaf)] for leaf in learners])
        return program.play(state, learners)

    def _give_up(self, error: Exception) -> None:
        """Run as it is from here on; the pool goes back."""
        self.given_up = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        self.programs.clear()
        self.buffers.clear()
        ops.clear_caches()
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


class Recorder:
    """Turns work into a CUDA graph, on a stream of its own and in one pool of memory for all."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self.stream = torch.cuda.Stream()
            self.pool = torch.cuda.graph_pool_handle()
        self.begun = False

    def __call__(self, work: Work) -> Work:
        """Record it; nothing is computed. What was derived from weights is derived inside the graph. Raises Unrecorded,
        after which nothing more can be recorded in the pool.
        """
        graph, collects = torch.cuda.CUDAGraph(), gc.isenabled()
        ops.clear_caches()
        with torch.cuda.device(self.device):
            torch.cuda.synchronize()
            if not self.begun:  # what steps have cached cannot be had while a graph is recorded
                gc.collect()
                torch.cuda.empty_cache()
            self.begun = True
            gc.disable()  # a graph that is collected meanwhile would spoil this one
            try:
                with torch.cuda.stream(self.stream):
                    graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")
                    try:
                        work()
                    finally:
                        graph.capture_end()
            except RuntimeError as error:
                cause = error.__context__ or error  # the end of a spoilt recording raises, too
                raise Unrecorded(str(cause)) from error
            finally:
                ops.clear_caches()
                if collects:
                    gc.enable()
            torch.cuda.current_stream().wait_stream(self.stream)
        return graph.replay


def graphs_of(state: State) -> Graphs | None:
    """Those of a run on one NVIDIA GPU; None where phases run as they are: on another device or several processes, in
    parts or with recomputation (memory is short then), above `LARGEST`, guided by what keeps its own embeddings, with
    forms or judges that solve for singular values on the CPU, or where the user says so.
    """
    recipe = state.recipe
    fits = (
        state.device.type == "cuda"
        and os.environ.get(SWITCH, "1") != "0"
        and state.world.size == 1
        and recipe.parts() == recipe.parts(lazy_pl=True) == 1
        and not recipe.recompute
        and state.generator.resolution <= LARGEST
        and not state.guides
        and state.hypernet is None
        and recipe.judge == "stylegan2"
        and "singular" not in forms({**state.deltas, **state.judge_deltas}.values())
    )
    return Graphs(state.device) if fits else None


def forms(deltas: Iterable[Sequence[Delta]]) -> set[str]:
    """The forms of some parameters' deltas."""
    return {delta.form for terms in deltas for delta in terms}
