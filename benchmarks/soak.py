"""Adapt, trace and sample in one process for hours: its memory has to stay flat.

    nice -n 19 python benchmarks/soak.py --minutes 120

A cycle is what a user does, over the library: `adapt` on a shipped source with a run folder and a trace, the same call
again, which resumes and extends the run, the report, the domain loaded from its file, a grid of it written. Recipes and
seeds take turns. After each cycle the garbage is collected, and what the process holds (RSS) is noted. In the first WARM
minutes caches fill; from then on the median of each tenth of the time must be within 2 % of the first tenth's. Between
cycles it sleeps, so that it takes at most SHARE of a core. Writes benchmarks/results/soak.json as it goes and leaves
with 1 if memory was not flat.
"""

# ruff: noqa: E501, PTH208
from __future__ import annotations

import argparse
import ctypes
import gc
import os
import resource
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation.run import adapt
from stylegraft.data.grids import save_grid
from stylegraft.domains import Domain
from stylegraft.lab.panel import Settings
from stylegraft.lab.report import write_report
from stylegraft.lab.trace import Tracer
from stylegraft.sources import load_source

SOURCE, TARGET, EYE = "faces-64", "pencil", "sprig"
# recipe, space: what learns in different ways, has another judge, or keeps features of its own
TURNS = (("dcl", "affine-light+"), ("tgan", "full"), ("ada", "stylespace"), ("ewc", "affine"))
STEPS, SAMPLES, SEEDS = 2, 8, tuple(range(8))
WARM = 0.1  # of the time, at least one turn of all
FLAT = 0.02
SHARE = 0.25  # of a core
MIB = 1 << 20


def cycle(number: int, folder: Path) -> None:
    """One user's session."""
    recipe, space = TURNS[number % len(TURNS)]
    out = folder / "run"
    for steps in (STEPS, 2 * STEPS):  # the second call resumes the first
        tracer = Tracer(out, Settings(EYE, samples=SAMPLES), every=STEPS, say=lambda _: None)
        adapt(SOURCE, TARGET, recipe=recipe, space=space, steps=steps, seed=number, out=out, every=STEPS,
              quiet=True, observer=tracer, batch=2, warmup=0)  # fmt: skip
        tracer.finish()
    write_report(out)
    source = load_source(SOURCE)
    network = Domain.load(out, source.generator).on(source.generator)
    with torch.inference_mode():
        z = torch.randn(len(SEEDS), source.generator.z_dim, generator=torch.Generator().manual_seed(number))
        save_grid(network(z=z).image, out / "sample.png", 4)


def held() -> int:
    """Bytes that the process holds, after the garbage is collected and the allocator has given back what is free."""
    gc.collect()
    with suppress(OSError, AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def judged(points: list[tuple[float, int]], minutes: float) -> dict[str, Any]:
    """Of (minute, bytes) after the warm-up: the median of each tenth in MiB, and how far it goes from the first."""
    warm = [(at, size) for at, size in points[len(TURNS) :] if at >= WARM * minutes]
    if not warm:
        return {"flat": False, "tenths_mib": []}
    start, width = warm[0][0], (warm[-1][0] - warm[0][0]) / 10 or 1.0
    tenths = [[size for at, size in warm if min(int((at - start) / width), 9) == i] for i in range(10)]
    medians = [median(tenth) / MIB for tenth in tenths if tenth]
    drift = max(abs(one / medians[0] - 1) for one in medians)
    return {"flat": drift <= FLAT, "drift": round(drift, 4), "tenths_mib": [round(one, 1) for one in medians]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--share", type=float, default=SHARE, help="of a core, at most")
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, points = time.monotonic(), []
    result = heading() | {"minutes": args.minutes, "turns": [" in ".join(turn) for turn in TURNS]}
    while (passed := time.monotonic() - began) < 60 * args.minutes:
        used = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            cycle(len(points), Path(folder))
        points.append((round((time.monotonic() - began) / 60, 2), held()))
        took, used = time.monotonic() - began - passed, time.process_time() - used
        told = {"cycles": len(points), "passed_minutes": points[-1][0], **judged(points, args.minutes),
                "threads_alive": threading.active_count(), "open_files": len(os.listdir("/proc/self/fd"))}  # fmt: skip
        mib = [[at, round(size / MIB, 1)] for at, size in points]
        write(args.out, result | told | {"cpu_seconds": round(time.process_time()), "held_mib": mib})
        print(
            f"cycle {len(points):5} minute {points[-1][0]:7.2f} {mib[-1][1]:8.1f} MiB {used:5.1f} s",
            flush=True,
        )
        time.sleep(max(0.0, used / args.share - took))
    print({key: told[key] for key in ("cycles", "flat", "drift", "tenths_mib") if key in told})
    sys.exit(not told["flat"])


if __name__ == "__main__":
    main()
