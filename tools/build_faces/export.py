"""Write a finished build as the source file that ships.

python tools/build_faces/export.py --out runs/build-faces-64 --name faces-64
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import state
from stylegraft.checkpoints import save_source
from stylegraft.checkpoints.source import Source
from stylegraft.networks import build_discriminator
from stylegraft.sources import FFHQ_DISTILLED

SHIPPED = Path(__file__).parents[2] / "src/stylegraft/sources/data"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/build-faces-64"))
    parser.add_argument("--name", default="faces-64")
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    build = state.load(args.out, "finished")
    if build is None or "D" not in build.parts:
        raise SystemExit(f"{args.out}: no finished state; run adversarial.py first")
    discriminator = build_discriminator(build.notes["discriminator"])
    discriminator.load_state_dict(build.parts["D"])
    info = {
        "licence": FFHQ_DISTILLED,
        "teacher": "MobileStyleGAN FFHQ of PyPI random-face 2021.7.21.1 (package Apache-2.0); its own teacher is"
        " NVIDIA's FFHQ StyleGAN2, non-commercial",
        "card": f"{args.name}.md",  # beside the source in the package; card.py writes it
        "adversarial_steps": build.step,
    }
    path = args.to or SHIPPED / f"{args.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_source(path, Source(args.name, build.generator("E"), discriminator, info), torch.float16)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
