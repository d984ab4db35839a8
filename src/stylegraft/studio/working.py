"""The answers about learning: what there is to choose, what it would cost, jobs, and how a run or a study stands."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegraft.adaptation.folder import read_stats
from stylegraft.adaptation.recipes import NOTES, PAPER, preset_of, recipe
from stylegraft.checkpoints.headers import from_json
from stylegraft.data.texts import values_of
from stylegraft.domains.spaces import canonical, count
from stylegraft.domains.table import SPACES
from stylegraft.errors import StylegraftError
from stylegraft.lab.charts import Series, curves
from stylegraft.studio import commands
from stylegraft.studio.charting import standing, study_charts, taken_apart
from stylegraft.studio.worker import NICE

if TYPE_CHECKING:
    from stylegraft.studio.app import Studio

MOST_POINTS = 300  # of a curve
PLAN_SECONDS = 180.0
_plans: dict[str, subprocess.Popen[str]] = {}  # of each page, the one that is being made
_planning = threading.Lock()


def recipes(studio: Studio, told: dict[str, Any]) -> list[dict[str, Any]]:
    """The methods, with their settings for this source's size."""
    with values_of("resolution"):
        size = int(told.get("resolution") or 64)
    rows = {name: recipe(name, preset=preset_of(size)) for name in PAPER}
    return [
        {
            "name": name,
            "paper": row.paper,
            "space": row.space,
            "steps": row.steps,
            "warmup": row.warmup,
            "batch": row.batch,
            "reads": row.reads,
            "note": NOTES.get(name, ""),
        }
        for name, row in rows.items()
        if not row.domains  # a hypernetwork takes a list of sentences, for which no page has a field
    ]


def spaces(studio: Studio, told: dict[str, Any]) -> list[dict[str, Any]]:
    """What can be made to move in a source, with exact counts."""
    with studio.canvas.lock:
        generator = studio.canvas.source(str(told.get("source", ""))).generator
    whole, found = sum(p.numel() for p in generator.parameters()), []
    for name, row in SPACES.items():
        try:
            numbers = count(name, generator)
        except StylegraftError:
            continue
        found.append(
            {
                "name": name,
                "full": canonical(name, generator),
                "what": row.summary,
                "numbers": numbers,
                "share": numbers / whole,
            }
        )
    return found


def plan(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """What `adapt --dry-run` says; a newer question of the same page ends an older one."""
    page = str(told.pop("page", ""))[:64]
    argv, _ = commands.adapt(studio.workspace, {**told, "name": "plan"})
    argv = [word for word in argv if word != "--trace"]
    child = subprocess.Popen(
        [sys.executable, "-m", "stylegraft", *argv, "--dry-run"],
        cwd=studio.workspace.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.nice(NICE),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    with _planning:
        if before := _plans.pop(page, None):
            before.kill()
        _plans[page] = child
    try:
        out, _ = child.communicate(timeout=PLAN_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise StylegraftError(
            f"the plan took more than {PLAN_SECONDS:.0f} s; the run may be started without it"
        ) from None
    with _planning:
        if _plans.get(page) is child:
            del _plans[page]
    lines = [line for line in out.splitlines() if line.strip()]
    if child.returncode and child.returncode < 0:
        return {"superseded": True}
    if child.returncode:
        raise StylegraftError((lines or ["it left no word"])[-1].removeprefix("error: "))
    return {"lines": lines, "cost": next((line for line in reversed(lines) if line.startswith("about ")), "")}


def close() -> None:
    """End what is being planned: nobody will read it."""
    with _planning:
        for child in _plans.values():
            child.kill()
        _plans.clear()


def submit(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """A new job."""
    verb = told.pop("verb", "")
    if not isinstance(verb, str) or verb not in commands.VERBS:
        raise StylegraftError(f"verb {verb!r}: expected {', '.join(commands.VERBS)}")
    argv, about = commands.VERBS[verb](studio.workspace, told)
    if studio.jobs.writes(about["out"]):
        raise StylegraftError(
            f"{about['out']}: a job is writing there already; choose another name, or wait for it"
        )
    return studio.jobs.submit(verb, argv, about)


def run(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """How a run stands: settings, numbers, pictures, charts."""
    path = studio.workspace.existing(str(told.get("path", "")))
    if not (path / "config.json").is_file():
        raise StylegraftError(f"{studio.workspace.name(path)}: has not begun yet")
    name = studio.workspace.name(path)
    config = from_json((path / "config.json").read_text("utf-8", errors="replace"), name, "its config.json")
    with values_of(name):
        return _standing(studio, path, config)


def _standing(studio: Studio, path: Path, config: dict[str, Any]) -> dict[str, Any]:
    stats = read_stats(path / "stats.jsonl")
    previews = sorted((path / "previews").glob("step-*.png")) if (path / "previews").is_dir() else []
    return {
        "path": studio.workspace.name(path),
        "config": {
            key: config.get(key) for key in ("source", "target", "space", "seed", "recipe", "sessions")
        },
        "steps": stats[-1]["step"] + 1 if stats else 0,
        "last": stats[-1] if stats else {},
        "previews": [
            {
                "step": int(p.stem.partition("-")[2]),
                "path": studio.workspace.name(p),
                "stamp": p.stat().st_mtime,
            }
            for p in previews
        ],
        "grid": studio.workspace.name(path / "grid.png") if (path / "grid.png").is_file() else None,
        "targets": studio.workspace.name(path / "targets.png") if (path / "targets.png").is_file() else None,
        "report": studio.workspace.name(path / "report.html") if (path / "report.html").is_file() else None,
        "charts": [*charts_of(stats), *standing(path)],
        "anatomy": taken_apart(path),
        "anatomy_page": studio.workspace.name(page)
        if (page := path / "anatomy/anatomy.html").is_file()
        else None,
    }


def charts_of(stats: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Losses, the judge's sign and the augmentation's p along the steps, each a chart of the lab."""
    if len(stats) < 2:
        return []
    thin = stats[:: -(-len(stats) // MOST_POINTS)]
    steps = [one["step"] for one in thin]

    def series(names: list[str]) -> list[Series]:
        return [
            Series(name, steps, [one.get(name) for one in thin], marks=False)
            for name in names
            if any(isinstance(one.get(name), int | float) for one in thin)
        ]

    losses = [
        n for n in dict.fromkeys(k for one in thin for k in one) if n[:2] in ("G/", "D/") and "grad" not in n
    ]
    wanted = [
        ("Losses", losses[:8]),
        ("Sign of D on real images", ["real_sign"]),
        ("ADA p", ["ada_p"]),
        ("p_target and diversity", ["p_target", "diversity-kept", "score"]),
    ]
    return [
        {"title": title, "svg": curves(title, found)} for title, names in wanted if (found := series(names))
    ]


def study(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """A study's answers, table and charts."""
    return study_charts(studio.workspace, studio.workspace.existing(str(told.get("path", ""))))
