"""Phases of a step as CUDA graphs: one launch in place of some thousand, where Python and not the GPU sets the pace.

A phase runs as it is where a tape of it is new (`tape`), is recorded as a graph when that tape fits for the first time
again, and is replayed from then on. Phases differ by their terms, by D's exit and by what is chosen at random, such as
the tap of a contrast; each has a graph of its own, all in one pool of memory. What differs by its numbers only
(latents, noise, which images, the crossover of styles, ADA's transforms) is copied into place before a replay.

A phase that cannot be recorded, because it draws past the tape or asks the host for a value, runs as it is for good.
Measured: benchmarks/results/graphs.json.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stylegraft.adaptation.state import State
from stylegraft.adaptation.tape import Tape, Untaped
from stylegraft.networks import ops

MOST = 64  # graphs of one phase
LARGEST = 256  # px; above, kernels take longer than their launches
SWITCH = "STYLEGRAFT_CUDA_GRAPHS"  # 0: without

Found = tuple[dict[str, Tensor], list[Tensor]]  # losses by name, and the signs of D on real images
Work = Callable[[], None]
Record = Callable[[Work], Work]


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
        self, record: Record, body: Callable[[Tape], Found], state: State, learners: Sequence[Tensor]
    ) -> None:
        """Make the graph: of the losses, and of the gradients, which are written and not added."""
        self.path_mean = state.path_mean.clone()

        def work() -> None:
            before, state.path_mean = state.path_mean, self.path_mean
            self.tape.rewind()
            try:
                self.losses, self.signs = body(self.tape)
                self.moved = None if state.path_mean is self.path_mean else state.path_mean
                self.gradients = [leaf.grad for leaf in learners]
            finally:
                state.path_mean = before
                for leaf in learners:
                    leaf.grad = None

        self.replay = record(work)

    def play(self, state: State, learners: Sequence[Tensor]) -> Found:
        """This step's losses, signs and gradients, as of the tape's numbers."""
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
        self.record = record or Recorder()
        self.programs: dict[Hashable, list[Program]] = {}
        self.refused: dict[Hashable, str] = {}  # why a phase runs as it is

    def run(
        self,
        phase: Hashable,
        state: State,
        learners: Sequence[Tensor],
        body: Callable[[Tape | None], Found],
    ) -> Found:
        """What `body` finds in this step: losses and signs, with gradients in its learners, which have none yet."""
        if phase in self.refused:
            return body(None)
        programs, path_mean = self.programs.setdefault(phase, []), state.path_mean
        program = next((one for one in programs if one.tape.fits(state.step)), None)
        try:
            if program is None:
                if len(programs) == MOST:
                    return body(None)
                tape = Tape(self.device)
                found = body(tape)
                programs.append(Program(tape))
                return found
            program.tape.refill(state.step)
            if program.replay is None:
                program.record(self.record, body, state, learners)
            return program.play(state, learners)
        except (Untaped, RuntimeError) as error:
            if isinstance(error, RuntimeError) and (program is None or program.replay is not None):
                raise  # not of the recording
            self.refused[phase] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            del self.programs[phase]
        ops.clear_caches()
        state.path_mean = path_mean
        for leaf in learners:
            leaf.grad = None
        return body(None)


class Recorder:
    """Turns work into a CUDA graph, of a stream of its own and one pool of memory for all."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        """Record it; nothing is computed. What was derived from weights is derived inside the graph."""
        graph = torch.cuda.CUDAGraph()
        collects = gc.isenabled()
        ops.clear_caches()
        torch.cuda.synchronize()
        self.stream.wait_stream(torch.cuda.current_stream())
        gc.disable()
        try:
            with torch.cuda.stream(self.stream):
                graph.capture_begin(pool=self.pool)
                try:
                    work()
                finally:
                    graph.capture_end()
        finally:
            ops.clear_caches()
            if collects:
                gc.enable()
        torch.cuda.current_stream().wait_stream(self.stream)
        return graph.replay


def graphs_of(state: State) -> Graphs | None:
    """Those of a run on one NVIDIA GPU; None where phases run as they are: on another device or several processes, in
    parts or with recomputation (memory is short then), above `LARGEST`, guided by what keeps its own embeddings, with a
    judge that solves for singular values, or where the user says so.
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
    )
    return Graphs(state.device) if fits else None
