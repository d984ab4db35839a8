"""How near a step in 16 bits is to one in float32 on a trained network, and what memory it takes; on a CPU, untimed.

    python benchmarks/precision.py             # minutes: a CPU is slow at it

Of each phase of one step of `dcl`, with feature matching beside it, on `stylegan2-faces-64`: the cosine of its whole
gradient to float32's, their distance over its length, the losses. Memory: the plan's count for networks of random
weights, named resolution/channel base/most channels, in `full` with the paper's settings. Writes
benchmarks/results/precision.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, heading, write
from torch import Tensor
from torch.nn.functional import cosine_similarity

sys.path.append(str(Path(__file__).parent / "speed"))

from contenders import random_source

from stylegraft.adaptation import loop
from stylegraft.adaptation.memory import step_memory
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.stages import thaw
from stylegraft.adaptation.state import State, begin
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.networks import products
from stylegraft.networks.precision import computing
from stylegraft.sources import load_source

PRECISIONS = ("fp32", "bf16", "fp16")
TRAINED = "stylegan2-faces-64"
COUNTED = (("256/16384/512", 8), ("1024/32768/512", 4))


def gradients(state: State) -> dict[str, tuple[dict[str, float], Tensor]]:
    """{phase: (losses, gradient of all learners as one vector)} of the step at hand; nothing moves."""
    found = {}
    for phase, acting in loop.phases(objectives(state.recipe)).items():
        state.path_mean = torch.full_like(state.path_mean, -1.0)
        thaw(state, acting[0].owner)
        losses, _ = loop.backward(state, acting, (0, 1))
        learners = state.learners[acting[0].owner].values()
        found[phase] = (
            {name: float(f"{loss:.4g}") for name, loss in losses.items()},
            torch.cat([p.grad.flatten().double() for p in learners if p.grad is not None]),
        )
        for p in learners:
            p.grad = None
    return found


def nearness() -> dict[str, Any]:
    """Of the trained network."""
    source = load_source(TRAINED)
    row = recipe("dcl", batch=4, warmup=0, fm=1.0)
    state = begin(source, to_float(load_target("pencil", 64).images), row, "full")
    maps: tuple[str, ...] = source.generator.tap_names
    z = torch.randn(8, source.generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = source.generator(z, taps=maps)
    largest = {name: round(float(x.abs().max()), 1) for name, x in whole.taps.items()}
    found: dict[str, Any] = {"source": TRAINED, "largest entry of a map": largest}
    expected: dict[str, tuple[dict[str, float], Tensor]] = {}
    for name in PRECISIONS:
        state.recipe = replace(state.recipe, precision=name)
        phases = gradients(state)
        if not expected:
            expected = phases
            found[name] = {phase: {"losses": losses} for phase, (losses, _) in phases.items()}
            continue
        found[name] = {
            phase: {
                "losses": losses,
                "cosine": round(float(cosine_similarity(g, expected[phase][1], dim=0)), 5),
                "distance": float(f"{(g - expected[phase][1]).norm() / expected[phase][1].norm():.3g}"),
            }
            for phase, (losses, g) in phases.items()
        }
        with torch.no_grad(), computing(name):
            far = source.generator(z).image - whole.image
        found[name]["image, RMS of the difference"] = float(f"{far.square().mean().sqrt():.3g}")
        print(name, found[name], flush=True)
    return found


def memory() -> dict[str, Any]:
    """GiB of a step by the plan's count, without what the process holds before it."""
    found: dict[str, Any] = {}
    for name, batch in COUNTED:
        source = random_source(name)
        size = source.generator.resolution
        state = begin(
            source, torch.zeros(2, 3, size, size), recipe("tgan", preset="paper", batch=batch), "full"
        )
        row = state.recipe
        for precision in PRECISIONS:
            for on in (False, True):
                state.recipe = replace(row, precision=precision, recompute=on)
                with products.going(products.THEIRS):  # as on a GPU
                    needed = step_memory(state)
                key = f"{name}, batch {batch}, {precision}" + (", recompute" if on else "")
                found[key] = round(needed / 2**30, 2)
                print(key, found[key], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = heading() | {"GiB of a step": memory()} | {"one step of dcl, batch 4": nearness()}
    write(args.out / "precision.json", result)


if __name__ == "__main__":
    main()
