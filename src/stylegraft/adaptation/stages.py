"""The stages of a run: who learns when, and what is decided between them. MineGAN, AdAM and RICK are rows of data here.

    warm-up   `warmup` steps in which D alone learns, or a part of it (`warmup_judge`)
    lead      `lead` steps in which of G only `lead_space` moves, and of D only `lead_judge`
    main      everything, but for filters that `partition` froze or pruned

At the end of the lead (and every `partition_every` steps after it) filters are sorted: `partition`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.adaptation import advice, rows
from stylegraft.adaptation.choosing import labels, select
from stylegraft.adaptation.guidance import prepare
from stylegraft.adaptation.importance import source_fisher
from stylegraft.adaptation.partition import divide, divisible, prune
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State
from stylegraft.domains.domain import Domain
from stylegraft.domains.pruning import largest
from stylegraft.errors import StylegraftError

CHOOSING = {  # fields that name forms or groups -> whose
    "warmup_judge": "D",
    "lead_space": "G",
    "lead_judge": "D",
    "partition": "G",
    "partition_judge": "D",
}


def stage_of(recipe: Recipe, step: int) -> str:
    """`warmup`, `lead` or `main`."""
    if step < recipe.warmup:
        return "warmup"
    return "lead" if step < recipe.warmup + recipe.lead else "main"


def active(state: State, owner: str) -> dict[str, Tensor]:
    """The learners of G or D that move in this step."""
    recipe, learners = state.recipe, state.learners[owner]
    chosen = {
        ("warmup", "D"): recipe.warmup_judge,
        ("lead", "G"): recipe.lead_space,
        ("lead", "D"): recipe.lead_judge,
    }.get((stage_of(recipe, state.step), owner))
    learners = select(learners, labels(state, owner), chosen) if chosen else learners
    return rows.chosen(state, learners) if owner == "G" else learners


def enter(state: State) -> None:
    """What has to be settled before this step: EWC's Fisher information, what guided terms look at, the rows that
    learn, the partition, the way back to the start.

    Until it is found nothing is changed: where `State.between` raises, this step has not begun.
    """
    recipe, begun, first = state.recipe, state.step - state.recipe.warmup, state.world.from_first
    if recipe.ewc and not state.fisher:
        state.fisher = first(lambda: source_fisher(state, recipe.importance_samples))
    if (recipe.guided or recipe.inverts) and not state.found:
        state.found = first(lambda: prepare(state))
    if begun >= 0 and recipe.choose_rows and begun % recipe.choose_every == 0:
        state.recall |= first(lambda: {"rows": rows.choose(state)})
    if begun >= 0 and due(recipe, begun):
        divide(state)
    if recipe.lead_reset and recipe.lead and begun == recipe.lead:
        restart(state)


def due(recipe: Recipe, begun: int) -> bool:
    """Whether filters are sorted before the step that comes after `begun` steps of G."""
    since = begun - recipe.lead
    return since == 0 or (since > 0 and recipe.partition_every > 0 and since % recipe.partition_every == 0)


def decisions(recipe: Recipe) -> int:
    """How often filters are sorted in a whole run."""
    later = recipe.steps - 1 - recipe.lead  # steps of G after the first decision
    if not (recipe.partition or recipe.partition_judge) or later < 0:
        return 0
    return 1 + (later // recipe.partition_every if recipe.partition_every else 0)


def thaw(state: State, owner: str) -> None:
    """D's learners take gradients in D's phases only: in G's they would cost a third of the backward pass."""
    for judge in state.learners["D"].values():
        judge.requires_grad_(False)
    if owner == "D":
        for judge in active(state, owner).values():
            judge.requires_grad_(True)


def check(state: State, space: str) -> None:
    """Refuse a space or a discriminator that the recipe's stages have no use for; raises StylegraftError."""
    recipe = state.recipe
    if found := fault(state):
        field, wrong = found
        moves = (
            f"discriminator policy {recipe.discriminator!r}"
            if CHOOSING.get(field) == "D"
            else f"space {space!r}"
        )
        raise StylegraftError(
            f"recipe {recipe.name}, {moves}, {field}{wrong}{advice.instead(state, space, field, fault)}"
        )


def fault(state: State) -> tuple[str, str] | None:
    """The first field that asks for what this run does not have, and what is wrong with it; None: all is well."""
    recipe = state.recipe
    if recipe.sparsify and state.keep is None:
        return "sparsify", f"={recipe.sparsify}: this space is not pruned"
    if recipe.choose_rows and not any(rows.rows_of(state).values()):
        return "choose_rows", f"={recipe.choose_rows}: nothing in this space belongs to a row of W+"
    if recipe.swap:
        if recipe.swap not in (there := advice.resolutions(state)):
            listed = ", ".join(map(str, there))
            return "swap", f"={recipe.swap}: this generator's blocks above the lowest have {listed} px"
        try:
            Domain(state.deltas).above(recipe.swap)
        except StylegraftError as error:
            return "swap", f"={recipe.swap}: {error}"
    idle = {"warmup_judge": not recipe.warmup, "lead_space": not recipe.lead, "lead_judge": not recipe.lead}
    for field, owner in CHOOSING.items():
        chosen: str = getattr(recipe, field)
        if not chosen or idle.get(field):
            continue
        try:
            select(state.learners[owner], labels(state, owner), chosen)
            if field.startswith("partition"):
                divisible(state, owner)
        except StylegraftError as error:
            return field, f" {error}"
    return None


@torch.no_grad()
def restart(state: State) -> None:
    """Go back to the source, keeping only what the lead found out; Adam forgets, the average too.

    What came from no source (a discriminator of random weights, a patch exit) stays as the lead left it.
    """
    for owner, begun in state.begun.items():
        for name, value in begun.items():
            state.learners[owner][name].copy_(value)
        state.optimizers[owner].state.clear()
    for name, mean in state.ema.items():
        mean.copy_(state.learners["G"][name])
    state.path_mean = torch.full_like(state.path_mean, -1.0)
    for owner in state.learners:
        prune(state, owner)


@torch.no_grad()
def sparsify(state: State) -> None:
    """Zero the smallest style offsets of a sparse space, a few more after every step of G.

    The share that stays falls from 1 to `keep` as keep + (1 - keep) (1 - t)^3 (Zhu and Gupta 2017, equation 1), t from
    0 at G's first step to 1 at step `sparsify`. An offset may come back while t is below 1.
    """
    recipe = state.recipe
    if state.keep is None or not recipe.sparsify:
        return
    # The average has not BSA's latents, which learn beside the offsets.
    offsets = {name: state.learners["G"][name] for name in state.ema}
    t = min((state.step - recipe.warmup + 1) / recipe.sparsify, 1.0)
    kept = largest(offsets, state.keep + (1 - state.keep) * (1 - t) ** 3)
    for name, leaf in offsets.items():
        leaf.mul_(kept[name])
        state.ema[name].mul_(kept[name])
