"""How a finished run's domain leads from the source to the target: by Fix the Noise's blend, or layer by layer.

Measured of its domain file by the panel's own eyes and latents, once, and kept as `control.json` beside `result.json`:
the curve of `metrics.degree`, and for the blend p_target at both ends, of which the trace sees the anchor alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from stylegraft.adaptation.recipes import recipe
from stylegraft.atomic import write_json
from stylegraft.checkpoints.source import Source
from stylegraft.data.pixels import to_uint8
from stylegraft.domains.domain import Domain
from stylegraft.domains.paths import Draw, Way, layer_path, noise_path, of_latents, resolutions
from stylegraft.lab.cell import Job, settings_of, source_of
from stylegraft.lab.criteria import BLEND, SWAP
from stylegraft.lab.panel import Once, Panel
from stylegraft.lab.study import Method
from stylegraft.lab.targets import opened
from stylegraft.lab.trace import FILE, read_trace
from stylegraft.metrics.degree import degree
from stylegraft.metrics.features import features
from stylegraft.networks.generator import Generator

CONTROL = "control.json"


def kind_of(method: Method) -> str | None:
    """Which control a run has, by its recipe, whatever its label: the noise of fixnoise, the layers of ui2i without its
    final swap (with it, half of the way is gone already); None: it has none.
    """
    if method.recipe == "fixnoise":
        return BLEND
    return SWAP if method.recipe == "ui2i" and recipe("ui2i", **dict(method.changes)).swap == 0 else None


def wanted(job: Job) -> bool:
    """Whether the run has a control that is not measured, and a domain file to measure it on."""
    folder = job.folder
    missing = not (folder / CONTROL).is_file() and (folder / "domain.safetensors").is_file()
    return missing and kind_of(job.cell.method) is not None


def look(job: Job, say: Callable[[str], None]) -> None:
    """Measure what is missing of a finished run (a `keeping.Hook`)."""
    if wanted(job):
        say(f"{job.cell.key}: measuring its control")
        measure(job)


def measure(job: Job) -> dict[str, Any]:
    """Measure the control of a finished run, and write it into its folder; of one that has a control."""
    kind = kind_of(job.cell.method)
    assert kind
    source = source_of(job.cell.source, job.resources.device)
    domain = Domain.load(job.folder / "domain.safetensors", source.generator)
    panel = _panel(job, source)
    panel.check(job.folder / FILE, read_trace(job.folder).header["panel"])
    seen: list[Tensor] = []

    def looked(path: Way) -> Way:
        for amount, images in path:
            seen.append(to_uint8(images).cpu())
            yield amount, images

    path = PATHS[kind](source.generator, domain, of_latents(panel.z))
    curve = degree(panel.source, looked(path), Once(panel.distance))
    told = {**dataclasses.asdict(curve), "of": kind}
    if kind == BLEND:
        ends = (("p_target anchor", seen[0]), ("p_target random", seen[-1]))
        told |= {
            name: panel.sight.p_target(features(panel.encoder, images, device=job.resources.device))
            for name, images in ends
        }
    told = json.loads(json.dumps(told).replace("NaN", "null"))  # smoothness of what does not move
    write_json(job.folder / CONTROL, told)
    return told


def read(folder: Path) -> dict[str, Any] | None:
    """What `measure` wrote into a run's folder; None where it did not."""
    path = folder / CONTROL
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _panel(job: Job, source: Source) -> Panel:
    """The run's own: same shots, reference and settings."""
    target = opened(Path(job.target))
    shots = target.shots(job.cell.shots, job.cell.draw, source.generator.img_channels)
    return Panel(source.generator, shots.images, settings_of(job), device=job.resources.device)


def blend(generator: Generator, domain: Domain, draw: Draw) -> Way:
    """Noise from the anchor to random maps, in as many places as swapping layers has."""
    last = len(resolutions(generator))
    return noise_path(domain.on(generator), draw, [i / last for i in range(last + 1)])


PATHS = {BLEND: blend, SWAP: layer_path}
