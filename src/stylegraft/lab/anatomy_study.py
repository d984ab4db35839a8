"""A study of components read by domain distance: what each space reaches on targets nearer to and further from the
source.

StyleDomain (Alanov et al., ICCV 2023, section 3) finds that on similar domains small spaces do what all of G does, and
that on dissimilar ones they fall behind. How far a target is, is measured here and not said by its name: KID and FID of
its images from the source's samples, through one named encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stylegraft.adaptation.sight import some
from stylegraft.atomic import write_json, write_text
from stylegraft.encoders.protocol import Encoder
from stylegraft.errors import StylegraftError
from stylegraft.lab import page
from stylegraft.lab.charts import Line, Series, curves, save_chart
from stylegraft.lab.domain_similarity import SourceDistance, distance, source_features
from stylegraft.lab.results import LEVELS, NOT_MEASURED, NOT_REACHED, Group, Mean, Row, groups, mean
from stylegraft.lab.study import Cell, slug
from stylegraft.lab.targets import MADE, Prepared, opened, prepare
from stylegraft.metrics.features import features
from stylegraft.sources import load_source

FILES = ("anatomy.json", "anatomy.html")
TARGETS = "targets"  # in a study's folder
LEVEL = LEVELS[0]  # of quality at which diversity is compared: the one that most runs reach


@dataclass(frozen=True)
class Far:
    """How far a target is from the source. by: which of its images were compared, the `reference`, or the `pool` where
    it has none.
    """

    source: str
    target: str
    by: str
    distance: SourceDistance

    def __str__(self) -> str:
        """One phrase."""
        return f"{self.target} from {self.source}: {self.distance}, by its {self.by}"


def way(group: Group) -> Mean | None:
    """Share of the way from p(source) to p(real) that the runs end at: p_target on a scale that targets share."""
    return mean(row.way() for row in group.done)


def equal(group: Group) -> Mean | None:
    """Diversity where the runs come to LEVEL of the way."""
    found = group.reached(LEVEL)
    return found[1] if found else None


# What is read against distance: column of the table, what it is, and the value of a group.
READINGS: dict[str, tuple[str, Callable[[Group], Mean | None]]] = {
    "way": ("way from p(source) to p(real)", way),
    "KID": ("KID from the target's reference", lambda group: group.last("kid")),
    "diversity": ("diversity at the end", lambda group: group.last("diversity")),
    f"at {LEVEL:g}": (f"diversity at {LEVEL:g} of the way", equal),
}
COLUMNS = ("method", "space", "runs", *READINGS)


@dataclass(frozen=True)
class StudyAnatomy:
    """far: the targets, nearest first by KID; groups: as `results.groups`; encoder: of the distances."""

    far: tuple[Far, ...]
    groups: tuple[Group, ...]
    encoder: str

    @property
    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        numbers = [
            group.numbers()
            | {
                column: vars(one) if (one := value(group)) else None
                for column, (_, value) in READINGS.items()
            }
            for group in self.groups
        ]
        return {"encoder": self.encoder, "targets": [asdict(one) for one in self.far], "groups": numbers}

    def of(self, far: Far) -> list[Group]:
        """The groups on one target."""
        return [group for group in self.groups if (group.source, group.target) == (far.source, far.target)]

    @property
    def waiting(self) -> list[str]:
        """Targets of which no run is done, so that nothing is said of them."""
        known = {(one.source, one.target) for one in self.far}
        return list(dict.fromkeys(g.target for g in self.groups if (g.source, g.target) not in known))


def study_anatomy(
    rows: Sequence[Row],
    out: Path,
    encoder: Encoder,
    *,
    count: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> StudyAnatomy:
    """The rows of a study in the folder `out`, with the distance of every target that has a finished run.

    A target that is not in the folder, of runs that were kept, is made there anew; raises StylegraftError where that
    makes other pictures than the runs had.

    count: images on either side, at most. progress: called with (what, done, of how many).
    """
    pools = {
        (row.cell.source, row.cell.target.label): (row.cell, row.result["shots"]["pool"])
        for row in rows
        if row.result
    }
    sources = dict.fromkeys(source for source, _ in pools)
    total, done, far = len(sources) + len(pools), 0, list[Far]()
    for name in sources:
        progress(f"samples of {Path(name).name}", done, total)
        generator = load_source(name, device).generator
        seen = source_features(generator, encoder, count, seed, device)
        done += 1
        for (source, target), (cell, pool) in pools.items():
            if source == name:
                progress(f"distance of {target}", done, total)
                prepared = _target(
                    cell, pool, out / TARGETS, lambda line, done=done: progress(line, done, total)
                )
                images = prepared.references(generator.img_channels)
                by = "pool" if images is None else "reference"
                if images is None:
                    images = prepared.shots(0, 0, generator.img_channels).images
                images = some(images, count, seed, "anatomy.target")
                found = distance(encoder.name, seen, features(encoder, images, device=device), seed)
                far.append(Far(Path(name).name, target, by, found))
                done += 1
    nearest = sorted(far, key=lambda one: one.distance.kid)
    return StudyAnatomy(tuple(nearest), tuple(groups(rows)), encoder.name)


def _target(cell: Cell, pool: str, folder: Path, say: Callable[[str], None]) -> Prepared:
    """The target that the runs of a cell had, found below `folder` or made there."""
    if (folder / pool / MADE).is_file():
        return opened(folder / pool)
    made = prepare(cell.target, load_source(cell.source, "cpu"), folder, say)
    if made.folder.name != pool:
        raise StylegraftError(
            f"target {cell.target.label}: what it is made from is not what its runs had ({made.folder.name}, expected "
            f"{pool}); bring {folder / pool} from where they ran"
        )
    return made


def line(group: Group) -> list[str]:
    """A group under COLUMNS."""
    values = [value(group) for _, value in READINGS.values()]
    missing = [NOT_MEASURED] * (len(values) - 1) + [NOT_REACHED if group.done else NOT_MEASURED]
    shown = [str(one) if one else why for one, why in zip(values, missing, strict=True)]
    return [group.method, group.space, group.state(), *shown]


def write(name: str, found: StudyAnatomy, folder: Path) -> None:
    """anatomy.json and anatomy.html into an existing folder."""
    write_json(folder / FILES[0], {"study": name, **found.told})
    sections = [
        page.Section(
            "Against the distance of the target", [page.row(*charts(found).values()), page.text(READING)]
        )
    ]
    for far in found.far:
        table = page.table(COLUMNS, map(line, found.of(far)))
        sections.append(page.Section(f"{far.target} from {far.source}", [page.text(f"{far}."), table]))
    if found.waiting:
        words = f"Not measured, for no run is done: {', '.join(found.waiting)}."
        sections.append(page.Section("Not measured", [page.text(words)]))
    write_text(
        folder / FILES[1], page.page(f"{name}: components by domain distance", sections, data=found.told)
    )


READING = (
    "Every point is a target, the further right the further it is from the source's samples. Means over draws and "
    "seeds, bands of one standard deviation. KID is read against that of the source itself, the dashed line: what has "
    "learnt nothing. The share of the way puts p_target of different targets on one scale: 0 is the source's own "
    "samples, 1 real images."
)


def write_charts(found: StudyAnatomy, folder: Path, prefix: str) -> list[Path]:
    """Every chart as FOLDER/PREFIX-NAME.svg; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {folder / f"{prefix}-{slug(name)}.svg": svg for name, svg in charts(found).items()}
    for path, svg in drawn.items():
        save_chart(svg, path)
    return list(drawn)


def charts(found: StudyAnatomy) -> dict[str, str]:
    """SVG by name: one a reading, method, source and number of shots; a curve a space."""
    drawn = dict[str, str]()
    kinds = dict.fromkeys((g.source, g.method, g.shots) for g in found.groups if g.done)
    for kind in kinds:
        own = [g for g in found.groups if (g.source, g.method, g.shots) == kind]
        source, method, shots = kind
        for column, (title, value) in READINGS.items():
            series = [
                replace(one, colour=i)  # one in all charts, whichever spaces a chart lacks
                for i, space in enumerate(dict.fromkeys(g.space for g in own))
                if (one := _curve(found, [g for g in own if g.space == space], space, value)).x
            ]
            if not series:
                continue
            if column == "KID" and _same(found, own):
                at = [far.distance.kid for far in found.far if far.source == source]
                series.append(Series("the source", at, at, colour=7, dashed=True, marks=False))
            drawn[" ".join((column, *(kind if len(kinds) > 1 else ())))] = curves(
                f"{title}: {method}, {shots} shots",
                series,
                x=f"kid-{found.encoder} of the target from the source",
                y=column,
                lines=[Line(1.0, "real images")] if column == "way" else [],
            )
    return drawn


def _curve(
    found: StudyAnatomy, own: Sequence[Group], space: str, value: Callable[[Group], Mean | None]
) -> Series:
    by_target = {group.target: one for group in own if (one := value(group))}
    points = [
        (f, by_target[f.target]) for f in found.far if f.source == own[0].source and f.target in by_target
    ]
    spread = [one.spread or 0.0 for _, one in points]
    return Series(
        space,
        [far.distance.kid for far, _ in points],
        [one.value for _, one in points],
        [one.value - s for (_, one), s in zip(points, spread, strict=True)],
        [one.value + s for (_, one), s in zip(points, spread, strict=True)],
        tips=[f"{space} on {far.target}: {one}" for far, one in points],
    )


def _same(found: StudyAnatomy, own: Sequence[Group]) -> bool:
    """Whether the runs' KID is through the encoder of the distances."""
    return all(g.done[0].name("kid") in (None, f"kid-{found.encoder}") for g in own if g.done)
