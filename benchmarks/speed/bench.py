"""How a cell is measured: equality first, then times in turns, then memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import contenders
import extras
import flops
import peers
import textbook
import torch
from cells import MODES, Cell

import measure
from stylegraft.networks import ops
from stylegraft.networks.precision import computing
from stylegraft.sources import SOURCES

OUTPUTS, LOSSES, GRADIENTS = (
    1e-4,
    1e-3,
    1e-2,
)  # largest relative difference that counts as equal; gradients in L2
SIDES = {"textbook": False, "textbook, grouped": True}
ON_DEVICE = "ours, device draws"
# What a variant shares with the contender before its comma is timed once.
SHARED = {("R1", "textbook, grouped"), ("EMA", "textbook, grouped"), ("EMA", ON_DEVICE)}


class Limits(NamedTuple):
    """rounds, warm-up rounds, seconds after which three rounds are enough."""

    rounds: int
    warmup: int
    seconds: float


class Bench:
    """Both sides of the cells of one network; those that learn are built once for a space and batch."""

    def __init__(self, name: str, device: str, limits: Limits):
        self.name, self.device, self.limits = name, device, limits
        self.source = contenders.random_source(name).to(device)
        self.source.generator.eval().requires_grad_(False)
        self.config = {"z_dim": 512, "w_dim": 512, **self.source.generator.config}
        self.sides = (
            {} if name in SOURCES else SIDES
        )  # the textbook has not the architecture of those that ship
        self.learning = ("", 0, "")

    def learn(self, space: str, batch: int, recipe: str) -> None:
        """Be ready for training cells of this space, batch and recipe."""
        if self.learning != (space, batch, recipe):
            for part in ("ours", "textbooks", "equality"):
                self.__dict__.pop(part, None)
            ops.clear_caches()
            measure.release(self.device)
            self.learning = (space, batch, recipe)

    @cached_property
    def ours(self) -> contenders.Ours:
        space, batch, recipe = self.learning
        return contenders.Ours(self.source, space, batch, self.device, recipe)

    @cached_property
    def textbooks(self) -> dict[str, contenders.Textbook]:
        return {
            who: contenders.Textbook(self.source, self.ours, grouped) for who, grouped in self.sides.items()
        }

    @cached_property
    def generators(self) -> dict[str, textbook.Generator]:
        """For inference alone, without optimisers."""
        made = {who: textbook.Generator(self.config, grouped) for who, grouped in self.sides.items()}
        for generator in made.values():
            generator.load_state_dict(self.source.generator.state_dict())
            generator.to(self.device).eval().requires_grad_(False)
        return made

    @cached_property
    def equality(self) -> dict[str, Any]:
        """How far the textbook is from the library before the first step; ValueError where that is too far."""
        found: dict[str, Any] = {}
        for who, theirs in self.textbooks.items():
            outputs = contenders.output_errors(self.source, self.ours, theirs, min(self.learning[1], 4))
            within(outputs, OUTPUTS, who)
            phases = contenders.phase_errors(self.ours, theirs)
            within({phase: loss for phase, (loss, _) in phases.items()}, LOSSES, f"{who}, loss")
            within(
                {phase: gradient for phase, (_, gradient) in phases.items()}, GRADIENTS, f"{who}, gradient"
            )
            found[who] = {
                "outputs": {k: float(f"{v:.2g}") for k, v in outputs.items()},
                "loss, gradient": {k: [float(f"{x:.2g}") for x in v] for k, v in phases.items()},
            }
        return found

    @torch.no_grad()
    def drawn_equally(self) -> dict[str, float]:
        """The same of one image by each generator."""
        z = torch.randn(1, 512, generator=torch.Generator().manual_seed(2)).to(self.device)
        found: dict[str, float] = {}
        for who, generator in self.generators.items():
            image, _ = generator(z, noise=generator.constants())
            found[who] = contenders.relative(image, self.source.generator(z).image)
        within(found, OUTPUTS, "images")
        return {who: float(f"{error:.2g}") for who, error in found.items()}

    def drawing(self, batch: int) -> Callable[[], torch.Tensor]:
        """Inference as `sample` does it: z -> images at the anchor noise."""
        z = torch.randn(batch, self.source.generator.z_dim, device=self.device)

        @torch.no_grad()
        def draw() -> torch.Tensor:
            return self.source.generator(z).image

        return draw


def within(errors: Mapping[str, float], bound: float, what: str) -> None:
    """Refuse to time what is not equal."""
    wrong = {name: error for name, error in errors.items() if not error < bound}
    if wrong:
        raise ValueError(f"not equal: {what}: {wrong}, expected less than {bound:g}")


def settle(mode: str) -> None:
    """Set TF32 and cuDNN's search."""
    matrix, convolution, search = MODES[mode]
    torch.backends.cuda.matmul.allow_tf32 = matrix
    torch.backends.cudnn.allow_tf32 = convolution
    torch.backends.cudnn.benchmark = search


# The kinds of cells, each (bench, cell, GFLOP/s of the machine's best) -> row ---------------------------------


def infer(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    settle("fp32")
    equal = bench.drawn_equally()
    settle(cell.mode)
    z = torch.randn(cell.batch, bench.source.generator.z_dim, device=bench.device)

    @torch.no_grad()
    def draw(generator: textbook.Generator, noise: Mapping[str, torch.Tensor]) -> None:
        generator(z, noise=noise)

    tasks: dict[tuple[str, str], measure.Task] = {("infer", "ours"): bench.drawing(cell.batch)}
    for who, generator in bench.generators.items():
        tasks["infer", who] = partial(draw, generator, generator.constants())
    taken, errors = measure.in_turns(tasks, bench.device, **bench.limits._asdict())
    return timed(bench, cell, best, taken, tasks, errors) | {"equality": equal}


def train(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    settle("fp32")
    equal = bench.equality
    settle(cell.mode)
    ours = bench.ours
    tasks: dict[tuple[str, str], measure.Task] = {}
    for phase in contenders.PHASES:
        tasks[phase, "ours"] = partial(ours.run, phase)
        if bench.device.startswith("cuda"):
            tasks[phase, ON_DEVICE] = contenders.drawn_on_device(partial(ours.run, phase))
        for who, theirs in bench.textbooks.items():
            tasks[phase, who] = partial(theirs.run, phase)
    tasks = {key: task for key, task in tasks.items() if key not in SHARED}

    def next_step() -> None:
        ours.state.step += 1

    taken, errors = measure.in_turns(tasks, bench.device, after=next_step, **bench.limits._asdict())
    every = ours.state.recipe
    taken["iteration"] = measure.iteration(taken, every.r1_every, every.pl_every)
    return timed(bench, cell, best, taken, tasks, errors) | {"equality": equal}


def timed(
    bench: Bench,
    cell: Cell,
    best: float,
    taken: dict[str, measure.Taken],
    tasks: Mapping[tuple[str, str], measure.Task],
    errors: dict[str, str],
) -> dict[str, Any]:
    """Times, ratios, images a second, share of the roof, and the memory of each task."""
    row = {phase: measure.summary(times, bench.device) for phase, times in taken.items()}
    counted = bench.sides and cell.recipe == "tgan"  # of others the formulas know nothing
    work = flops.phases(bench.config, cell.batch, cell.space) if counted else {}
    for phase, sides in row.items():
        for numbers in sides.values():
            count = int(phase.split()[1]) if " " in phase else cell.batch  # "infer 8"
            numbers["img/s"] = measure.digits(count / numbers["ms"] * 1e3)
            if phase in work and cell.space != "affine-light+":  # whose work depends on the form
                numbers["of roof"] = round(work[phase] / numbers["ms"] * 1e3 / best, 3)
    memory: dict[str, dict[str, float | None]] = {}
    for (phase, who), task in tasks.items():
        if phase == "EMA" or who == ON_DEVICE or f"{phase}, {who}" in errors:
            continue
        try:
            memory.setdefault(phase, {})[who] = measure.extra_memory(task, bench.device)
        except Exception as error:
            errors[f"memory of {phase}, {who}"] = measure.told(error)
    gflop = {phase: measure.digits(n) for phase, n in work.items() if phase in row}
    return {"phases": row, "extra MiB": memory, "GFLOP": gflop, "errors": errors}


def others(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    """Packages that a user could install; nothing but time can be compared (`peers`)."""
    settle(cell.mode)
    config = bench.config
    sides = {"ours": peers.ours(bench.source)} | peers.peers(config, bench.device)
    tasks = {
        (phase, who): task
        for who, peer in sides.items()
        for phase, task in peers.phases(peer, cell.batch, config["resolution"], bench.device).items()
    }
    tasks = dict(
        sorted(tasks.items(), key=lambda item: item[0][0])
    )  # the sides of a phase one after the other
    taken, errors = measure.in_turns(tasks, bench.device, **bench.limits._asdict())
    return timed(bench, cell, best, taken, tasks, errors)


def profile(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    settle(cell.mode)
    tasks: dict[str, measure.Task] = {"infer, ours": bench.drawing(cell.batch)}
    for phase in ("G", "D", "PL", "R1"):
        tasks[f"{phase}, ours"] = partial(bench.ours.run, phase)
    for phase in ("G", "D", "PL", "R1") if bench.sides else ():
        tasks[f"{phase}, textbook"] = partial(bench.textbooks["textbook"].run, phase)
    found: dict[str, Any] = {}
    for name, task in tasks.items():
        try:
            found[name] = extras.profile(task, bench.device)
        except Exception as error:
            found[name] = {"error": measure.told(error)}
    return {"phases": found}


def graphs(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    settle(cell.mode)
    return {"phases": extras.graphs(bench.ours, bench.drawing(cell.batch), bench.device, 10)}


def precision(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    """Our own phases in 16 bits beside "ours", what the cell's mode says: `over ours` below 1 is the gain."""
    settle(cell.mode)
    ours, draw, tasks = bench.ours, bench.drawing(cell.batch), dict[tuple[str, str], measure.Task]()
    sides = {"ours": "fp32", "bf16": "bf16", "fp16": "fp16"}

    def phase_in(name: str, phase: str) -> None:
        whole = ours.state.recipe
        ours.state.recipe = replace(whole, precision=name)
        try:
            ours.run(phase)
        finally:
            ours.state.recipe = whole

    for phase in ("G", "D", "PL", "R1"):
        tasks |= {(phase, who): partial(phase_in, name, phase) for who, name in sides.items()}
    tasks |= {(f"infer {cell.batch}", who): partial(drawn_in, name, draw) for who, name in sides.items()}
    whole = draw()
    far = {name: contenders.relative(drawn_in(name, draw), whole) for name in ("bf16", "fp16")}
    taken, errors = measure.in_turns(tasks, bench.device, **bench.limits._asdict())
    return timed(bench, cell, best, taken, tasks, errors) | {"images differ": far}


def drawn_in(name: str, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
    with computing(name):
        return draw()


def compiled(bench: Bench, cell: Cell, best: float) -> dict[str, Any]:
    settle(cell.mode)
    return extras.compiled(bench.drawing(cell.batch), bench.device, 10)


KINDS = {
    "infer": infer,
    "train": train,
    "peers": others,
    "profile": profile,
    "precision": precision,
    "graphs": graphs,
    "compile": compiled,
}
