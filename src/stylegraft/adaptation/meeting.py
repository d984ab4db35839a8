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


def agree(world: World, config: dict[str, Any], **more: Any) -> None:
    """Refuse, on all processes, a run of which one was given something else than process 0; the line names the first
    thing that differs. more: what has to be the same beside the config.
    """
    if world.size == 1:
        return
    asked = read(written({"config": config, "more": more}))
    first = read(world.from_first(lambda: {"asked": written(asked)})["asked"])
    found = differing(first["config"], asked["config"]) or next(
        ((key, was, asked["more"][key]) for key, was in first["more"].items() if was != asked["more"][key]),
        None,
    )
    line = ""
    if found:
        name, theirs, mine = found
        line = (
            f"process {world.rank} of {world.size} has {name} = {mine!r}, and process 0 has {theirs!r}: expected the "
            "same command, source and images on every machine"
        )
    if line := heard(world, line):
        raise StylegraftError(line)


def heard(world: World, line: str) -> str:
    """The line of the last process that has one, on all of them; process 0 has none. Empty where nobody has one."""
    last = world.most(world.rank if line else 0)
    if not last:
        return ""
    own = written(line if world.rank == last else "").int().to(world.device)
    text = own.new_zeros(world.most(len(own)))
    if world.rank == last:
        text[: len(own)] = own
    return read(world.add([text])[0].to(torch.uint8))


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
