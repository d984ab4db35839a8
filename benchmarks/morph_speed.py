"""How long a morph of 10 s at 30 frames a second takes, by space, and how long a walk between faces is.

    python benchmarks/morph_speed.py

The film: source, first domain, second domain, source over one face, with random deltas of one space, written as MP4;
seconds on the clock, which a busy machine stretches (its load is recorded), and of this process without ffmpeg. One
thread: on cores that have other work, two wait for each other.
The walk: LPIPS (VGG16) summed over 24 steps between the faces of two seeds at psi 0.7, on a line in W and on the great
circle in Z. Writes benchmarks/results/morph-speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import mean

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation.sampling import Draws
from stylegraft.applications.keyframes import along, tour
from stylegraft.applications.morph import morph_frames
from stylegraft.applications.video import write_video
from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import Domain, start
from stylegraft.encoders.lpips import load_lpips
from stylegraft.sources import load_source

SPACES = ("stylespace", "affine-light+", "full")
STEPS = 24


def random_domain(source: Source, space: str, seed: int) -> Domain:
    """Deltas that are small and not zero, which would be skipped."""
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, source.generator, rng)
    for part in {id(p): p for terms in deltas.values() for t in terms for p in t.parts.values()}.values():
        part.normal_(std=0.01, generator=rng)
    return Domain(deltas, {"space": space}, describe_base(source))


def film(source: Source, space: str, seconds: float, fps: float) -> dict[str, float]:
    domains = [random_domain(source, space, seed) for seed in (0, 1)]
    plan = along(tour([1.0, 1.0]), seconds, loop=True)
    clock, processor = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        frames = write_video(
            Path(folder) / "morph.mp4", morph_frames(source, domains, plan, seeds=[3], fps=fps), fps
        )
    return {
        "frames": frames,
        "seconds": round(time.perf_counter() - clock, 1),
        "cpu_seconds": round(time.process_time() - processor, 1),
        "load": round(os.getloadavg()[0], 1),
    }


@torch.inference_mode()
def walks(source: Source, pairs: int) -> dict[str, dict[str, float]]:
    generator, lpips = source.generator, load_lpips("vgg")
    found: dict[str, list[tuple[float, float]]] = {"w": [], "z": []}
    u = torch.linspace(0, 1, STEPS + 1)[:, None]
    for pair in range(pairs):
        z = Draws([2 * pair, 2 * pair + 1]).normal(generator.z_dim)
        angle = torch.nn.functional.cosine_similarity(z[0], z[1], 0).acos()
        arc = (((1 - u) * angle).sin() * z[0] + (u * angle).sin() * z[1]) / angle.sin()
        line = torch.lerp(*generator.mapping(z).unsqueeze(1).unbind(), u)
        for name, code in (("w", {"w": line}), ("z", {"z": arc})):
            images = generator(**code, psi=0.7).image
            steps = [float(lpips(images[i : i + 1], images[i + 1 : i + 2])) for i in range(STEPS)]
            found[name].append((sum(steps), max(steps) / mean(steps)))
    return {
        name: {"length": round(mean(a for a, _ in rows), 3), "longest / mean step": round(mean(b for _, b in rows), 2)}
        for name, rows in found.items()
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    source = load_source(args.source)
    result = heading() | {"source": source.name, "walk": walks(source, args.pairs), "film": {}}
    for space in SPACES:
        result["film"][space] = film(source, space, args.seconds, args.fps)
        print(space, result["film"][space], flush=True)
    write(args.out / "morph-speed.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
