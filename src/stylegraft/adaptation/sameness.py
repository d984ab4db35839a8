"""Whether a command asks for the run that a folder holds, and whether this is the machine it was begun on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.state import State
from stylegraft.errors import StylegraftError
from stylegraft.networks import products

FREE = ("preset", "paper", "steps")  # recipe fields that may differ on resume: they change no step
IDENTITY = {
    "source": ("fingerprint", "sha256"),
    "target": ("count", "align", "sha256", "held_out", "text", "texts", "from_text"),
}  # names may change


def setting(state: State) -> dict[str, Any]:
    """What bit-equality depends on beside the config."""
    return machine(state.device) | {"processes": state.world.size}


def machine(device: torch.device) -> dict[str, Any]:
    """The same of one process."""
    convolutions = products.arithmetic(device)
    return {
        "device": str(device),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **({"convolutions": convolutions} if convolutions else {}),
        **({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
    }


# What a run did that was started before a key of its config had a name.
UNNAMED: dict[str, dict[str, Any]] = {
    "target": {"held_out": 0},
    "recipe": {one.name: one.default for one in fields(Recipe)},
}


def compare(path: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to continue a run under another config; the line names the first field that differs."""
    if found := differing(saved, asked):
        _refuse(path, *found)


def differing(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first field in which two configs ask for different runs, and what they say of it."""
    for name in ("source", "discriminator", "target", "recipe", "space", "seed", "guides"):
        before, now = saved.get(name), asked.get(name)
        if not isinstance(now, dict):
            if before != now:
                before, now = (_named(one) if name == "guides" else one for one in (before, now))
                return name, before, now
            continue
        before = before if isinstance(before, dict) else {}
        for key in IDENTITY.get(name, [key for key in now if key not in FREE]):
            was = before.get(key, UNNAMED.get(name, {}).get(key))
            if was != now.get(key):
                return f"{name}.{key}", was, now.get(key)
    return None


def _refuse(path: Path, name: str, before: Any, now: Any) -> None:
    raise StylegraftError(
        f"{path}: this run was started with {name} = {before!r}, the command now asks for {now!r}; "
        "repeat the first command to continue it, or choose another --out"
    )


def _named(guides: Sequence[Mapping[str, Any]] | None) -> str:
    return (
        ", ".join(f"{one['name']} {one['digest'][:12]}={one['weight']:g}" for one in guides or ()) or "none"
    )
