"""Render more pairs (w, face) from `random-face` itself, through our own port of its generator.

    python tools/build_faces/render.py --out pairs-psi1 --count 4096 --psi 1.0

The folder gets what the first pairs have: `faces128.zip` (WebP, quality 95, the 1024 px image box-averaged 8x,
anchor noise; `faces256.zip` with `--size 256`) and `latents.safetensors` (z, w before truncation, w_mean; metadata
psi, seed). Image i depends on (seed, i, psi) alone: the same command resumes, and a larger `--count` goes on.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stylegraft.atomic import replacing, write_bytes
from stylegraft.checkpoints import headers, tensorfile
from stylegraft.data.grids import to_uint8
from stylegraft.networks.generator import Generator
from teacher import teacher


def latent(seed: int, index: int) -> Tensor:
    """z [1, 512] of image `index`."""
    return torch.randn(1, 512, generator=torch.Generator().manual_seed(seed * 1_000_003 + index))


def thumbnails(images: Tensor, size: int) -> Tensor:
    """Box average of images [B, 3, R, R] to `size` px."""
    return torch.nn.functional.avg_pool2d(images, images.shape[-1] // size)


@torch.no_grad()
def latents(generator: Generator, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """(z [count, 512], w [count, 512] before truncation)."""
    z = torch.cat([latent(seed, i) for i in range(count)])
    return z, torch.cat([generator.mapping(part) for part in z.split(1024)])


def encoded(image: Tensor) -> bytes:
    """A float image [3, r, r] as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy()).save(buffer, "WEBP", quality=95)
    return buffer.getvalue()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--psi", type=float, default=0.85)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=128, choices=(128, 256), help="px of the faces kept")
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    faces = args.out / f"faces{args.size}"
    faces.mkdir(parents=True, exist_ok=True)
    settings = {"psi": str(args.psi), "seed": str(args.seed)}
    marker = args.out / "latents.safetensors"
    if marker.exists() and headers.read_metadata(marker) != settings:
        raise SystemExit(f"{args.out}: holds pairs of {headers.read_metadata(marker)}, asked for {settings}")
    generator = teacher().requires_grad_(False)
    z, w = latents(generator, args.seed, args.count)
    tensorfile.write(marker, {"z": z, "w": w, "w_mean": generator.mapping.w_avg}, settings)
    paths = [faces / f"{i:06d}.webp" for i in range(args.count)]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    started = time.time()
    for start in range(0, len(missing), args.batch):
        rows = missing[start : start + args.batch]
        images = thumbnails(generator(w=w[rows], psi=args.psi, noise="const").image, args.size)
        for i, image in zip(rows, images, strict=True):
            write_bytes(paths[i], encoded(image))
        done = start + len(rows)
        if done % (16 * args.batch) == 0 or done == len(missing):
            pace = (time.time() - started) / done
            print(f"{done}/{len(missing)} {pace:.2f} s an image", flush=True)
    with replacing(faces.with_suffix(".zip")) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    print(f"{args.out}: {args.count} pairs at psi {args.psi}")


if __name__ == "__main__":
    main()
