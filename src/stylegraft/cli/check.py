"""What can be refused before torch is imported, so that a typing error costs a tenth of a second and not two."""

from __future__ import annotations

import time
from itertools import takewhile

# Seconds spent on opening pictures here; the library reads all of them later, with the same checks.
LOOK = 1.0


def check_target(target: str, align: str) -> None:
    """Refuse a target without pictures, or with a bad one among the first that can be decoded in a second."""
    from stylegraft.data.files import read_pictures
    from stylegraft.data.targets import is_packaged

    if is_packaged(target, align):
        return
    start = time.perf_counter()
    for _ in takewhile(
        lambda _: time.perf_counter() - start < LOOK, read_pictures(target, 3, [], coarse=True)
    ):
        pass
