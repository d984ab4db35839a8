"""The devices that torch may have here, and what is refused on them."""

from __future__ import annotations

import re
from typing import Literal

import torch

from stylegraft.errors import StylegraftError

Feature = Literal["adapt", "sample"]

# (feature, kind of device): why not. A row goes when `tests/test_devices.py` has passed on such a machine without it.
REFUSED: dict[tuple[Feature, str], str] = {("adapt", "mps"): "never run on mps"}


def available() -> dict[str, int]:
    """How many devices of each kind this installation of torch sees."""
    return {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }


def check_device(device: str, feature: Feature) -> str:
    """`device` itself: "cpu", "cuda", "cuda:1" or "mps".

    Raises StylegraftError for a name that is none of these, a device that is not there, and one of REFUSED.
    """
    counts = available()
    found = re.fullmatch(r"([a-z]+)(?::([0-9]{1,3}))?", device)
    kind, index = (found[1], int(found[2] or 0)) if found else ("", 0)
    if kind not in counts:
        raise StylegraftError(f"device {device!r} is unknown; expected {', '.join(counts)} or, say, cuda:1")
    if index >= counts[kind]:
        seen = f"{counts[kind]} of its kind" if counts[kind] else "none"
        raise StylegraftError(f"device {device!r}: this installation of torch sees {seen}; use --device cpu")
    if why := REFUSED.get((feature, kind)):
        raise StylegraftError(f"device {device!r}: {feature} is refused there, {why}; use --device cpu")
    return device
