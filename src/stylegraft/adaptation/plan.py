"""What a run will move and what it will cost, said before it starts."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stylegraft.adaptation.exits import patch_tap
from stylegraft.adaptation.loop import PHASES, Stats, train
from stylegraft.adaptation.recipes import Recipe, ema_beta, learning_rate
from stylegraft.adaptation.state import State

LARGE = 4 << 30  # bytes from which a way to need less is worth a word


@dataclass(frozen=True)
class Plan:
    """moves, count, share: what is trained in G; seconds a step on average, and for the whole run; peak
    memory in bytes.
    """

    count: int
    share: float
    seconds: float
    total: float
    memory: int | None
    text: str


def describe(state: State, space: str) -> list[str]:
    """The run in a few lines: recipe, what moves in G and in D, rates, averages."""
    recipe, count, share = state.recipe, *moving(state)
    judges = sum(p.numel() for name, p in state.learners["D"].items() if name.startswith("D."))
    whole = sum(p.numel() for p in state.discriminator.parameters())
    patch = (
        f" and a patch head of {sum(p.numel() for p in state.patch.parameters()):,}" if state.patch else ""
    )
    lr = learning_rate(recipe, space)
    lines = [
        f"recipe {recipe.name} ({recipe.preset} settings): {recipe.paper}",
        f"G: space {space} moves {count:,} numbers, {share:.2%} of the generator's size, "
        f"in {len(state.deltas)} of {len(state.base) - 1} tensors; Adam {lr:g}",
        f"D: {judges:,} of {whole:,} parameters learn (policy {recipe.discriminator}){patch}; Adam {recipe.lr_d:g}",
        f"{len(state.images)} images, batch {recipe.batch}, "
        f"minibatch-std group {state.discriminator.group_size}; average of G: {ema_beta(recipe):.4f} a step",
    ]
    if recipe.cdc:
        tap = patch_tap(state.generator.resolution)
        lines.append(
            f"anchors: 1 step in {recipe.anchor_period} near one of {recipe.anchors} latents, judged as a whole "
            f"image; other steps by patches at D's {tap} (R1 takes the two exits in the same proportion)"
        )
    if state.ada:
        lines.append(
            f"ADA {recipe.augment}: p from 0, towards sign {recipe.ada_target:g}, at most {recipe.ada_max:g}, "
            f"0 to 1 in {recipe.ada_kimg * 1000 / recipe.batch:,.0f} steps"
        )
    if recipe.warmup:
        lines.append(
            f"{state.end} steps: the first {recipe.warmup} train the discriminator alone, "
            f"then come the recipe's {recipe.steps}"
        )
    return lines


def moving(state: State) -> tuple[int, float]:
    """How many numbers the domain trains, and that over the number of parameters of G."""
    count = sum(leaf.numel() for leaf in state.learners["G"].values())
    return count, count / sum(p.numel() for p in state.generator.parameters())


def measure(state: State, previews: int) -> Plan:
    """Measure two steps, the first at the anchors and with all lazy terms, after one that warms the machine up;
    then extrapolate.

    The state is spoilt for anything else.
    """
    recipe, steps = state.recipe, state.end
    state.step = math.lcm(recipe.r1_every, recipe.pl_every, recipe.anchor_period) * (recipe.warmup + 1)
    next(train(state, state.step + 1))
    state.step -= 1
    stats = list(train(state, state.step + 2))
    seconds, judging = seconds_a_step(recipe, stats), seconds_a_step(recipe, stats, ("D", "R1"))
    count, share = moving(state)
    # a preview costs about a step; in the warm-up only the discriminator learns
    total = seconds * (steps - recipe.warmup + previews) + judging * recipe.warmup
    memory = peak_memory(state.device)
    cost = f"about {seconds:.2f} s a step, {duration(total)} for {steps} steps"
    if memory:
        cost += f"; peak memory {memory / 2**20:,.0f} MiB"
        if memory > LARGE and recipe.at_once > 2:
            cost += f" (--set micro={max(2, recipe.at_once // 2)} does a step in parts and needs about half)"
    return Plan(count, share, seconds, total, memory, cost)


def seconds_a_step(recipe: Recipe, stats: list[Stats], phases: Sequence[str] = PHASES) -> float:
    """Mean seconds of a step, from an anchor step and another one: each phase as often as it comes, and with
    CDC the two in the proportion of the exits.
    """
    share = 1 / recipe.anchor_period if recipe.cdc else 0.5
    every = {"R1": recipe.r1_every, "PL": recipe.pl_every}
    total = 0.0
    for phase in phases:
        name = f"time/{phase}"
        timed = [(w, one[name]) for w, one in zip((share, 1 - share), stats, strict=True) if name in one]
        if timed:
            mean = sum(w * seconds for w, seconds in timed) / sum(w for w, _ in timed)
            total += mean / every.get(phase, 1)
    return total


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes of this process (on a GPU: of its memory), where the system tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
