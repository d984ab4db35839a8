"""What a computation runs underneath."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Count(TorchDispatchMode):
    """How often each aten operation runs."""

    def __init__(self):
        super().__init__()
        self.calls: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))

    @property
    def convolutions(self):
        return sum(n for name, n in self.calls.items() if "convolution" in name)
