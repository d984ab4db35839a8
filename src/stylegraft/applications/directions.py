"""Directions of editing: steps of a code that change one thing about a face, found without labels.

`sefa` is the closed form of Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs" (CVPR 2021);
`ganspace` the principal components of Harkonen et al., "GANSpace: Discovering Interpretable GAN Controls" (NeurIPS
2020). `boundary` finds one from labels, `edit` applies them. Every direction has one unit: a step of 1 is one standard
deviation of the codes along it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stylegraft.applications import kept
from stylegraft.applications.latents import of_seeds
from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.generator import Generator, Layer
from stylegraft.networks.mapping import FullyConnected

SAMPLES = 10_000  # of w, for principal components and units
CHANNEL_SAMPLES = 1_024  # of styles, for a channel's unit: StyleDomain's number


@dataclass(frozen=True, eq=False)
class Direction:
    """One step: `ws` [1 or num_ws, w_dim], what is added to every row of W+ or to each, or `styles`
    {layer: [channels]}, what is added to style vectors; one of the two. kind: sefa, ganspace, boundary, channel or
    channels; info: what is known about it (JSON-able).
    """

    name: str
    kind: str
    ws: Tensor | None = None
    styles: Mapping[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def on_rows(self, rows: Sequence[int], generator: Generator) -> Direction:
        """The same step on these rows of W+ alone (GANSpace, layer-wise); of styles, in the layers that read them."""
        if self.ws is None:
            read = {layer.name for layer in generator.layers if layer.row in rows}
            return replace(self, styles={name: step for name, step in self.styles.items() if name in read})
        mask = torch.zeros(generator.num_ws, 1).to(self.ws)
        mask[list(rows)] = 1
        return replace(self, ws=self.ws * mask)

    def save(self, path: str | os.PathLike[str], generator: Generator) -> None:
        """Write the file atomically; `generator` is the base that the direction belongs to."""
        tensors = {} if self.ws is None else {"ws": self.ws}
        tensors |= {f"style|{layer}": step for layer, step in self.styles.items()}
        config = {"name": self.name, "kind": self.kind, "unit": "std", "info": self.info}
        kept.write(path, "direction", tensors, config, generator)

    @classmethod
    def load(cls, path: str | os.PathLike[str], generator: Generator) -> Direction:
        """Read a direction of `generator`; raises StylegraftError naming the file and the fault, another base among
        them.
        """
        shown = os.fspath(path)
        tensors, config = kept.read(path, "direction", generator)
        ws = tensors.pop("ws", None)
        styles = {name.partition("|")[2]: step for name, step in tensors.items()}
        widths = {layer.name: [layer.channels] for layer in generator.layers}
        if (ws is None) == (not styles) or any(widths.get(k) != list(s.shape) for k, s in styles.items()):
            raise StylegraftError(f"{shown}: damaged direction: other layers than the generator's")
        if ws is not None and list(ws.shape) not in (
            [1, generator.w_dim],
            [generator.num_ws, generator.w_dim],
        ):
            raise StylegraftError(f"{shown}: damaged direction: {list(ws.shape)} numbers")
        name, kind = str(config.get("name", "")), str(config.get("kind", ""))
        return cls(name, kind, ws, styles, kept.info_of(config))


# Without labels


@torch.no_grad()
def sefa(
    generator: Generator, count: int = 8, rows: Sequence[int] | None = None, samples: int = SAMPLES
) -> list[Direction]:
    """The directions n of w that move the style vectors most: the first eigenvectors of A^T A (SeFa, eq. 6).

    A stacks the affine weights, as they act at run time, of all layers, or of those that read `rows`, which the
    directions are confined to then. info: `eigenvalue` |A n|^2 and its `share` of their sum, and `std`, the unit.
    """
    layers = [layer for layer in generator.layers if rows is None or layer.row in rows]
    a = torch.cat([affine_weight(generator, layer) for layer in layers])
    values, vectors = torch.linalg.eigh(a.T @ a)
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    spread = (w_of_seeds(generator, samples) @ vectors).std(0)
    total = a.square().sum()
    facts = [{"eigenvalue": float(v), "share": float(v / total)} for v in values]
    return _named("sefa", generator, vectors, spread, facts, rows)


@torch.no_grad()
def ganspace(
    generator: Generator, count: int = 8, rows: Sequence[int] | None = None, samples: int = SAMPLES
) -> list[Direction]:
    """The first principal components of w over the faces of seeds 0 .. samples - 1, confined to `rows`, if given.

    info: `std`, the component's standard deviation, the unit, and `share`, its part of the variance.
    """
    covariance = torch.cov(w_of_seeds(generator, samples).T)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[:count].clamp_min(0), vectors.flip(1)[:, :count]
    facts = [{"share": float(v / covariance.trace())} for v in values]
    return _named("ganspace", generator, vectors, values.sqrt(), facts, rows)


METHODS = {"sefa": sefa, "ganspace": ganspace}


def _named(
    kind: str,
    generator: Generator,
    vectors: Tensor,
    spread: Tensor,
    facts: Sequence[dict[str, Any]],
    rows: Sequence[int] | None,
) -> list[Direction]:
    """Directions kind:0, kind:1, ... along the columns of vectors [w_dim, k], each so long as its standard deviation.

    A vector and its opposite are the same finding: the largest entry is made positive.
    """
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    like = generator.get_buffer("mapping.w_avg")
    steps = (vectors * signs * spread).T.to(like.dtype).to(like.device)
    found = []
    for i, (step, fact) in enumerate(zip(steps, facts, strict=True)):
        info = {"std": float(spread[i]), **fact}
        direction = Direction(f"{kind}:{i}", kind, step[None].clone(), info=info)
        found.append(direction if rows is None else direction.on_rows(rows, generator))
    return found


# Single channels of StyleSpace


def channel(generator: Generator, layer: str, index: int, *, std: bool = False) -> Direction:
    """One channel of StyleSpace (Wu et al., CVPR 2021): a step of 1 in its style, or of its standard deviation.

    Raises StylegraftError for a layer or channel that this generator does not have.
    """
    widths = {each.name: each.channels for each in generator.layers}
    if layer not in widths:
        raise StylegraftError(f"no layer {layer!r}{nearest(layer, widths)}; there are {', '.join(widths)}")
    if not 0 <= index < widths[layer]:
        raise StylegraftError(f"{layer} has the channels 0 to {widths[layer] - 1}, not {index}")
    step = torch.zeros(widths[layer], device=generator.get_buffer("mapping.w_avg").device)
    step[index] = channel_spread(generator)[layer][index] if std else 1.0
    return Direction(f"{layer}:{index}", "channel", styles={layer: step})


@torch.no_grad()
def channel_spread(generator: Generator, samples: int = CHANNEL_SAMPLES) -> dict[str, Tensor]:
    """Standard deviation of every channel {layer: [channels]} over the untruncated faces of seeds 0 .. samples - 1."""
    styles = generator.synthesis.styles(of_seeds(generator, range(samples), psi=1.0).ws)
    return {name: style.std(0) for name, style in styles.items()}


# What all of them are made of


def affine_weight(generator: Generator, layer: Layer) -> Tensor:
    """The matrix [channels, w_dim], float64, that takes a row of W+ to the layer's style vector, gain included."""
    affine = generator.synthesis.get_submodule(f"{layer.name}.affine")
    assert isinstance(affine, FullyConnected)
    return affine.weight.detach().cpu().double() * affine.weight_gain


def w_of_seeds(generator: Generator, samples: int) -> Tensor:
    """w [samples, w_dim], float64 on the CPU, of the untruncated faces of seeds 0 .. samples - 1."""
    parts = [range(first, min(first + 1000, samples)) for first in range(0, samples, 1000)]
    return torch.cat([of_seeds(generator, seeds, psi=1.0).ws[:, 0].cpu().double() for seeds in parts])


def rows_between(generator: Generator, low: int, high: int) -> list[int]:
    """Rows of W+ of the resolutions low..high; a row that a toRGB shares with a convolution is the convolution's."""
    owner = {
        layer.row: layer.resolution
        for layer in sorted(generator.layers, key=lambda each: each.kind != "torgb")
    }
    return sorted(row for row, resolution in owner.items() if low <= resolution <= high)
