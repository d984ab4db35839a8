"""`evaluate`: a generator measured once, at full size, against images of its domain.

One pixel path: every image is drawn once, rounded to 256 levels in memory as a file would hold it, and seen by every
metric as that. Latents are seeded, noise is the network's own, psi is 1 unless asked otherwise. Training images that
are in the reference, pixel by pixel, are taken out of it. Beside every number stand the counts on both sides.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegraft.adaptation import rules
from stylegraft.adaptation.recipes import PAPER
from stylegraft.adaptation.run import open_images
from stylegraft.atomic import write_json
from stylegraft.checkpoints.identity import base_digest, describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet, unlike
from stylegraft.encoders import load_encoder
from stylegraft.encoders.guides import guide_in_reach
from stylegraft.encoders.lpips import load_lpips
from stylegraft.encoders.places import whereabouts
from stylegraft.encoders.protocol import Encoder, TextEncoder
from stylegraft.encoders.table import ENCODERS
from stylegraft.errors import StylegraftError
from stylegraft.lab.bench import Bench, Counted, Measured
from stylegraft.lab.measures import METRICS, cannot, measure
from stylegraft.metrics.diversity import Distance
from stylegraft.networks.generator import Generator
from stylegraft.version import __version__

COUNT = 5000  # generated images for FID, KID and the like: CDC and what follows it (Ojha et al., CVPR 2021)
FEW = 1000  # of them for LPIPS: the same papers' intra-LPIPS
# Looked through where their weights are here, and named in the result where they are not.
WELCOME = {
    "inception": ("fid-inception", "the FID of papers"),
    "clip": ("quality-clip", "quality and diversity as StyleDomain measures them"),
}


@dataclass(frozen=True)
class EvaluationSettings:
    """How a generator is evaluated.

    count: generated images; few: of them for LPIPS. encoders: by name; None takes p_target's own and those of WELCOME
    that are here. metrics: names of METRICS; None is all that apply.
    """

    count: int = COUNT
    few: int = FEW
    seed: int = 0
    psi: float = 1.0
    encoders: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Evaluation:
    """rows: of the table, those without a value saying why; about: what was measured with what, JSON-able."""

    rows: tuple[Measured, ...]
    about: dict[str, Any]
    bench: Bench

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers should know."""
        return self.about["notes"]

    @property
    def told(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return plain({**self.about, "metrics": [asdict(row) for row in self.rows]})

    def write(self, folder: Path) -> None:
        """`result.json` into an existing folder, whole or not at all."""
        write_json(folder / "result.json", self.told)


def evaluate(
    target: Source,
    source: Source | None,
    reference: ImageSet | None,
    shots: Tensor | None = None,
    settings: EvaluationSettings | None = None,
    *,
    encoders: Sequence[Encoder] | None = None,
    lpips: Distance | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Every metric that applies to `target`, whose domain, if any, stands on `source`.

    reference: images of the domain [N, C, R, R], None for `similarity` alone; shots: the training images, uint8
    [k, C, R, R]; a domain of a sentence has none, and its similarity is to the words. encoders, lpips: networks instead
    of those that the settings name. progress: called with (what, done, of how many; 0: unknown).
    Raises StylegraftError for missing weights that were asked for, a metric that was asked for and cannot be measured,
    a conditional generator, and a reference that is empty without the shots; all before anything is drawn.
    """
    settings = settings or EvaluationSettings()
    generator = target.generator
    check(settings, generator.c_dim)
    shots = shots if shots is not None and len(shots) else None
    domain = target.info.get("domain", {}) if source is not None else {}
    text = str(domain.get("target", {}).get("text", ""))
    real, twins = (none_of(generator), 0) if reference is None else apart(reference, shots)
    missing: list[Measured] = []
    chosen = settings.metrics or tuple(METRICS)
    few = min(settings.few, settings.count)
    if not any(METRICS[name].each for name in chosen):
        encoders = ()
    if encoders is None:
        encoders, missing = seeing(settings, text)
        if text and shots is None and chosen == ("similarity",) and not settings.encoders:
            encoders = [one for one in encoders if isinstance(one, TextEncoder)]
    count = settings.count if encoders else few  # of the others nobody looks at any
    distance = lpips or or_why(lambda: load_lpips("vgg", settings.device))
    if not isinstance(distance, str):
        distance = Counted(distance, lambda images: progress("images compared by LPIPS", images, 0))
    bench = Bench(
        target=generator.to(settings.device),
        source=source.generator.to(settings.device) if source is not None else None,
        shots=shots,
        reference=real,
        encoders=encoders,
        lpips=distance,
        count=count,
        few=few,
        seed=settings.seed,
        psi=settings.psi,
        recipe=str(domain.get("recipe", "")),
        text=text,
        templates=templates_of(domain),
        device=settings.device,
        blind="; ".join(row.note for row in missing[:1]) or Bench.blind,
        tick=lambda images: progress("images drawn", images, count),
    )
    for name in settings.metrics or ():
        if why := cannot(bench, name, asked=True):
            raise StylegraftError(f"--metrics {name}: {why}")
    rows: list[Measured] = []
    for done, name in enumerate(chosen):
        progress(name, done, len(chosen))
        rows += measure(bench, name, asked=settings.metrics is not None)
    rows += [row for row in missing if settings.metrics is None]
    about = {
        "stylegraft": __version__,
        "model": {
            "weights": base_digest(generator),
            "source": describe_base(source or target),
            "domain": domain,
        },
        "reference": None
        if reference is None
        else {
            "count": len(real),
            "sha256": reference.digest,
            "align": reference.align,
            "shots_excluded": twins,
        },
        "shots": None if shots is None else len(shots),
        "settings": {**asdict(settings), "encoders": [one.name for one in encoders], "noise": "const"},
        "encoders": {one.name: one.digest for one in encoders}
        | ({} if isinstance(distance, str) else {distance.name: distance.digest}),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "notes": notes(settings, real, twins, shots),
    }
    return Evaluation(tuple(rows), about, bench)


def notes(settings: EvaluationSettings, real: Tensor, twins: int, shots: Tensor | None) -> list[str]:
    """What was done that a reader would otherwise have to guess."""
    few = min(settings.few, settings.count)
    found = [
        f"{settings.count} images for features and {few} for LPIPS, seed {settings.seed}, psi {settings.psi:g}, the "
        f"network's own noise; {len(real) or 'no'} reference images"
    ]
    if settings.count < COUNT:
        found.append(
            f"a quick look: {settings.count} images instead of {COUNT}; FID is higher for it, KID is not"
        )
    if twins:
        found.append(
            f"{twins} images of the reference are training images, pixel by pixel, and were left out"
        )
    elif shots is not None and len(real):
        found.append("no image of the reference is a training image, pixel by pixel")
    return found


def check(settings: EvaluationSettings, classes: int) -> None:
    """Refuse settings that mean nothing, and sources with classes."""
    if settings.count < 2 or settings.few < 2:
        raise StylegraftError(f"--count {min(settings.count, settings.few)}: expected at least 2 images")
    if not math.isfinite(settings.psi):
        raise StylegraftError(f"--psi {settings.psi}: expected a finite number")
    if classes:
        raise StylegraftError(
            f"a conditional source ({classes} classes) cannot be evaluated: expected one that draws from z alone"
        )


def apart(reference: ImageSet, shots: Tensor | None) -> tuple[Tensor, int]:
    """The reference without the training images, and how many those were."""
    left = unlike(reference.images, reference.images[:0] if shots is None else shots)
    if not left.any():
        raise StylegraftError(
            f"--reference: all {len(reference)} images are training images; expected others of the same domain"
        )
    return reference.images[left], int((~left).sum())


def none_of(generator: Generator) -> Tensor:
    """No image, uint8 [0, C, R, R]."""
    side = generator.resolution
    return torch.zeros(0, generator.img_channels, side, side, dtype=torch.uint8)


def templates_of(domain: Mapping[str, Any]) -> str:
    """The prompt templates that the sentence of a domain was put in."""
    row = PAPER.get(str(domain.get("recipe", "")))
    return domain.get("changes", {}).get("templates") or (row.templates if row else Bench.templates)


def seeing(settings: EvaluationSettings, text: str = "") -> tuple[list[Encoder], list[Measured]]:
    """Encoders to look through: those asked for, or p_target's own and WELCOME, and for a domain of a sentence one that
    reads, with a row for each that is not here or cannot be loaded.
    """
    if settings.encoders:
        return [load_encoder(name, settings.device) for name in settings.encoders], []
    found, missing = list[Encoder](), list[Measured]()
    try:
        found.append(load_encoder(rules.probe("evaluate"), settings.device))
    except StylegraftError as error:
        missing.append(Measured(f"p_target-{next(iter(rules.PROBES))}", None, note=str(error)))
    for name, (metric, what) in WELCOME.items():
        try:
            if not whereabouts(name, ENCODERS[name])[0]:
                raise StylegraftError(f"no {name} here; `stylegraft encoders` says how to get one")
            found.append(load_encoder(name, settings.device))
        except StylegraftError as error:
            missing.append(Measured(metric, None, note=f"{what}: {error}"))
    if text and not any(isinstance(one, TextEncoder) for one in found):
        try:
            found.append(load_encoder(guide_in_reach(), settings.device))
        except StylegraftError as error:
            missing.insert(0, Measured("similarity", None, note=str(error)))
    return found, missing


def or_why(load: Callable[[], Distance]) -> Distance | str:
    """What was loaded, or the line that says why not."""
    try:
        return load()
    except StylegraftError as error:
        return str(error)


def open_reference(path: str | Path, source: Source, align: str | None) -> ImageSet:
    """The reference at the generator's size; align: how the training images were framed (`auto`, `off`, `points`)."""
    return open_images(str(path), source.generator, "auto" if align in (None, "auto") else "off")


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, numbers that are none as null."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
