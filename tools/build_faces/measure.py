"""Measure a built source against the teacher's held-out images; write contact sheets and the result file.

    python tools/build_faces/measure.py --source faces-64 --pairs PAIRS --far CUFSF_FOLDER --pairs-psi1 PAIRS_PSI1

FID and KID on VGG16 and EfficientNet-Lite0: samples against as many held-out teacher images at the same psi, at
random noise and at the anchor, beside the floor (other teacher images against the held-out ones, same counts) and
the distance from the teacher to a far set, `BAR` per cent of which is the bar for FID less the floor. At the pairs'
psi the floor's other images are those that trained; a folder at another psi (`render.py --psi 1.0`) is halved.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import noise
from data import load_pairs, load_set
from stylegraft.atomic import write_json
from stylegraft.checkpoints import Source
from stylegraft.data.grids import save_grid, to_uint8
from stylegraft.data.images import load_images
from stylegraft.encoders import Encoder, load_encoder
from stylegraft.encoders.lpips import load_lpips
from stylegraft.metrics import features, fid, kid
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source
from teacher import teacher

ENCODERS = ("vgg16", "effnet-lite0")
BAR = 5.0  # per cent of the far distance
SHEET_PSI = (0.7, 1.0)
ROOT = Path(__file__).parents[2]


@torch.no_grad()
def samples(
    generator: Generator, count: int, psi: float, mode: str, seed: int = 0, batch: int = 32
) -> Tensor:
    """uint8 images [count, 3, R, R] of seeded latents, with the noise of `mode`."""
    out = []
    for start in range(0, count, batch):
        rng = torch.Generator().manual_seed(seed * 1_000_003 + start)
        z = torch.randn(min(batch, count - start), generator.z_dim, generator=rng).to(generator.mapping.w_avg)
        out.append(to_uint8(generator(z, psi=psi, noise=mode, generator=rng).image).cpu())
    return torch.cat(out)


def counted(images: Tensor, label: str, batch: int = 512) -> Iterator[Tensor]:
    """The images in parts, saying how far we are."""
    for start in range(0, len(images), batch):
        print(f"  {label}: {start}/{len(images)}", flush=True)
        yield images[start : start + batch]


def cached(folder: Path, label: str, encoder: Encoder, images: Tensor, device: str) -> Tensor:
    """Features of a set that never changes, kept under its pixels' digest."""
    digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()[:12]
    path = folder / f"{encoder.name}-{images.shape[-1]}-{digest}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"features": features(encoder, counted(images, label), device=device)}, path)
    return load_file(path)["features"]


def compare(
    encoder: Encoder,
    generator: Generator,
    psi: float,
    others: Tensor,
    held: Tensor,
    far: Tensor | None,
    cache: Path,
    device: str,
) -> dict[str, Any]:
    """FID and KID of samples, anchor and random noise, against `held`; the floor is `others` against `held`."""
    known = cached(cache, f"{encoder.name} teacher held out, psi {psi}", encoder, held, device)
    other = cached(cache, f"{encoder.name} teacher floor, psi {psi}", encoder, others, device)
    row: dict[str, Any] = {"fid_floor": fid(other, known), "kid_floor": kid(other, known)._asdict()}
    if far is not None:
        row["fid_far"] = fid(cached(cache, f"{encoder.name} far set", encoder, far, device), known)
    for mode in ("random", "const"):
        images = samples(generator, len(held), psi, mode)
        shown = counted(images, f"{encoder.name} samples, psi {psi}, {mode} noise")
        mine = features(encoder, shown, device=device)
        row[f"fid_{mode}"] = fid(mine, known)
        row[f"kid_{mode}"] = kid(mine, known)._asdict()
        if far is not None:
            row[f"percent_of_far_{mode}"] = 100 * (row[f"fid_{mode}"] - row["fid_floor"]) / row["fid_far"]
    return row


def contact_sheets(source: Source, folder: Path) -> None:
    """64 random samples at each psi, at their own size, in steps of 4 grey levels to keep the files small."""
    folder.mkdir(parents=True, exist_ok=True)
    for psi in SHEET_PSI:
        path = folder / f"{source.name}-psi{psi}.png"
        images = samples(source.generator, 64, psi, "random", seed=9)
        save_grid(images // 4 * 4 + 2, path, columns=8, scale=1)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="name or file")
    parser.add_argument("--pairs", type=Path, required=True, help="the folder whose held-out half measures")
    parser.add_argument(
        "--pairs-psi1", type=Path, help="folder of render.py --psi 1.0, for figures at that psi"
    )
    parser.add_argument("--far", type=Path, help="folder of a far real set (grey sketches), centre-cropped")
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, choices=ENCODERS)
    parser.add_argument(
        "--teacher-noise", type=int, default=4, help="z whose noise the teacher re-draws; 0: none"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, default=Path("runs/build-features"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--sheets", type=Path, default=ROOT / "docs/sources")
    args = parser.parse_args()
    source = load_source(args.source, args.device)
    generator = source.generator.requires_grad_(False)
    contact_sheets(source, args.sheets)

    size = generator.resolution
    train, held = load_pairs(args.pairs, size)
    sets = {held.psi: (train.images[: args.count], held.images[: args.count])}
    if args.pairs_psi1:
        more = load_set(args.pairs_psi1, size)
        half = min(args.count, len(more.images) // 2)
        sets[more.psi] = (more.images[:half], more.images[half : 2 * half])
    far = load_images(args.far, size).images if args.far else None

    perceptual = load_lpips("vgg", args.device)
    noises = {"source": noise.report(generator, perceptual, 64, held.psi, size)}
    if args.teacher_noise:
        original = teacher().requires_grad_(False).to(args.device)
        noises["teacher"] = noise.report(original, perceptual, args.teacher_noise, held.psi, size, batch=2)
    result: dict[str, Any] = {
        "source": source.name,
        "bar_percent": BAR,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if "cuda" in args.device else ""),
        "noise": noises,
        "psi": {},
    }
    path = args.out / f"{source.name}.json"
    args.out.mkdir(parents=True, exist_ok=True)
    for psi, (others, known) in sets.items():
        rows = result["psi"][str(psi)] = {"count": len(known)}
        for name in args.encoders:
            encoder = load_encoder(name, args.device)
            rows[name] = compare(encoder, generator, psi, others, known, far, args.cache, args.device)
            print(f"psi {psi} {name}", json.dumps(rows[name], indent=1), flush=True)
            write_json(path, result)  # what is measured is kept, whatever happens next
    print(f"{path}\n{json.dumps(noises, indent=1)}")


if __name__ == "__main__":
    main()
