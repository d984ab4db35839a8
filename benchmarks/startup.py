"""How long a user waits before anything happens: help, import, the first preview of a run, a look of a trace.

    python benchmarks/startup.py

Each in a process of its own, in turns; medians of the clock and of the processor (one thread, so that a busy machine
shows in the first alone). The first preview is the file in the run's folder, from the moment of the command. A look is
what `adapt --trace` adds, over its points (averaged and raw weights, with the metrics that need no further pictures).
Writes benchmarks/results/startup.json; rows that were not asked for are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from heading import RESULTS, heading, write

STYLEGRAFT = [sys.executable, "-m", "stylegraft"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
ADAPT = ["adapt", "pencil", "--recipe", "dcl", "--space", "affine-light+"]


def timed(until: Callable[[subprocess.Popen], None], command: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor of a command, up to the moment that `until` waits for."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        until(run)
        wall = time.perf_counter() - started
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
        elif run.returncode:
            sys.exit(f"{' '.join(command)}: {run.stderr.read().decode() if run.stderr else ''}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ended(run: subprocess.Popen) -> None:
    run.wait()


def preview(folder: Path) -> Callable[[subprocess.Popen], None]:
    """Wait for the first picture of a run."""

    def there(run: subprocess.Popen) -> None:
        while run.poll() is None and not any((folder / "previews").glob("*.png")):
            time.sleep(0.02)

    return there


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", nargs="+", default=["faces-64", "faces-128"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--looks", type=int, default=1, help="rounds of the trace, the longest")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {}
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as scratch:

        def folder(name: str) -> list[str]:
            return ["--out", f"{scratch}/{name}-{next(numbers)}"]

        for _ in range(args.rounds):
            found.setdefault("stylegraft --help", []).append(timed(ended, [*STYLEGRAFT, "--help"]))
            found.setdefault("import stylegraft", []).append(
                timed(
                    ended, [sys.executable, "-c", "import stylegraft, sys; assert 'torch' not in sys.modules"]
                )
            )
            for source in args.sources:
                out = folder(source)
                command = [*STYLEGRAFT, ADAPT[0], source, *ADAPT[1:], "--steps", "100", *out]
                found.setdefault(f"first preview of adapt {source}", []).append(
                    timed(preview(Path(out[1])), command)
                )
        for _ in range(args.looks):
            for source in args.sources:
                command = [*STYLEGRAFT, ADAPT[0], source, *ADAPT[1:], "--steps", "1"]
                plain = timed(ended, [*command, *folder("plain")])
                out = folder("trace")
                traced = timed(ended, [*command, "--trace", *out])
                looks = len((Path(out[1]) / "trace.jsonl").read_text().splitlines())
                more = tuple((a - b) / looks for a, b in zip(traced, plain, strict=True))
                found.setdefault(f"a look of a trace, {source}", []).append(more)
    about, place = heading(), RESULTS / "startup.json"
    kept = json.loads(place.read_text())["rows"] if place.is_file() else {}
    rows = kept | {
        name: {
            "seconds": round(median(w for w, _ in times), 2),
            "cpu seconds": round(median(c for _, c in times), 2),
            "from": round(min(w for w, _ in times), 2),
            "to": round(max(w for w, _ in times), 2),
            "rounds": len(times),
            "commit": about["commit"],
        }
        for name, times in found.items()
    }
    write(place, {**about, "load": round(os.getloadavg()[0], 1), "rows": rows})
    for name, row in rows.items():
        print(f"{name}: {row['seconds']} s ({row['from']} to {row['to']}), {row['cpu seconds']} s of a core")


if __name__ == "__main__":
    main()
