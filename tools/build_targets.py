"""Makes the target sets that ship in the package, one command each:

    python tools/build_targets.py pencil --faces faces128.zip
    pip install --no-deps dicebear-core==10.7.0 dicebear-schema==2.0.2 dicebear-styles==10.6.0 resvg-py==0.5.0
    pip install jsonschema
    python tools/build_targets.py lorelei

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

import numpy as np
import torch
from PIL import Image

SETS = Path(__file__).parents[1] / "src/stylegraft/data/sets"

PENCIL_FACES = (8101, 8110, 8126, 8135, 8137, 8148, 8151, 8156, 8175, 8176)
LORELEI_SEEDS = ("1", "3", "11", "13", "14", "23", "34", "43", "47", "50")
LORELEI_FRAME = (0.49, 0.47, 0.72)  # centre and side of the square that is cut: the head as FFHQ frames it


def pencil(faces: Path) -> None:
    from stylegraft.data.procedural import pencil as draw

    with zipfile.ZipFile(faces) as archive:
        data = [archive.read(f"{i:06d}.webp") for i in PENCIL_FACES]
    pictures = [Image.open(io.BytesIO(d)).convert("RGB") for d in data]
    images = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures])
    for index, drawing in zip(PENCIL_FACES, draw(images, seed=0)):
        _save(Image.fromarray(drawing.permute(1, 2, 0).numpy()), SETS / "pencil" / f"{index:06d}.png")


def lorelei() -> None:
    import resvg_py
    from dicebear import Avatar, Style

    style = Style(json.loads(files("dicebear_styles").joinpath("lorelei.json").read_text()))
    for seed in LORELEI_SEEDS:
        svg = Avatar(style, {"seed": seed, "size": 1024}).to_string()
        drawing = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
        page = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("L")
        x, y, side = (v * page.width for v in LORELEI_FRAME)
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        square = page.resize((256, 256), Image.Resampling.LANCZOS, box)
        _save(square.convert("RGB"), SETS / "lorelei" / f"seed-{int(seed):03d}.png")


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=("pencil", "lorelei"))
    parser.add_argument("--faces", type=Path, help="faces128.zip (for pencil)")
    options = parser.parse_args()
    if options.set == "lorelei":
        lorelei()
    elif options.faces is None:
        parser.error("pencil needs --faces faces128.zip")
    else:
        pencil(options.faces)
