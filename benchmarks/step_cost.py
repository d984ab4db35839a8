"""What each phase of a training step costs on this machine, by space.

    python benchmarks/step_cost.py --source faces-64

One thread, process CPU time, medians over `--rounds` rounds in which all spaces take turns; batch 4, recipe tgan
(path length on half a batch). Writes benchmarks/results/step-cost-SOURCE.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation import loop
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.state import begin
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.sources import load_source

SPACES = ("full", "affine-light+", "stylespace")


def phase_seconds(state, phase: str) -> float:
    """CPU seconds of one phase, its optimiser step included."""
    members = loop.phases(objectives(state.recipe))[phase]
    started = time.process_time()
    loop.teach(state, members, {})
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = load_source(args.source)
    images = to_float(load_target("pencil", source.generator.resolution).images)
    states = {space: begin(source, images, recipe("tgan", warmup=0), space) for space in SPACES}
    seconds: dict[str, dict[str, list[float]]] = {s: {p: [] for p in loop.PHASES} for s in SPACES}
    for turn in range(args.rounds + 1):
        for space, state in states.items():
            for phase in loop.PHASES:
                taken = phase_seconds(state, phase)
                if turn:  # the first round warms up
                    seconds[space][phase].append(taken)
            state.step += 1
    rows = {s: {p: round(median(v), 4) for p, v in phases.items()} for s, phases in seconds.items()}
    for phases in rows.values():
        phases["PL / G"] = round(phases["PL"] / phases["G"], 2)
    result = heading() | {
        "source": source.name,
        "batch": 4,
        "rounds": args.rounds,
        "cpu_seconds": rows,
    }
    write(args.out / f"step-cost-{source.name}.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
