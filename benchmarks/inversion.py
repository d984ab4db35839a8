"""What an inversion costs and how well it goes: starts, spaces, the encoder, and where `fair` and `failed` begin.

    python benchmarks/inversion.py --pairs PAIRS

Photos are the teacher's faces that no source was trained on (`tools/build_faces/README.md`, pairs 4,096 on), reduced to
the source's size. Non-faces are the same pictures upside down, their pixels shuffled by tiles of an eighth, and smooth
random colours. One thread, process CPU time. Writes benchmarks/results/inversion.json, from which `FAIR` and `FAILED`
in `applications/invert.py` and the figures in docs/translate.md come; --parts measures some anew and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, ROOT, heading, write
from torch import Tensor

from stylegraft.adaptation.inversion.encoder import find_encoder
from stylegraft.adaptation.inversion.space import SPACES
from stylegraft.applications.invert import invert_images
from stylegraft.data.grids import save_grid
from stylegraft.data.pixels import to_float
from stylegraft.encoders.lpips import load_lpips
from stylegraft.sources import load_source

sys.path.insert(0, str(ROOT / "tools" / "build_faces"))
from data import TRAINED, load_set

KIND = 3  # non-faces of each kind
TARGETS = (0.15, 0.12, 0.1, 0.08, 0.06)  # LPIPS whose time is told


def held_out(pairs: Path, resolution: int, count: int) -> Tensor:
    """The first faces [N, 3, R, R] that trained nothing."""
    return to_float(load_set(pairs, resolution).images[TRAINED : TRAINED + count])


def non_faces(faces: Tensor) -> Tensor:
    """Three kinds of what is no upright face, as many of each as there are faces."""
    side, rng = faces.shape[-1] // 8, torch.Generator().manual_seed(0)
    tiles = faces.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    mixed = tiles[:, :, torch.randperm(64, generator=rng)].unflatten(2, (8, 8))
    mixed = mixed.permute(0, 1, 2, 4, 3, 5).reshape(faces.shape)
    colours = torch.rand(len(faces), 3, 6, 6, generator=rng) * 2 - 1
    smooth = torch.nn.functional.interpolate(colours, size=faces.shape[-1], mode="bicubic").clamp(-1, 1)
    return torch.cat([faces.flip(2), mixed, smooth])


def timed(*args: Any, **kwargs: Any) -> tuple[Any, float]:
    started = time.process_time()
    return invert_images(*args, **kwargs), time.process_time() - started


def reached(curve: tuple[float, ...], step_seconds: float) -> dict[str, Any]:
    """{LPIPS: (steps, CPU seconds a photo)} until the mean of the photos is there for the first time."""
    steps = {t: next((step for step, value in enumerate(curve) if value <= t), None) for t in TARGETS}
    return {
        str(t): None if n is None else {"steps": n, "seconds": round(n * step_seconds, 2)}
        for t, n in steps.items()
    }


def figures(found: Any, seconds: float) -> dict[str, Any]:
    share = found.lpips / found.usual
    return {
        "lpips": round(float(found.lpips.mean()), 4),
        "rmse": round(float(found.rmse.mean()), 4),
        "seconds_a_photo": round(seconds / len(found.lpips), 2),
        "share_of_usual_95": round(float(share.quantile(0.95)), 3),
        "share_of_usual": [round(float(v), 3) for v in share.sort().values],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--more", type=int, default=16, help="further photos, for the verdicts")
    parser.add_argument("--parts", nargs="*", default=["starts", "faces", "non-faces", "spaces"])
    parser.add_argument("--starts", nargs="*", default=[], help="of these alone, keeping the others")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "inversion.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    source, perceptual = load_source(args.source), load_lpips("vgg")
    generator = source.generator
    photos = held_out(args.pairs, generator.resolution, args.photos + args.more)
    few, more = photos[: args.photos], photos[args.photos :]
    if args.again:
        args.out.unlink(missing_ok=True)
    (ROOT / "runs").mkdir(exist_ok=True)
    result = heading() | {
        "source": args.source,
        "seeds": {"inversion": 0, "candidates": 0},
        "photos": f"pairs {TRAINED} to {TRAINED + len(photos) - 1}",
        "recipe": "fast",
    }

    def keep(part: str, value: Any) -> None:
        there = json.loads(args.out.read_text()) if args.out.exists() else {}
        write(
            args.out, there | result | {part: value}
        )  # another part may have been written beside this process
        print(part, json.dumps(value), flush=True)

    common = {"recipe": "fast", "perceptual": perceptual}
    if "starts" in args.parts:
        there = json.loads(args.out.read_text()) if args.out.exists() else {}
        starts = there.get("starts", {})
        for start in args.starts or ("mean", "best", *(["encoder"] if find_encoder(generator) else [])):
            found, seconds = timed(source, few, start=start, **common)
            step = seconds / len(found.curve) / len(few)
            starts[start] = figures(found, seconds) | {
                "guess": round(found.curve[0], 4),
                "reached": reached(found.curve, step),
                "curve": [round(value, 4) for value in found.curve],
            }
            keep("starts", starts)
    for part, images in (("faces", more), ("non-faces", non_faces(more[:KIND]))):
        if part in args.parts:
            found, seconds = timed(source, images, **common)
            keep(part, figures(found, seconds) | {"usual": round(found.usual, 4)})
            save_grid(
                torch.cat([images, found.images]),
                ROOT / "runs" / f"inversion-{part}.png",
                columns=len(images),
            )
    if "spaces" in args.parts:
        spaces = {}
        for space in SPACES:
            found, seconds = timed(source, few[:4], space=space, start="best", **common)
            spaces[space] = figures(found, seconds)
            keep("spaces", spaces)


if __name__ == "__main__":
    main()
