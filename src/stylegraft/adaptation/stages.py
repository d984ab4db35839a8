"""The stages of a run: who learns when, and what is decided between them. MineGAN, AdAM and RICK are rows of data here.

    warm-up   `warmup` steps in which D alone learns, or a part of it (`warmup_judge`)
    lead      `lead` steps in which of G only `lead_space` moves, and of D only `lead_judge`
    main      everything, but for filters that `partition` froze or pruned

At the end of the lead (and every `partition_every` steps after it) the filters of the groups named in `partition`
and `partition_judge` are sorted by their Fisher information: the most important stay as they are, the least important
can be pruned, the rest is tuned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from stylegraft.adaptation.importance import by_filter, leaf_fisher, source_fisher
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.state import State
from stylegraft.domains.deltas import FORMS
from stylegraft.domains.domain import Domain
from stylegraft.domains.pruning import largest
from stylegraft.domains.spaces import groups_of
from stylegraft.errors import StylegraftError, nearest

TUNED, FROZEN, PRUNED = 0.0, 1.0, 2.0  # what `State.filters` says of a filter; float32, as state files hold
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
    return select(learners, labels(state, owner), chosen) if chosen else learners


def labels(state: State, owner: str) -> dict[str, list[str]]:
    """{group: parameter names as the learners of this owner have them}; D's patch exit belongs to its `head`."""
    if owner == "G":
        return {group: list(names) for group, names in groups_of(state.generator).items()}
    groups = {group: [f"D.{name}" for name in names] for group, names in state.discriminator.groups.items()}
    if state.patch is not None:
        groups["head"] += [name for name in state.learners["D"] if name.startswith("patch.")]
    return groups


def select(
    learners: Mapping[str, Tensor], groups: Mapping[str, Iterable[str]], chosen: str
) -> dict[str, Tensor]:
    """Those learners whose form (`rank1`) or group (`miner`, `head`, `b*.conv*`) is named in a comma list.

    A group's resolution need not be named: `affine` is `affine@4`, `affine@8`, ... Raises StylegraftError for a name
    that is neither, with the nearest that is, and where nothing is left.
    """
    names, members = [name.strip() for name in chosen.split(",")], set[str]()
    for name in names:
        found = [label for label in groups if fnmatchcase(label, name) or label.partition("@")[0] == name]
        members.update(parameter for label in found for parameter in groups[label])
        if not found and name not in FORMS:
            known = sorted({label.partition("@")[0] for label in groups})
            raise StylegraftError(
                f"{chosen!r}: no group or form {name!r}{nearest(name, [*known, *FORMS])}; there are"
                f" {', '.join(known)}, and the forms"
            )
    kept = {leaf: tensor for leaf, tensor in learners.items() if _is(leaf, members, names)}
    if not kept:
        raise StylegraftError(f"{chosen!r}: nothing that learns in this run is called so")
    return kept


def _is(leaf: str, members: set[str], names: list[str]) -> bool:
    parameter, _, rest = leaf.partition("|")
    return parameter in members or rest.partition("|")[0] in names


def enter(state: State) -> None:
    """What has to be settled before this step: EWC's Fisher information, the partition, the way back to the start."""
    recipe, begun = state.recipe, state.step - state.recipe.warmup
    if recipe.ewc and not state.fisher:
        state.fisher = source_fisher(state, recipe.importance_samples)
    if begun >= 0 and due(recipe, begun):
        for owner, groups in (("G", recipe.partition), ("D", recipe.partition_judge)):
            if groups:
                divide(state, owner)
    if recipe.lead_reset and recipe.lead and begun == recipe.lead:
        restart(state)


def due(recipe: Recipe, begun: int) -> bool:
    """Whether filters are sorted before the step that comes after `begun` steps of G."""
    since = begun - recipe.lead
    return since == 0 or (since > 0 and recipe.partition_every > 0 and since % recipe.partition_every == 0)


def divide(state: State, owner: str) -> None:
    """Sort the filters of one network anew; what was pruned once stays so, and is not counted."""
    recipe, prefix = state.recipe, "D." if owner == "D" else ""
    pools = partitioned(state, owner)
    leaves = dict[str, Tensor]()
    for names in pools.values():
        leaves |= measured(state, owner, names)
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    information = leaf_fisher(state, owner, leaves, recipe.importance_samples)
    for names in pools.values():
        found = by_filter(information, names, prefix)
        verdicts = {
            name: state.filters.get(f"{owner}/{name}", torch.zeros_like(found[name])) for name in found
        }
        verdict, importance = torch.cat(list(verdicts.values())), torch.cat(list(found.values()))
        left = verdict != PRUNED
        verdict[left] = sort(importance[left], recipe.freeze_above, recipe.prune_below)
        sizes = [len(values) for values in found.values()]
        for name, own in zip(found, verdict.split(sizes), strict=True):
            state.filters[f"{owner}/{name}"] = own.clone()
    prune(state, owner)


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


def thaw(state: State, owner: str) -> None:
    """D's learners take gradients in D's phases only: in G's they would cost a third of the backward pass."""
    for judge in state.learners["D"].values():
        judge.requires_grad_(False)
    if owner == "D":
        for judge in active(state, owner).values():
            judge.requires_grad_(True)


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


def check(state: State, space: str) -> None:
    """Refuse a space or a discriminator that the recipe's stages have no use for; raises StylegraftError."""
    recipe = state.recipe
    where = f"recipe {recipe.name}, space {space!r}"
    if recipe.sparsify and state.keep is None:
        raise StylegraftError(
            f"{where}, sparsify={recipe.sparsify}: this space is not pruned; expected a sparse space, or sparsify=0"
        )
    if recipe.swap:
        try:
            Domain(state.deltas).above(recipe.swap)
        except StylegraftError as error:
            raise StylegraftError(f"{where}, swap={recipe.swap}: {error}; expected a lower swap") from error
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
            moves = f"space {space!r}" if owner == "G" else f"discriminator policy {recipe.discriminator!r}"
            instead = {
                "lead_space": f"a space that has it, as in --space {shown(chosen)!r}, or lead=0",
                "partition": "a space such as full, synthesis or adam",
            }.get(field, f"another {field}")
            raise StylegraftError(
                f"recipe {recipe.name}, {moves}, {field} {error}; expected {instead}"
            ) from error


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
