"""Which of how many processes this one is, as `torchrun` (or whoever sets its variables) says. No torch, so that even a
refused command line knows who it speaks for.
"""

from __future__ import annotations

import os


def size() -> int:
    """How many processes share the work, on all machines; 1 where nobody says."""
    return max(1, _variable("WORLD_SIZE", 1))


def rank() -> int:
    """The number of this process, from 0 on."""
    return _variable("RANK", 0) if size() > 1 else 0


def local_rank() -> int:
    """Its number on this machine."""
    return _variable("LOCAL_RANK", 0)


def restarts() -> int:
    """How often torchrun has started all processes again."""
    return _variable("TORCHELASTIC_RESTART_COUNT", 0)


def _variable(name: str, otherwise: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else otherwise
