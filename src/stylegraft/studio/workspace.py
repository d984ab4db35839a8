"""The one folder that the studio shows: names of the page become paths inside it, and nothing outside is reachable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from stylegraft.checkpoints.headers import read_metadata
from stylegraft.errors import StylegraftError
from stylegraft.sources import SOURCES

HIDDEN = frozenset({"node_modules", "__pycache__", "site-packages"})
DEPTH, MOST = 5, 5_000  # folders below the workspace that are looked into, and entries in all
KINDS = {
    "stylegraft-domain": "domain",
    "stylegraft-source": "source",
    "stylegraft-layout": "layout",
    "stylegraft-latents": "codes",
    "stylegraft-direction": "direction",
}
NAME = re.compile(r"[A-Za-z0-9][\w .+-]{0,79}", re.ASCII)
FOREIGN = (".pkl", ".pt")  # other people's sources; what they are is seen when one is opened


@dataclass(frozen=True)
class Entry:
    """One thing of the workspace. kind: domain, run, source, codes, direction, study or set (of pictures); path: as the
    page names it; facts: what its header says, JSON-able."""

    kind: str
    path: str
    size: int = 0
    changed: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


class Workspace:
    """A folder. Paths of the page are relative to it, with `/`; links that lead out of it are not followed."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise StylegraftError(f"{root}: no such folder; expected the folder to work in")
        self._seen: dict[Path, tuple[float, int, dict[str, str]]] = {}

    def path(self, name: str) -> Path:
        """The path of something in the workspace, there or not.

        Raises StylegraftError for absolute paths, `..`, names that no file of the page has, and links that lead out.
        """
        plain = PurePosixPath(name)
        odd = not name or "\0" in name or "\\" in name or ":" in name or name.startswith(("/", "-", "~"))
        if odd or ".." in plain.parts or any(part.startswith((".", "-")) for part in plain.parts):
            raise StylegraftError(f"{name!r}: not a name inside the workspace")
        try:
            found = (self.root / plain).resolve()
            found.exists()
        except (OSError, ValueError):  # longer than names may be, or letters that no file system has
            raise StylegraftError(f"{name[:100]!r}: not a name that a file can have") from None
        if not found.is_relative_to(self.root):
            raise StylegraftError(f"{name}: leads out of the workspace {self.root.name}")
        return found

    def existing(self, name: str) -> Path:
        """`path` of what is there."""
        found = self.path(name)
        if not found.exists():
            raise StylegraftError(f"{name}: no such file or folder in the workspace")
        return found

    def fresh(self, name: str, suffix: str = "") -> Path:
        """The path of a new file or folder in the workspace itself; raises StylegraftError for a name that is no plain
        one, or taken."""
        name = name.strip().removesuffix(suffix)
        if not NAME.fullmatch(name):
            raise StylegraftError(f"{name!r}: expected a name of letters, digits, space and . + - _")
        found = self.path(name + suffix)
        if found.exists():
            raise StylegraftError(f"{name}{suffix}: is there already; choose another name")
        return found

    def name(self, path: Path) -> str:
        """What the page calls a path inside the workspace."""
        return path.relative_to(self.root).as_posix()

    def source(self, name: str) -> str:
        """A source as the library names it: a shipped name, or the path of a file in the workspace."""
        return name if name in SOURCES else str(self.existing(name))

    def entries(self) -> list[Entry]:
        """Everything that the page can show, the newest first."""
        found = list(self._look(self.root, DEPTH, [0]))
        return sorted(found, key=lambda entry: -entry.changed)

    def _look(self, folder: Path, depth: int, count: list[int]) -> Iterator[Entry]:
        try:
            inside = sorted(os.scandir(folder), key=lambda item: item.name)
        except OSError:
            return
        names = {item.name for item in inside}
        if folder != self.root and (entry := self._folder(folder, names)):
            yield entry
            if entry.kind in ("run", "set"):
                return
        for item in inside:
            count[0] += 1
            if count[0] > MOST or item.name.startswith(".") or item.name in HIDDEN:
                continue
            path = Path(item.path)
            if item.is_symlink() and not path.resolve().is_relative_to(self.root):
                continue
            if item.is_dir():
                if depth:
                    yield from self._look(path, depth - 1, count)
            elif entry := self._file(path):
                yield entry

    def _folder(self, folder: Path, names: set[str]) -> Entry | None:
        if "config.json" in names and names & {"stats.jsonl", "state.safetensors", "domain.safetensors"}:
            domain = folder / "domain.safetensors"
            facts = self._facts(domain) if domain.is_file() else {}
            size = domain.stat().st_size if domain.is_file() else 0
            traced = {"traced": "trace.jsonl" in names, "report": "report.html" in names}
            return Entry("run", self.name(folder), size, _changed(folder), facts | traced)
        if "results.json" in names and "study.toml" in names:
            return Entry("study", self.name(folder), 0, _changed(folder))
        if folder.parent == self.root / "pictures":
            return Entry("set", self.name(folder), 0, _changed(folder), {"count": len(names)})
        return None

    def _file(self, path: Path) -> Entry | None:
        if path.suffix == ".safetensors":
            facts = self._facts(path)
            kind = KINDS.get(facts.pop("format", ""))
            if kind is None:
                return None
        elif path.suffix in FOREIGN:
            kind, facts = "source", {"foreign": True}
        else:
            return None
        return Entry(kind, self.name(path), path.stat().st_size, _changed(path), facts)

    def _facts(self, path: Path) -> dict[str, Any]:
        """What a header of ours says that a list shows; a damaged one says so."""
        try:
            stat = path.stat()
            known = self._seen.get(path)
            if known is None or known[:2] != (stat.st_mtime, stat.st_size):
                known = (stat.st_mtime, stat.st_size, read_metadata(path))
                self._seen[path] = known
            header = known[2]
            config = json.loads(header.get("config") or "{}")
            base = header.get("base", "")
            base = json.loads(base) if base.startswith("{") else {"sha256": base}
            if not isinstance(config, dict):
                raise ValueError("its config should be a JSON object")
        except (StylegraftError, ValueError, OSError, RecursionError) as error:
            return {"damaged": str(error)}
        told = {key: config[key] for key in ("space", "recipe", "steps", "seed", "names") if key in config}
        if isinstance(config.get("target"), dict):
            told["target"] = config["target"].get("name")
        told["mix"] = bool(config.get("mix"))
        generator = config.get("generator")
        own = generator.get("resolution") if isinstance(generator, dict) else None
        resolution = header.get("resolution") or own
        return told | {
            "format": header.get("format", ""),
            "base": {key: base[key] for key in ("name", "sha256") if base.get(key)} or config.get("base"),
            "licence": base.get("licence", ""),
            "resolution": resolution,
            "digest": header.get("digest", ""),
        }

    def base_of(self, domain: Path) -> str:
        """The source that a domain file or run stands on: the shipped one that it names, or a file of the workspace of
        the same SHA-256. Raises StylegraftError where there is neither."""
        path = domain / "domain.safetensors" if domain.is_dir() else domain
        if not path.is_file():
            raise StylegraftError(f"{self.name(domain)}: has no domain yet")
        facts = self._facts(path)
        if "damaged" in facts:
            raise StylegraftError(facts["damaged"])
        base = facts.get("base") or {}
        if not isinstance(base, dict) or facts["format"] != "stylegraft-domain":
            raise StylegraftError(f"{self.name(domain)}: not a domain")
        if base.get("name") in SOURCES:
            return base["name"]
        for entry in self.entries():
            if entry.kind == "source" and (entry.facts.get("base") or {}).get("sha256") == base.get("sha256"):
                return entry.path
        raise StylegraftError(
            f"{self.name(domain)}: its base {base.get('name', 'unknown')!r} is neither shipped nor in the workspace;"
            " put the file of that source there"
        )


def _changed(path: Path) -> float:
    return path.stat().st_mtime
