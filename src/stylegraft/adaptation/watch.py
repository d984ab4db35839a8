"""What a run is judged by while it runs: p_target and diversity of fixed samples of the averaged generator.

At every preview step, never at every step. Latents and noise are fixed, so that two points of a run differ by the
generator alone. The score must not be one that memorising the training images wins (so never FID on them): p_target
comes from a probe that was fitted on images held out of training, or, where there are too few for that, in folds, each
sample judged by the head that has not seen the training image nearest to it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.rules import Rules, eyes, remember, verdict
from stylegraft.adaptation.sampling import seed_of
from stylegraft.adaptation.sight import draw, fit_sight, latents, some
from stylegraft.adaptation.state import State
from stylegraft.data.images import ImageSet
from stylegraft.data.pixels import to_uint8
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain
from stylegraft.encoders import load_encoder
from stylegraft.encoders.lpips import load_lpips
from stylegraft.errors import StylegraftError
from stylegraft.metrics.diversity import Distance, EncoderDistance, Resized, mean_pairwise
from stylegraft.metrics.features import features

SAMPLES = 64  # fixed latents, and as many others of the source for the probe
PICTURES = 256  # target images that the probe sees, at most
SIZE = 64  # px at which LPIPS compares: 16 times less work than the metric's 256


class Watch:
    """Measures, remembers, and says when to stop. `kept` is the domain of the best point; `reason` says why the run
    should stop, or is None.
    """

    def __init__(
        self, rules: Rules, state: State, held_out: Tensor | None, memory: dict[str, Any], kept: Domain | None
    ) -> None:
        self.rules, self.state, self.memory, self.kept = rules, state, memory, kept
        sees, compares = eyes(rules)
        self.encoder = load_encoder(sees, state.device) if sees else None
        self.distance = load_distance(compares, state) if compares else None
        self._settle()
        self.z = self._latents("watch")
        source = self.draw(None, self.z)
        self.lines = []
        if self.distance:
            self.source_diversity = mean_pairwise(source, self.distance)
            self.lines.append(
                f"watching diversity by {self.distance.name}: {SAMPLES} samples of the source have "
                f"{self.source_diversity:.4f}"
            )
        if self.encoder:
            self._fit(held_out)

    @property
    def reason(self) -> str | None:
        """Why the run should stop; None if it should not."""
        return verdict(self.rules, self.memory)

    def look(self, domain: Domain) -> dict[str, float]:
        """Judge a point of the run and remember it; its numbers by name, for the statistics."""
        images = self.draw(domain, self.z)
        numbers: dict[str, Any] = {"step": self.state.step}
        told: dict[str, float] = {}
        if self.encoder:
            numbers["p_target"] = self.p_target(features(self.encoder, images, device=self.state.device))
            told[self.sight.name] = numbers["p_target"]
        if self.distance:
            diversity = mean_pairwise(images, self.distance)
            numbers["kept"] = diversity / max(self.source_diversity, 1e-12)
            told |= {f"diversity-{self.distance.name}": diversity, "diversity-kept": numbers["kept"]}
        if self.rules.scored:
            numbers["score"] = told["score"] = numbers["p_target"] * min(numbers["kept"], 1.0)
        if remember(self.memory, numbers) and self.rules.keep == "best":
            self.kept = domain
        return told

    def p_target(self, found: Tensor) -> float:
        """Mean probability, by heads that have not seen what each sample [N, D] resembles."""
        return self.sight.p_target(found)

    def draw(self, domain: Domain | None, z: Tensor) -> Tensor:
        """uint8 images [N, C, R, R] of latents, without truncation: of the source, or of a domain on it."""
        g = self.state.generator
        return draw(g if domain is None else Adapted(g, effective(domain.deltas, self.state.base)), z)

    def _fit(self, held_out: Tensor | None) -> None:
        assert self.encoder is not None
        state = self.state
        source = self.draw(None, self._latents("watch.source"))
        pool = to_uint8(state.images).cpu() if held_out is None else held_out
        self.sight = fit_sight(
            self.encoder,
            source,
            some(pool, PICTURES, state.seed, "watch.pool"),
            state.seed,
            "watch",
            learnt=held_out is None,
            device=state.device,
        )
        self.probe = probe = self.sight.probe
        self.lines.append(f"watching {probe}")
        if held_out is None:
            self.lines.append(
                f"no images are held out of training (--hold-out N does that), so p_target is judged in "
                f"{len(probe.folds)} folds: each sample by what was fitted without the image it resembles most"
            )
        if self.rules.until is not None and probe.p_real < self.rules.until:
            self.lines.append(
                f"warning: --until {self.rules.until:g} may never come: this probe gives real target images "
                f"{probe.p_real:.2f}"
            )

    def _latents(self, stream: str) -> Tensor:
        return latents(self.state.seed, stream, SAMPLES, self.state.device).normal(self.state.generator.z_dim)

    def _settle(self) -> None:
        """Who looks is part of what is remembered: numbers of two encoders cannot be compared."""
        names = [
            f"{self.encoder.name} {self.encoder.digest[:16]}" if self.encoder else None,
            self.distance.name if self.distance else None,
        ]
        before = self.memory.setdefault("eyes", names)
        for was, now in zip(before, names, strict=True):
            if was and now and was != now:
                raise StylegraftError(
                    f"this run was watched through {was}, here there is {now}; get those weights (`stylegraft assets "
                    f"list`), or continue without {self.rules}"
                )
        self.memory["eyes"] = [now or was for was, now in zip(before, names, strict=True)]


def set_aside(pictures: ImageSet, count: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split a set into one to train on and one of `count` images to judge by, drawn with the seed."""
    rng = torch.Generator().manual_seed(seed_of(seed, 0, "hold out", 0))
    order = torch.randperm(len(pictures), generator=rng).tolist()
    return subset(pictures, sorted(order[count:])), subset(pictures, sorted(order[:count]))


def subset(pictures: ImageSet, rows: list[int]) -> ImageSet:
    """Some of the pictures, in this order."""
    return dataclasses.replace(
        pictures,
        images=pictures.images[rows],
        names=tuple(pictures.names[i] for i in rows),
        framed=tuple(pictures.framed[i] for i in rows),
        missed=tuple(new for new, old in enumerate(rows) if old in set(pictures.missed)),
    )


def load_distance(name: str, state: State) -> Distance:
    """LPIPS at no more than 64 px, or the cosine distance of an encoder's features."""
    if name == "lpips-vgg":
        return Resized(load_lpips("vgg", state.device), SIZE)
    return EncoderDistance(load_encoder(name, state.device))
