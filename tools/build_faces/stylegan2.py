"""Distil a true StyleGAN2 from `faces-64`: same mapping network, unlimited pairs from the finished cut
generator.

    python tools/build_faces/stylegan2.py --out runs/build-stylegan2-faces-64

Regression (L1 and LPIPS-VGG) against the teacher's image of the same w at the anchor noise, then `adversarial.py
--out` on the same folder finishes it. The same command resumes; `state.py pack --base faces-64` makes the file to
commit when work moves to another machine.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import state
from critic import maps, paired
from data import PAIR_PSI
from distill import learning_rate
from stylegraft import load_source
from stylegraft.data.grids import paired_grid
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks import build_generator
from stylegraft.networks.generator import Generator
from watch import COUNT, Watch, due

STUDENT = {
    "architecture": "stylegan2",
    "img_channels": 3,
    "z_dim": 512,
    "w_dim": 512,
    "c_dim": 0,
    "mapping_layers": 8,
}


@torch.no_grad()
def teach(teacher: Generator, count: int, seed: int, psi: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(w truncated by psi [count, 512], the teacher's images of them at the anchor noise)."""
    z = torch.randn(count, teacher.z_dim, generator=torch.Generator().manual_seed(seed))
    w = teacher.mapping.w_avg.lerp(teacher.mapping(z), psi)
    return w, torch.cat([teacher(w=part, noise="const").image for part in w.split(32)])


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
    parser.add_argument("--lpips", type=float, default=0.5, help="weight of LPIPS-VGG beside L1")
    parser.add_argument(
        "--lpips-from", type=int, default=0, help="step from which it is; a step is a fifth before"
    )
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--measure-every", type=int, default=1000, help="steps between KIDs; 0: none")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = load_source(args.teacher).generator.requires_grad_(False)
    build = state.load(args.out, "distilled")
    if build:
        first, seen, config = build.step, build.notes["images"], build.notes["generator"]
        student, average = build.generator("G"), build.generator("E")
    else:
        first, seen = 0, 0
        sizes = {"channel_base": args.channel_base, "channel_max": args.channel_max}
        config = {**STUDENT, "resolution": teacher.resolution, **sizes}
        torch.manual_seed(0)
        student, average = build_generator(config), build_generator(config)
        student.mapping.load_state_dict(teacher.mapping.state_dict())
        average.load_state_dict(student.state_dict())
    student.requires_grad_(False)
    average.requires_grad_(False)
    leaves = list(student.synthesis.requires_grad_(True).parameters())
    averaged = list(average.synthesis.parameters())
    adam = torch.optim.Adam(leaves, betas=(0.0, 0.99), fused=True)
    shown_w, shown = teach(teacher, 16, seed=-1, psi=0.7)
    kid_w, kid_of = None, None
    perceptual = load_lpips("vgg")
    started, losses = time.time(), []
    for step in range(first, args.steps):
        rng = torch.Generator().manual_seed(step)
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, first, args.steps, peak=args.lr)
        with torch.no_grad():
            w = teacher.mapping(torch.randn(args.batch, 512, generator=rng))
            psi = 0.5 + 0.5 * torch.rand(args.batch, 1, generator=rng)
            w = teacher.mapping.w_avg.lerp(w, psi)
            target = teacher(w=w, noise="const").image
        image = student(w=w, noise="const").image
        error = (image - target).abs().mean()
        losses.append(float(error.detach()))
        loss = error
        if step >= args.lpips_from:
            with torch.no_grad():
                wanted = maps(perceptual, target)
            loss = loss + args.lpips * paired(perceptual, maps(perceptual, image), wanted)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        torch._foreach_lerp_(averaged, leaves, 0.005)
        if due(done := step + 1, args.save_every, args.steps):
            pace = (time.time() - started) / (done - first)
            line = f"{done} L1 {sum(losses) / len(losses):.4f} {pace:.3f} s/step"
            losses = []
            notes = {
                "generator": config,
                "step": done,
                "images": seen + (done - first) * args.batch,
                "recipe": state.recipe(args),
            }
            state.save(args.out, "distilled", notes, {"G": student, "E": average})
            with torch.no_grad():
                grid = args.out / f"teacher-above-student-{done:07d}.png"
                paired_grid(shown, average(w=shown_w).image, grid, labels=("teacher", "student"), scale=2)
                if due(done, args.measure_every, args.steps):
                    if kid_of is None:
                        kid_of = Watch(teach(teacher, COUNT, seed=-2, psi=PAIR_PSI)[1])
                        kid_w, _ = teach(teacher, COUNT, seed=-3, psi=PAIR_PSI)
                    line += " " + kid_of(torch.cat([average(w=part).image for part in kid_w.split(32)]))
            print(line, flush=True)


if __name__ == "__main__":
    main()
