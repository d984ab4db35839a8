"""What can be refused before torch is imported, so that a typing error costs a tenth of a second and not two."""

from __future__ import annotations

import time

from stylegraft.errors import StylegraftError

# Seconds spent on opening pictures here; the library reads all of them later, with the same checks.
LOOK = 1.0


def check_target(target: str, align: str) -> None:
    """Refuse a target without pictures, or with a bad one among the first; a packaged set has its own."""
    from stylegraft.data.targets import is_packaged

    if not is_packaged(target, align):
        check_pictures(target)


def check_pictures(path: str, least: int = 1) -> int:
    """Refuse a place of fewer than `least` pictures, or with a bad one among the first that a second decodes.

    Returns how many were seen, one more than `least` at least where there are so many.
    """
    from stylegraft.data.files import read_pictures

    start, seen = time.perf_counter(), 0
    for _ in read_pictures(path, 3, [], coarse=True):
        seen += 1
        if time.perf_counter() - start > LOOK and seen > least:
            return seen
    if seen < least:
        from stylegraft.cli.console import counted

        raise StylegraftError(f"{path}: {counted(seen, 'picture')}; expected at least {least}")
    return seen
