"""Where the rest of a batch is that several processes share: minibatch-std compares the images of all of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

from torch import Tensor

from stylegraft.networks.contexts import holding


class Batch(Protocol):
    """Knows the other samples."""

    def whole(self, x: Tensor) -> Tensor:
        """The rows [b, ...] of this process and those of all others, in the batch's order: [B, ...]."""
        ...

    def mine(self, x: Tensor) -> Tensor:
        """Of the rows [B, ...] those of this process [b, ...]."""
        ...


_SHARED: ContextVar[Batch | None] = ContextVar("shared", default=None)


def sharing(batch: Batch | None) -> AbstractContextManager[None]:
    """Inside, a network sees its share of this batch; None: it sees all there is."""
    return holding(_SHARED, batch)


def shared() -> Batch | None:
    """The batch that networks see their share of now."""
    return _SHARED.get()
