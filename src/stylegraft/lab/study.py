"""A study, and its cells, one a run. `studyfile` reads one from TOML. No torch is imported here.

A study is a grid of sources x recipes x spaces x targets x shots x draws x seeds. Its waves are grids of their own,
each a complete answer, run in their order; what a wave does not say, the study's head says. A cell that two waves share
is run once. docs/compare.md lists every key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from stylegraft.adaptation.recipes import preset_of, recipe
from stylegraft.errors import StylegraftError

OWN = "own"  # in `spaces`: the recipe's own
ALL = "all"  # in `shots`: every image of the target's pool


MOST_RUNS = 20_000  # of one wave


@dataclass(frozen=True)
class Method:
    """A recipe with changes to its fields, and what the tables call it."""

    label: str
    recipe: str
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class StudyTarget:
    """What a study adapts to (`lab.targets` makes it).

    images: a packaged set, a folder or zip, or `made:FILTER`, a classical filter on images of the source `of`.
    pool: of how many of the images the shots are drawn, the others being the reference; 0: all of them. count: images
    of the reference of a made target. reference: other images, to measure by. align: as `adapt` takes it.
    """

    label: str
    images: str
    reference: str = ""
    pool: int = 0
    count: int = 0
    of: str = ""
    align: str = "auto"

    @property
    def filter(self) -> str:
        """The filter of a made target, else nothing."""
        return self.images.removeprefix("made:") if self.images.startswith("made:") else ""


@dataclass(frozen=True)
class Cell:
    """One run. key: its name and its folder below `cells/`. shots: 0 for all of the pool. steps, batch, preset: None is
    the recipe's, or what `adapt` takes for this size.
    """

    key: str
    source: str
    method: Method
    space: str
    target: StudyTarget
    shots: int
    draw: int
    seed: int
    steps: int | None = None
    batch: int | None = None
    preset: str | None = None

    @property
    def group(self) -> tuple[str, str, str, str, str]:
        """What its runs with other draws and seeds share: source, method, space, target, shots."""
        return self.source, self.method.label, self.space, self.target.label, str(self.shots or ALL)

    @property
    def asked(self) -> dict[str, Any]:
        """What `adapt` is asked to change: the method's own changes win over the wave's."""
        return asked(self, self.method)


@dataclass(frozen=True)
class Wave:
    """A complete grid."""

    name: str
    sources: tuple[str, ...]
    methods: tuple[Method, ...]
    spaces: tuple[str, ...]
    targets: tuple[StudyTarget, ...]
    shots: tuple[int, ...]
    draws: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int | None = None
    batch: int | None = None
    preset: str | None = None


def asked(place: Cell | Wave, method: Method) -> dict[str, Any]:
    """Steps, batch and preset of a cell or wave where it says them, and the changes of a method."""
    said = {key: getattr(place, key) for key in ("steps", "batch", "preset")}
    return {key: value for key, value in said.items() if value is not None} | dict(method.changes)


@dataclass(frozen=True)
class Tracing:
    """When and by what a run is looked at (`lab.trace`, `lab.panel`).

    every: G's steps between two points; None: the grid of the papers' plots. full_at: steps at which the full metric is
    measured too. settings: of the panel.
    """

    every: int | None = None
    full_at: tuple[int, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Resources:
    """What one run takes. cpu: threads, and CPUs of a Ray task; 0: torch decides (of several processes, an equal
    share). gpu: GPUs of a Ray task; above 0 a run is on `cuda`. retries: how often a run that failed is tried again.
    """

    cpu: int = 0
    gpu: float = 0.0
    retries: int = 1

    @property
    def device(self) -> str:
        """Where runs compute."""
        return "cuda" if self.gpu else "cpu"


@dataclass(frozen=True)
class Study:
    """path: of its file; paths inside are taken from that file's folder. text: of the file."""

    name: str
    path: Path
    waves: tuple[Wave, ...]
    trace: Tracing = field(default_factory=Tracing)
    resources: Resources = field(default_factory=Resources)
    text: str = ""

    @property
    def source(self) -> str:
        """The first source, whose name is not in the cells' keys."""
        return self.waves[0].sources[0]


def cells(study: Study, resolution: Callable[[str], int], wave: int | None = None) -> list[Cell]:
    """The cells of all waves in their order, or of one (1 is the first), each once.

    resolution: the side of a source's images in pixels, which decides between the papers' settings and ours.
    Raises StylegraftError where two waves give one cell different settings.
    """
    if wave is not None and not 1 <= wave <= len(study.waves):
        raise StylegraftError(
            f"--wave {wave}: {study.path} has {len(study.waves)} wave{'s' * (len(study.waves) > 1)}, counted from 1"
        )
    found: dict[str, Cell] = {}
    chosen: list[Cell] = []
    for number, one in enumerate(study.waves, 1):
        axes = (one.sources, one.methods, one.spaces, one.targets, one.shots, one.draws, one.seeds)
        if (runs := prod(map(len, axes))) > MOST_RUNS:
            raise StylegraftError(
                f"{study.path}: wave {number} is {runs:,} runs; expected at most {MOST_RUNS:,}: make it several studies"
            )
        for values in product(*axes):
            cell = _cell(study, one, resolution, *values)
            known = cell.key in found
            if found.setdefault(cell.key, cell) != cell:
                raise StylegraftError(
                    f"{study.path}: waves[{number}]: {cell.key} has other settings here than in an earlier wave; give "
                    'it a name of its own, as in {recipe="dcl", label="dcl-long"}'
                )
            if number == wave or (wave is None and not known):
                chosen.append(cell)
    return list(dict.fromkeys(chosen))


def _cell(
    study: Study,
    wave: Wave,
    resolution: Callable[[str], int],
    source: str,
    method: Method,
    space: str,
    target: StudyTarget,
    shots: int,
    draw: int,
    seed: int,
) -> Cell:
    if space == OWN:
        preset = wave.preset or preset_of(resolution(source))
        space = recipe(method.recipe, preset=preset, **dict(method.changes)).space
    parts = [method.label, space, target.label, str(shots or ALL), f"d{draw}", f"s{seed}"]
    if source != study.source:
        parts.insert(0, Path(source).stem)
    key = "/".join(map(slug, parts))
    return Cell(key, source, method, space, target, shots, draw, seed, wave.steps, wave.batch, wave.preset)


def slug(text: str) -> str:
    """A text as the name of a folder on any system."""
    return re.sub(r"[^\w.+@=-]+", "-", text).strip("-") or "-"
