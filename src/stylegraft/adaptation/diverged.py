"""Numbers that are not finite: found in the step that makes them, before they are learnt from, looked at or saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from stylegraft.adaptation.state import State
from stylegraft.data.files import few
from stylegraft.errors import StylegraftError

WAYS = ("stop", "skip")  # what a loss or gradient that is not finite does to a run
ROW = 20  # steps in a row that may skip an update, before the run stops after all


class Diverged(StylegraftError):
    """A loss, a gradient or a weight is no finite number; the phase that found a loss or gradient changed nothing."""


def check_way(way: str) -> bool:
    """Whether such updates are skipped; raises StylegraftError for an unknown word."""
    if way not in WAYS:
        raise StylegraftError(f"--nonfinite {way}: expected {' or '.join(WAYS)}")
    return way == "skip"


def require_numbers(state: State, owner: str, values: Mapping[str, float]) -> None:
    """Raise Diverged where a loss or the norm of the gradient is not finite, with a word on where it comes from."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise _diverged(
                state,
                f"{name} is {value} ({_origin(state, owner)})",
                "; or pass over such updates: --nonfinite skip",
            )


def require_weights(state: State) -> None:
    """Raise Diverged where the last update has left a weight that is not finite."""
    learners = {f"{owner}: {key}": leaf for owner, own in state.learners.items() for key, leaf in own.items()}
    if learners and not math.isfinite(torch.nn.utils.get_total_norm([*learners.values()])):
        bad = few(spoilt(learners.items()), 3) or "the sum of all squares"
        raise _diverged(state, f"after its update {bad} is no finite number", "")


def require_state(state: State, tensors: Mapping[str, Tensor]) -> None:
    """Raise Diverged rather than save a state that holds NaN or infinity."""
    if bad := spoilt(tensors.items()):
        raise _diverged(state, f"{few(bad, 3)} holds NaN or infinity, and is not saved", "")


def spoilt(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """The names of those that hold NaN or infinity."""
    # torch.isfinite takes ten times as long
    return [name for name, t in tensors if not np.isfinite(t.detach().cpu().numpy()).all()]


def _origin(state: State, owner: str) -> str:
    """Where to look: weights that are not finite, else gradients."""
    own = state.learners[owner].items()
    if bad := spoilt(own):
        return f"so is {few(bad, 3)}"
    bad = spoilt((name, leaf.grad) for name, leaf in own if leaf.grad is not None)
    return f"{owner}'s weights are finite, {f'the gradient of {few(bad, 3)} is not' if bad else 'its gradients too'}"


def remembered(state: State) -> Callable[[], None]:
    """What a phase changes beside its learners; a call of what is returned puts it back."""
    before = state.path_mean, state.real_sign, dict(state.recall)
    ada = dict(vars(state.ada)) if state.ada else {}

    def put_back() -> None:
        state.path_mean, state.real_sign, state.recall = before
        if state.ada:
            vars(state.ada).update(ada)

    return put_back


def short(error: Diverged) -> str:
    """What was found, without what to do."""
    return str(error).partition(": the run has diverged")[0]


def _diverged(state: State, found: str, more: str) -> Diverged:
    recipe = state.recipe
    wider = ", or set precision=bf16" if recipe.precision == "fp16" else ""
    return Diverged(
        f"step {state.step}: {found}: the run has diverged; lower lr ({recipe.lr:g}) or lr_d ({recipe.lr_d:g}), or "
        f"raise r1_gamma ({recipe.r1_gamma:g}){wider}, with a new --out{more}"
    )
