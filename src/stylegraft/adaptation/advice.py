"""What to ask for instead of a space or a setting that a recipe's stages refuse: nothing that is refused too.

A fault is a field and what is wrong with it, as `stages.fault` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from stylegraft.adaptation.checks import allowed, effectless
from stylegraft.adaptation.choosing import labels, unknown
from stylegraft.adaptation.fields import show
from stylegraft.adaptation.recipes import changed
from stylegraft.adaptation.state import State, on_device
from stylegraft.domains import spaces
from stylegraft.domains.expression import FORMS, find_space
from stylegraft.errors import StylegraftError

Fault = Callable[[State], tuple[str, str] | None]

OFF: dict[str, Any] = {  # field that a stage cannot serve -> what switches the stage off
    "sparsify": {"sparsify": 0},
    "warmup_judge": {"warmup_judge": ""},
    "lead_space": {"lead": 0},
    "lead_judge": {"lead_judge": ""},
    "partition": {"partition": ""},
    "partition_judge": {"partition_judge": ""},
}


def instead(state: State, space: str, field: str, fault: Fault) -> str:
    """`; expected --space 'X', or --set A --set B`, after a fault of this field; empty: nothing to say."""
    if field in OFF and isinstance(chosen := getattr(state.recipe, field), str):
        owner = "D" if field.endswith("judge") else "G"
        if unknown(labels(state, owner), chosen):
            return ""  # a slip, to which the error has the nearest name
    another = next((text for text in others(state, space, field) if holds(state, text, fault)), "")
    settings = next((changes for changes in changing(state, field, fault)), {})
    ways = [f"--space {another!r}"] if another else []
    ways += [" ".join(f"--set {name}={show(value)}" for name, value in settings.items())] if settings else []
    return f"; expected {', or '.join(ways)}" if ways else ""


def others(state: State, space: str, field: str) -> Iterator[str]:
    """Spaces that may do, those nearest to the user's first: it and what is missing, the recipe's own, large ones."""
    if field == "sparsify":
        yield "stylespace-sparse"
    if field in ("lead_space", "partition"):
        names = [name.strip() for name in getattr(state.recipe, field).split(",")]
        yield " + ".join([*map(whole, names), space])
        yield from (state.recipe.space, "full", "adam")


def whole(name: str) -> str:
    """The term that moves a group, or by a form whatever the form fits."""
    return f"{name}{':4' if FORMS[name] else ''}(*)" if name in FORMS else name


def holds(state: State, space: str, fault: Fault) -> bool:
    """Whether the recipe can be run in this space."""
    generator = state.generator
    try:
        deltas, leaves = on_device(spaces.start(space, generator, torch.Generator().manual_seed(0)), "cpu")
    except StylegraftError:
        return False
    learners = state.learners | {"G": leaves}
    return fault(replace(state, deltas=deltas, learners=learners, keep=find_space(space).keep)) is None


def changing(state: State, field: str, fault: Fault) -> Iterator[dict[str, Any]]:
    """Settings with which the recipe can be run in the user's own space, the best first."""
    if field == "swap":
        there, asked = resolutions(state), state.recipe.swap
        for swap in [*sorted(there, key=lambda r: abs(r - asked)), 0]:
            if fault(replace(state, recipe=replace(state.recipe, swap=swap))) is None:
                yield {"swap": swap}
        return
    row, said, changes = state.recipe, changed(state.recipe), dict[str, Any]()
    while field in OFF and not OFF[field].items() <= changes.items():
        changes |= OFF[field]
        row = replace(state.recipe, **changes)
        while idle := effectless(row, said):
            changes |= {name: value for name, (value, _) in idle.items()}
            row = replace(state.recipe, **changes)
        found = fault(replace(state, recipe=row))
        if found is None:
            if allowed(row):
                yield changes
            return
        field = found[0]


def resolutions(state: State) -> list[int]:
    """Those of G's blocks above the lowest, from which a swap can start."""
    return sorted({layer.resolution for layer in state.generator.layers})[1:]
