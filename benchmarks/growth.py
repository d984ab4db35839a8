"""How time and memory of an adaptation grow: with the batch, the resolution, the images, the domains mixed, the steps.

    python benchmarks/growth.py                  # some minutes of one core
    python benchmarks/growth.py --only steps     # one table anew, the others are kept
    python benchmarks/growth.py --only images --at 1    # one point of it

Every point is a process of its own with one thread: CPU seconds, and the MiB of its resident peak above what it held
before the costliest call (the training images are in what it held: `images MiB`). A table ends with the slope of
log(time) over log(what grows), between its last two points: 1 is linear, 2 quadratic, 0 does not grow. Writes
benchmarks/results/growth.json.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from heading import RESULTS, heading, write
from mix_cost import random_domain
from PIL import Image

sys.path.append(str(Path(__file__).parent / "speed"))
from contenders import SHOTS, random_source

from measure import extra_memory
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.state import State, begin
from stylegraft.applications.mixing import Mixer
from stylegraft.checkpoints import Source, describe_base
from stylegraft.data.images import load_images
from stylegraft.data.pixels import to_float

SOURCE, WIDTHS, BATCH = "faces-64", "2048/128", 4
PERIOD = 16  # steps until all lazy terms have acted
Row = dict[str, Any]


def shots(source: Source, count: int) -> torch.Tensor:
    """Random images, as good as any for what they cost: [count, 3, R, R] in [-1, 1]."""
    size = source.generator.resolution
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def started(source: Source, count: int = SHOTS, batch: int = BATCH) -> State:
    """A run of `dcl` in `affine-light+`, before its first step."""
    row = recipe("dcl", preset="scaled", batch=batch, warmup=0)
    return begin(source, shots(source, count), row, "affine-light+")


def stepping(state: State) -> Row:
    """CPU ms of a step, all lazy terms at their share, and the memory of the costliest."""
    extra = extra_memory(lambda: list(train(state, state.step + PERIOD)), "cpu")
    begun = time.process_time()
    list(train(state, state.step + PERIOD))
    return {"ms": round((time.process_time() - begun) / PERIOD * 1e3, 1), "extra MiB": extra}


def batch(n: int) -> Row:
    return stepping(started(random_source(SOURCE), batch=n))


def resolution(n: int) -> Row:
    return stepping(started(random_source(f"{n}/{WIDTHS}")))


def images(n: int) -> Row:
    source = random_source(SOURCE)
    return stepping(started(source, n)) | {
        "images MiB": round(n * 12 * source.generator.resolution**2 / 2**20, 1)
    }


def reading(n: int) -> Row:
    """CPU ms from a folder of n pictures of 64 px to the tensor of a run, and the memory of that."""
    pixels = np.random.default_rng(1).integers(0, 256, (n, 64, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as place:
        for i, one in enumerate(pixels):
            Image.fromarray(one).save(Path(place) / f"{i:05}.png")
        del pixels
        spent: list[float] = []

        def read() -> None:
            begun = time.process_time()
            to_float(load_images(place, 64).images)
            spent.append((time.process_time() - begun) * 1e3)

        extra = extra_memory(read, "cpu")
    return {"ms": round(spent[0], 1), "extra MiB": extra}


def domains(n: int) -> Row:
    """ms of a picture in a mix at new amounts, and of one more at the same."""
    source = random_source(SOURCE)
    base = describe_base(source)
    mixer = Mixer(source.generator, [random_domain(source, base, "affine-light+", seed) for seed in range(n)])
    z = torch.randn(1, source.generator.z_dim, generator=torch.Generator().manual_seed(0))

    def draw(turn: int) -> float:
        begun = time.process_time()
        mixer(torch.full((1, n), 0.3 / n + 1e-5 * turn), z=z, psi=0.7)
        return (time.process_time() - begun) * 1e3

    draw(0)
    new, again = zip(*((draw(turn), draw(turn)) for turn in range(1, 12)), strict=True)
    extra = extra_memory(lambda: draw(99), "cpu")
    return {"ms": round(median(new), 1), "again ms": round(median(again), 1), "extra MiB": extra}


def steps(n: int) -> Row:
    """The last 16 of n steps of a whole run with its folder, and what that folder holds."""
    source, taken = random_source("64/1024/32"), []

    def tick(stats: dict[str, Any]) -> None:
        taken.append(time.process_time())

    with tempfile.TemporaryDirectory() as place:
        pictures, out = shots(source, SHOTS), Path(place) / "run"
        adapt(source, pictures, recipe="tgan", steps=n, batch=2, out=out, every=n, quiet=True, progress=tick)
        sizes = {file.name: file.stat().st_size for file in out.iterdir() if file.is_file()}
    kib = {name: round(size / 2**10) for name, size in sizes.items()}
    last = taken[-17:]
    return {
        "ms": round((last[-1] - last[0]) / (len(last) - 1) * 1e3, 1),
        "state KiB": kib["state.safetensors"],
        "stats KiB": kib["stats.jsonl"],
    }


TABLES: dict[str, tuple[Callable[[int], Row], tuple[int, ...], str]] = {
    "batch": (batch, (2, 4, 8), f"images a step, {SOURCE}"),
    "resolution": (resolution, (32, 64, 128), f"px, widths {WIDTHS}, batch {BATCH}"),
    "images": (images, (1, 10, 1000, 10_000), f"training images, {SOURCE}, batch {BATCH}"),
    "reading": (reading, (1, 10, 1000, 10_000), "pictures of 64 px in a folder, once at the start of a run"),
    "domains": (domains, (1, 2, 4, 8, 16, 32), f"domains mixed over {SOURCE}, one picture"),
    "steps": (steps, (32, 128, 512), "steps of a small run, tgan, 64/1024/32, batch 2"),
}


def point(table: str, n: int) -> Row:
    """A row, measured in a process of its own."""
    line = [sys.executable, __file__, "--point", table, str(n)]
    found = subprocess.run(line, capture_output=True, text=True, check=False)
    if found.returncode:
        sys.exit(found.stderr)
    return {"n": n, **json.loads(found.stdout.splitlines()[-1])}


def slope(rows: list[Row]) -> float:
    """Of log(ms) over log(n), between the last two."""
    a, b = rows[-2:]
    return round(math.log(b["ms"] / a["ms"]) / math.log(b["n"] / a["n"]), 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--at", type=int, nargs="+", help="of these points alone, the others are kept")
    parser.add_argument("--point", nargs=2, metavar=("TABLE", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.point:
        name, n = args.point
        print(json.dumps(TABLES[name][0](int(n))))
        return
    before = json.loads(args.out.read_text()) if args.out.is_file() else {}
    tables = before.get("tables", {})
    for name in args.only:
        _, counts, about = TABLES[name]
        kept = {row["n"]: row for row in tables.get(name, {}).get("rows", [])}
        for n in counts:
            if n not in kept or n in (args.at or counts):
                kept[n] = point(name, n)
                print(name, kept[n], flush=True)
        rows = [kept[n] for n in counts]
        tables[name] = {"of": about, "rows": rows, "slope": slope(rows)}
        write(args.out, {**heading(), "recipe": "dcl in affine-light+, scaled", "tables": tables})


if __name__ == "__main__":
    main()
