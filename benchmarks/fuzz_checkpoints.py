"""Read 10,000 spoilt files a reader: each has to be read, or refused in one line, in bounded time and memory.

    nice -n 19 python benchmarks/fuzz_checkpoints.py

Every file follows from (seed, reader, number), so that a failure can be made again: --reader zip --only 1234. Batches
run in processes of their own; what is done is kept in the result file, and the same command goes on from there unless
the readers have changed. Writes benchmarks/results/fuzz-checkpoints.json and leaves with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import mmap
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "checkpoints"))

import hostile_files as h
import numpy as np
import torch
from heading import RESULTS, ROOT, heading, write

from stylegraft.checkpoints import Source, load, save_source
from stylegraft.checkpoints.numpy_pickles import parse_arrays
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

BATCH = 250
SECONDS = 5.0  # of the processor, a file
HANG = 120  # seconds of the clock, a file; then the process ends
ROOM = 1 << 30  # bytes above the start
LINE = 500  # letters of a refusal

Rng = random.Random


class Bench:
    """The honest files, made once."""

    def __init__(self) -> None:
        self.g, self.d = h.tiny()
        few = {name: a for name, a in self.g.items() if "b8.conv0" not in name and "fc1" not in name}
        self.odd = h.odd_values()
        self.values = {
            "nvidia": h.nvidia_value(self.g, self.d),
            "tensorflow": h.tensorflow_value(self.g, self.d),
            "pt": h.rosinality(self.g, self.d),
        }
        self.few = {"nvidia": {"G_ema": h.module(few)}, "tensorflow": h.tensorflow_value(few, {})[2:],
                    "pt": h.rosinality(few)}  # fmt: skip
        self.arrays = {"Net": {"kernel": np.zeros((2, 3), np.float32), "bias": np.ones(3)}, "n": np.arange(3)}
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            g, d = build_generator(dict(h.CONFIG)), build_discriminator(dict(h.D_CONFIG))
            save_source(Path(folder) / "x.safetensors", Source("tiny", g, d, {}), torch.float32)
            self.native = (Path(folder) / "x.safetensors").read_bytes()
        self.good = {
            "nvidia": [h.dump(self.values["nvidia"], protocol) for protocol in (3, 4)],
            "tensorflow": [h.dump(self.values["tensorflow"], protocol) for protocol in (3, 4)],
            "stream": [h.legacy(self.values["pt"])],
            "zip": [h.modern(self.values["pt"])],
            "numpy": [h.dump(self.arrays), h.dump(self.arrays, 4)],
            "native": [self.native],
        }
        self.members = h.members(self.values["pt"])


def opcodes(rng: Rng) -> bytes:
    """A pickle of chance."""
    start = b"\x80" + bytes([rng.choice((2, 3, 4, 5))])
    return start + b"".join(rng.choice(h.PIECES) for _ in range(rng.randrange(40))) + b"."


def damaged(bench: Bench, reader: str, rng: Rng) -> bytes:
    """Bytes of a good file changed."""
    data = h.changed(rng.choice(bench.good[reader]), h.some_steps(rng))
    return h.reseal(data) if reader == "zip" and rng.random() < 0.8 else data


def restructured(bench: Bench, reader: str, rng: Rng) -> bytes:
    """Whole parts of a good file changed: opcodes of a pickle, the header of a file of ours."""
    steps = h.some_steps(rng)
    if reader == "zip":
        code = bench.members["archive/data.pkl"]
        return h.archive({**bench.members, "archive/data.pkl": h.changed(code, steps, h.opcodes(code))})
    if reader == "native":
        length = int.from_bytes(bench.native[:8], "little")
        header = h.changed(bench.native[8 : 8 + length], steps)
        return len(header).to_bytes(8, "little") + header + bench.native[8 + length :]
    good = rng.choice(bench.good[reader])
    if reader == "stream":
        bounds, start = [], 0
        for _ in range(5):
            bounds += [start + at for at in h.opcodes(good[start:])]
            start = bounds[-1] + 1
        return h.changed(good, steps, bounds)
    return h.changed(good, steps, h.opcodes(good))


def altered(bench: Bench, reader: str, rng: Rng) -> bytes:
    """Values of a good file replaced by odd ones."""
    if reader == "native":
        return h.redigested(bench.native, lambda config: h.spoil(config, h.some_steps(rng)))
    share = rng.choice((0.0005, 0.002, 0.01, 0.05))
    if reader == "numpy":
        tree = {"Net": {"kernel": h.array(np.zeros((2, 3), np.float32))}, "n": h.array(np.arange(3))}
        return h.dump(h.altered(tree, rng, bench.odd, 0.05))
    kind = "pt" if reader in ("zip", "stream") else reader
    value = h.altered((bench.values if rng.random() < 0.5 else bench.few)[kind], rng, bench.odd, share)
    write = {"zip": h.modern, "stream": h.legacy}.get(reader, h.dump)
    return write(value)


def by_chance(bench: Bench, reader: str, rng: Rng) -> bytes:
    """Opcodes of chance where the reader expects a pickle; other values in a config of ours."""
    code = opcodes(rng)
    if reader == "zip":
        return h.archive({**bench.members, "archive/data.pkl": code})
    if reader == "stream":
        head = b"".join(h.dump(part, 2) for part in (h.MAGIC, 1001, {"little_endian": True}))
        return head + code + h.dump([str(i) for i in range(rng.randrange(3))], 2) + rng.randbytes(40)
    return damaged(bench, reader, rng) if reader == "native" else code


WAYS: tuple[Callable[[Bench, str, Rng], bytes], ...] = (damaged, restructured, altered, by_chance)
READERS = ("nvidia", "tensorflow", "zip", "stream", "numpy", "native")


def spoilt(bench: Bench, seed: int, reader: str, number: int) -> bytes:
    """The file of a number."""
    rng = random.Random(f"{seed} {reader} {number}")
    return WAYS[number % len(WAYS)](bench, reader, rng)


class TooSlow(BaseException):
    """A file took more than its time."""


def _late(*_: Any) -> None:
    raise TooSlow


def require_finite(source: Source) -> None:
    """Raise ValueError where a network that was read holds NaN or infinity."""
    for network in (source.generator, source.discriminator):
        for name, tensor in network.state_dict().items() if network is not None else ():
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} is not finite")


def read(path: Path, reader: str, data: bytes) -> tuple[str, str]:
    """(what came of it, the refusal); raises for anything but our own error in one line."""
    path.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        if reader == "numpy":
            parse_arrays(data, str(path))
        else:
            require_finite(load(path))
        return "read", ""
    except StylegraftError as error:
        line = str(error).removeprefix(f"{path}: ")
        if line == str(error) or not line.isprintable() or len(line) > LINE:
            raise ValueError(f"not one line that starts with the path: {str(error)[:200]!r}") from error
        kind = next(
            (word for word in ("refused", "damaged", "not a readable") if line.startswith(word)), "other"
        )
        return {"not a readable": "damaged", "other": "does not fit"}.get(kind, kind), line
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def peak_mb() -> int:
    """The most memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def batch(bench: Bench, seed: int, reader: str, numbers: range, now: mmap.mmap, path: Path) -> dict[str, Any]:
    """Read the files of some numbers."""
    signal.signal(signal.SIGPROF, _late)
    warnings.simplefilter("error")
    outcomes: Counter[str] = Counter()
    said: set[str] = set()
    failures: list[str] = []
    slowest = [0.0, numbers.start]
    start = peak_mb()  # of a fork it begins with what the fork has
    for number in numbers:
        data = spoilt(bench, seed, reader, number)
        now[:8] = number.to_bytes(8, "little")
        faulthandler.dump_traceback_later(HANG, exit=True)
        began = time.process_time()
        try:
            outcome, line = read(path, reader, data)
            said.add(re.sub(r"the name .*?, |'.*?'|\(.*?\)|\".*?\"|\[.*?\]|[\d,.]+", "_", line)[:50])
        except BaseException as error:
            outcome = "failed"
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
        slowest = max(slowest, [round(time.process_time() - began, 3), number])
        outcomes[outcome] += 1
    faulthandler.cancel_dump_traceback_later()
    return {
        "outcomes": outcomes,
        "said": sorted(said),
        "failures": failures,
        "slowest": slowest,
        "peak_mb": peak_mb() - start,
    }


def in_its_own_process(bench: Bench, seed: int, reader: str, numbers: range, path: Path) -> dict[str, Any]:
    """`batch` in a fork; if that dies, what it had reached counts as failed."""
    now = mmap.mmap(-1, 8)
    result, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(result)
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + ROOM, used + ROOM))
        with os.fdopen(into, "w") as file:
            json.dump(batch(bench, seed, reader, numbers, now, path), file)
        os._exit(0)
    os.close(into)
    with os.fdopen(result) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if text:
        return {**json.loads(text), "done": len(numbers)}
    reached = int.from_bytes(now[:8], "little")
    failures = [f"{reached}: the process ended with {status}"]
    done = reached + 1 - numbers.start
    return {"outcomes": {"failed": 1, "lost": done - 1}, "said": [], "failures": failures, "slowest": [0.0, reached],
            "peak_mb": 0, "done": done}  # fmt: skip


def sources() -> str:
    """SHA-256 of the readers and of what makes the files."""
    sha = hashlib.sha256()
    for path in [
        *sorted((ROOT / "src/stylegraft/checkpoints").glob("*.py")),
        Path(h.__file__),
        Path(__file__),
    ]:
        sha.update(path.read_bytes())
    return sha.hexdigest()


def fresh(seed: int) -> dict[str, Any]:
    """A result with nothing done."""
    return heading() | {
        "numpy": np.__version__,
        "seed": seed,
        "sources_sha256": sources(),
        "readers": {},
    }


def add(total: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The counts of a reader with those of a batch more."""
    said = sorted({*total.get("said", []), *found["said"]})
    return {
        "cases": total.get("cases", 0) + found["done"],
        "outcomes": dict(sorted((Counter(total.get("outcomes", {})) + Counter(found["outcomes"])).items())),
        "kinds_of_refusals": len(said),
        "slowest": max(total.get("slowest", [0.0, 0]), found["slowest"]),
        "peak_mb": max(total.get("peak_mb", 0), found["peak_mb"]),
        "failures": total.get("failures", []) + found["failures"],
        "said": said,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="files a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", type=int, help="read one file, with its traceback")
    parser.add_argument("--out", type=Path, default=RESULTS / "fuzz-checkpoints.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoilt"
        if args.only is not None:
            for reader in args.reader or READERS:
                print(reader, *read(path, reader, spoilt(bench, args.seed, reader, args.only)))
            return
        result = json.loads(args.out.read_text()) if args.out.exists() else {}
        if (result.get("seed"), result.get("sources_sha256")) != (args.seed, sources()):
            result = fresh(args.seed)
        # warm: what the readers import late must not count as the cost of a file
        for reader in READERS:
            read(path, reader, bench.good[reader][0])
        for reader in args.reader or READERS:
            while (total := result["readers"].get(reader, {})).get("cases", 0) < args.cases:
                start = total.get("cases", 0)
                numbers = range(start, min(start + BATCH, args.cases))
                total = add(total, in_its_own_process(bench, args.seed, reader, numbers, path))
                finished = total["cases"] >= args.cases
                result["readers"][reader] = {k: v for k, v in total.items() if k != "said" or not finished}
                write(args.out, result)
                print(f"{reader:10} {total['cases']:6} {total['outcomes']}", flush=True)
    failures = [f"{r}: {f}" for r, total in result["readers"].items() for f in total["failures"]]
    print(*failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
