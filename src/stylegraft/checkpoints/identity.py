"""Which generator is this: a fingerprint of its architecture and a digest of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stylegraft.checkpoints.tensorfile import tensor_bytes

if TYPE_CHECKING:
    from stylegraft.checkpoints.source import Source
    from stylegraft.networks.generator import Generator


def fingerprint(config: Mapping[str, Any]) -> str:
    """A short readable name of an architecture, e.g. `mobile-64px-1f0c2a9d5b7e`; equal for equal configs."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    architecture, resolution = config.get("architecture", "unknown"), config.get("resolution", "?")
    return f"{architecture}-{resolution}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def base_digest(generator: Generator, stored: torch.dtype = torch.float32) -> str:
    """SHA-256 of what a domain stands on: every parameter (with its gain) and noise buffer, without `w_avg`.

    Each tensor enters as canonical name, shape, gain and little-endian fp32 values in NVIDIA's layout, sorted
    by name, so the digest does not depend on the container, the dtype of equal values, the device or the
    memory format. stored: of the values as a file of this dtype would give them back.
    """
    tensors = dict(generator.named_parameters())
    tensors |= {name: buffer for name, buffer in generator.named_buffers() if name.endswith(".noise_const")}
    tensors |= {name: gain for name, gain in generator.channel_gains().items() if bool(gain.any())}
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to(stored).float()
        gain = np.array(generator.gains.get(name, 1.0), dtype="<f4").tobytes()
        sha.update(f"{name}\0{list(tensor.shape)}\0".encode() + gain + tensor_bytes(tensor))
    return sha.hexdigest()


def describe_base(source: Source) -> dict[str, str]:
    """What a domain file records of its base: fingerprint, name, licence, sha256."""
    return {
        "fingerprint": fingerprint(source.generator.config),
        "name": source.name,
        "licence": str(source.info.get("licence", "")),
        "sha256": base_digest(source.generator),
    }
