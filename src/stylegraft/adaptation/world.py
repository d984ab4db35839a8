"""One run on many processes: torch.distributed in one place. A world of one, the default, costs nothing.

Every process holds the whole state and draws only its own samples; gradients are summed, and all take the same step. No
network is wrapped, so that gradients of any order are what they are in one process. A phase is dealt in one of two
ways (`World.deal`):

    by parts    where `micro` makes at least as many parts as there are processes, each does some of them by itself
    by samples  else all share every part: process r of n has the samples r, r + n, ... of it. What compares the images
                of a part sees those of all (`Share.whole`, differentiable); each then has the n-th of the same loss.

Draws hang on a sample's place in the batch, and parts and groups are what they are in one process: the number of
processes changes nothing but the order of sums.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError

PATIENCE = timedelta(hours=3)  # how long process 0 may be busy alone: estimates, judging, saving


@dataclass(frozen=True)
class World:
    """This process among all of a run. All have to call the same methods in the same order."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    def deal(self, samples: int, parts: int, in_order: bool = False) -> tuple[range, Share]:
        """Which of the parts of so many samples this process does, and its share of each.

        in_order: a part needs what the one before has left, so that all do them together.
        """
        if self.size > 1 and parts >= self.size and not in_order:
            return range(self.rank, parts, self.size), Share()
        each = math.gcd(*(len(range(k, samples, parts)) for k in range(parts)))
        of = max(n for n in range(1, self.size + 1) if each % n == 0)
        return range(parts), Share(self, self.rank % of, of, self.rank < of)

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over processes of some tensors, in one message."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._ask("all_reduce", flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]

    def most(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return number
        largest = torch.tensor(number, device=self.device)
        self._ask("all_reduce", largest, op="max")
        return int(largest)

    def from_first(self, find: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What process 0 finds, by name; the others wait for it, and raise StylegraftError where it raises anything."""
        if self.size == 1:
            return find()
        from safetensors import torch as safetensors

        found, data = dict[str, Tensor](), b""
        try:
            if not self.rank:
                found = find()
                data = safetensors.save({name: _packed(tensor) for name, tensor in found.items()})
        finally:
            size = torch.tensor(len(data), device=self.device)
            self._ask("broadcast", size, src=0)
        if not size:
            raise StylegraftError("process 0 of this run has stopped")
        values = torch.frombuffer(bytearray(data or int(size)), dtype=torch.uint8).to(self.device)
        self._ask("broadcast", values, src=0)
        if not self.rank:
            return found
        loaded = safetensors.load(values.cpu().numpy().tobytes())
        return {name: tensor.to(self.device) for name, tensor in loaded.items()}

    def _ask(self, collective: str, tensor: Tensor, **options: Any) -> None:
        """One call of torch.distributed, in place; raises StylegraftError where a process is gone."""
        if tensor.is_meta:  # a forecast of memory (`memory`) has no values
            return
        import torch.distributed as dist

        if options.get("op") == "max":
            options["op"] = dist.ReduceOp.MAX
        try:
            getattr(dist, collective)(tensor, **options)
        except RuntimeError as error:
            atexit.unregister(leave)  # which would wait for the dead
            raise StylegraftError(
                "another process of this run has ended, or cannot be reached; the same command continues from the last "
                "saved state"
            ) from error


ALONE = World()


def _packed(tensor: Tensor) -> Tensor:
    """Row by row, in memory of its own, as safetensors takes it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Share:
    """Which samples of a part this process has: those at `place`, `place` + `of`, ...

    Where the samples do not go round, some processes are left over; they do what another does, and it does not count.
    """

    world: World = ALONE
    place: int = 0
    of: int = 1
    counts: bool = True

    def own(self, part: tuple[int, int]) -> tuple[int, int]:
        """This share of a part (k, n) of a batch, as `sampling.Keyed` takes it."""
        k, n = part
        return k + n * self.place, n * self.of

    def whole(self, x: Tensor) -> Tensor:
        """The rows [b, ...] of this share and of all others, in the order of the part: [B, ...]; differentiable to any
        order.
        """
        if self.world.size == 1:
            return x
        rows = x.new_zeros(len(x) * self.of, *x.shape[1:])
        return _Sum.apply(rows.slice_scatter(x, 0, self.place, len(rows), self.of), self)

    def mine(self, x: Tensor) -> Tensor:
        """Of the rows [B, ...] of a part those of this share."""
        return x[self.place :: self.of]

    def mean(self, x: Tensor) -> Tensor:
        """The mean over all shares of a mean over this one; differentiable to any order."""
        return x if self.world.size == 1 else _Sum.apply(x, self) / self.of


class _Sum(torch.autograd.Function):
    """The sum over the shares that count. Losses of all processes add up, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Share) -> Tensor:
        ctx.share = share
        y = x.clone(memory_format=torch.contiguous_format)
        if not share.counts:
            y.zero_()
        share.world._ask("all_reduce", y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Sum.apply(gradients[0], ctx.share), None


def leave() -> None:
    """Say goodbye to the others, at the end of the process."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
