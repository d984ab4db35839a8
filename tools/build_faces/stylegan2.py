"""Distil a true StyleGAN2 from `faces-64`: same mapping network, unlimited pairs from the finished cut
generator.

    python tools/build_faces/stylegan2.py --out runs/build-stylegan2-faces-64

Regression (L1) against the teacher's image of the same w at the anchor noise, then `adversarial.py --out` on
the same folder finishes it. The same command resumes (without Adam moments: 200 steps of warm-up). Everything
the next machine needs is `distilled.safetensors` + `distilled.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from distill import learning_rate
from stylegraft import load_source
from stylegraft.data.grids import save_grid
from stylegraft.networks import build_generator, ops

STUDENT = {
    "architecture": "stylegan2",
    "img_channels": 3,
    "z_dim": 512,
    "w_dim": 512,
    "c_dim": 0,
    "mapping_layers": 8,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="faces-64")
    parser.add_argument("--out", type=Path, default=Path("runs/build-stylegan2-faces-64"))
    parser.add_argument("--channel-base", type=int, default=2048)
    parser.add_argument("--channel-max", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--save-every", type=int, default=500)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = load_source(args.teacher).generator.requires_grad_(False)
    config = {
        **STUDENT,
        "resolution": teacher.resolution,
        "channel_base": args.channel_base,
        "channel_max": args.channel_max,
    }
    state, notes = args.out / "distilled.safetensors", args.out / "distilled.json"
    first = json.loads(notes.read_text())["step"] if state.exists() else 0
    torch.manual_seed(0)
    student, average = build_generator(config), build_generator(config)
    student.mapping.load_state_dict(teacher.mapping.state_dict())
    average.load_state_dict(student.state_dict())
    if first:
        saved = load_file(state)
        student.load_state_dict({k[2:]: v.float() for k, v in saved.items() if k[0] == "G"}, strict=False)
        average.load_state_dict({k[2:]: v.float() for k, v in saved.items() if k[0] == "E"}, strict=False)
    student.requires_grad_(False)
    average.requires_grad_(False)
    leaves = list(student.synthesis.requires_grad_(True).parameters())
    averaged = list(average.synthesis.parameters())
    adam = torch.optim.Adam(leaves, betas=(0.0, 0.99), fused=True)
    started, losses = time.time(), []
    for step in range(first, args.steps):
        rng = torch.Generator().manual_seed(step)
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, first, args.steps, peak=args.lr, warmup=200)
        with torch.no_grad():
            w = teacher.mapping(torch.randn(args.batch, 512, generator=rng))
            psi = 0.5 + 0.5 * torch.rand(args.batch, 1, generator=rng)
            w = teacher.mapping.w_avg.lerp(w, psi)
            target = teacher(w=w, noise="const").image
        loss = (student(w=w, noise="const").image - target).abs().mean()
        losses.append(float(loss.detach()))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        ops.clear_caches()
        torch._foreach_lerp_(averaged, leaves, 0.005)
        if (step + 1) % args.save_every == 0:
            pace = (time.time() - started) / (step + 1 - first)
            print(f"{step + 1} L1 {sum(losses) / len(losses):.4f} {pace:.2f} s/step", flush=True)
            losses = []
            kept = {
                f"{p}.{k}": v.half().contiguous()
                for p, n in (("G", student), ("E", average))
                for k, v in n.state_dict().items()
                if k.startswith("synthesis.")
            }
            save_file(kept, state.with_suffix(".tmp"))
            state.with_suffix(".tmp").replace(state)
            notes.write_text(json.dumps({"generator": config, "step": step + 1}))
            with torch.no_grad():
                sample = teacher.mapping(torch.randn(16, 512, generator=torch.Generator().manual_seed(1)))
                pictures = torch.cat((teacher(w=sample, psi=0.7).image, average(w=sample, psi=0.7).image))
            save_grid(pictures, args.out / f"teacher-above-student-{step + 1:07d}.png", columns=16, scale=2)


if __name__ == "__main__":
    main()
