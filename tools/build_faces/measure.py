"""Measure a built source against the teacher's held-out images; write contact sheets and the result file.

    python tools/build_faces/measure.py --source faces-64.safetensors --pairs PAIRS --far CUFSF_FOLDER

FID and KID on VGG16 and EfficientNet-Lite0: `--count` samples at the pairs' truncation against as many held-out
teacher images, beside the floor (the teacher's training half against its held-out half, same counts) and the
distance from the teacher to a far set, 5 % of which is the bar.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from data import PAIR_PSI, load_pairs
from stylegraft.checkpoints import load
from stylegraft.data.grids import save_grid
from stylegraft.data.images import load_images
from stylegraft.encoders import Encoder, load_encoder
from stylegraft.encoders.lpips import load_lpips
from stylegraft.metrics import features, fid, kid
from stylegraft.networks.generator import Generator


def samples(
    generator: Generator, count: int, psi: float, noise: str, seed: int = 0, batch: int = 32
) -> Tensor:
    """uint8 images [count, 3, R, R] of seeded latents."""
    out = []
    with torch.no_grad():
        for start in range(0, count, batch):
            rng = torch.Generator().manual_seed(seed * 1_000_003 + start)
            z = torch.randn(min(batch, count - start), generator.z_dim, generator=rng)
            image = generator(z, psi=psi, noise=noise, generator=rng).image
            out.append((image * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(out)


def noise_report(generator: Generator, pairs: int = 64) -> dict[str, float | dict[str, float]]:
    """Strength of each layer and LPIPS-VGG between two noise draws at the same z, and between anchor and a draw."""
    perceptual = load_lpips("vgg")
    with torch.no_grad():
        z = torch.randn(pairs, generator.z_dim, generator=torch.Generator().manual_seed(3))
        draws = [
            generator(z, psi=PAIR_PSI, noise="random", generator=torch.Generator().manual_seed(s)).image
            for s in (4, 5)
        ]
        anchor = generator(z, psi=PAIR_PSI, noise="const").image
        strengths = {
            n: round(float(p.detach().abs()), 5)
            for n, p in generator.named_parameters()
            if n.endswith("noise_strength")
        }
        return {
            "strength": strengths,
            "lpips_two_draws": float(perceptual(*draws).mean()),
            "lpips_anchor_draw": float(perceptual(anchor, draws[0]).mean()),
            "rms_two_draws": float((draws[0] - draws[1]).square().mean().sqrt()),
        }


def cached(folder: Path, name: str, encoder: Encoder, images: Tensor) -> Tensor:
    """Features kept beside the build, since the teacher's never change."""
    path = folder / f"features-{name}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"features": features(encoder, images)}, path)
    return load_file(path)["features"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--far", type=Path, help="folder of a far real set (grey sketches), centre-cropped")
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--cache", type=Path, default=Path("runs/build-features"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    source = load(args.source)
    generator = source.generator.requires_grad_(False)
    train, held = load_pairs(args.pairs, generator.resolution)
    sets = {
        "teacher-trained": train.images[: args.count],
        "teacher-held-out": held.images[: args.count],
        **({"far": load_images(args.far, generator.resolution).images} if args.far else {}),
    }
    result: dict = {
        "source": source.name,
        "count": args.count,
        "psi": PAIR_PSI,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
    }
    fresh = {noise: samples(generator, args.count, PAIR_PSI, noise) for noise in ("random", "const")}
    for name in ("vgg16", "effnet-lite0"):
        encoder = load_encoder(name)
        known = {k: cached(args.cache, f"{name}-{k}-{len(v)}", encoder, v) for k, v in sets.items()}
        held_out = known["teacher-held-out"]
        row: dict = {"fid_floor": fid(known["teacher-trained"], held_out)}
        if args.far:
            row["fid_far"] = fid(known["far"], held_out)
        for noise, images in fresh.items():
            mine = features(encoder, images)
            row[f"fid_{noise}"] = fid(mine, held_out)
            row[f"kid_{noise}"] = kid(mine, held_out)._asdict()
            if args.far:
                row[f"percent_of_far_{noise}"] = (
                    100 * (row[f"fid_{noise}"] - row["fid_floor"]) / row["fid_far"]
                )
        row["kid_floor"] = kid(known["teacher-trained"], held_out)._asdict()
        result[name] = row
        print(name, json.dumps(row, indent=1), flush=True)
    result["noise"] = noise_report(generator)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{source.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    for psi in (0.7, 1.0):
        save_grid(
            samples(generator, 64, psi, "random", seed=9),
            args.out / f"{source.name}-psi{psi}.png",
            columns=8,
            scale=2,
        )
    print(json.dumps(result["noise"], indent=1))


if __name__ == "__main__":
    main()
