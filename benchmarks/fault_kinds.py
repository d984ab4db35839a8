"""The faults of `faults.py`: each breaks an activity in a folder, mends what it broke, and says what was lost (`Lost`).

All take (bench, activity, number of the try, its random numbers, an empty folder).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from fault_runs import (
    NOBODY,
    STEPS,
    Bench,
    Lost,
    at,
    broken_off,
    expect,
    finish,
    fresh,
    left,
    moment,
    poison,
    refuse,
    same,
    start,
    watch,
)

from stylegraft.adaptation import loop
from stylegraft.adaptation.place import PREVIOUS, SAVED
from stylegraft.checkpoints import headers, tensorfile

FULL, DENIED, READ_ONLY = "the disk is full", "no permission", "read-only"
NEWNS, PRIVATE = 0x20000, "none"


# Killed
# --------------------------------------------------------------------------------------------


def killed(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """SIGKILL at a random moment, and sometimes again while it goes on."""
    broken_off(bench, activity, rng, folder, signal.SIGKILL, -signal.SIGKILL)
    while rng.random() < 0.3:
        again = start(bench, activity, folder)
        time.sleep(moment(bench, activity, rng))
        if not again.over():
            again.kill(signal.SIGKILL)
        expect(again, 0, -signal.SIGKILL)
    finish(bench, activity, folder)


def killed_at(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """SIGKILL before operation `number` on a file."""
    die = at(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    # 0: saves by the clock made this run shorter than the one that was counted
    expect(start(bench, activity, folder, lambda: watch(folder, die)), 0, -signal.SIGKILL)
    finish(bench, activity, folder)


def terminated(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """SIGTERM at a random moment: it saves and ends, or had not begun."""
    broken_off(bench, activity, rng, folder, signal.SIGTERM, 0, 130, -signal.SIGTERM)
    finish(bench, activity, folder)


# The disk
# --------------------------------------------------------------------------------------------


def full_at(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """From operation `number` on, whatever needs room on the disk fails."""
    no_room = at(number, lambda: refuse(errno.ENOSPC), onwards=True)
    child = start(bench, activity, folder, lambda: watch(folder, no_room))
    expect(child, 0, 2, words=FULL)  # 0: as above
    finish(bench, activity, folder)


def full(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A tmpfs of a random size, made larger afterwards."""
    size = rng.randrange(4, 4 + int(1.2 * sum(map(_kib, _files(bench, activity)))))
    before = folder / "before"
    if (folder / "run").is_dir():
        (folder / "run").rename(before)

    def whole() -> None:
        mount(["-t", "tmpfs", "-o", "size=100m", "none", str(folder)])
        if activity == "repeating":
            shutil.copytree(bench.scratch / "unbroken-training" / "run", folder / "run")
            used = sum(map(_kib, (folder / "run").rglob("*"))) + 8
        else:
            used = 0
        mount(["-o", f"remount,size={used + size}k", str(folder)])
        child = start(bench, activity, folder)
        status = child.wait()
        if status not in (0, 2) or (status == 2 and FULL not in child.said):
            raise Lost(f"{size} KB: ended with {status}: {child.said[-800:]}")
        mount(["-o", "remount,size=100m", str(folder)])
        finish(bench, activity, folder)

    apart(whole)


def _files(bench: Bench, activity: str) -> list[Path]:
    bench.unbroken(activity)
    return [*(bench.scratch / f"unbroken-{activity}").rglob("*")]


def _kib(path: Path) -> int:
    """What it takes of a tmpfs."""
    return -(-path.stat().st_size // 4096) * 4 if path.is_file() else 0


def limited(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """No file may grow beyond a random size: a write is cut in the middle, then refused."""
    most = max(path.stat().st_size for path in _files(bench, activity) if path.is_file())
    size = rng.randrange(most)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    child = start(bench, activity, folder, limit)
    status, said = child.wait(), child.said
    if status not in (0, 2) or (status == 2 and "larger than `ulimit -f`" not in said):
        # what is said goes into a file, too: an empty one is no crash
        if not (status in (1, 2) and len(said) == size):
            raise Lost(f"{size} bytes: ended with {status}: {said[-800:]}")
    finish(bench, activity, folder)


# What is forbidden
# --------------------------------------------------------------------------------------------


def immutable(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """`chattr +i` on all folders at a random moment, which binds root as well."""
    child = start(bench, activity, folder)
    time.sleep(moment(bench, activity, rng))
    _each_folder(folder, ["chattr", "+i"])
    status = child.wait()
    _each_folder(folder, ["chattr", "-i"])
    if status not in (0, 2) or (status == 2 and DENIED not in child.said):
        raise Lost(f"ended with {status}: {child.said[-800:]}")
    finish(bench, activity, folder)


def _each_folder(folder: Path, command: list[str]) -> None:
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    subprocess.run([*command, *map(str, places)], check=False, capture_output=True)


def read_only(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A file system that is read-only: before the first command, or between two."""
    if number % 3:
        broken_off(bench, activity, rng, folder, signal.SIGKILL, -signal.SIGKILL)

    def whole() -> None:
        mount(["--bind", str(folder), str(folder)])
        mount(["-o", "remount,bind,ro", str(folder)])
        child = start(bench, activity, folder)
        status = child.wait()
        if status != 2 or not any(words in child.said for words in (DENIED, READ_ONLY)):
            raise Lost(f"ended with {status}: {child.said[-800:]}")

    apart(whole)
    finish(bench, activity, folder)


def forbidden(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """Another user's process, whose folders become unwritable (or unreadable as well) at a random moment."""
    mode = rng.choice(("a-w", "a-rw", "a-rwx"))
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)

    def another() -> None:
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    child = start(bench, activity, folder, another)
    time.sleep(moment(bench, activity, rng))
    subprocess.run(["chmod", "-R", mode, str(folder)], check=False, capture_output=True)
    if (status := child.wait()) == 0:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    elif status != 2 or "permission" not in child.said.lower():
        raise Lost(f"{mode}: ended with {status}: {child.said[-800:]}")
    else:  # the same command is refused as well, before it begins
        expect(start(bench, activity, folder, another), 2, words="ermission")
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=True)
    expect(start(bench, activity, folder, another), 0)
    same(bench, activity, folder)


# Clocks and others
# --------------------------------------------------------------------------------------------


def out_of_time(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """The clock of the process jumps whenever it is asked, files are of 1971 or 2199, and the first try is killed."""
    year = 365.25 * 86400

    def jump() -> None:
        real, chance = time.time, Random(rng.random())
        time.time = lambda: real() + chance.uniform(-20, 20) * year
        time.time_ns = lambda: int(time.time() * 1e9)

    child = start(bench, activity, folder, jump)
    time.sleep(moment(bench, activity, rng))
    if not child.over():
        child.kill(signal.SIGKILL)
    expect(child, 0, -signal.SIGKILL)
    for path in folder.rglob("*"):
        then = rng.choice((year, 229 * year))
        os.utime(path, (then, then))
    expect(start(bench, activity, folder, jump), 0)
    same(bench, activity, folder)


def two(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A second process while the first one stands still: refused with its pid, or (comparing) it does what is left."""
    for _ in range(20):
        first = start(bench, activity, folder)
        while not first.over():
            time.sleep(moment(bench, activity, rng) / 4)
            if not first.over():
                first.kill(signal.SIGSTOP)
            if holds := _held(folder, first.pid):
                break
            first.kill(signal.SIGCONT)
        else:
            expect(first, 0)
            fresh(bench, activity, folder)
            continue
        break
    else:
        raise Lost("the first process was never met at work")
    try:
        second = start(bench, activity, folder)
        status, said = second.wait(), second.said
    finally:
        first.kill(signal.SIGCONT)
    if status != 2 or f"(pid {first.pid})" not in said:
        raise Lost(f"the second, beside {holds}: ended with {status}: {said[-800:]}")
    expect(first, 0)
    finish(bench, activity, folder)


def _held(folder: Path, pid: int) -> str:
    """The run folder that a process holds, as its lock tells."""
    for lock in folder.rglob(".lock"):
        if lock.read_text().startswith(f"{pid} "):
            return str(lock.parent.relative_to(folder))
    return ""


# Damaged files
# --------------------------------------------------------------------------------------------


def _damaged(
    bench: Bench, activity: str, folder: Path, names: tuple[str, ...], spoil: Callable[[bytes], bytes]
) -> None:
    """Break a run off after two saves or more, and spoil some of its files."""
    late = at(bench.points(activity) * 2 // 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    expect(start(bench, activity, folder, lambda: watch(folder, late)), -signal.SIGKILL)
    for name in names:
        path = folder / "run" / name
        path.write_bytes(spoil(path.read_bytes()))


def _cut(rng: Random) -> Callable[[bytes], bytes]:
    return lambda data: data[: rng.randrange(len(data))]


def _flip(rng: Random) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]

    return flip


def _falls_back(bench: Bench, activity: str, folder: Path) -> None:
    finish(bench, activity, folder)
    if "goes on from the save before it" not in (folder / "run" / "log.txt").read_text():
        raise Lost("it fell back in silence")


def truncated(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """The newest state, cut anywhere."""
    _damaged(bench, activity, folder, (SAVED,), _cut(rng))
    _falls_back(bench, activity, folder)


def flipped(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """One bit of the newest state."""
    _damaged(bench, activity, folder, (SAVED,), _flip(rng))
    _falls_back(bench, activity, folder)


def both_damaged(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """Both states: nothing whole is left to go on from, and nothing is touched."""
    _damaged(bench, activity, folder, (SAVED, PREVIOUS), _cut(rng))
    before = (folder / "run" / "domain.safetensors").read_bytes()
    expect(start(bench, activity, folder), 2, words="The save before it is no better")
    if (folder / "run" / "domain.safetensors").read_bytes() != before:
        raise Lost("the domain was changed")


def others_truncated(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """What is not read when a run goes on is written anew."""
    _damaged(bench, activity, folder, ("domain.safetensors", "config.json", "targets.png"), _cut(rng))
    (folder / "run" / "targets.png").unlink()  # the sheet of pictures is written once
    whole = bench.unbroken(activity)[0]
    expect(start(bench, activity, folder), 0)
    mine = left(folder)
    if bad := [name for name in whole if mine.get(name) != whole[name] and name != "run/targets.png"]:
        raise Lost(f"{bad[0]} differs")
    json.loads((folder / "run" / "config.json").read_text())


def trace_cut(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """The last line of the trace ends anywhere; it comes again with its step, which no state is ahead of."""
    folder = folder if not number % 2 else fresh(bench, activity, folder)
    die = at(
        bench.points(activity) * 2 // 5,
        lambda: _ahead(folder / "run") and os.kill(os.getpid(), signal.SIGKILL),
        True,
    )
    expect(start(bench, activity, folder, lambda: watch(folder, die)), -signal.SIGKILL)
    path = folder / "run" / "trace.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(data[:-1].rindex(b"\n") + 1, len(data))])
    finish(bench, activity, folder)


def _ahead(run: Path) -> bool:
    """Whether the trace has a point of a step that the state has not seen."""
    path, state = run / "trace.jsonl", run / SAVED
    if not path.is_file() or not state.is_file():
        return False
    numbers = json.loads(headers.read_metadata(state)["numbers"])
    return json.loads(path.read_text().splitlines()[-1]).get("step", 0) > numbers["step"]


# Other releases
# --------------------------------------------------------------------------------------------


def _rewritten(bench: Bench, activity: str, folder: Path, change: Callable[..., dict[str, str]]) -> None:
    """Break a run off, and write its state as another release would have."""
    _damaged(bench, activity, folder, (), bytes)
    path = folder / "run" / SAVED
    tensors, metadata = tensorfile.read(path)
    texts = {key: json.loads(metadata[key]) for key in ("config", "numbers")}
    metadata |= change(tensors, texts)
    told = {key: tensorfile.to_json(value, key) for key, value in texts.items()}
    tensorfile.write(path, tensors, metadata | told | {"digest": tensorfile.digest(tensors, told)})


def older(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """Fields that have come later are not in its config."""

    def change(tensors, texts):
        for name in rng.sample(("micro", "recompute", "l2sp", "cone", "swap", "lead", "mask"), 4):
            texts["config"]["recipe"].pop(name, None)
        texts["config"]["target"].pop("held_out")
        texts["config"].pop("sessions")
        return {"library_version": "0.0.9"}

    _rewritten(bench, activity, folder, change)
    finish(bench, activity, folder)


def unfit(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A tensor is missing, another is too many or of another shape; a version that is not known."""

    def change(tensors, texts):
        name = rng.choice(sorted(name for name in tensors if not name.startswith("adam/")))
        if number % 5 == 0:
            del tensors[name]
        elif number % 5 == 1:
            tensors["leaf/new"] = torch.zeros(3)
        elif number % 5 == 2:
            tensors[name] = torch.zeros(3, 3, 3)
        elif number % 5 == 3:
            del texts["numbers"]["step"]
        return {"library_version": "9.9.9", **({"format_version": "2"} if number % 5 == 4 else {})}

    _rewritten(bench, activity, folder, change)
    expect(start(bench, activity, folder), 2, words="9.9.9")


# Numbers
# --------------------------------------------------------------------------------------------


def nonfinite(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A loss or a gradient of one step."""
    step, owner = rng.randrange(STEPS), rng.choice("GD")
    what, gradient = rng.choice((float("nan"), float("inf"), -float("inf"))), rng.random() < 0.5
    child = start(bench, activity, folder, lambda: poison({step}, owner, what, gradient))
    expect(child, 2, words=f"step {step}: {owner}/")
    finish(bench, activity, folder)


def overflow(bench: Bench, activity: str, number: int, rng: Random, folder: Path) -> None:
    """A learning rate that takes the weights out of the numbers there are, at one step."""
    step, owner = rng.randrange(STEPS), rng.choice("GD")

    def large() -> None:
        kept = loop.set_rates

        def rates(state) -> None:
            kept(state)
            for group in state.optimizers[owner].param_groups if state.step == step else ():
                group["lr"] = 1e38

        loop.set_rates = rates

    expect(start(bench, activity, folder, large), 2, words=f"step {step}: ")
    finish(bench, activity, folder)


# A file system of its own
# --------------------------------------------------------------------------------------------


def mount(arguments: list[str]) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def apart(do: Callable[[], None]) -> None:
    """Do something in a fork whose mounts nobody else sees; raises what it lost."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        said = ""
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(NEWNS):
                refuse(ctypes.get_errno())
            mount(["--make-rprivate", PRIVATE, "/"])
            do()
        except BaseException as error:
            said = str(error) or type(error).__name__
        os.write(write, said.encode()[-2000:])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    if said:
        raise Lost(said)
