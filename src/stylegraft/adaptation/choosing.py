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
    """Those groups that a name or wildcard means; `affine` means `affine@4`, `affine@8`, ..."""
    return [label for label in groups if fnmatchcase(label, name) or label.partition("@")[0] == name]


def select(
    learners: Mapping[str, Tensor], groups: Mapping[str, Iterable[str]], chosen: str
) -> dict[str, Tensor]:
    """Those learners whose form or group is named in a comma list.

    groups: {group: parameter names}. Raises StylegraftError for a name that is neither, with the nearest that is, and
    where nothing is left.
    """
    names, members = [name.strip() for name in chosen.split(",")], set[str]()
    for name in names:
        found = matching(groups, name)
        members.update(parameter for label in found for parameter in groups[label])
        if not found and name not in FORMS:
            known = sorted({label.partition("@")[0] for label in groups})
            raise StylegraftError(
                f"{chosen!r}: no group or form {name!r}{nearest(name, [*known, *FORMS])}; there are the groups"
                f" {', '.join(known)}, and the forms {', '.join(FORMS)}"
            )
    kept = {leaf: tensor for leaf, tensor in learners.items() if _is(leaf, members, names)}
    if not kept:
        raise StylegraftError(f"{chosen!r}: nothing that learns in this run is called so")
    return kept


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
