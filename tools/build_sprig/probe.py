"""Fit `benchmarks/style_probe.py` on pictures of its own seeds, and say how often it is right about others.

nice -n 10 python tools/build_sprig/probe.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from avatars import STYLES as AVATARS
from bank import Item, avatar_items, face_items
from looks import HELD_OUT, PLAIN, STYLES, TINTS
from stylegraft.data.pixels import to_float
from stylegraft.encoders.vgg16 import load_vgg16

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import style_probe  # noqa: E402

HEADS = {"style": [*STYLES, *AVATARS], "tint": [PLAIN, *TINTS]}
SEEDS = {"fit": 1001, "asked": 2002}  # sprig is trained with another
STEPS, RATE, DECAY = 300, 0.02, 0.003


def pictures(seed: int, faces: int, avatars: int) -> tuple[Tensor, Tensor, Tensor]:
    """(features, style, tint) with tint -1 where there is none to tell."""
    items: list[Item] = [*face_items(seed, faces, 4), *avatar_items(seed, avatars)]
    style, tint = [], []
    for item in items:
        if item.group == "face":
            look, worn = item.key.split()
            style.append(HEADS["style"].index(look))
            tint.append(HEADS["tint"].index(worn))
        else:
            style.append(HEADS["style"].index(item.kind))
            tint.append(-1)
    images = to_float(torch.stack([item.image for item in items]))
    return style_probe.seen(load_vgg16(), images), torch.tensor(style), torch.tensor(tint)


def fit(x: Tensor, wanted: dict[str, Tensor]) -> dict[str, nn.Linear]:
    torch.manual_seed(0)
    maps = {head: nn.Linear(x.shape[1], len(names)) for head, names in HEADS.items()}
    optimiser = torch.optim.Adam([p for m in maps.values() for p in m.parameters()], RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        loss = torch.zeros(())
        for head, linear in maps.items():
            known = wanted[head] >= 0
            loss = loss + F.cross_entropy(linear(x[known]), wanted[head][known], label_smoothing=0.05)
            loss = loss + DECAY * linear.weight.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return maps


def main() -> None:
    x, style, tint = pictures(SEEDS["fit"], 64, 60)
    mean, scale = x.mean(0), 1 / x.std(0).clamp_min(1e-3)
    maps = fit((x - mean) * scale, {"style": style, "tint": tint})
    tensors = {"mean": mean, "scale": scale}
    for head, linear in maps.items():
        tensors |= {f"{head}.{key}": value.detach().half() for key, value in linear.state_dict().items()}
    save_file(tensors, style_probe.WEIGHTS, {"heads": json.dumps(HEADS)})
    print(f"{style_probe.WEIGHTS}: {style_probe.WEIGHTS.stat().st_size} bytes, {len(x)} pictures")
    print(json.dumps(accuracy(), indent=1))


@torch.no_grad()
def accuracy() -> dict[str, float]:
    """On pictures of other seeds: of both heads, and of both at once on the looks that sprig is not trained on."""
    probe = style_probe.Probe()
    x, style, tint = pictures(SEEDS["asked"], 16, 20)
    x = (x - probe.tensors["mean"]) * probe.tensors["scale"]
    guess = {h: (x @ probe.tensors[f"{h}.weight"].T + probe.tensors[f"{h}.bias"]).argmax(1) for h in HEADS}
    face = tint >= 0
    held = torch.tensor(
        [t >= 0 and (HEADS["style"][s], HEADS["tint"][t]) in HELD_OUT for s, t in zip(style, tint)]
    )
    right = {"style": guess["style"] == style, "tint": guess["tint"] == tint}
    return {
        "pictures": len(x),
        "style": right["style"].float().mean().item(),
        "style of faces": right["style"][face].float().mean().item(),
        "tint": right["tint"][face].float().mean().item(),
        "both, held-out looks": (right["style"] & right["tint"])[held].float().mean().item(),
    }


if __name__ == "__main__":
    main()
