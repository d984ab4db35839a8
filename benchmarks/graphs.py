"""What CUDA graphs (`adaptation.graphs`) make of a training step: milliseconds and memory, with and without.

    python benchmarks/graphs.py

Runs of the shipped sources on the ten drawings `pencil`, batch 4; with and without in turns, medians over all steps of
all rounds after the first `--settle`, in which graphs are recorded. `apart`: the largest relative difference of a loss
in the first three steps. Needs a GPU. Writes benchmarks/results/graphs.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation import graphs, loop
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.state import begin
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.sources import load_source

CASES = {
    "tgan": {},
    "dcl": {},
    "cdc": {},
    "ada": {"ada_p": 0.2},
    "fixnoise": {"ada_p": 0.2},
    "freezed": {},
}


def run(source, images, name: str, steps: int, switch: str) -> tuple[list[dict[str, Any]], list[float], dict]:
    """(each step's numbers, each step's seconds, what there is to say of the graphs)."""
    os.environ[graphs.SWITCH] = switch
    made: list[graphs.Graphs | None] = []

    def remember(state):
        made.append(graphs.graphs_of(state))
        return made[-1]

    loop.graphs_of = remember
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    row = recipe(name, warmup=0, **CASES[name])
    state = begin(copy.deepcopy(source), images, row, "full", device="cuda")
    stats, seconds, before = [], [], perf_counter()
    for one in loop.train(state, steps):
        now = perf_counter()
        stats.append(one)
        seconds.append(now - before)
        before = now
    said: dict[str, Any] = {"MiB": torch.cuda.max_memory_reserved() >> 20}
    if made[0]:
        programs = [one for found in made[0].programs.values() for one in found]
        said |= {"graphs": sum(one.replay is not None for one in programs)}
        said |= {"untaped": [f"{str(phase)[:80]}: {why}" for phase, why in made[0].untaped.items()]}
        said |= {"given up": made[0].given_up}
    return stats, seconds, said


def apart(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    """The largest relative difference of a loss."""
    return max(
        abs(a[key] - b[key]) / max(abs(b[key]), 1e-3)
        for a, b in zip(ours, theirs, strict=True)
        for key in b
        if key[:2] in ("D/", "G/")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", nargs="+", default=["stylegan2-faces-64", "faces-64"])
    parser.add_argument("--recipes", nargs="+", default=[*CASES], choices=[*CASES])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--settle", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    for name in args.sources:
        source = load_source(name)
        images = to_float(load_target("pencil", source.generator.resolution).images)
        for method in args.recipes:
            rounds = [
                {switch: run(source, images, method, args.steps, switch) for switch in "01"}
                for _ in range(args.rounds)
            ]
            row: dict[str, Any] = {
                key: round(1000 * median(s for one in rounds for s in one[switch][1][args.settle :]), 2)
                for key, switch in (("ms without", "0"), ("ms with", "1"))
            }
            first = rounds[0]
            row["times as fast"] = round(row["ms without"] / row["ms with"], 2)
            row["apart"] = float(f"{apart(first['1'][0][:3], first['0'][0][:3]):.2g}")
            row["seconds until settled"] = [round(sum(first[s][1][: args.settle]), 2) for s in "01"]
            row |= first["1"][2] | {"MiB without": first["0"][2]["MiB"]}
            rows[f"{name} | {method}"] = row
            print(f"{name} | {method}: {json.dumps(row)}", flush=True)
    result = heading() | {
        "gpu": torch.cuda.get_device_name(),
        "batch": 4,
        "steps": args.steps,
        "rounds": args.rounds,
        "rows": rows,
    }
    write(args.out / "graphs.json", result)


if __name__ == "__main__":
    main()
