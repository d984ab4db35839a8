"""A domain on its base without copying the base: the same calls as a Generator, with some parameters replaced."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stylegraft.networks.generator import Generator, Noise, Output, mean_w

# What a generator knows that no delta can change.
_SHARED = frozenset(
    "config resolution img_channels z_dim w_dim c_dim num_ws"
    " layers noise noise_shapes tap_names groups gains require channel_gains".split()
)


class _Caller(nn.Module):
    """Lets `functional_call` reach any method of the generator, not `forward` alone (`ws` reads `w_avg`)."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return attrgetter(method)(self.generator)(*args, **kwargs)


class Adapted:
    """`generator` with the parameters in `effective` ({name: tensor}) in place of its own.

    Works under autograd to any order when `effective` was computed from leaf parts. While a call runs, the
    replacements stand inside the shared modules: do not call one base from two threads at once.
    """

    def __init__(self, generator: Generator, effective: Mapping[str, Tensor]):
        self.generator = generator
        self.effective = dict(effective)
        self._caller = _Caller(generator)
        self._state = {f"generator.{name}": tensor for name, tensor in self.effective.items()}

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """`generator.<method>(*args, **kwargs)` with the replacements in place; `method` may be dotted."""
        return functional_call(self._caller, self._state, (method, args, kwargs), tie_weights=False)

    @property
    def synthesis(self) -> AdaptedSynthesis:
        """Made on access: one kept here would refer back, and the tensors would wait for the garbage collector."""
        return AdaptedSynthesis(self)

    def mapping(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [B, z_dim] -> w [B, w_dim], as `Generator.mapping`."""
        return self.call("mapping", z, c)

    def ws(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """w [B, w_dim] -> rows [B, num_ws, w_dim], truncated towards the adapted `w_avg`."""
        return self.call("ws", w, psi=psi, cutoff=cutoff)

    def __call__(self, *args: Any, **kwargs: Any) -> Output:
        """As `Generator.forward`."""
        return self.call("forward", *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in _SHARED:
            return getattr(self.generator, name)
        raise AttributeError(f"Adapted has no attribute {name!r}; its base is .generator")


class AdaptedSynthesis:
    """The synthesis network of an `Adapted`: `styles(ws)` and the call itself."""

    def __init__(self, adapted: Adapted):
        self._adapted = adapted

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """Rows [B, num_ws, w_dim] -> {layer: style vectors [B, channels]}."""
        return self._adapted.call("synthesis.styles", ws)

    def __call__(self, styles: dict[str, Tensor], noise: Noise, taps: tuple[str, ...] = ()) -> Output:
        """Style vectors and noise maps -> image and taps, as `Generator.synthesis`."""
        return self._adapted.call("synthesis", styles, noise, taps=taps)


def beside(generator: Generator) -> Generator:
    """The same network for another thread: modules of its own around the same tensors, none of which is copied."""
    tensors = (*generator.parameters(), *generator.buffers())
    return copy.deepcopy(generator, {id(tensor): tensor for tensor in tensors})


@torch.no_grad()
def w_avg_shift(
    generator: Generator,
    effective: Mapping[str, Tensor],
    samples: int = 10_000,
    seed: int = 0,
    source: Tensor | None = None,
) -> Tensor:
    """How far an adapted mapping moves the mean of w: [w_dim], over one set of z for both, so zero deltas give zero.

    Stored as a delta on `mapping.w_avg` (`Domain.with_w_avg`), without which truncation pulls to the source's
    mean. source: `mean_w` of the generator, where the caller has kept it.
    """
    device = generator.get_buffer("mapping.w_avg").device
    source = mean_w(generator, samples, seed, device) if source is None else source
    return (mean_w(Adapted(generator, effective), samples, seed, device) - source).float()
