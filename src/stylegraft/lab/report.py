"""A run's report.html: what it gained and lost along the way, its losses, its pictures, and all the numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylegraft.adaptation.folder import read_stats
from stylegraft.atomic import write_text
from stylegraft.data.texts import values_of
from stylegraft.errors import StylegraftError
from stylegraft.lab.charts import Line, Series, curves, mile
from stylegraft.lab.page import Section, facts, folded, page, picture, row, table, text
from stylegraft.lab.trace import FILE, WEIGHTS, Trace, read_trace

REPORT = "report.html"
THINNED = 200  # points of a curve of losses, each the mean of as many steps
SHOWN = 8  # previews
PICTURE = 1040  # px, the width of a preview in the page
NAMED = {"ema": "averaged (EMA)", "raw": "trained (raw)"}
BETTER = {
    "quality": "higher: more like the target",
    "diversity": "higher: more varied; high too before anything is learnt",
    "kid": "lower: nearer to the reference",
    "correspondence": "lower: nearer to the source's image of the same latent",
    "memorised": "lower: share of samples nearer to a training image than real images are to each other",
    "nearest-shot": "lower: nearer to a training image (median)",
}


def write_report(folder: str | Path) -> Path:
    """Write report.html into a run folder, from what is there: config, statistics, previews, and the trace if any.

    Raises StylegraftError when the folder is no run.
    """
    folder = Path(folder)
    config, stats = read_config(folder), read_stats(folder / "stats.jsonl")
    trace = read_trace(folder) if (folder / FILE).is_file() else None
    with values_of(folder):
        write_text(folder / REPORT, _page(folder, config, stats, trace))
    return folder / REPORT


def _page(
    folder: Path, config: dict[str, Any], stats: Sequence[Mapping[str, Any]], trace: Trace | None
) -> str:
    recipe, target = config["recipe"], config["target"]
    thin = thinned(stats, recipe["warmup"])
    sections = [*(_traced(trace) if trace else ()), _losses(thin), _pictures(folder, recipe["warmup"])]
    sections.append(_settings(config, trace))
    return page(
        f"{config['source']['name']} to {target['name']}: {recipe['name']} in {config['space']}",
        sections,
        lead=f"{target['count']} training images, {len(stats)} steps of {recipe['batch']} images, seed "
        f"{config['seed']}. Steps are G's own: up to 0 D warms up alone.",
        data={
            "config": config,
            "header": trace.header if trace else None,
            "points": trace.points if trace else [],
            "losses": thin,
        },
    )


def read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json; raises StylegraftError when there is none, or it is no run's."""
    path = folder / "config.json"
    try:
        if not path.is_file():
            raise StylegraftError(
                f"{folder}: not a run: it has no config.json (a run is what `stylegraft adapt` leaves)"
            )
        config = json.loads(path.read_text(encoding="utf-8"))
        for part, name in (("source", "name"), ("target", "sha256"), ("recipe", "warmup")):
            config[part][name]
        config["space"], config["seed"]
    except OSError as error:
        raise StylegraftError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StylegraftError(f"{path}: damaged: not the config of a run ({error})") from error
    return config


def quality_diversity(trace: Trace) -> str:
    """The curve of a run in the plane of p_target and intra-LPIPS; the averaged weights' points carry their steps."""
    quality, diversity = (trace.header["metrics"][role] for role in ("quality", "diversity"))
    series = []
    for i, kind in enumerate(WEIGHTS):
        points = [p for p in trace.points if p["weights"] == kind and quality in p and diversity in p]
        if points:
            series.append(
                Series(
                    NAMED[kind],
                    [p[quality] for p in points],
                    [p[diversity] for p in points],
                    labels=[mile(p["step"]) for p in points] if i == 0 else (),
                    tips=[
                        f"{NAMED[kind]}, step {p['step']}: {quality} {p[quality]:.3f}, {diversity} {p[diversity]:.4f}"
                        for p in points
                    ],
                    colour=i,
                    dashed=kind == "raw",
                )
            )
    return curves("Diversity against quality, along the run", series, quality, diversity)


def thinned(stats: Sequence[Mapping[str, Any]], warmup: int) -> dict[str, list[tuple[int, float]]]:
    """Each number of the steps as (G's step, mean over a part of the run), without seconds and gradients."""
    table: dict[str, dict[int, list[float]]] = {}
    width = max(1, -(-len(stats) // THINNED))
    for one in stats:
        step = one["step"] + 1 - warmup
        for name, value in one.items():
            if name.startswith(("G/", "D/", "real_sign", "ada_p")) and "grad" not in name:
                table.setdefault(name, {}).setdefault(step // width, []).append(value)
    return {
        name: [
            (at * width + (width - 1) // 2, float(f"{sum(part) / len(part):.5g}"))
            for at, part in sorted(parts.items())
        ]
        for name, parts in sorted(table.items())
    }


# The sections
# ------------------------------------------------------------------------------------------------------------


def _traced(trace: Trace) -> list[Section]:
    header = trace.header
    names, anchors = header["metrics"], header["anchors"]
    along = []
    for role, name in names.items():
        series = [
            Series(NAMED[kind], [a for a, _ in found], [b for _, b in found], colour=i, dashed=kind == "raw")
            for i, kind in enumerate(WEIGHTS)
            if (found := trace.series(name, kind))
        ]
        lines = [Line(anchors["p_real"], "p(real)"), Line(anchors["p_source"], "p(source)")]
        along.append(
            curves(name, series, "step", lines=lines if role == "quality" else ()) + _caption(BETTER[role])
        )
    full = trace.series(header["full"])
    columns = ["step", "weights", *names.values(), *([header["full"]] if full else [])]
    rows = [[p.get(name) for name in columns] for p in trace.points]
    return [
        Section(
            "Quality and diversity",
            [
                row(quality_diversity(trace)),
                text(
                    f"The probe gives real target images {anchors['p_real']:.2f} and the source "
                    f"{anchors['p_source']:.2f}: the two ends of the scale (held-out accuracy "
                    f"{anchors['accuracy']:.2f}, calibration error {anchors['calibration']:.2f}). The average lags "
                    "behind the trained weights."
                ),
                *(text(f"{name}: {note}.") for name, note in header["notes"].items()),
            ],
        ),
        Section("Along the run", [row(*along), folded("All points", table(columns, rows))]),
    ]


def _losses(thin: dict[str, list[tuple[int, float]]]) -> Section:
    groups = {
        "Losses of G": [name for name in thin if name.startswith("G/")],
        "Losses of D": [name for name in thin if name.startswith("D/")],
        "Sign of D on real images": ["real_sign"],
        "ADA's probability p": ["ada_p"],
    }
    drawn = [
        curves(
            title,
            [Series(n, [a for a, _ in thin[n]], [b for _, b in thin[n]], marks=False) for n in names],
            zero=title.startswith("ADA"),
        )
        for title, names in groups.items()
        if names and all(n in thin for n in names)
    ]
    return Section("Training", [row(*drawn) if drawn else text("No step has been recorded yet.")])


def _pictures(folder: Path, warmup: int) -> Section:
    found = sorted((folder / "previews").glob("step-*.png"))
    chosen = {round(i * (len(found) - 1) / max(1, SHOWN - 1)) for i in range(SHOWN)} if found else set()
    parts = [
        f"<figure>{picture(found[i], f'step {int(found[i].stem[5:]) - warmup}', width=PICTURE)}</figure>"
        for i in sorted(chosen)
    ]
    said = (
        f"Source above, averaged generator below, psi 0.7; reduced where wider than {PICTURE} px (previews/)."
    )
    return Section("Pictures", [text(said), *parts] if parts else [text("There are no previews.")])


def _settings(config: dict[str, Any], trace: Trace | None) -> Section:
    source, target, recipe = config["source"], config["target"], config["recipe"]
    told = {
        "source": f"{source['name']} ({source['sha256'][:12]})",
        "licence": source.get("licence"),
        "target": f"{target['name']}: {target['count']} images ({target['sha256'][:12]}), align {target.get('align')}",
        "asked for": f"{target['text']!r}, away from {target['from_text']!r}" if target.get("text") else None,
        "guides": ", ".join(f"{one['name']} ({one['digest'][:12]})" for one in config.get("guides", []))
        or None,
        "recipe": f"{recipe['name']} ({recipe.get('paper')}), {recipe.get('preset')}",
        "space": config["space"],
        "seed": config["seed"],
        "rules": config.get("rules"),
        "machine": ", ".join(f"{k} {v}" for k, v in config.get("sessions", [{}])[-1].items()),
    }
    parts = [facts(told), folded("Every field of the recipe", facts(recipe))]
    if trace:
        parts += [text("Measured with"), facts(trace.header["panel"] | trace.header["anchors"])]
    return Section("Settings", parts)


def _caption(words: str) -> str:
    return f"<figcaption>{words}</figcaption>"
