"""The run folder: what a run leaves, written so that a kill, a full disk or a second process cannot spoil it.

config.json          source, target set, space, seed, every recipe field; each session: from which step, on what machine
targets.png          the training images as the network sees them
targets.safetensors  the same, exactly: a resume trains on these, whatever this machine's face detector says
log.txt              what was printed
stats.jsonl          one line a step
previews/            fixed latents, source above target, the step in the name
state.safetensors    everything a resume needs
domain.safetensors   the averaged domain so far; with `--keep best` that of the best point
hypernet.safetensors the averaged hypernetwork, where one learns; the domain is that of its first sentence
last.safetensors     with `--keep best`, that of the last save
grid.png             the end
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.place import check_folder
from stylegraft.adaptation.state import State
from stylegraft.atomic import write_error, write_json, write_text
from stylegraft.checkpoints import headers, tensorfile
from stylegraft.data.pixels import to_float
from stylegraft.data.texts import values_of
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import FILE, Hypernetwork
from stylegraft.errors import StylegraftError

STATE, TARGETS = "stylegraft-run", "stylegraft-targets"  # formats of the two files
VERSIONS = range(1, 2)
FREE = ("preset", "paper", "steps")  # recipe fields that may differ on resume: they change no step
IDENTITY = {
    "source": ("fingerprint", "sha256"),
    "target": ("count", "align", "sha256", "held_out", "text", "texts", "from_text"),
}  # names may change


@dataclass
class Folder:
    """An open, locked run folder."""

    path: Path
    lines: list[str] = field(default_factory=list)  # statistics not yet on the disk
    memory: dict[str, Any] = field(default_factory=dict)  # what `rules` remember of the run's evaluations
    written: Domain | None = None  # the best domain that is on the disk

    @property
    def state(self) -> Path:
        """Everything a resume needs."""
        return self.path / "state.safetensors"

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
        """Append the numbers kept so far to stats.jsonl."""
        self._append("stats.jsonl", "".join(line + "\n" for line in self.lines))
        self.lines.clear()

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        self._append("log.txt", line + "\n")

    def start(
        self, state: State, config: dict[str, Any], images: Tensor, held_out: Tensor | None = None
    ) -> None:
        """Write config and images (uint8), those to train on and those to judge by, of a new run; forget what an
        earlier one, that never saved, may have left.
        """
        sets = {"images": images.half()}  # fp16 holds 0 to 255 exactly
        if held_out is not None:
            sets["held_out"] = held_out.half()
        write_tensors(self.targets, TARGETS, sets, {})
        self._enter(state, config, [])
        self._keep_lines(0)

    def save(self, state: State, config: Mapping[str, Any]) -> None:
        """Write statistics, then the state, each atomically; a failure leaves the previous state in place."""
        self.flush()
        tensors, numbers = pack(state)
        if self.memory:
            numbers["watch"] = self.memory
        texts = {
            "config": tensorfile.to_json(config, "the config"),
            "numbers": tensorfile.to_json(numbers, "the state"),
        }
        write_tensors(self.state, STATE, tensors, texts)

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
        if not best:
            self.last.unlink(missing_ok=True)

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
        del self.memory["best"]
        return None

    def held_out(self) -> Tensor:
        """The images that this run judges by, uint8."""
        return read_tensors(self.targets, TARGETS)[0]["held_out"].to(torch.uint8)

    def load(self, state: State, config: dict[str, Any]) -> list[str]:
        """Continue the saved run on its own training images; returns warnings.

        Raises StylegraftError when the folder belongs to another command, naming the first thing that
        differs, or when its files are damaged.
        """
        tensors, texts = read_tensors(self.state, STATE, ("config", "numbers"))
        saved = headers.from_json(texts["config"], self.state, "its config")
        compare(self.path, saved, config)
        numbers = headers.from_json(texts["numbers"], self.state, "its numbers")
        self.memory = numbers.get("watch", {})
        try:
            with values_of(self.state):
                unpack(state, tensors, numbers)
        except StylegraftError as error:
            raise StylegraftError(f"{self.state}: {error}") from error
        with values_of(self.targets):
            state.images = to_float(read_tensors(self.targets, TARGETS)[0]["images"]).to(state.device)
        with values_of(self.state):
            sessions, then, now = saved["sessions"], dict(saved["sessions"][-1]), machine(state.device)
        self._keep_lines(state.step)
        self._enter(state, config, sessions)
        odd = [f"{key} {then.get(key)} -> {now[key]}" for key in now if then.get(key) != now[key]]
        return (
            [f"resumed on another machine setting ({'; '.join(odd)}): equality is no longer bit for bit"]
            if odd
            else []
        )

    def remove_temporaries(self) -> None:
        """Delete what a killed process may have left half-written."""
        for folder in (self.path, self.path / "previews"):
            for leftover in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    def _enter(self, state: State, config: dict[str, Any], before: list[dict[str, Any]]) -> None:
        """Add this session, if it will take steps, to those that made the state, and write the config."""
        session = {"from": state.step, "to": state.end, **machine(state.device)}
        config["sessions"] = [*before, session] if state.step < state.end else before
        write_json(self.path / "config.json", config)

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
            kept = (one for one in read_stats(path) if one["step"] < step)
            write_text(path, "".join(json.dumps(one) + "\n" for one in kept))


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Create or enter a run folder and hold its lock; raises StylegraftError when another process has it, or the folder
    holds something else."""
    check_folder(path)
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
    """Take an exclusive lock that the system releases when the process ends, however it ends; False when
    another has it.
    """
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
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise StylegraftError(
            f"{file.name}: this file system gives no lock ({error.strerror}); choose an --out on another one"
        ) from error
    return True


def machine(device: torch.device) -> dict[str, Any]:
    """What bit-equality depends on beside the config."""
    return {
        "device": str(device),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}),
    }


# What a run did that was started before a key of its config had a name.
UNNAMED: dict[str, dict[str, Any]] = {
    "target": {"held_out": 0},
    "recipe": {one.name: one.default for one in fields(Recipe)},
}


def compare(path: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to continue a run under another config; the line names the first field that differs."""
    for name in ("source", "discriminator", "target", "recipe", "space", "seed", "guides"):
        before, now = saved.get(name), asked.get(name)
        if not isinstance(now, dict):
            if before != now:
                _refuse(path, name, *(_named(one) if name == "guides" else one for one in (before, now)))
            continue
        before = before if isinstance(before, dict) else {}
        for key in IDENTITY.get(name, [key for key in now if key not in FREE]):
            was = before.get(key, UNNAMED.get(name, {}).get(key))
            if was != now.get(key):
                _refuse(path, f"{name}.{key}", was, now.get(key))


def _refuse(path: Path, name: str, before: Any, now: Any) -> None:
    raise StylegraftError(
        f"{path}: this run was started with {name} = {before!r}, the command now asks for {now!r}; "
        "repeat the first command to continue it, or choose another --out"
    )


def _named(guides: Sequence[Mapping[str, Any]] | None) -> str:
    return (
        ", ".join(f"{one['name']} {one['digest'][:12]}={one['weight']:g}" for one in guides or ()) or "none"
    )


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


def write_tensors(path: Path, kind: str, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write a file of this kind, with a digest over its content."""
    digest = tensorfile.digest(tensors, texts)
    tensorfile.write(path, tensors, {**texts, "digest": digest, **tensorfile.stamp(kind, VERSIONS)})


def read_tensors(path: Path, kind: str, keys: Sequence[str] = ()) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts of a file of this kind; raises StylegraftError when it is another one or damaged."""
    tensorfile.require_format(path, headers.read_metadata(path), kind, VERSIONS)
    tensors, metadata = tensorfile.read(path)
    texts = {key: metadata.get(key, "") for key in keys}
    tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, texts))
    return tensors, texts
