"""Load files, each group in a process of its own, and tell what each cost and what came of it.

    python hostile_warden.py MANIFEST

MANIFEST: JSON with `warm` (good files, loaded first so that every module is there), `traps` (a folder whose modules
must never be imported), `groups` ([[path, ...], ...]). Writes one line of JSON for each group. A group's process is
forked from this one, so that its peak of memory above the start is what the files cost.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import json
import os
import pickle
import resource
import signal
import sys
import time
import warnings
from typing import Any

WALL = int(os.environ.get("HOSTILE_WALL", "30"))  # seconds, then the kernel ends it
ROOM = 1 << 30  # bytes of data above the start
WATCHED = ("os.", "subprocess.", "pickle.", "marshal.", "socket.", "ctypes.", "exec", "compile", "shutil.", "pty.",
           "import", "open", "code.", "builtins.", "urllib.", "webbrowser.", "tempfile.")  # fmt: skip
ALLOWED = {"os.putenv", "os.unsetenv", "builtins.id"}


class Tripped(BaseException):
    """Something ran that must not."""


def trip(name: str) -> Any:
    def tripped(*_: Any, **__: Any) -> Any:
        raise Tripped(name)

    return tripped


def disarm() -> None:
    """Take away every loader that runs code."""
    import torch

    for owner, names in (
        (pickle, ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads")),
        (sys.modules["_pickle"], ("load", "loads", "Unpickler")),
        (torch, ("load",)),
        (torch.serialization, ("load", "_load", "_legacy_load")),
        (torch.jit, ("load",)),
        (torch.hub, ("load",)),
        (torch.storage, ("_load_from_bytes",)),
        (torch._utils, ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")),
    ):
        for name in names:
            setattr(owner, name, trip(f"{owner.__name__}.{name}"))


def peak() -> int:
    """The most memory so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def data_bytes() -> int:
    """Private memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def judge(paths: list[str]) -> list[dict[str, Any]]:
    """Load the files one after the other; of each, what it cost and what came of it."""
    from stylegraft.checkpoints import base_digest, load
    from stylegraft.errors import StylegraftError

    events: set[str] = set()
    listening = False

    def hear(event: str, args: Any) -> None:
        if not listening or event in ALLOWED or not event.startswith(WATCHED):
            return
        if event != "open" or (isinstance(args[1], str) and set(args[1]) & set("wax+")):
            events.add(f"{event} {args[0] if args and isinstance(args[0], str) else ''}".strip())

    sys.addaudithook(hear)
    modules = set(sys.modules)
    start = peak()
    found = []
    for path in paths:
        events.clear()
        began = time.process_time()
        listening = True
        try:
            source = load(path)
            verdict, said = "loads", base_digest(source.generator)
        except StylegraftError as error:
            verdict, said = "refused", str(error)
        except BaseException as error:
            verdict, said = "crash", f"{type(error).__name__}: {error}"
        listening = False
        found.append(
            {
                "verdict": verdict,
                "said": said.encode("utf-8", "backslashreplace").decode()[:5000],
                "seconds": time.process_time() - began,
                "bytes": peak() - start,
                "events": sorted(events),
                "modules": sorted(set(sys.modules) - modules),
            }
        )
    return found


def in_its_own_process(paths: list[str]) -> dict[str, Any]:
    """{"files": what `judge` says in a fork with bounds, "printed": what it printed}."""
    result, into = os.pipe()
    noise, noise_into = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(noise_into, 1)
        os.dup2(noise_into, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(WALL)
        bound = data_bytes() + ROOM
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
        with os.fdopen(into, "w") as file:
            json.dump(judge(paths), file)
        os._exit(0)
    os.close(into)
    os.close(noise_into)
    with os.fdopen(result) as file:
        text = file.read()
    with os.fdopen(noise, errors="replace") as file:
        printed = file.read(10_000)
    status = os.waitpid(child, 0)[1]
    return {
        "files": json.loads(text) if text else [],
        "status": os.waitstatus_to_exitcode(status),
        "printed": printed,
    }


def main() -> None:
    with open(sys.argv[1]) as file:
        manifest = json.load(file)
    sys.path.insert(0, manifest["traps"])
    warnings.simplefilter("always")
    import stylegraft.networks.mobile  # noqa: F401
    from stylegraft.checkpoints import base_digest, load
    from stylegraft.errors import StylegraftError

    for codec in ("raw_unicode_escape", "unicode_escape", "latin-1", "cp437"):
        codecs.lookup(codec)
    for path in manifest["warm"]:
        with contextlib.suppress(StylegraftError):
            base_digest(load(path).generator)
    disarm()
    gc.collect()
    gc.freeze()
    for paths in manifest["groups"]:
        print(json.dumps(in_its_own_process(paths)), flush=True)


if __name__ == "__main__":
    main()
