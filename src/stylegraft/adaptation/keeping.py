"""A run's state as tensors and a few numbers, and back: what a run folder keeps between two sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.state import State
from stylegraft.errors import StylegraftError

FOUND = (
    "fisher",
    "filters",
    "found",
    "recall",
)  # fields of the state that are empty at first and filled on the way


def changing(state: State) -> dict[str, Tensor]:
    """Every tensor that training writes to, by the name it is kept under."""
    tensors: dict[str, Tensor] = {f"leaf/{name}": leaf for name, leaf in state.learners["G"].items()}
    tensors |= {f"ema/{name}": tensor for name, tensor in state.ema.items()}
    if state.recipe.adv:  # without a game D stays what it began as
        tensors |= {f"D/{name}": p for name, p in state.discriminator.named_parameters()}
    tensors |= {
        f"judge/{name}": leaf
        for name, leaf in state.learners["D"].items()
        if name.startswith("D.") and "|" in name
    }
    if state.patch is not None:
        tensors |= {f"patch/{name}": p for name, p in state.patch.named_parameters()}
    tensors["path_mean"] = state.path_mean
    return tensors


def pack(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that changes, as tensors and a few numbers."""
    tensors = {name: tensor.detach() for name, tensor in changing(state).items()}
    tensors |= {f"{kind}/{name}": tensor for kind in FOUND for name, tensor in getattr(state, kind).items()}
    for owner, name, slots in _moments(state):
        tensors |= {f"adam/{owner}/{name}/{slot}": tensor for slot, tensor in slots.items()}
    ada = (
        {key: None if value != value else value for key, value in state.ada.state_dict().items()}
        if state.ada
        else None
    )
    sign = float(state.real_sign)
    return tensors, {"step": state.step, "row": state.row, "real_sign": sign, "ada": ada}


def size(state: State) -> int:
    """Bytes that the tensors of `pack` take once every parameter has taken a step; what is found on the way aside."""
    moved = [leaf for owner in state.optimizers for leaf in state.learners[owner].values()]
    return sum(
        tensor.nbytes for tensor in [*changing(state).values(), *moved, *moved]
    )  # Adam has two moments


@torch.no_grad()
def unpack(state: State, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Bring a fresh state to where another was packed; raises StylegraftError when the tensors are not its
    own.
    """
    mine = changing(state)
    found = {name: tensor for name, tensor in tensors.items() if not name.startswith("adam/")}
    for kind in FOUND:
        own = {name: found.pop(name) for name in list(found) if name.startswith(f"{kind}/")}
        own = {
            name.removeprefix(f"{kind}/"): tensor.to(state.device, copy=True) for name, tensor in own.items()
        }
        setattr(state, kind, own)
    for name in sorted(mine.keys() ^ found.keys()):
        raise StylegraftError(
            f"saved state: tensor {name!r} is {'missing' if name in mine else 'not part of this run'}"
        )
    for name, tensor in found.items():
        if mine[name].shape != tensor.shape:
            raise StylegraftError(
                f"saved state: {name} is {list(tensor.shape)}, expected {list(mine[name].shape)}"
            )
        mine[name].copy_(tensor)
    for owner, optimizer in state.optimizers.items():
        for name, parameter in state.learners[owner].items():
            slots = {
                slot: tensors.get(f"adam/{owner}/{name}/{slot}") for slot in ("step", "exp_avg", "exp_avg_sq")
            }
            if any(tensor is not None for tensor in slots.values()):
                optimizer.state[parameter] = {
                    slot: _like(parameter, tensor) for slot, tensor in slots.items()
                }
    state.step = numbers["step"]
    # States of before lack these: a count begins anew, and the sign is that of the next step of D.
    state.row = numbers.get("row", 0)
    state.real_sign = torch.tensor(numbers.get("real_sign", 0.0), device=state.device)
    if state.ada and numbers["ada"]:
        state.ada.load_state_dict(
            {key: float("nan") if value is None else value for key, value in numbers["ada"].items()}
        )


def _moments(state: State) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """(owner, parameter name, Adam's tensors) of every parameter that has taken a step."""
    for owner, optimizer in state.optimizers.items():
        for name, parameter in state.learners[owner].items():
            if parameter in optimizer.state:
                yield owner, name, optimizer.state[parameter]


def _like(parameter: Tensor, tensor: Tensor | None) -> Tensor:
    """A copy with the parameter's device and memory layout: the fused kernel walks raw memory and asks for
    one layout.
    """
    if tensor is None or tensor.shape not in (parameter.shape, torch.Size([])):
        raise StylegraftError("saved state: an optimiser's tensors do not fit its parameters")
    if tensor.shape != parameter.shape:
        return tensor.to(parameter.device)
    return torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False).copy_(tensor)
