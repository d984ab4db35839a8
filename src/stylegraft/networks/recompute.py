"""Gradient checkpointing: a layer keeps only what went into it, and is computed again when its gradient is wanted.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. Works to any order of derivative, and for layers
whose parameters are replaced for the time of a call (`torch.func.functional_call`): the replacements are kept too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from stylegraft.networks.contexts import holding

_RECOMPUTE: ContextVar[bool] = ContextVar("recompute", default=False)


def recomputing(on: bool) -> AbstractContextManager[None]:
    """Inside, `call` recomputes layers in the backward pass (`on`) or keeps all they made."""
    return holding(_RECOMPUTE, on)


def call(layer: nn.Module, *inputs: Any) -> Tensor:
    """`layer(*inputs)`; inside `recomputing(True)` without keeping what it makes on its way."""
    if not _RECOMPUTE.get() or not torch.is_grad_enabled():
        return layer(*inputs)
    own = dict(layer.named_parameters()) | dict(
        layer.named_buffers()
    )  # in a functional call: the replacements
    names, tensors = list(own), list(own.values())

    def run(*flat: Any) -> Tensor:
        kept = dict(zip(names, flat[len(inputs) :], strict=True))
        return functional_call(layer, kept, flat[: len(inputs)])

    return checkpoint(run, *inputs, *tensors, use_reentrant=False, preserve_rng_state=False)
