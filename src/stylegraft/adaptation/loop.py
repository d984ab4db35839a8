"""The one training loop. Every method of `recipes.py` runs through it, top to bottom, one step after the
other.

A step has up to four phases, each with its own forward passes and its own step of Adam:

    D       logistic loss on real and fake, and D's extra terms       every step
    R1      gradient penalty on real images                           every 16
    G       logistic loss, and G's extra terms                        every step, after the warm-up
    PL      path length                                               every 4

Then the average of the deltas and ADA's probability move. The order is that of the few-shot code bases (D
first). Nothing here knows a method by name: the recipe's objectives say what they need, the views compute
it once. Where processes share a run (`world`), they sum what a phase has found, and all take the same step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.diverged import ROW, Diverged, remembered, require_numbers, require_weights, short
from stylegraft.adaptation.graphs import Graphs, graphs_of
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.partition import hold
from stylegraft.adaptation.rates import ema_beta, warmed
from stylegraft.adaptation.stages import active, enter, sparsify, thaw
from stylegraft.adaptation.state import State
from stylegraft.adaptation.tape import Tape
from stylegraft.adaptation.views import Objective, Views, exit_at
from stylegraft.adaptation.world import Share, World
from stylegraft.networks.batches import sharing
from stylegraft.networks.precision import computing
from stylegraft.networks.recompute import recomputing

Stats = dict[str, Any]
PHASES = ("D", "R1", "G", "PL")


def train(state: State, until: int, skip: bool = False) -> Iterator[Stats]:
    """Take steps until `state.step` is `until`; after each, yield its numbers.

    Numbers: losses by owner and term ("D/adv"), gradient norms ("D/grad"), seconds of each phase
    ("time/D"), "real_sign", "ada_p"; once "graphs", why CUDA graphs are given up, if they are. Between two steps
    the state may be saved, and a fresh one continued from there, bit for bit (on a CPU). Raises Diverged where a
    number is not finite; skip: a phase whose loss or gradient is not, changes nothing, and "skipped" says so,
    unless that happens in more than `ROW` steps in a row.
    """
    plan, graphs = phases(objectives(state.recipe)), graphs_of(state)
    warmup = state.recipe.warmup
    while state.step < until:
        stats: Stats = {"step": state.step}
        enter(state)
        set_rates(state)

        for phase, members in plan.items():
            acting = acting_at(members, state.step)
            warming_up = state.step < warmup and phase in ("G", "PL")
            if acting and not warming_up:
                started = perf_counter()
                try:
                    teach(state, acting, stats, graphs)
                except Diverged as error:
                    if not skip or state.row == ROW:
                        raise
                    stats["skipped"] = "; ".join([*filter(None, [stats.get("skipped")]), short(error)])
                stats[f"time/{phase}"] = perf_counter() - started

        if graphs and graphs.given_up:
            stats["graphs"], graphs = graphs.given_up, None
        if state.step >= warmup:
            sparsify(state)
            average(state)
        require_weights(state)
        state.row = state.row + 1 if "skipped" in stats else 0
        stats["real_sign"] = float(state.real_sign)
        if state.ada:
            stats["ada_p"] = state.ada.step(state.recipe.batch)

        state.step += 1
        yield stats


def set_rates(state: State) -> None:
    """G's rate rises over the recipe's `lr_warmup`."""
    for group in state.optimizers["G"].param_groups:
        group["lr"] = group["full_lr"] * warmed(state.recipe, state.step)


def phases(terms: Sequence[Objective]) -> dict[str, list[Objective]]:
    """The terms of each phase, in the order of a step: who learns from them, and whether they are lazy."""
    kinds = (("D", False), ("D", True), ("G", False), ("G", True))
    return {
        phase: [term for term in terms if (term.owner, term.lazy) == kind]
        for phase, kind in zip(PHASES, kinds, strict=True)
    }


def acting_at(members: Sequence[Objective], step: int) -> list[Objective]:
    """Those terms of a phase that act in a step."""
    return [term for term in members if step % term.every == 0]


def teach(state: State, acting: Sequence[Objective], stats: Stats, graphs: Graphs | None = None) -> None:
    """One phase: the weighted losses of the acting objectives, one backward pass for each part of the batch that
    fits in memory at once, one step of their owner's Adam. Raises Diverged, and nothing has changed then.
    """
    owner = acting[0].owner
    learners = list(active(state, owner).values())
    thaw(state, owner)

    optimizer, put_back = state.optimizers[owner], remembered(state)
    optimizer.zero_grad(set_to_none=True)
    parts, mine, share = dealt(state, acting)
    losses: dict[str, Tensor] = {}
    signs: list[Tensor] = []
    for k in mine:
        if graphs is None:
            own, seen = backward(state, acting, (k, parts), share)
        else:
            own, seen = graphs.run(
                kind(state, acting), state, learners, lambda tape: backward(state, acting, tape=tape)
            )
        losses = {name: losses.get(name, 0) + loss for name, loss in own.items()}
        signs += seen
    sign, images = torch.cat([*signs, state.real_sign.new_zeros(0)]).sum(), sum(map(len, signs))
    if state.world.size > 1:
        losses, sign, images = summed(state.world, learners, losses, sign, images, share.counts)
    if images:
        state.real_sign = sign / images
        if state.ada:
            state.ada.count(sign, images)
    hold(state, owner)
    norm = gradient_norm(learners)
    try:
        report(state, owner, losses, norm, f".{acting[0].name}" if acting[0].lazy else "", stats)
    except Diverged:
        put_back()
        optimizer.zero_grad(set_to_none=True)
        raise

    # Fused Adam raises no tensor's version; a hook of `ops` forgets what was computed from the old weights.
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def dealt(state: State, acting: Sequence[Objective]) -> tuple[int, range, Share]:
    """In how many parts the phase of these objectives is done, which of them are this process's, its share of each."""
    lazy_pl = acting[0].owner == "G" and acting[0].lazy
    samples, parts = state.recipe.samples(lazy_pl), state.recipe.parts(lazy_pl)
    return parts, *state.world.deal(samples, parts, any(term.in_order for term in acting))


def kind(state: State, acting: Sequence[Objective]) -> Hashable:
    """What a phase is computed by, beside its numbers: its terms, who learns, and D's exit."""
    owner, names = acting[0].owner, tuple(term.name for term in acting)
    return owner, names, exit_at(state.recipe, acting, state.step), tuple(active(state, owner))


def backward(
    state: State,
    acting: Sequence[Objective],
    part: tuple[int, int] = (0, 1),
    share: Share = Share(),  # noqa: B008
    tape: Tape | None = None,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Forward and backward pass of one part of a phase, or of a share of it: gradients add up in its learners.

    Returns each term's share of its loss, and the signs of D on the real images it has seen.
    """
    views = Views(state, acting, part, share, tape)
    learners = list(active(state, acting[0].owner).values())
    recipe, batch = state.recipe, share if share.world.size > 1 else None
    with computing(recipe.precision), recomputing(recipe.recompute), sharing(batch):
        own = {term.name: term.loss(views) / (part[1] * share.of) for term in acting}
        torch.stack([term.scale * own[term.name] for term in acting]).sum().backward(inputs=learners)
    return {name: loss.detach() for name, loss in own.items()}, views.signs


def summed(
    world: World,
    learners: Sequence[Tensor],
    losses: Mapping[str, Tensor],
    sign: Tensor,
    images: int,
    counts: bool,
) -> tuple[dict[str, Tensor], Tensor, int]:
    """Sum over processes what each has found in a phase, in one message: gradients (in place), losses, and the signs of
    D with the number of images. A process that does not count brings zeros.

    A learner that no process has a gradient for stays without, as Adam then leaves it alone.
    """
    gradients = [p.grad if counts and p.grad is not None else torch.zeros_like(p) for p in learners]
    known = [float(p.grad is not None) for p in learners]
    numbers = torch.cat((torch.stack([*losses.values(), sign]), sign.new_tensor([images, *known])))
    *gradients, numbers = world.add([*gradients, numbers if counts else torch.zeros_like(numbers)])
    *found, sign = numbers[: len(losses) + 1].unbind()
    images, *known = numbers[len(losses) + 1 :].tolist()
    for p, gradient, there in zip(learners, gradients, known, strict=True):
        p.grad = torch.empty_like(p, requires_grad=False).copy_(gradient) if there else None
    return dict(zip(losses, found, strict=True)), sign, int(images)


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together; 0 without any."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def report(
    state: State, owner: str, losses: dict[str, Tensor], norm: Tensor, suffix: str, stats: Stats
) -> None:
    """Write losses and norm (of a lazy phase under its own name) into the step's numbers; refuse to go on if one is not
    finite.
    """
    values = {f"{owner}/{name}": float(loss.detach()) for name, loss in losses.items()}
    values[f"{owner}/grad{suffix}"] = float(norm)
    require_numbers(state, owner, values)
    stats |= values


@torch.no_grad()
def average(state: State) -> None:
    """Move the averaged deltas towards the trained ones: half life `ema_kimg` thousand images."""
    leaves = [state.learners["G"][name].detach() for name in state.ema]
    torch._foreach_lerp_(list(state.ema.values()), leaves, 1 - ema_beta(state.recipe))  # pyright: ignore
