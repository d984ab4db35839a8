"""The run folder: what a run leaves, written so that a kill, a full disk or a second process cannot spoil it.

config.json          source, target set, space, seed, every recipe field; each session: from which step, on what machine
targets.png          the training images as the network sees them
targets.safetensors  the same, exactly: a resume trains on these, whatever this machine's face detector says
log.txt              what was printed
stats.jsonl          one line a step
previews/            fixed latents, source above target, the step in the name
state.safetensors    everything a resume needs; state.previous.safetensors, of the save before, where it is damaged
.lock                held by the process that writes here, with its pid
domain.safetensors   the averaged domain so far; with `--keep best` that of the best point
hypernet.safetensors the averaged hypernetwork, where one learns; the domain is that of its first sentence
last.safetensors     with `--keep best`, that of the last save
grid.png             the end
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.diverged import require_state
from stylegraft.adaptation.keeping import pack, size, unpack
from stylegraft.adaptation.lock import locked
from stylegraft.adaptation.place import PREVIOUS, SAVED, check_folder, check_room
from stylegraft.adaptation.sameness import compare, setting
from stylegraft.adaptation.state import State
from stylegraft.atomic import write_error, write_json, write_text
from stylegraft.checkpoints import headers, tensorfile
from stylegraft.data.pixels import to_float
from stylegraft.data.texts import ODD, values_of
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import FILE, Hypernetwork
from stylegraft.errors import StylegraftError, plain
from stylegraft.version import __version__

STATE, TARGETS = "stylegraft-run", "stylegraft-targets"  # formats of the two files
VERSIONS = range(1, 2)


@dataclass
class Folder:
    """An open, locked run folder."""

    path: Path
    lines: list[str] = field(default_factory=list)  # statistics not yet on the disk
    memory: dict[str, Any] = field(default_factory=dict)  # what `rules` remember of the run's evaluations
    written: Domain | None = None  # the best domain that is on the disk
    saved: int = 0  # the step of the last save

    @property
    def state(self) -> Path:
        """Everything a resume needs."""
        return self.path / SAVED

    @property
    def previous(self) -> Path:
        """The state of the save before."""
        return self.path / PREVIOUS

    @property
    def domain(self) -> Path:
        """The averaged domain: of the last save, or of the best point."""
        return self.path / "domain.safetensors"

    @property
    def hypernet(self) -> Path:
        """The averaged hypernetwork of the last save."""
        return self.path / FILE

    @property
    def last(self) -> Path:
        """The averaged domain of the last save, where `domain` is the best point's."""
        return self.path / "last.safetensors"

    @property
    def targets(self) -> Path:
        """The training images of this run."""
        return self.path / "targets.safetensors"

    def preview(self, step: int) -> Path:
        """Where the picture of a step goes."""
        return self.path / "previews" / f"step-{step:06d}.png"

    def note(self, stats: Mapping[str, Any]) -> None:
        """Keep a step's numbers until the next `save`."""
        self.lines.append(json.dumps({key: _short(value) for key, value in stats.items()}))

    def flush(self) -> None:
        """Append the numbers kept so far to stats.jsonl, down to the disk: no state may be ahead of them there."""
        self._append("stats.jsonl", "".join(line + "\n" for line in self.lines), sync=True)
        self.lines.clear()

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        self._append("log.txt", line + "\n")

    def start(
        self, state: State, config: dict[str, Any], images: Tensor, held_out: Tensor | None = None
    ) -> None:
        """Write config and images (uint8), those to train on and those to judge by, of a new run; forget what an
        earlier one, that never saved, may have left. Raises StylegraftError where the disk has no room for its states.
        """
        check_room(self.path, size(state))
        sets = {"images": images.half()}  # fp16 holds 0 to 255 exactly
        if held_out is not None:
            sets["held_out"] = held_out.half()
        write_tensors(self.targets, TARGETS, sets, {})
        self._enter(state, config, [])
        self._keep_lines(0)

    def save(self, state: State, config: Mapping[str, Any]) -> None:
        """Write statistics, then the state, atomically; a failure leaves the previous state in place.

        Raises Diverged, and writes no state, where it holds NaN or infinity.
        """
        self.flush()
        tensors, numbers = pack(state)
        require_state(state, tensors)
        if self.memory:
            numbers["watch"] = self.memory
        texts = {
            "config": tensorfile.to_json(config, "the config"),
            "numbers": tensorfile.to_json(numbers, "the state"),
        }
        write_tensors(self.state, STATE, tensors, texts, self.previous)
        self.saved = state.step

    def keep(
        self,
        state: State,
        config: Mapping[str, Any],
        domain: Domain,
        best: Domain | None = None,
        hypernet: Hypernetwork | None = None,
    ) -> None:
        """`save`, and the domain of this step; where there is a best one, that is `domain` and this one `last`."""
        if best and best is not self.written:
            best.save(
                self.domain
            )  # before the state, which must not speak of a best point that is not on the disk
            self.written = best
        self.save(state, config)
        self.write(domain, best, hypernet)

    def write(self, domain: Domain, best: Domain | None = None, hypernet: Hypernetwork | None = None) -> None:
        """The domain of this step, as `domain`, or where that is the best one, as `last`; and the hypernetwork."""
        if hypernet:
            hypernet.save(self.hypernet)
        domain.save(self.last if best else self.domain)
        if not best and self.last.exists():
            remove(self.last)

    def best(self, say: Callable[[str], None]) -> Domain | None:
        """The best point of the sessions before, where it was kept; else its memory is dropped."""
        if "best" not in self.memory:
            return None
        step = self.memory["best"]["step"]
        with contextlib.suppress(StylegraftError):
            domain = Domain.load(self.domain)
            if domain.config.get("steps") == step:
                self.written = domain
                return domain
        say(
            f"warning: the best point so far, step {step}, is not in {self.domain}; the best is sought from here on"
        )
        for name in ("best", "since"):
            self.memory.pop(name, None)
        return None

    def held_out(self) -> Tensor:
        """The images that this run judges by, uint8."""
        return read_tensors(self.targets, TARGETS)[0]["held_out"].to(torch.uint8)

    def load(self, state: State, config: dict[str, Any]) -> list[str]:
        """Continue the saved run on its own training images; returns warnings.

        A state that is damaged gives way to that of the save before. Raises StylegraftError when the folder belongs to
        another command, naming the first thing that differs, or when nothing whole is left.
        """
        (tensors, texts), warnings = self._saved()
        saved = headers.from_json(texts["config"], self.state, "its config")
        compare(self.path, saved, config)
        numbers = headers.from_json(texts["numbers"], self.state, "its numbers")
        self.memory = numbers.get("watch", {})
        try:
            unpack(state, tensors, numbers)
        except (StylegraftError, *ODD) as error:
            raise StylegraftError(f"{self.state}: {_lack(error)}{_writer(texts)}") from error
        self.saved = state.step
        with values_of(self.targets):
            state.images = to_float(read_tensors(self.targets, TARGETS)[0]["images"]).to(state.device)
        self._keep_lines(state.step)
        with values_of(self.state):
            sessions = saved.get("sessions", [])
            then, now = {"processes": 1} | (sessions or [{}])[-1], setting(state)
        self._enter(state, config, sessions)
        odd = [f"{key} {then.get(key)} -> {now[key]}" for key in now if then.get(key) != now[key]]
        if odd:
            warnings.append(
                f"resumed on another machine setting ({'; '.join(odd)}): equality is no longer bit for bit"
            )
        return warnings

    def _saved(self) -> tuple[tuple[dict[str, Tensor], dict[str, str]], list[str]]:
        """Tensors and texts of the newest state that is whole, and what to say where it is not the newest one.

        Raises StylegraftError where the newest cannot be read now: it may be whole.
        """
        keys = ("config", "numbers")
        try:
            return read_tensors(self.state, STATE, keys), []
        except tensorfile.NewerVersion:
            raise
        except StylegraftError as error:
            if _unreadable(error) or not self.previous.is_file():
                raise
            try:
                found = read_tensors(self.previous, STATE, keys)
            except StylegraftError as other:
                raise StylegraftError(
                    f"{error}. The save before it is no better: {other}. Choose another --out, or remove {self.path}"
                ) from error
            try:  # or the next save would put the damaged one in its place
                self.previous.replace(self.state)
            except OSError as other:
                raise write_error(self.state, other) from other
            return found, [f"{error}; the run goes on from the save before it, {self.previous.name}"]

    def remove_temporaries(self) -> None:
        """Delete what a killed process may have left half-written."""
        for folder in (self.path, self.path / "previews"):
            for leftover in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    def _enter(self, state: State, config: dict[str, Any], before: list[dict[str, Any]]) -> None:
        """Add this session, if it will take steps, to those that made the state, and write the config."""
        session = {"from": state.step, "to": state.end, **setting(state)}
        config["sessions"] = [*before, session] if state.step < state.end else before
        write_json(self.path / "config.json", config)

    def _append(self, name: str, text: str, sync: bool = False) -> None:
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            raise write_error(path, error) from error

    def _keep_lines(self, step: int) -> None:
        """Drop statistics of steps that will be taken again."""
        path = self.path / "stats.jsonl"
        if path.is_file():
            kept = (one for one in read_stats(path) if one["step"] < step)
            write_text(path, "".join(json.dumps(one) + "\n" for one in kept))


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Create or enter a run folder and hold its lock; raises StylegraftError when another process has it, or the folder
    holds something else."""
    check_folder(path)
    make_folder(path)
    with locked(path):  # before anything else is in it, so that a kill leaves what is known as a run's
        make_folder(path / "previews")
        yield Folder(path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing; raises StylegraftError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def remove(path: Path) -> None:
    """Remove a file; raises StylegraftError."""
    try:
        path.unlink()
    except OSError as error:
        raise write_error(path, error) from error


def _unreadable(error: StylegraftError) -> bool:
    """Whether the system would not give a file that is there, which may be whole."""
    return isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError)


def _lack(error: Exception) -> str:
    """What does not fit in a saved state."""
    if isinstance(error, StylegraftError):
        return str(error)
    if isinstance(error, KeyError):
        return f"saved state: {error} is missing"
    return f"saved state: damaged or edited: a value is not what stylegraft writes ({error})"


def _writer(texts: Mapping[str, str]) -> str:
    """Who wrote a state that does not fit, if it was another release."""
    by = texts["library_version"]
    if by in (__version__, ""):
        return ""
    ways = "finish the run with that one, or choose another --out"
    return f" (stylegraft {plain(by)} wrote it, this is {__version__}: {ways})"


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read_stats(path: Path) -> list[dict[str, Any]]:
    """The numbers of every step in a stats.jsonl, in order; a line that a kill cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [one for one in found if isinstance(one, dict) and type(one.get("step")) is int]


def training_images(run: Path) -> Tensor:
    """The training images of a run folder, uint8 [k, C, R, R]."""
    return read_tensors(run / "targets.safetensors", TARGETS)[0]["images"].to(torch.uint8)


def write_tensors(
    path: Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    texts: Mapping[str, str],
    previous: Path | None = None,
) -> None:
    """Write a file of this kind, with a digest over its content; previous: where the one that stood there is kept."""
    digest = tensorfile.digest(tensors, texts)
    metadata = {**texts, "digest": digest, **tensorfile.stamp(kind, VERSIONS)}
    tensorfile.write(path, tensors, metadata, previous)


def read_tensors(path: Path, kind: str, keys: Sequence[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts of a file of this kind; raises StylegraftError when it is another one or damaged."""
    tensorfile.require_format(path, headers.read_metadata(path), kind, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    texts = {key: metadata.get(key, "") for key in keys}
    tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, texts))
    return tensors, texts | {"library_version": metadata.get("library_version", "")}
