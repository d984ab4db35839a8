"""How much faster two processes take a step than one, on this machine (docs/scale.md).

    python benchmarks/distributed.py --source faces-64

Two processes on gloo, one thread each. In turns process 0 takes four steps by itself while the other sleeps, and both
take the same four together. A speed-up is the seconds of the processor that the first takes over those that the busier
of the two takes, which is what idle cores would show but for the time that messages are under way; the same in seconds
of the clock stands beside it, and says as much about what else the machine does. Also counts what is sent. Writes
benchmarks/results/distributed.json; what that file has is not measured again, so each cell names its commit.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from heading import RESULTS, commit, heading, write

from stylegraft.adaptation.joining import join
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.world import World
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.sources import load_source

CELLS = [("dcl", "affine-light+", 8), ("tgan", "full", 8)]
STEPS = 4  # a cycle of path length


def seconds(state: State) -> list[float]:
    """A step's, of the processor and of the clock, over the next four; of two processes those of the slower."""
    before = process_time(), perf_counter()
    for _ in train(state, state.step + STEPS):
        pass
    taken = [(now - then) / STEPS for now, then in zip((process_time(), perf_counter()), before, strict=True)]
    return [state.world.most(round(1e6 * one)) / 1e6 for one in taken]


def measured(world: World, source: Any, cell: tuple[str, str, int], rounds: int) -> dict[str, Any]:
    """The seconds of all rounds but the first, and megabytes a step."""
    name, space, batch = cell
    images, row = (
        to_float(load_target("pencil", source.generator.resolution).images),
        recipe(name, batch=batch, warmup=0),
    )
    one, two = (begin(source, images, row, space) for _ in range(2))
    two.world = world
    sent, ask = {"gradients": 0, "features": 0}, World._ask

    def counted(self: World, collective: str, tensor: torch.Tensor, **options: Any) -> None:
        kind = "gradients" if sys._getframe(1).f_code.co_name == "add" else "features"
        sent[kind] += tensor.nbytes
        ask(self, collective, tensor, **options)

    times = {"one": list[list[float]](), "two": list[list[float]]()}
    for _ in range(rounds + 1):
        world.most(0)
        if not world.rank:
            times["one"].append(seconds(one))
        world.most(0)
        World._ask = counted
        times["two"].append(seconds(two))
        World._ask = ask
    told: dict[str, Any] = {
        "commit": commit(),
        "recipe": name,
        "space": space,
        "batch": batch,
        "trained": {owner: sum(leaf.numel() for leaf in own.values()) for owner, own in two.learners.items()},
        "megabytes a step": {k: round(size / (rounds + 1) / STEPS / 1e6, 3) for k, size in sent.items()},
    }
    for column, kind in enumerate(("processor", "clock")):
        by = {
            who: [round(row[column], 3) for row in rows[1:]] for who, rows in times.items()
        }  # the first warms up
        ratios = [a / b for a, b in zip(by["one"], by["two"], strict=False)]
        told[kind] = by | {"speed-up": round(median(ratios), 3) if ratios else None}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=len(CELLS), help="the first so many of them")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    other = None
    if "RANK" not in os.environ:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0"}
        other = subprocess.Popen([sys.executable, *sys.argv], env=os.environ | {"RANK": "1"})
    world, source = join("cpu"), load_source(args.source)
    path = args.out / "distributed.json"
    result = heading() | {"source": source.name}
    old = json.loads(path.read_text()) if path.is_file() else {"cells": []}
    result["cells"] = [{"commit": old["commit"], **cell} for cell in old["cells"]]
    known = [(cell["recipe"], cell["space"], cell["batch"]) for cell in result["cells"]]
    for cell in CELLS[: args.cells]:
        if cell not in known:
            result["cells"].append(measured(world, source, cell, args.rounds))
            if other:
                write(path, result)
                print(json.dumps(result["cells"][-1]), flush=True)
    if other:
        other.wait()


if __name__ == "__main__":
    main()
