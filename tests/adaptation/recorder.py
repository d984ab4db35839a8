"""A recording on the CPU that is replayed as a CUDA graph is: operation by operation, into the same tensors. Whatever
Python computed or chose meanwhile stays what it was, and a value that the host is asked for is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylegraft.adaptation.graphs import Unrecorded, Work
from stylegraft.networks import ops

ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_linalg_svd"}


class Operations(TorchDispatchMode):
    """Notes every operation with its arguments and its result."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().partition("::")[2].partition(".")[0] in ASKING:
            raise RuntimeError(f"{func.name()}: operation not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out


def record(work: Work) -> Work:
    """Record work; what is returned does the same operations again."""
    ops.clear_caches()
    captures = ops.in_cuda_graph
    ops.in_cuda_graph = lambda x: True
    try:
        with Operations() as operations:
            work()
    except RuntimeError as error:
        raise Unrecorded(str(error)) from error
    finally:
        ops.in_cuda_graph = captures
        ops.clear_caches()

    @torch.no_grad()
    def replay() -> None:
        for func, args, kwargs, out in operations.done:
            given = {storage(one) for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
            made = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
            if func._schema.is_mutable:
                func(*args, **kwargs)
            elif any(storage(one) not in given for one in made):  # no view
                fresh = [one for one in tree_leaves(func(*args, **kwargs)) if isinstance(one, torch.Tensor)]
                for old, new in zip(made, fresh, strict=True):
                    if storage(old) not in given:
                        old.detach().copy_(new)

    return replay


def storage(tensor: torch.Tensor) -> int:
    """Where a tensor's numbers lie."""
    return tensor.untyped_storage().data_ptr()
