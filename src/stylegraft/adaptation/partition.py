"""Filters sorted by their Fisher information: the most important stay as they are, the least important can be pruned to
zero, the rest is tuned (AdAM, Zhao et al. 2022; RICK, Zhao et al. 2023).

The recipe's fields `partition` and `partition_judge` name the groups whose filters are sorted, `stages` says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from stylegraft.adaptation.choosing import labels, select
from stylegraft.adaptation.importance import by_filter, leaf_fisher
from stylegraft.adaptation.state import State
from stylegraft.domains.deltas import effective
from stylegraft.errors import StylegraftError

TUNED, FROZEN, PRUNED = 0.0, 1.0, 2.0  # what `State.filters` says of a filter; float32, as state files hold


def divide(state: State) -> None:
    """Sort the filters of both networks anew. Nothing is changed before both estimates are there."""
    recipe = state.recipe

    def verdicts() -> dict[str, Tensor]:
        filters = dict(state.filters)
        for owner, groups in (("G", recipe.partition), ("D", recipe.partition_judge)):
            if groups:
                filters = sorted_anew(state, owner, filters)
        return filters

    state.filters = state.world.from_first(verdicts)
    for owner in ("G", "D"):
        prune(state, owner)


def sorted_anew(state: State, owner: str, filters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`filters`, with those of one network sorted anew; what was pruned once stays so, and is not counted.

    D is asked what matters on images of G as `filters` leaves it.
    """
    recipe, prefix, filters = state.recipe, "D." if owner == "D" else "", dict(filters)
    pools = partitioned(state, owner)
    leaves = dict[str, Tensor]()
    for names in pools.values():
        leaves |= measured(state, owner, names)
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    student = pruned(state, filters) if owner == "D" else None
    information = leaf_fisher(state, owner, leaves, recipe.importance_samples, student)
    for names in pools.values():
        found = by_filter(information, names, prefix)
        before = [filters.get(f"{owner}/{name}", torch.zeros_like(found[name])) for name in found]
        verdict, importance = torch.cat(before), torch.cat(list(found.values()))
        left = verdict != PRUNED
        verdict[left] = sort(importance[left], recipe.freeze_above, recipe.prune_below)
        parts = verdict.split([len(values) for values in found.values()])
        filters |= {f"{owner}/{name}": part.clone() for name, part in zip(found, parts, strict=True)}
    return filters


@torch.no_grad()
def pruned(state: State, filters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """G's parameters as they stand, with the filters at zero that `filters` prunes."""
    moved = effective(state.deltas, state.base)
    for name, tensor in moved.items():
        if (verdict := filters.get(f"G/{name}")) is not None:
            tensor[verdict == PRUNED] = 0
    return moved


def measured(state: State, owner: str, parameters: Iterable[str]) -> dict[str, Tensor]:
    """The leaves whose Fisher information tells how important the filters of these parameters are: those that learnt
    in the lead, or all where none did.
    """
    recipe, learners, prefix = state.recipe, state.learners[owner], "D." if owner == "D" else ""
    named = {prefix + name for name in parameters}
    own = {leaf: tensor for leaf, tensor in learners.items() if leaf.partition("|")[0] in named}
    chosen = {"G": recipe.lead_space, "D": recipe.lead_judge}[owner] if recipe.lead else ""
    led = select(learners, labels(state, owner), chosen) if chosen else {}
    return {leaf: tensor for leaf, tensor in own.items() if leaf in led} or own


def sort(importance: Tensor, freeze_above: float, prune_below: float) -> Tensor:
    """[N] importances of filters -> [N] of TUNED, FROZEN, PRUNED, by percentiles (0 to 100, between two values linear).

    Filters above `freeze_above` are frozen, those up to `prune_below` (0: none) are pruned. Of equal ones the first are
    pruned, and never more than that share: to a D that is sure of everything, nothing is important.
    """
    values = importance.detach().cpu().double()
    if not len(values):
        return importance
    verdict = torch.where(values > torch.quantile(values, freeze_above / 100), FROZEN, TUNED)
    if prune_below:
        last = int(prune_below / 100 * (len(values) - 1) + 1e-9)
        verdict[values.argsort(stable=True)[: last + 1]] = PRUNED
    return verdict.to(importance)


def partitioned(state: State, owner: str) -> dict[str, list[str]]:
    """{pool: kernels and matrices whose filters are sorted together}.

    Pools are those of AdAM: G's convolutions and its affine layers apart, D's groups together.
    """
    recipe = state.recipe
    groups = [recipe.partition_judge] if owner == "D" else recipe.partition.split(",")
    return {group.strip(): filtered(state, owner, group.strip()) for group in groups if group.strip()}


def filtered(state: State, owner: str, groups: str) -> list[str]:
    """Kernels and matrices of these groups that move freely or by dense deltas."""
    prefix, found = "D." if owner == "D" else "", list[str]()
    for leaf, tensor in select(state.learners[owner], labels(state, owner), groups).items():
        parameter, _, rest = leaf.removeprefix(prefix).partition("|")
        if tensor.ndim > 1 and rest in ("", "dense|D"):
            found.append(parameter)
    return found


def divisible(state: State, owner: str) -> None:
    """Refuse forms of deltas by which a filter moves together with others; raises StylegraftError."""
    deltas = state.deltas if owner == "G" else state.judge_deltas
    for group, names in partitioned(state, owner).items():
        others = {term.form for name in names for term in deltas.get(name, ())} - {"dense", "rank1"}
        if others or not names:
            found = f"{', '.join(sorted(others))} as well" if others else "none"
            raise StylegraftError(
                f"{group!r}: to freeze filter by filter takes dense deltas, alone or beside rank1; found {found}"
            )


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
    prefix, learners = "D." if owner == "D" else "", state.learners[owner]
    for key, verdict in state.filters.items():
        gone = verdict == PRUNED
        if not key.startswith(f"{owner}/") or not bool(gone.any()):
            continue
        name = key.partition("/")[2]
        if (free := learners.get(prefix + name)) is not None:
            free[gone] = 0
            continue
        base = state.base[name] if owner == "G" else state.judge_base[name]
        zero = {f"{prefix}{name}|dense|D": -base[gone], f"{prefix}{name}|rank1|u": base.new_zeros(())}
        for leaf, value in zero.items():
            for tensor in (learners.get(leaf), state.ema.get(leaf)):
                if tensor is not None:
                    tensor[gone] = value
