"""What many processes agree on before their first step: the same command, and the state of process 0.

Each opens source, images and guides itself, so these have to be on every machine; the run folder is process 0's alone.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.sameness import differing
from stylegraft.adaptation.state import State
from stylegraft.adaptation.world import World
from stylegraft.errors import StylegraftError


def agree(world: World, config: dict[str, Any]) -> None:
    """Refuse to share a run with a process 0 that was given something else, by the first thing that differs."""
    if world.size == 1:
        return
    first = read(world.from_first(lambda: {"config": written(config)})["config"])
    if found := differing(first, read(written(config))):
        name, theirs, mine = found
        raise StylegraftError(
            f"process {world.rank} of {world.size} has {name} = {mine!r}, and process 0 has {theirs!r}: expected the "
            "same command, source and images on every machine"
        )


def meet(state: State) -> None:
    """Bring every process to the state of process 0, which may have read it from a folder that the others lack."""
    if state.world.size == 1:
        return

    def kept() -> dict[str, Tensor]:
        tensors, numbers = pack(state)
        return tensors | {"images": state.images, "numbers": written(numbers)}

    tensors = state.world.from_first(kept)
    if state.world.rank:
        numbers = read(tensors.pop("numbers"))
        state.images = tensors.pop("images")
        unpack(state, tensors, numbers)


def written(value: Any) -> Tensor:
    """What JSON can hold, as a tensor of bytes."""
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def read(text: Tensor) -> Any:
    """The same back."""
    return json.loads(text.cpu().numpy().tobytes())
