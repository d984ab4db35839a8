"""Write a finished build as the source file that ships.

python tools/build_faces/export.py --out runs/build-faces-64 --name faces-64
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from stylegraft.checkpoints import save_source
from stylegraft.checkpoints.source import Source
from stylegraft.networks import build_discriminator, build_generator
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
    notes = json.loads((args.out / "finished.json").read_text())
    tensors = load_file(args.out / "finished.safetensors")
    generator, discriminator = (
        build_generator(notes["generator"]),
        build_discriminator(notes["discriminator"]),
    )
    generator.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("E.")})
    discriminator.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("D.")})
    info = {
        "licence": FFHQ_DISTILLED,
        "teacher": "MobileStyleGAN FFHQ of PyPI random-face 2021.7.21.1 (package Apache-2.0); its own teacher is"
        " NVIDIA's FFHQ StyleGAN2, non-commercial",
        "card": f"docs/sources/{args.name}.md",
        "adversarial_steps": notes["step"],
    }
    path = args.to or SHIPPED / f"{args.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_source(path, Source(args.name, generator, discriminator, info), torch.float16)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
