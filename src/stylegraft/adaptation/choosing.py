"""How learners are chosen by name: those of a form of deltas (`rank1`) or of a group (`miner`, `head`, `b*.conv*`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import Tensor

from stylegraft.domains.deltas import FORMS
from stylegraft.domains.spaces import groups_of
from stylegraft.errors import StylegraftError, nearest

if TYPE_CHECKING:
    from stylegraft.adaptation.state import State


def matching(groups: Iterable[str], name: str) -> list[str]:
    """Those groups that a name or wildcard means: `affine` is `affine@4`, `affine@8`, ..., `all` every group, `upto-R`
    D's blocks of resolution <= R and what belongs to no block.
    """
    groups = list(groups)
    if name == "all":
        return groups
    if name.startswith("upto-") and (limit := name.removeprefix("upto-")).isdecimal():
        return upto(groups, int(limit))
    return [label for label in groups if fnmatchcase(label, name) or label.partition("@")[0] == name]


def upto(groups: Iterable[str], limit: int) -> list[str]:
    """D's blocks `bR` with R <= limit, its head and its mapping; nothing where no block is called so (G's groups)."""
    blocks = {label: int(label[1:]) for label in groups if label[:1] == "b" and label[1:].isdecimal()}
    beside = [label for label in groups if label in ("head", "mapping")]
    return [label for label, resolution in blocks.items() if resolution <= limit] + beside if blocks else []


def select(
    learners: Mapping[str, Tensor], groups: Mapping[str, Iterable[str]], chosen: str
) -> dict[str, Tensor]:
    """Those learners whose form or group is named in a comma list.

    groups: {group: parameter names}. Raises StylegraftError for a name that is neither, with the nearest that is, and
    where nothing is left.
    """
    names = named(chosen)
    for name in unknown(groups, chosen):
        known = sorted({label.partition("@")[0] for label in groups}) + (
            ["upto-R"] if "head" in groups else []
        )
        raise StylegraftError(
            f"{chosen!r}: no group or form {name!r}{nearest(name, [*known, *FORMS])}; there are the groups"
            f" {', '.join(known)}, and the forms {', '.join(FORMS)}"
        )
    members = {parameter for name in names for label in matching(groups, name) for parameter in groups[label]}
    kept = {leaf: tensor for leaf, tensor in learners.items() if _is(leaf, members, names)}
    if not kept:
        raise StylegraftError(f"{chosen!r}: nothing that learns in this run is called so")
    return kept


def named(chosen: str) -> list[str]:
    """The names of a comma list."""
    return [name.strip() for name in chosen.split(",")]


def unknown(groups: Iterable[str], chosen: str) -> list[str]:
    """Those names of a comma list that are no group and no form."""
    return [name for name in named(chosen) if not matching(groups, name) and name not in FORMS]


def _is(leaf: str, members: set[str], names: list[str]) -> bool:
    parameter, _, rest = leaf.partition("|")
    return parameter in members or rest.partition("|")[0] in names


def labels(state: State, owner: str) -> dict[str, list[str]]:
    """{group: parameter names as the learners of this owner have them}; D's patch exit belongs to its `head`."""
    if owner == "G":
        return {group: list(names) for group, names in groups_of(state.generator).items()}
    groups = {group: [f"D.{name}" for name in names] for group, names in state.discriminator.groups.items()}
    if state.patch is not None:
        groups["head"] += [name for name in state.learners["D"] if name.startswith("patch.")]
    return groups
