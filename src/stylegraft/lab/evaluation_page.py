"""An evaluation as a page with its pictures: `report.html` needs no other file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from stylegraft.atomic import write_text
from stylegraft.data.grids import paired_grid, save_grid
from stylegraft.lab import charts, page
from stylegraft.lab.bench import Bench, Measured
from stylegraft.lab.evaluate import Evaluation

SHOWN = 8  # images in a row of pictures
COLUMNS = ("metric", "value", "±", "generated", "real", "floor", "")


def write_page(evaluation: Evaluation, folder: Path, title: str) -> Path:
    """Write `report.html` and the pictures in it into an existing folder; returns the page."""
    bench = evaluation.bench
    measured = [row for row in evaluation.rows if row.value is not None]
    absent = [row for row in evaluation.rows if row.value is None]
    sections = [
        page.Section(
            "Numbers",
            [
                page.table(COLUMNS, map(cells, measured)),
                page.text(
                    "generated, real: images on both sides, without which no number means anything. floor: the same "
                    "distance between two halves of the reference. ±: what each metric calls its uncertainty "
                    "(docs/metrics.md)."
                ),
            ],
        ),
        page.Section("Pictures", list(pictures(bench, folder))),
        *curves(evaluation, folder),
    ]
    if absent:
        rows = [(row.name, row.note) for row in absent]
        sections.insert(1, page.Section("Not measured", [page.table(("metric", "why"), rows)]))
    sections.append(page.Section("Encoders", [page.facts(evaluation.about["encoders"])]))
    path = folder / "report.html"
    lead = ". ".join(evaluation.notes) + "."
    write_text(path, page.page(title, sections, lead=lead, data=evaluation.told))
    return path


def cells(row: Measured) -> tuple[object, ...]:
    """A row of the table of numbers."""
    return row.name, row.value, row.spread, row.generated, row.real, row.floor, row.note


def pictures(bench: Bench, folder: Path) -> Iterator[str]:
    """The first latents, by the source too if there is one; and the images that are nearest to a training image."""
    path = folder / "pictures.png"
    shown = bench.images[: 2 * SHOWN]
    if bench.source is not None:
        paired_grid(bench.draw(bench.source, "evaluate", len(shown)), shown, path, SHOWN)
        yield page.picture(path, "the first latents: the source above, what was evaluated below")
    else:
        save_grid(shown, path, SHOWN)
        yield page.picture(path, "the first latents")
    if (copies := bench.copies) is not None and bench.shots is not None:
        order = copies.apart.argsort()[:SHOWN]
        path = folder / "nearest.png"
        paired_grid(
            bench.shots[copies.which[order]],
            bench.images[order],
            path,
            SHOWN,
            labels=("training", "generated"),
        )
        values = ", ".join(f"{value:.3f}" for value in copies.apart[order].tolist())
        yield page.picture(path, f"of {copies.count}, those nearest to a training image (LPIPS {values})")


def curves(evaluation: Evaluation, folder: Path) -> Iterator[page.Section]:
    """The line of FID against 1 / N, and the degree curve with its pictures."""
    lines = [
        charts.curves(
            row.name,
            [
                charts.Series("subsets", [1000 / size for size in row.more["sizes"]], row.more["values"]),
                charts.Series(
                    "fit",
                    [0.0, 1000 / row.more["sizes"][0]],
                    [row.value, row.value + row.more["slope"] / row.more["sizes"][0]],
                    marks=False,
                ),
            ],
            x="1000 / images",
            y="FID",
        )
        for row in evaluation.rows
        if row.value is not None and "slope" in row.more
    ]
    if lines:
        yield page.Section("FID at endlessly many images", [page.row(*lines)])
    bench = evaluation.bench
    if (curve := bench.curve) is not None:
        chart = charts.curves(
            curve.name,
            [charts.Series("distance to the source", curve.amounts, curve.distances)],
            x="share of random noise",
            y="LPIPS",
            zero=True,
        )
        path = folder / "degree.png"
        rows = torch.stack(bench.strip, 1).flatten(0, 1)  # one latent a row
        save_grid(rows, path, len(bench.strip))
        caption = "one latent a row, from the anchor to random noise"
        yield page.Section("From the source to the target", [page.row(chart, page.picture(path, caption))])
