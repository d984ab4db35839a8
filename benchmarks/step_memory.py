"""What a step of an adaptation takes of the memory: as it is forecast, and as it is.

    stylegraft assets get mobile && stylegraft assets get lpips
    python benchmarks/step_memory.py --source mobile-faces-1024             # forecasts alone: seconds
    python benchmarks/step_memory.py --source mobile-faces-1024 --measure   # a step each: minutes

Every row is a process of its own, as the peak of a process never falls. Writes
benchmarks/results/step-memory-SOURCE.json.
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
from stylegraft.adaptation.state import begin
from stylegraft.adaptation.timing import costliest_step
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
]


def one(source: str, index: int, measure: bool) -> dict[str, Any]:
    """Forecast, and if asked the peak of the costliest step, of one row in this process."""
    name, space, changes = ROWS[index]
    generator = load_source(source)
    size = generator.generator.resolution
    images = torch.rand(4, generator.generator.img_channels, size, size) * 2 - 1
    state = begin(generator, images, recipe(name, **changes), space)
    device = torch.device("cpu")
    told = (peak_memory(device) or 0) + step_memory(state)
    row = {"recipe": name, "space": space, **changes, "forecast_gib": round(told / 2**30, 2)}
    if measure:
        state.step = costliest_step(state.recipe)
        (stats,) = train(state, state.step + 1)
        row["peak_gib"] = round((peak_memory(device) or 0) / 2**30, 2)
        row["seconds"] = round(sum(v for k, v in stats.items() if k.startswith("time/")), 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="mobile-faces-1024")
    parser.add_argument("--measure", action="store_true", help="take the step as well")
    parser.add_argument("--row", type=int, help="one row alone, in this process")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.row is not None:
        print(json.dumps(one(args.source, args.row, args.measure)))
        return
    rows = []
    for index in range(len(ROWS)):
        command = [sys.executable, __file__, "--source", args.source, "--row", str(index)]
        command += ["--measure"] if args.measure else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
        write(args.out / f"step-memory-{args.source}.json", heading() | {"source": args.source, "rows": rows})


if __name__ == "__main__":
    main()
