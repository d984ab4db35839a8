"""What a step of an adaptation takes of the memory: as it is forecast, and as it is.

    stylegraft assets get mobile && stylegraft assets get lpips
    python benchmarks/step_memory.py --source mobile-faces-1024             # forecasts alone: seconds
    python benchmarks/step_memory.py --source mobile-faces-1024 --measure   # a step each: minutes

Every row is a process of its own, as the peak of a process never falls. Recipes that look through a guide look through
the first that is here. Writes benchmarks/results/step-memory-SOURCE.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation.loop import train
from stylegraft.adaptation.memory import step_memory
from stylegraft.adaptation.plan import peak_memory
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.state import begin
from stylegraft.adaptation.timing import costliest_step
from stylegraft.encoders.guides import guide_in_reach, load_guides
from stylegraft.sources import load_source

ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("dcl", "stylespace", {"judge": "projected", "batch": 2}),
    ("dcl", "affine-light+", {"judge": "projected", "batch": 4}),
    ("tgan", "affine-light+", {"judge": "projected", "batch": 2}),
    ("tgan", "full", {"judge": "projected", "batch": 2}),
    ("tgan", "full", {"judge": "projected", "batch": 2, "recompute": True}),
    ("dcl", "affine-light+", {"batch": 4}),
    ("dcl", "affine-light+", {"batch": 4, "micro": 2}),
    ("dcl", "affine-light+", {"batch": 4, "micro": 2, "recompute": True}),
    ("dcl", "full", {"batch": 4, "micro": 2}),
    ("dcl", "full", {"batch": 4, "micro": 2, "recompute": True}),
    ("nada", "stylespace", {"batch": 4}),
    ("nada", "stylespace", {"batch": 4, "micro": 1}),
    ("nada", "stylespace", {"batch": 4, "micro": 1, "recompute": True}),
    ("nada", "stylespace", {"batch": 4, "micro": 1, "recompute": True, "loss_resolution": 256}),
    ("difa", "stylespace", {"batch": 2, "source_samples": 2}),
    ("difa", "stylespace", {"batch": 2, "source_samples": 2, "micro": 1, "recompute": True}),
    ("hypernet", "stylespace", {"batch": 2, "domains": 2, "micro": 1, "recompute": True}),
]
WORDS = ("pencil drawing", "oil painting")


def one(source: str, index: int, measure: bool) -> dict[str, Any]:
    """Forecast, and if asked the peak of the costliest step, of one row in this process."""
    name, space, changes = ROWS[index]
    generator = load_source(source)
    size = generator.generator.resolution
    images = torch.rand(4, generator.generator.img_channels, size, size) * 2 - 1
    row = recipe(name, **changes)
    told: dict[str, Any] = {"guides": tuple(load_guides(guide_in_reach()))} if row.guided else {}
    if row.domains or row.reads:
        told["request"] = Request(texts=WORDS) if row.domains else Request(WORDS[0])
    state = begin(generator, images[:0] if "request" in told else images, row, space, **told)
    device = torch.device("cpu")
    needed = (peak_memory(device) or 0) + step_memory(state)
    found = {"recipe": name, "space": space, **changes, "forecast_gib": round(needed / 2**30, 2)}
    if measure:
        state.step = costliest_step(state.recipe)
        (stats,) = train(state, state.step + 1)
        found["peak_gib"] = round((peak_memory(device) or 0) / 2**30, 2)
        found["seconds"] = round(sum(v for k, v in stats.items() if k.startswith("time/")), 1)
    return found


def extra(row: dict[str, Any], asked: dict[str, Any]) -> set[str]:
    """What a kept row was asked for beyond these."""
    return row.keys() - asked.keys() - {"forecast_gib", "peak_gib", "seconds"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="mobile-faces-1024")
    parser.add_argument("--measure", action="store_true", help="take the step as well")
    parser.add_argument(
        "--only", type=int, nargs="*", help="numbers of rows to find anew, the others are kept"
    )
    parser.add_argument("--row", type=int, help="one row alone, in this process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.row is not None:
        print(json.dumps(one(args.source, args.row, args.measure)))
        return
    path = args.out / f"step-memory-{args.source}.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    known = [{"recipe": name, "space": space} | changes for name, space, changes in ROWS]
    rows: dict[int, Any] = {
        i: row
        for row in kept
        for i, asked in enumerate(known)
        if asked.items() <= row.items() and not extra(row, asked)
    }
    for index in range(len(ROWS)) if args.only is None else args.only:
        command = [sys.executable, __file__, "--source", args.source, "--row", str(index)]
        command += ["--measure"] if args.measure else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[index] = json.loads(done.stdout.splitlines()[-1])
        print(rows[index], flush=True)
        write(path, heading() | {"source": args.source, "rows": [rows[i] for i in sorted(rows)]})


if __name__ == "__main__":
    main()
