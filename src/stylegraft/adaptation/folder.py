"""The run folder: what a run leaves, written so that a kill, a full disk or a second process cannot spoil it.

config.json          source, target set, space, seed, every recipe field, the machine's numbers
targets.png          the training images as the network sees them
log.txt              what was printed
stats.jsonl          one line a step
previews/            fixed latents, source above target, the step in the name
state.safetensors    everything a resume needs
domain.safetensors   the averaged domain so far
grid.png             the end
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from stylegraft.adaptation.state import State, pack, unpack
from stylegraft.atomic import write_error, write_json, write_text
from stylegraft.checkpoints import tensorfile
from stylegraft.errors import StylegraftError

FORMAT = "stylegraft-run"
VERSIONS = range(1, 2)
FREE = ("preset", "paper", "steps")  # recipe fields that may differ on resume: they change no step
IDENTITY = {"source": ("fingerprint", "sha256"), "target": ("count", "sha256")}  # names may change


@dataclass
class Folder:
    """An open, locked run folder."""

    path: Path
    lines: list[str] = field(default_factory=list)  # statistics not yet on the disk

    @property
    def state(self) -> Path:
        """Everything a resume needs."""
        return self.path / "state.safetensors"

    @property
    def domain(self) -> Path:
        """The averaged domain of the last save."""
        return self.path / "domain.safetensors"

    def preview(self, step: int) -> Path:
        """Where the picture of a step goes."""
        return self.path / "previews" / f"step-{step:06d}.png"

    def note(self, stats: Mapping[str, Any]) -> None:
        """Keep a step's numbers until the next `save`."""
        self.lines.append(json.dumps({key: _short(value) for key, value in stats.items()}))

    def flush(self) -> None:
        """Append the numbers kept so far to stats.jsonl."""
        self._append("stats.jsonl", "".join(line + "\n" for line in self.lines))
        self.lines.clear()

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        self._append("log.txt", line + "\n")

    def start(self, config: Mapping[str, Any]) -> None:
        """Write the config of a new run and forget what an earlier one, that never saved, may have left."""
        write_json(self.path / "config.json", config)
        self._keep_lines(0)

    def save(self, state: State, config: Mapping[str, Any]) -> None:
        """Write statistics, then the state, each atomically; a failure leaves the previous state in place."""
        self.flush()
        tensors, numbers = pack(state)
        texts = {
            "config": tensorfile.to_json(config, "the config"),
            "numbers": tensorfile.to_json(numbers, "the state"),
        }
        metadata = {
            **texts,
            "digest": tensorfile.digest(tensors, texts),
            **tensorfile.stamp(FORMAT, VERSIONS),
        }
        tensorfile.write(self.state, tensors, metadata)

    def load(self, state: State, config: Mapping[str, Any]) -> list[str]:
        """Continue the saved run; returns warnings.

        Raises StylegraftError when the folder belongs to another command, naming the first thing that
        differs, or when the state is damaged.
        """
        metadata = tensorfile.read_metadata(self.state)
        tensorfile.require_format(self.state, metadata, FORMAT, VERSIONS)
        tensors, metadata = tensorfile.read(self.state)
        texts = {key: metadata.get(key, "") for key in ("config", "numbers")}
        tensorfile.require_digest(self.state, metadata.get("digest"), tensorfile.digest(tensors, texts))
        saved = tensorfile.from_json(texts["config"], self.state, "its config")
        compare(self.path, saved, config)
        try:
            unpack(state, tensors, tensorfile.from_json(texts["numbers"], self.state, "its numbers"))
        except StylegraftError as error:
            raise StylegraftError(f"{self.state}: {error}") from error
        self._keep_lines(state.step)
        then, now = saved["machine"], config["machine"]
        odd = [f"{key} {then.get(key)} -> {now[key]}" for key in now if then.get(key) != now[key]]
        return (
            [f"resumed on another machine setting ({'; '.join(odd)}): equality is no longer bit for bit"]
            if odd
            else []
        )

    def _append(self, name: str, text: str) -> None:
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise write_error(path, error) from error

    def _keep_lines(self, step: int) -> None:
        """Drop statistics of steps that will be taken again."""
        path = self.path / "stats.jsonl"
        if path.is_file():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) < step]
            write_text(path, "".join(line + "\n" for line in kept))


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Create or enter a run folder and hold its lock; raises StylegraftError when another process has it."""
    try:
        (path / "previews").mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a", encoding="utf-8")
    except OSError as error:
        raise write_error(path, error) from error
    with lock:
        if not _locked(lock):
            raise StylegraftError(
                f"{path}: another process is writing to this run; wait for it or choose another --out"
            )
        yield Folder(path)


def _locked(file: TextIO) -> bool:
    """Take an exclusive lock that the system releases when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        fcntl = None
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            windows: Any = import_module("msvcrt")
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def machine(device: str) -> dict[str, Any]:
    """What bit-equality depends on beside the config."""
    return {
        "device": str(device),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def compare(path: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to continue a run under another config; the line names the first field that differs."""
    for name in ("recipe", "space", "block", "seed", "source", "target"):
        before, now = saved.get(name), asked[name]
        if not isinstance(now, dict):
            if before != now:
                _refuse(path, name, before, now)
            continue
        before = before if isinstance(before, dict) else {}
        for key in IDENTITY.get(name, [key for key in now if key not in FREE]):
            if before.get(key) != now[key]:
                _refuse(path, f"{name}.{key}", before.get(key), now[key])


def _refuse(path: Path, name: str, before: Any, now: Any) -> None:
    raise StylegraftError(
        f"{path}: this run was started with {name} = {before!r}, the command now asks for {now!r}; "
        "repeat the first command to continue it, or choose another --out"
    )


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _step_of(line: str) -> float:
    """The step of a line of statistics; a line cut short by a kill counts as the far future."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a saved state, for tests and tools."""
    return tensorfile.read(path)[0]


def remove_temporaries(path: Path) -> None:
    """Delete what a killed process may have left half-written."""
    for leftover in path.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()
