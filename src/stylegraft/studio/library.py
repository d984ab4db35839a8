"""The answers about what is in the workspace: facts of a file, pictures of a set, and taking one away."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stylegraft.checkpoints.identity import base_digest
from stylegraft.data.files import EXTENSIONS
from stylegraft.errors import StylegraftError
from stylegraft.studio.request import whole

if TYPE_CHECKING:
    from stylegraft.studio.app import Studio

TRASH = ".studio/trash"


def facts(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """All that a domain says of itself, after every check of loading it, and whether its base is the one it names."""
    from stylegraft.domains import Domain

    path = studio.workspace.existing(str(told.get("path", "")))
    domain = Domain.load(path)
    groups: dict[str, int] = {}
    for name, terms in domain.deltas.items():
        place = name.split(".")[1] if name.startswith("synthesis.b") else name.split(".")[0]
        groups[place] = groups.get(place, 0) + sum(term.count for term in terms)
    base = "its base was not found"
    try:
        source = studio.workspace.base_of(path)
        with studio.canvas.lock:
            generator = studio.canvas.source(source).generator
            domain.check(generator)
        base = f"{source}: the very weights it was learnt on (sha256 {base_digest(generator)[:12]})"
    except StylegraftError as error:
        base = str(error)
    return {
        "numbers": domain.count,
        "config": domain.config,
        "base": domain.base,
        "check": base,
        "groups": groups,
        "forms": sorted({term.form for terms in domain.deltas.values() for term in terms}),
    }


def pictures(studio: Studio, told: dict[str, Any]) -> dict[str, Any]:
    """The pictures of a folder, by name."""
    path = studio.workspace.existing(str(told.get("path", "")))
    if not path.is_dir():
        raise StylegraftError(f"{studio.workspace.name(path)}: not a folder")
    most = whole({}, "most", 1, 1000, 200)
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
    return {"count": len(found), "pictures": [studio.workspace.name(p) for p in found[:most]]}


def delete(studio: Studio, told: dict[str, Any]) -> dict[str, str]:
    """Move a domain, a run or a set into the workspace's own trash, from where it can be taken back by hand."""
    name = str(told.get("path", ""))
    path = studio.workspace.existing(name)
    known = {entry.path: entry for entry in studio.workspace.entries()}
    if name not in known:
        raise StylegraftError(f"{name}: nothing that the studio shows")
    if known[name].kind == "run" and studio.jobs.writes(name):
        raise StylegraftError(f"{name}: is being written; stop it first")
    trash = studio.workspace.root / TRASH
    trash.mkdir(parents=True, exist_ok=True)
    place = trash / path.name
    for i in range(1, 10_000):
        if not place.exists():
            break
        place = trash / f"{path.stem}-{i}{path.suffix}"
    shutil.move(path, place)
    return {"moved": asdict(known[name])["path"], "to": f"{TRASH}/{place.name}"}
