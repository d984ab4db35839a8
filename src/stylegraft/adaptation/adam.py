"""torch's Adam, without the import of torch's compiler: two seconds of every start, for what is not used here."""

from __future__ import annotations

import inspect
import sys

import torch

# What stands around it imports torch._dynamo to tell it of a graph break.
_STEP = inspect.unwrap(torch.optim.Adam.step)


class Adam(torch.optim.Adam):
    """Its numbers are those of torch.optim.Adam, bit for bit."""

    def __init__(self, *args, **kwargs) -> None:
        if "torch._dynamo" not in sys.modules:
            # Methods of Optimizer are marked as not to be compiled when first called, by torch._dynamo
            # (`torch._compile`). Where nothing is compiled, a method itself does as the marked one.
            for method in vars(torch.optim.Optimizer).values():
                if plain := getattr(method, "__wrapped__", None):
                    vars(plain).setdefault("__dynamo_disable", plain)
        super().__init__(*args, **kwargs)

    @torch.no_grad()
    def step(self, closure=None):
        """One step."""
        return _STEP(self, closure)
