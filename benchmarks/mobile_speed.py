"""How fast MobileStyleGAN draws here, beside OpenVINO on the same machine.

    stylegraft assets get mobile
    pip install --no-deps random-face==2021.7.21.1 openvino openvino-telemetry
    python benchmarks/mobile_speed.py --threads 2

Pairs in one process: each round draws one 1024 px picture with either, in turns, from latents of its own. Then eight
pictures of faces-64 at once. Medians; writes benchmarks/results/mobile-speed.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from heading import RESULTS, heading, write

from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source


def drawer(generator: Generator, count: int) -> Callable[[int], Any]:
    """seed -> `count` pictures at the anchor noise."""

    def draw(seed: int) -> torch.Tensor:
        z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return generator(z, psi=0.7).image

    return draw


def openvino_drawer(threads: int) -> Callable[[int], Any] | None:
    """seed -> one picture by the two networks of `random-face`; None where the packages are not installed."""
    package = find_spec("random_face")
    if package is None or not package.submodule_search_locations or find_spec("openvino") is None:
        return None
    import openvino

    folder = Path(package.submodule_search_locations[0])
    core = openvino.Core()
    mapping, synthesis = (
        core.compile_model(next(folder.rglob(f"{name}.xml")), "CPU", {"INFERENCE_NUM_THREADS": threads})
        for name in ("MappingNetwork", "SynthesisNetwork")
    )

    def draw(seed: int) -> Any:
        z = np.random.default_rng(seed).standard_normal(mapping.input(0).shape).astype(np.float32)
        w = mapping(z)[0]
        return synthesis(np.broadcast_to(w, synthesis.input(0).shape))[0]

    return draw


def seconds(draw: Callable[[int], Any], seed: int) -> float:
    """Wall-clock seconds of one call."""
    started = perf_counter()
    draw(seed)
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=RESULTS / "mobile-speed.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    big, small = load_source("mobile-faces-1024").generator, load_source("faces-64").generator
    drawers = {"stylegraft, one of 1024 px": drawer(big, 1), "stylegraft, eight of 64 px": drawer(small, 8)}
    if theirs := openvino_drawer(args.threads):
        drawers["openvino, one of 1024 px"] = theirs
    taken: dict[str, list[float]] = {name: [] for name in drawers}
    for turn in range(args.rounds + 2):
        for name, draw in drawers.items():
            spent = seconds(draw, turn)
            if turn > 1:  # the first two warm up
                taken[name].append(spent)
    result = heading() | {
        "rounds": args.rounds,
        "median seconds": {name: round(median(times), 4) for name, times in taken.items()},
        "fastest seconds": {name: round(min(times), 4) for name, times in taken.items()},
    }
    if theirs:
        ours = taken["stylegraft, one of 1024 px"]
        ratios = [b / a for a, b in zip(ours, taken["openvino, one of 1024 px"], strict=True)]
        result["openvino over stylegraft, 1024 px, median of pairs"] = round(median(ratios), 2)
    write(args.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
