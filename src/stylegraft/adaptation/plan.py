"""What a run will move and what it will cost, said before it starts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from stylegraft.adaptation import guidance
from stylegraft.adaptation.checks import allowed
from stylegraft.adaptation.exits import patch_tap
from stylegraft.adaptation.importance import source_fisher
from stylegraft.adaptation.inversion.descent import SEEN_MOST
from stylegraft.adaptation.judges import forms_that_learn
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.memory import step_memory
from stylegraft.adaptation.partition import divide
from stylegraft.adaptation.rates import ema_half_life, judge_rate, learning_rate
from stylegraft.adaptation.recipes import PROJECTED, Recipe
from stylegraft.adaptation.sorting import sorting
from stylegraft.adaptation.stages import decisions
from stylegraft.adaptation.state import State
from stylegraft.adaptation.timing import costliest_step, kinds, seconds_a_step, timed
from stylegraft.domains.domain import Domain
from stylegraft.networks.discriminator import Discriminator

LARGE = 4 * 128**2  # pixels in memory at once from which memory is worth a word before the first step


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
    lr = learning_rate(recipe, space)
    lines = [
        f"recipe {recipe.name} ({recipe.preset} settings): {recipe.paper}",
        f"G: space {space} moves {count:,} numbers, {share:.2%} of the generator's size, "
        f"in {len(state.deltas)} of {len(state.base) - 1} tensors; Adam {lr:g}"
        + (f", rising to it over its first {recipe.lr_warmup} steps" if recipe.lr_warmup else ""),
        judging(state) if recipe.adv else "D: none, no adversarial game is played",
        f"{counted(state)}, batch {recipe.batch}"
        + (f", minibatch-std group {state.discriminator.group_size}" if recipe.adv else "")
        + f"; {averages(recipe)}",
        *spread(state),
        *reduced(state),
    ]
    if state.hypernet is not None:
        size = sum(p.numel() for p in state.hypernet.parameters())
        lines.append(
            f"a hypernetwork of {size:,} numbers learns in their place, {recipe.domains} sentences a step, each on the "
            "batch's latents: it gives any sentence its own"
        )
    if state.latents is not None:
        lines.append(
            f"each training image has a latent of its own, which learns beside G and is no part of the domain; Adam "
            f"{recipe.bsa_lr:g}"
        )
    if ema_half_life(recipe) > recipe.steps:
        lines.append(
            f"warning: the averaged G lags: in this run's {recipe.steps} steps it does not come half way to the "
            "trained one, so previews and the domain stay close to the source; expected an ema_kimg of at most "
            f"{recipe.steps * recipe.batch / 5000:.2g}"
        )
    if recipe.cdc:
        tap = patch_tap(state.generator.resolution)
        lines.append(
            f"anchors: 1 step in {recipe.anchor_period} near one of {recipe.anchors} latents, judged as a whole "
            f"image; other steps by patches at D's {tap} (R1 takes the two exits in the same proportion)"
        )
    if state.ada:
        lines.append(f"D sees images augmented ({recipe.augment}), {probability(recipe)}")
    if recipe.warmup:
        lines.append(
            f"{state.end} steps: the first {recipe.warmup} train the discriminator alone, "
            f"then come the recipe's {recipe.steps}"
            + (f"; of it {recipe.warmup_judge}" if recipe.warmup_judge else "")
        )
    return lines + stages(state, space)


def judging(state: State) -> str:
    """What moves in D and at what rates: deltas have one of their own."""
    recipe, learners, whole = state.recipe, state.learners["D"], dict(state.discriminator.named_parameters())
    own = {name: leaf for name, leaf in learners.items() if name.startswith("D.")}
    count, tensors = sum(leaf.numel() for leaf in own.values()), {name.partition("|")[0] for name in own}
    rate = judge_rate(recipe, forms_that_learn(own)) if state.judge_deltas else recipe.lr_d
    line = (
        f"D: policy {recipe.discriminator} moves {count:,} numbers, "
        f"{count / sum(p.numel() for p in whole.values()):.2%} of the discriminator's size, in {len(tensors)} of "
        f"{len(whole)} tensors"
    )
    if state.patch is None:
        return f"{line}; Adam {rate:g}"
    head = f" and a patch head of {sum(p.numel() for p in state.patch.parameters()):,}"
    return f"{line}{head}; Adam {rate:g}" + (f", the head {recipe.lr_d:g}" if rate != recipe.lr_d else "")


def stages(state: State, space: str) -> list[str]:
    """What the recipe does in stages, and to the finished domain, in the order in which it happens."""
    recipe, lines = state.recipe, []
    if recipe.lead:
        of_judge = f", of D {recipe.lead_judge}" if recipe.lead_judge else ""
        lines.append(
            f"in G's first {recipe.lead} steps only {recipe.lead_space or 'the space'} moves{of_judge}"
        )
        if recipe.lead >= recipe.steps:
            lines.append(
                f"warning: these are all of the recipe's {recipe.steps} steps, so that nothing comes after them; "
                "expected more --steps, or a smaller lead"
            )
    if told := sorting(recipe, space):
        lines.append(told)
    if recipe.lead_reset:
        lines.append("after that everything else goes back to the source and starts anew")
    lines += guidance.told(state)
    if recipe.ewc:
        lines.append(
            f"before the first step the source's Fisher information is estimated on {recipe.importance_samples} samples"
        )
    if state.keep is not None:
        lines.append(f"of the offsets the largest {state.keep:.0%} are kept")
    if recipe.swap:
        kept = len(Domain(state.deltas).above(recipe.swap).deltas)
        lines.append(
            f"in the finished domain, blocks below {recipe.swap} px are the source's"
            if kept < len(state.deltas)
            else f"warning: swap={recipe.swap} takes nothing away: this space moves no block below {recipe.swap} px"
        )
    return lines


def spread(state: State) -> list[str]:
    """How many processes share a step, and whether some of them are left over."""
    batch, size = state.recipe.batch, state.world.size
    if size == 1:
        return []
    parts = state.recipe.parts()
    mine, share = state.world.deal(batch, parts)
    if len(mine) < parts:  # dealt by parts
        return [f"{size} processes, each at most {len(mine)} of a step's {parts} parts"]
    lines = [f"{size} processes, each {batch // share.of} of a step's {batch} images"]
    if share.of < size:
        lines.append(
            f"warning: {share.of} of them share a step and the others help nobody; expected a --batch that is a "
            f"multiple of {size}, or {share.of} processes"
        )
    return lines


def reduced(state: State) -> list[str]:
    """What is not computed in float32, in a line; none where all is."""
    name, generator = state.recipe.precision, state.generator
    if name == "fp32":
        return []
    if name == "tf32":
        return ["precision: TF32 in matrix products and convolutions"]
    networks = "G and D" if state.recipe.adv and isinstance(state.discriminator, Discriminator) else "G"
    return [f"precision: {name} in {networks} from {min(generator.half_blocks)} px on, float32 in all else"]


def counted(state: State) -> str:
    """`10 images`, `58 sentences`."""
    images, sentences = len(state.images), len(state.request.texts)
    if sentences:
        return f"{sentences} sentences"
    return "no images" if not images else f"{images} image{'s' if images > 1 else ''}"


def averages(recipe: Recipe) -> str:
    """How fast the averaged generator follows, in steps and images."""
    if not recipe.ema_kimg:
        return "no average of G"
    return f"EMA half life {ema_half_life(recipe):,.0f} steps ({recipe.ema_kimg * 1000:,.0f} images)"


def probability(recipe: Recipe) -> str:
    """How the probability of the augmentations moves."""
    if recipe.ada_mode == "fixed":
        return "always" if recipe.ada_p == 1 else f"p fixed at {recipe.ada_p:g}"
    towards = "" if recipe.ada_mode == "ramp" else f" towards sign {recipe.ada_target:g},"
    steps = recipe.ada_kimg * 1000 / recipe.batch
    return f"p from {recipe.ada_p:g},{towards} at most {recipe.ada_max:g}, 0 to 1 in {steps:,.0f} steps"


def moving(state: State) -> tuple[int, float]:
    """How many numbers the domain trains, and that over the number of parameters of G."""
    count = sum(leaf.numel() for leaf in state.leaves.values())
    return count, count / sum(p.numel() for p in state.generator.parameters())


def measure(state: State, previews: int) -> Plan:
    """Time each kind of phase once, after a step with all terms that warms the machine up; then extrapolate.

    The state is spoilt for anything else.
    """
    recipe, steps, often = state.recipe, state.end, kinds(state.recipe)
    state.step = costliest_step(recipe)
    state.found = guidance.blank(state)
    state.recipe = replace(recipe, importance_samples=2)  # an estimate can take minutes
    ahead, times = fisher_seconds(state) * recipe.importance_samples, decisions(recipe)
    looking = guidance.seconds(state)
    between = sorting_seconds(state) * recipe.importance_samples * times if times else 0.0
    next(train(state, state.step + 1))
    taken = timed(state, often)
    seconds, judging = seconds_a_step(often, taken), seconds_a_step(often, taken, ("D", "R1"))
    count, share = moving(state)
    # a preview costs about a step; in the warm-up only the discriminator learns
    total = seconds * (steps - recipe.warmup + previews) + judging * recipe.warmup
    memory = peak_memory(state.device)
    total += ahead + between + looking
    cost = f"about {seconds:.2f} s a step, {duration(total)} for {steps} steps"
    if ahead:
        cost += f" and the {duration(ahead)} of the Fisher information before them"
    if looking:
        cost += f" and the {duration(looking)} before them in which references and the source are looked at"
    if between:
        often = "once" if times == 1 else f"{times:,} times"
        cost += f" and the {duration(between)} in which filters are sorted, {often}"
    if memory:
        cost += f"; peak memory {memory / 2**20:,.0f} MiB"
    return Plan(count, share, seconds, total, memory, cost)


def fisher_seconds(state: State) -> float:
    """Seconds a sample of EWC's Fisher information takes; 0 without EWC."""
    if not state.recipe.ewc:
        return 0.0
    started = perf_counter()
    state.fisher = source_fisher(state, 2)
    return (perf_counter() - started) / 2


def sorting_seconds(state: State) -> float:
    """Seconds a sample takes where filters are sorted: one of each network whose filters are."""
    started = perf_counter()
    divide(state)
    seconds = (perf_counter() - started) / state.recipe.importance_samples
    state.filters = {}
    return seconds


def forecast(state: State) -> list[str]:
    """What the run will take of the memory, if that is much, and how to need less; found without running a step."""
    recipe, size = state.recipe, state.generator.resolution
    if recipe.at_once * size**2 < LARGE:
        return []
    needed = (peak_memory(state.device) or 0) + step_memory(state)
    free = free_memory(state.device)
    lines = [f"memory: about {gib(needed)}" + (f", {gib(free)} are free" if free else "")]
    if free and needed > free:
        lines[0] = f"warning: {lines[0]}"
        half = state.device.type == "cuda" and bool(state.generator.half_blocks)
        ways = [f"--set {way}" for way in savings(recipe, size, half)]
        lines.append(
            "to need less: " + ", ".join([*ways, "or a smaller --batch" if ways else "a smaller --batch"])
        )
    return lines


def savings(recipe: Recipe, resolution: int, half: bool = False) -> list[str]:
    """Settings with which a step at this resolution needs less memory, less those that the recipe has already or
    refuses. half: whether device and generator compute in 16 bits.
    """
    parts = [n for n in range(1, recipe.at_once) if recipe.batch % n == 0]
    # Minibatch-std compares the images of a part, so in a game parts stay large; else the smallest will do that has
    # enough for each term.
    parts = [n for n in parts[::-1] if n > 1][:1] if recipe.adv else parts
    parts = [n for n in parts if allowed(replace(recipe, micro=n))]
    ways: dict[str, dict[str, Any]] = {f"micro={n}": {"micro": n} for n in parts[:1]}
    ways |= {"recompute=yes": {"recompute": True}, "judge=projected": PROJECTED}
    if half and recipe.precision in ("fp32", "tf32"):
        ways["precision=bf16"] = {"precision": "bf16"}
    if recipe.guided and min(resolution, recipe.loss_resolution or resolution) > SEEN_MOST:
        ways[f"loss_resolution={SEEN_MOST}"] = {"loss_resolution": SEEN_MOST}
    others = {way: replace(recipe, **changes) for way, changes in ways.items()}
    return [way for way, other in others.items() if other != recipe and allowed(other)]


def gib(size: float) -> str:
    """Bytes as `3.2 GiB`."""
    return f"{size / 2**30:.1f} GiB"


def free_memory(device: torch.device) -> int | None:
    """Bytes of memory (on a GPU: of its own) that are free and that this process holds, where the system tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    try:
        available = _kibibytes("/proc/meminfo")["MemAvailable"]
    except (OSError, KeyError):
        return None
    return available + (peak_memory(device) or 0)


def _kibibytes(path: str) -> dict[str, int]:
    """The sizes in a file of /proc, `name:  size kB`, in bytes."""
    rows = (line.split() for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if row[2:] == ["kB"]}


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes of this process (on a GPU: of its memory), where the system tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # not `ru_maxrss` where this is: that begins at the size of the process that started this one
        return _kibibytes("/proc/self/status")["VmHWM"]
    except (OSError, KeyError):
        pass
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
