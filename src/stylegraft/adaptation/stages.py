"""The stages of a run: who learns when, and what is decided between them. MineGAN, AdAM and RICK are rows of data here.

    warm-up   `warmup` steps in which D alone learns, or a part of it (`warmup_judge`)
    lead      `lead` steps in which of G only `lead_space` moves, and of D only `lead_judge`
    main      everything, but for filters that `partition` froze or pruned

At the end of the lead (and every `partition_every` steps after it) the filters of the groups named in `partition`
are sorted by their Fisher information: the most important stay as the source has them, the least important can be
pruned, the rest is tuned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from stylegraft.adaptation.importance import by_filter, leaf_fisher, source_fisher
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State
from stylegraft.domains.pruning import largest
from stylegraft.domains.spaces import groups_of
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

TUNED, FROZEN, PRUNED = 0.0, 1.0, 2.0  # what `State.filters` says of a filter
JUDGED = "b*.conv*, b*.skip"  # groups of D that are partitioned


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
    return select(learners, labels(state, owner), chosen) if chosen else learners


def labels(state: State, owner: str) -> Mapping[str, Iterable[str]]:
    """{group: parameter names as the learners of this owner have them}."""
    if owner == "G":
        return groups_of(state.generator)
    return {group: [f"D.{name}" for name in names] for group, names in state.discriminator.groups.items()}


def select(
    learners: Mapping[str, Tensor], groups: Mapping[str, Iterable[str]], chosen: str
) -> dict[str, Tensor]:
    """Those learners whose form (`rank1`) or group (`miner`, `head`, `b*.conv*`) is named in a comma list.

    A group's resolution need not be named: `affine` is `affine@4`, `affine@8`, ... Raises StylegraftError where
    nothing is left.
    """
    names = [name.strip() for name in chosen.split(",")]
    members = {
        parameter
        for label, parameters in groups.items()
        for parameter in parameters
        if any(fnmatchcase(label, name) or label.partition("@")[0] == name for name in names)
    }
    kept = {leaf: tensor for leaf, tensor in learners.items() if _is(leaf, members, names)}
    if not kept:
        raise StylegraftError(f"stage of {chosen!r}: nothing that learns in this run is called so")
    return kept


def _is(leaf: str, members: set[str], names: list[str]) -> bool:
    parameter, _, rest = leaf.partition("|")
    return parameter in members or rest.partition("|")[0] in names


def enter(state: State) -> None:
    """What has to be settled before this step: EWC's Fisher information, the partition, the way back to the start."""
    recipe, begun = state.recipe, state.step - state.recipe.warmup
    if recipe.ewc and not state.fisher:
        state.fisher = source_fisher(state, recipe.importance_samples)
    if begun >= 0 and recipe.partition and due(recipe, begun):
        for owner, groups in (("G", recipe.partition), ("D", JUDGED)):
            divide(state, owner, groups)
    if recipe.lead_reset and recipe.lead and begun == recipe.lead:
        restart(state)


def due(recipe: Recipe, begun: int) -> bool:
    """Whether filters are sorted before the step that comes after `begun` steps of G."""
    since = begun - recipe.lead
    return since == 0 or (since > 0 and recipe.partition_every > 0 and since % recipe.partition_every == 0)


def divide(state: State, owner: str, groups: str) -> None:
    """Sort the filters of one network anew; what was pruned once stays so."""
    parameters, samples = partitioned(state, owner, groups), state.recipe.importance_samples
    prefix = "D." if owner == "D" else ""
    judged = measured(state, owner)
    for leaf in judged.values():
        leaf.requires_grad_(True)
    found = by_filter(leaf_fisher(state, owner, judged, samples), parameters, prefix)
    for kind in sorted({parameters[name] for name in found}):
        pool = {name: values for name, values in found.items() if parameters[name] == kind}
        for name, verdict in sort(pool, state.recipe.freeze_above, state.recipe.prune_below).items():
            key = f"{owner}/{name}"
            if key in state.filters:
                verdict = torch.where(state.filters[key] == PRUNED, PRUNED, verdict)
            state.filters[key] = verdict
    prune(state, owner)


def measured(state: State, owner: str) -> dict[str, Tensor]:
    """The learners whose Fisher information tells a filter's importance: what moved in the lead, or all."""
    recipe, learners = state.recipe, state.learners[owner]
    chosen = {"G": recipe.lead_space, "D": recipe.lead_judge}[owner] if recipe.lead else ""
    return select(learners, labels(state, owner), chosen) if chosen else learners


def thaw(state: State, owner: str) -> None:
    """D's learners take gradients in D's phases only: in G's they would cost a third of the backward pass."""
    for judge in state.learners["D"].values():
        judge.requires_grad_(False)
    if owner == "D":
        for judge in active(state, owner).values():
            judge.requires_grad_(True)


def sort(pool: Mapping[str, Tensor], freeze_above: float, prune_below: float) -> dict[str, Tensor]:
    """{parameter: [O] of TUNED, FROZEN, PRUNED} by percentiles (0 to 100) of all filters together.

    Filters above `freeze_above` are frozen; those at or below `prune_below` (0: none) are pruned.
    """
    everything = torch.cat(list(pool.values())).double()
    high = torch.quantile(everything, freeze_above / 100)
    low = torch.quantile(everything, prune_below / 100) if prune_below else everything.new_tensor(-1.0)
    verdicts = {}
    for name, values in pool.items():
        frozen = torch.where(values > high, FROZEN, TUNED)
        verdicts[name] = torch.where(values <= low, PRUNED, frozen)
    return verdicts


def partitioned(state: State, owner: str, groups: str) -> dict[str, str]:
    """{parameter: the group it is sorted within}: kernels and matrices whose filters can be frozen one by one."""
    learners, prefix = state.learners[owner], "D." if owner == "D" else ""
    found: dict[str, str] = {}
    for kind in (group.strip() for group in groups.split(",")):
        for leaf, tensor in select(learners, labels(state, owner), kind).items():
            parameter, _, rest = leaf.removeprefix(prefix).partition("|")
            if tensor.ndim > 1 and rest in ("", "dense|D"):
                found[parameter] = "conv" if owner == "D" else kind
    return found


def check(recipe: Recipe, space: str, learners: Mapping[str, Tensor], generator: Generator) -> None:
    """Refuse a space that a recipe's stages have nothing to do with; raises StylegraftError."""
    if recipe.lead and recipe.lead_space:
        try:
            select(learners, groups_of(generator), recipe.lead_space)
        except StylegraftError as error:
            raise StylegraftError(
                f"recipe {recipe.name} begins with {recipe.lead} steps of {recipe.lead_space}, of which the space"
                f" {space!r} moves nothing: expected a space that has it, as in --space"
                f" {shown(recipe.lead_space)!r}, or lead=0"
            ) from error
    if recipe.partition:
        dense = {
            leaf.partition("|")[0] for leaf, t in learners.items() if leaf.endswith("|dense|D") and t.ndim > 1
        }
        wanted = [group.strip() for group in recipe.partition.split(",")]
        for group in wanted:
            members = {
                n
                for label, names in groups_of(generator).items()
                if label.partition("@")[0] == group
                for n in names
            }
            if not members & dense:
                raise StylegraftError(
                    f"recipe {recipe.name} freezes and tunes filters of {group}, which needs dense deltas there: the"
                    f" space {space!r} has none; expected one such as full, synthesis or adam"
                )


def shown(lead_space: str) -> str:
    """A space that has what a lead moves."""
    first = lead_space.split(",")[0].strip()
    return "adam" if first == "rank1" else f"{first} + full"


@torch.no_grad()
def hold(state: State, owner: str) -> None:
    """Take the gradients of frozen and pruned filters away. Adam without a first moment then leaves them bit-equal.

    Where a parameter has a rank-1 factor beside its dense delta, a frozen filter is modulated instead (AdAM).
    """
    prefix = "D." if owner == "D" else ""
    learners = state.learners[owner]
    for key, verdict in state.filters.items():
        if not key.startswith(f"{owner}/"):
            continue
        parameter = prefix + key.partition("/")[2]
        for leaf in (parameter, f"{parameter}|dense|D"):
            if leaf in learners and (gradient := learners[leaf].grad) is not None:
                gradient.mul_((verdict == TUNED).view(-1, *[1] * (gradient.ndim - 1)))
        factor = learners.get(f"{parameter}|rank1|u")
        if factor is not None and factor.grad is not None:
            factor.grad.mul_(verdict == FROZEN)


@torch.no_grad()
def prune(state: State, owner: str) -> None:
    """Set pruned filters to zero, in what learns and in its average."""
    prefix = "D." if owner == "D" else ""
    learners = state.learners[owner]
    for key, verdict in state.filters.items():
        gone = verdict == PRUNED
        if not key.startswith(f"{owner}/") or not bool(gone.any()):
            continue
        name = key.partition("/")[2]
        free, leaf = learners.get(prefix + name), f"{prefix}{name}|dense|D"
        if free is not None:
            free[gone] = 0
            continue
        base = state.base[name] if owner == "G" else state.judge_base[name]
        for tensor in (learners[leaf], *([state.ema[leaf]] if owner == "G" else [])):
            tensor[gone] = -base[gone]


@torch.no_grad()
def restart(state: State) -> None:
    """Go back to the source, keeping only what the lead found out; Adam forgets, the average too."""
    for owner, learners in state.learners.items():
        for name, leaf in learners.items():
            leaf.copy_(state.begun[owner][name])
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
    recipe, learners = state.recipe, state.learners["G"]
    if state.keep is None or not recipe.sparsify:
        return
    t = min((state.step - recipe.warmup + 1) / recipe.sparsify, 1.0)
    kept = largest(learners, state.keep + (1 - state.keep) * (1 - t) ** 3)
    for name, leaf in learners.items():
        leaf.mul_(kept[name])
        state.ema[name].mul_(kept[name])
