"""Long work, kept on the disk: a folder a job under `.studio/jobs`, a worker process for each, one at a time.

job.json says what was asked, running.json which process does it, ended.json how it ended; a lock says whether it still
lives. So a job goes on when the page or the app is closed, and the app finds it again. What waits in the queue is begun
while the app runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from stylegraft.atomic import write_json
from stylegraft.errors import StylegraftError
from stylegraft.studio.workspace import Workspace

FOLDER = ".studio/jobs"
IDENTITY = re.compile(r"[0-9]{13}-[a-z]{2,12}")
STOPPED = (130, -signal.SIGINT, -signal.SIGTERM)
TAIL = 60_000  # characters of a log


class Jobs:
    """The jobs of a workspace. limit: how many run at once."""

    def __init__(self, workspace: Workspace, limit: int = 1) -> None:
        self.workspace, self.limit = workspace, limit
        self.folder = workspace.root / FOLDER
        self._lock, self._over = threading.Lock(), threading.Event()
        self._workers: list[subprocess.Popen[bytes]] = []

    # -- the queue

    def start(self) -> None:
        """Look after the queue from now on, in a thread."""
        threading.Thread(target=self._watch, name="jobs", daemon=True).start()

    def close(self) -> None:
        """Look after it no longer; what runs goes on."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            with contextlib.suppress(OSError, StylegraftError):
                self.turn()

    def turn(self) -> None:
        """Begin what may begin: the oldest jobs that wait, while fewer than the limit run."""
        with self._lock:
            for worker in [*self._workers]:
                if worker.poll() is not None:  # reaped: no process is left behind
                    self._workers.remove(worker)
            states = [(folder, self.state(folder)) for folder in self._folders()]
            free = self.limit - sum(state == "running" for _, state in states)
            for folder, state in states:
                if state == "waiting" and free > 0:
                    self._begin(folder)
                    free -= 1

    def _begin(self, folder: Path) -> None:
        write_json(folder / "running.json", {"pid": 0, "started": time.time()})
        paths = os.pathsep.join(
            dict.fromkeys(
                [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            )
        )
        with (folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "stylegraft.studio.worker", str(folder)],
                cwd=self.workspace.root,
                env=os.environ | {"PYTHONPATH": paths.strip(os.pathsep)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(worker)

    # -- what the page asks

    def submit(self, verb: str, argv: list[str], about: dict[str, Any]) -> dict[str, Any]:
        """Add a command to the queue. argv: of `stylegraft`; about: what the page shows of it, `out` among it."""
        with self._lock:
            name = f"{time.time_ns() // 1_000_000:013d}-{verb}"
            folder = self.folder / name
            folder.mkdir(parents=True)
            told = {
                "verb": verb,
                "argv": argv,
                "cwd": str(self.workspace.root),
                "about": about,
                "asked": time.time(),
            }
            write_json(folder / "job.json", told)
        self.turn()
        return self.describe(folder)

    def stop(self, name: str) -> dict[str, Any]:
        """What Ctrl-C does: the command saves and ends. One that waits is ended at once."""
        folder = self._find(name)
        state = self.state(folder)
        if state == "waiting":
            write_json(folder / "ended.json", {"code": 130, "ended": time.time()})
        elif state == "running":
            pid = _read(folder / "running.json").get("pid", 0)
            if not pid:
                raise StylegraftError("the job is just beginning; stop it in a moment")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            write_json(folder / "asked.json", {"stop": time.time()})
        return self.describe(folder)

    def resume(self, name: str) -> dict[str, Any]:
        """The same command once more, which continues where the first one stopped."""
        folder = self._find(name)
        if self.state(folder) in ("running", "waiting"):
            raise StylegraftError("this job is running or waiting already")
        for left in ("ended.json", "running.json", "asked.json"):
            (folder / left).unlink(missing_ok=True)
        self.turn()
        return self.describe(folder)

    def forget(self, name: str) -> dict[str, Any]:
        """Take a job off the list; what it wrote stays."""
        folder = self._find(name)
        if self.state(folder) == "running":
            raise StylegraftError("this job is running; stop it first")
        shutil.rmtree(folder)
        return {"forgotten": name}

    def log(self, name: str) -> dict[str, str]:
        """The end of what a job said."""
        path = self._find(name) / "log.txt"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return {"log": text[-TAIL:].replace(f"{self.workspace.root}/", "")}

    def listing(self) -> list[dict[str, Any]]:
        """All jobs, the newest first."""
        return [self.describe(folder) for folder in reversed(self._folders())]

    def writes(self, out: str) -> bool:
        """Whether a job that runs or waits writes to this place."""
        return any(
            job["about"].get("out") == out and job["state"] in ("running", "waiting", "stopping")
            for job in self.listing()
        )

    # -- one job

    def describe(self, folder: Path) -> dict[str, Any]:
        """What the page shows of a job."""
        told, state = _read(folder / "job.json"), self.state(folder)
        running, ended = _read(folder / "running.json"), _read(folder / "ended.json")
        found = {
            "id": folder.name,
            "verb": told.get("verb", ""),
            "about": told.get("about", {}),
            "command": "stylegraft " + " ".join(told.get("argv", [])),
            "state": "stopping" if state == "running" and (folder / "asked.json").exists() else state,
            "started": running.get("started"),
            "ended": ended.get("ended"),
            "progress": _read(folder / "progress.json") or None,
        }
        if state == "failed":
            found["error"] = last_words(folder / "log.txt").replace(f"{self.workspace.root}/", "")
        return found

    def state(self, folder: Path) -> str:
        """waiting, running, done, stopped, failed, or cut off: begun, and nothing says how it ended."""
        if (folder / "ended.json").exists():
            code = _read(folder / "ended.json").get("code")
            return "done" if code == 0 else "stopped" if code in STOPPED else "failed"
        if not (folder / "running.json").exists():
            return "waiting"
        started = _read(folder / "running.json").get("started", 0.0)
        if _locked(folder / "lock") or time.time() - started < 5:
            return "running"
        return "cut off"

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(
            p for p in self.folder.iterdir() if IDENTITY.fullmatch(p.name) and (p / "job.json").is_file()
        )

    def _find(self, name: str) -> Path:
        if not IDENTITY.fullmatch(name) or not (self.folder / name / "job.json").is_file():
            raise StylegraftError(f"{name!r}: no such job")
        return self.folder / name


def last_words(path: Path) -> str:
    """The line with which a command ended: its `error: ...`, without that word."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it left no word"])[-1].removeprefix("error: ")


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _locked(path: Path) -> bool:
    """Whether a worker, or the command that it began, holds the lock."""
    import fcntl

    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
