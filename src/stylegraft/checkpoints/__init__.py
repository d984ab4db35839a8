"""Files of weights, in and out, without running code from a file."""

from __future__ import annotations

from stylegraft.checkpoints.identity import base_digest, describe_base, fingerprint
from stylegraft.checkpoints.native import load, save_source
from stylegraft.checkpoints.source import Source

__all__ = ["Source", "base_digest", "describe_base", "fingerprint", "load", "save_source"]
