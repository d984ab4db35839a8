"""Makes the target sets that ship in the package, one command each:

    python tools/build_targets.py pencil --faces faces128.zip
    pip install --no-deps dicebear-core==10.7.0 dicebear-schema==2.0.2 dicebear-styles==10.6.0 resvg-py==0.5.0
    pip install jsonschema
    python tools/build_targets.py lorelei

and pools of any size for studies (`stylegraft compare`), as a zip of PNGs:

    python tools/build_targets.py pool --style lorelei --count 2400 --size 64 --out lorelei.zip

faces128.zip holds `NNNNNN.webp`, the teacher samples that the source `faces-64` is built from; the faces
drawn here are held out of that build.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SETS = Path(__file__).parents[1] / "src/stylegraft/data/sets"

PENCIL_FACES = (8101, 8110, 8126, 8135, 8137, 8148, 8151, 8156, 8175, 8176)
LORELEI_SEEDS = ("1", "3", "11", "13", "14", "23", "34", "43", "47", "50")
FRAMES = {  # DiceBear style -> centre and side of the square that is cut, in shares of the picture
    "lorelei": (0.49, 0.47, 0.72),  # the head as FFHQ frames it
    "bottts": (0.5, 0.5, 1.0),
}
POOL_SEEDS = 1000  # of the first picture of a pool: the packaged sets' are below


def pencil(faces: Path) -> None:
    from stylegraft.data.procedural import pencil as draw

    with zipfile.ZipFile(faces) as archive:
        data = [archive.read(f"{i:06d}.webp") for i in PENCIL_FACES]
    pictures = [Image.open(io.BytesIO(d)).convert("RGB") for d in data]
    images = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures])
    for index, drawing in zip(PENCIL_FACES, draw(images, seed=0)):
        _save(Image.fromarray(drawing.permute(1, 2, 0).numpy()), SETS / "pencil" / f"{index:06d}.png")


def lorelei() -> None:
    style = _style("lorelei")
    for seed in LORELEI_SEEDS:
        _save(_avatar(style, "lorelei", seed, 256), SETS / "lorelei" / f"seed-{int(seed):03d}.png")


def pool(name: str, count: int, size: int, out: Path) -> None:
    """A zip of `count` pictures that differ in their pixels."""
    style, seen, seed = _style(name), set[bytes](), POOL_SEEDS
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        while len(seen) < count:
            picture = _avatar(style, name, str(seed), size)
            if (pixels := picture.tobytes()) not in seen:
                seen.add(pixels)
                data = io.BytesIO()
                picture.save(data, "PNG")
                archive.writestr(zipfile.ZipInfo(f"{seed:06d}.png"), data.getvalue())
            seed += 1
    print(f"{out}: {count} pictures of {seed - POOL_SEEDS} seeds")


def _style(name: str) -> Any:
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text()))


def _avatar(style: Any, name: str, seed: str, size: int) -> Image.Image:
    """A picture of a style, framed, on white; lorelei is black ink and comes without colour."""
    import resvg_py
    from dicebear import Avatar

    svg = Avatar(style, {"seed": seed, "size": max(1024, size) if size > 128 else 256}).to_string()
    drawing = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing)
    if name == "lorelei":
        page = page.convert("L")
    x, y, side = (v * page.width for v in FRAMES[name])
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return page.resize((size, size), Image.Resampling.LANCZOS, box).convert("RGB")


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=("pencil", "lorelei", "pool"))
    parser.add_argument("--faces", type=Path, help="faces128.zip (for pencil)")
    parser.add_argument("--style", choices=list(FRAMES), default="lorelei", help="of a pool")
    parser.add_argument("--count", type=int, default=2400, help="pictures in a pool")
    parser.add_argument("--size", type=int, default=64, help="of a pool's pictures, px")
    parser.add_argument("--out", type=Path, help="the zip of a pool")
    options = parser.parse_args()
    if options.set == "lorelei":
        lorelei()
    elif options.set == "pool":
        pool(options.style, options.count, options.size, options.out or Path(f"{options.style}.zip"))
    elif options.faces is None:
        parser.error("pencil needs --faces faces128.zip")
    else:
        pencil(options.faces)
