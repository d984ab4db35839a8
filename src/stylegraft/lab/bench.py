"""What the metrics of `evaluate` share: a generator's images and features, drawn once, and rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sight import latents
from stylegraft.data.pixels import to_uint8
from stylegraft.encoders.protocol import Encoder
from stylegraft.metrics.degree import Degree
from stylegraft.metrics.diversity import Distance
from stylegraft.metrics.features import features
from stylegraft.metrics.memorisation import Memorisation
from stylegraft.networks.generator import Generator


@dataclass(frozen=True)
class Measured:
    """One line of the result.

    value: None where it cannot be computed, and `note` says why. spread: what the metric calls its own uncertainty.
    generated, real: images on both sides. floor: the same distance between two halves of the reference. more: further
    numbers by name, JSON-able.
    """

    name: str
    value: float | None
    spread: float | None = None
    generated: int | None = None
    real: int | None = None
    floor: float | None = None
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Counted:
    """A distance that says how many images it has embedded: a pass of LPIPS at 256 px takes many minutes."""

    def __init__(self, distance: Distance, tick: Callable[[int], None]) -> None:
        self.distance, self.name, self.tick = distance, distance.name, tick
        self.digest = str(getattr(distance, "digest", ""))
        self.images = 0

    def embed(self, images: Tensor) -> Sequence[Tensor]:
        """The distance's own embedding."""
        self.images += len(images)
        self.tick(self.images)
        return self.distance.embed(images)


@dataclass
class Bench:
    """What is measured and with what. target: the generator; source: of the same latents, None if target is one.

    shots, reference: uint8 [k, C, R, R], the reference without the shots; lpips: the distance, or why there is none;
    blind: why there is no encoder, where there is none.
    count, few: generated images for features, and the first of them for LPIPS. recipe: how the domain was learnt; text,
    templates: the sentence that it was learnt from, if one, and the prompt templates that this was put in.
    """

    target: Generator
    source: Generator | None
    shots: Tensor | None
    reference: Tensor
    encoders: Sequence[Encoder]
    lpips: Distance | str
    count: int
    few: int
    seed: int = 0
    psi: float = 1.0
    recipe: str = ""
    text: str = ""
    templates: str = "imagenet"
    device: str = "cpu"
    blind: str = "no encoder to look through"
    tick: Callable[[int], None] = lambda images: None  # called with how many of `count` are drawn and seen

    def __post_init__(self) -> None:
        self.seen: dict[str, Tensor] = {}
        self.curve: Degree | None = None
        self.copies: Memorisation | None = None
        self.strip: list[Tensor] = []  # pictures of the first latents along the degree curve

    @cached_property
    def looked(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The first `few` generated images, uint8, and features of all `count` by encoder: drawn once, rounded once."""
        kept: list[Tensor] = []
        found: dict[str, list[Tensor]] = {encoder.name: [] for encoder in self.encoders}
        for start, images in self._drawn(self.target, "evaluate", self.count):
            if start < self.few:
                kept.append(images[: self.few - start])
            for encoder in self.encoders:
                found[encoder.name].append(features(encoder, images, device=self.device))
            self.tick(start + len(images))
        return torch.cat(kept), {name: torch.cat(parts) for name, parts in found.items()}

    @property
    def images(self) -> Tensor:
        """The first generated images."""
        return self.looked[0]

    @cached_property
    def source_images(self) -> Tensor:
        """The source's images of the same latents."""
        assert self.source is not None
        return self.draw(self.source, "evaluate", self.few)

    def fake(self, encoder: Encoder) -> Tensor:
        """Features [count, D] of the generated images."""
        return self.looked[1][encoder.name]

    def real(self, encoder: Encoder) -> Tensor:
        """Features [N, D] of the reference."""
        if encoder.name not in self.seen:
            self.seen[encoder.name] = features(encoder, self.reference, device=self.device)
        return self.seen[encoder.name]

    def halves(self, encoder: Encoder) -> tuple[Tensor, Tensor]:
        """Features of two halves of the reference, the same ones for every metric: a distance's floor."""
        order = torch.randperm(len(self.reference), generator=torch.Generator().manual_seed(self.seed))
        first, second = self.real(encoder)[order].tensor_split(2)
        return first, second

    def draw(self, network: Generator, stream: str, count: int) -> Tensor:
        """uint8 images [count, C, R, R]."""
        return torch.cat([images for _, images in self._drawn(network, stream, count)])

    def z(self, stream: str, count: int) -> Tensor:
        """Seeded latents [count, z_dim]; the first of them do not depend on the count."""
        return latents(self.seed, stream, count, self.device).normal(self.target.z_dim)

    def _drawn(self, network: Generator, stream: str, count: int) -> Iterator[tuple[int, Tensor]]:
        start = 0
        for part in self.z(stream, count).split(32):
            yield start, to_uint8(render(network, part, psi=self.psi)).cpu()
            start += len(part)
