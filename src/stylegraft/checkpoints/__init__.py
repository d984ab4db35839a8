"""Files of weights, in and out, without running code from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.lazy import lookup

if TYPE_CHECKING:
    from stylegraft.checkpoints.exporting import save_rosinality
    from stylegraft.checkpoints.identity import base_digest, describe_base, fingerprint
    from stylegraft.checkpoints.loading import load
    from stylegraft.checkpoints.native import save_source
    from stylegraft.checkpoints.source import Source

__all__ = ["Source", "base_digest", "describe_base", "fingerprint", "load", "save_rosinality", "save_source"]

__getattr__ = lookup(
    __name__,
    {
        "exporting": ("save_rosinality",),
        "identity": ("base_digest", "describe_base", "fingerprint"),
        "loading": ("load",),
        "native": ("save_source",),
        "source": ("Source",),
    },
)
