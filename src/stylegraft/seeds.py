"""What a seed may be, wherever one is typed: a flag, a study, a file of keys, the studio, a call."""

from __future__ import annotations

LAST_SEED = 2**32 - 1  # torch's CPU generator keeps 32 bits: beyond, what was drawn would come back
SEED = f"a whole number from 0 to {LAST_SEED}"


def is_seed(value: object) -> bool:
    """Whether a value is one."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_SEED
