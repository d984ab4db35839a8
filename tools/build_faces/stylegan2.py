"""Make a true StyleGAN2 of `faces-64`: same mapping network, the synthesis network transplanted, then tuned on pairs.

    python tools/build_faces/stylegan2.py --pairs PAIRS --out runs/build-stylegan2-faces-64

1. `transplant.py` writes the teacher's layers into the narrower StyleGAN2 by least squares.
2. The whole is tuned by L1 and LPIPS-VGG at the anchor noise: on the pairs, and on `--fresh` other latents a step that
   `faces-64` itself draws (4,096 pairs are soon known by heart).

Then `adversarial.py --judge faces-64` on the same folder, whose discriminator is half as wide as `faces-64`'s at 8 and
4 px, for a file that fits into the wheel. The same command resumes.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from torch import Tensor

import state
from adversarial import DISCRIMINATOR
from critic import maps, paired
from data import PAIR_PSI, epoch_batches, load_pairs
from distill import held_out, learning_rate, render
from stylegraft import load_source
from stylegraft.data.grids import paired_grid
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks import build_generator
from stylegraft.networks.generator import Generator
from transplant import transplant
from watch import COUNT, Watch, due

AVERAGING = 0.02  # of the weights, a step: a horizon of 50 steps


def keep(student: Generator, average: Generator, args: argparse.Namespace, step: int, images: int) -> None:
    """Save the stage, with the config of the discriminator that `adversarial.py` is to build."""
    sizes = {"resolution": student.resolution, "img_channels": student.img_channels}
    notes = {
        "generator": student.config,
        "discriminator": {**DISCRIMINATOR, **sizes, "channel_max": args.d_channel_max},
        "step": step,
        "images": images,
        "recipe": state.recipe(args),
    }
    state.save(args.out, "distilled", notes, {"G": student, "E": average})


@torch.no_grad()
def with_fresh(teacher: Generator, w: Tensor, images: Tensor, count: int, step: int) -> tuple[Tensor, Tensor]:
    """(w, images), and behind them `count` other latents at the pairs' truncation as the teacher draws them."""
    z = torch.randn(count, teacher.z_dim, generator=torch.Generator().manual_seed(step)).to(w)
    fresh = teacher.ws(teacher.mapping(z), PAIR_PSI)[:, 0]
    return torch.cat((w, fresh)), torch.cat((images, render(teacher, fresh).image))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="as for distill.py")
    parser.add_argument("--teacher", default="faces-64")
    parser.add_argument("--out", type=Path, default=Path("runs/build-stylegan2-faces-64"))
    parser.add_argument("--channel-base", type=int, default=4096)
    parser.add_argument("--channel-max", type=int, default=224)
    parser.add_argument("--d-channel-max", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8, help="pairs a step")
    parser.add_argument("--fresh", type=int, default=0, help="latents a step that the teacher draws")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lr", type=float, default=4e-4, help="above it the errors grow again")
    parser.add_argument(
        "--lpips-from",
        type=int,
        default=300,
        help="step from which LPIPS-VGG joins the loss; twice as slow then",
    )
    parser.add_argument("--lpips-weight", type=float, default=0.5)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--measure-every", type=int, default=1000, help="steps between KIDs; 0: none")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = load_source(args.teacher, args.device).generator.requires_grad_(False)
    train, test = (pairs.to(args.device) for pairs in load_pairs(args.pairs, teacher.resolution))
    build = state.load(args.out, "distilled")
    if build:
        first, seen = build.step, build.notes["images"]
        student, average = (build.generator(role).to(args.device) for role in "GE")
    else:
        sizes = {"channel_base": args.channel_base, "channel_max": args.channel_max}
        kept = ("resolution", "img_channels", "z_dim", "w_dim", "c_dim", "mapping_layers")
        config = {
            "architecture": "stylegan2",
            "variant": "orig",
            **{k: teacher.config[k] for k in kept},
            **sizes,
        }
        torch.manual_seed(0)
        student = build_generator(config).requires_grad_(False)
        student.mapping.load_state_dict(teacher.mapping.state_dict())
        transplant(teacher.cpu(), student)
        teacher, student = teacher.to(args.device), student.to(args.device)
        first, seen = 0, 0
        average = copy.deepcopy(student)
        keep(student, average, args, first, seen)
        rmse, r2 = held_out(student, test)
        print(f"transplanted: held-out RMSE {rmse:.4f} R2 {r2:.4f}", flush=True)
    leaves = list(student.synthesis.requires_grad_(True).parameters())
    averaged: list[torch.Tensor] = list(average.synthesis.parameters())
    adam = torch.optim.Adam(leaves, betas=(0.9, 0.99), fused=True)
    perceptual = load_lpips("vgg", args.device) if args.lpips_from < args.steps else None
    kid_of = Watch(test.images)
    started, losses = time.time(), []
    for step in range(first, args.steps):
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, first, args.steps, args.lr)
        w, target = train.batch(epoch_batches(len(train.w), args.batch, step))
        if args.fresh:
            w, target = with_fresh(teacher, w, target, args.fresh, step)
        image = render(student, w).image
        loss = (image - target).abs().mean()
        losses.append(loss.detach())
        if perceptual and step >= args.lpips_from:
            with torch.no_grad():
                wanted = maps(perceptual, target)
            loss = loss + args.lpips_weight * paired(perceptual, maps(perceptual, image), wanted)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        torch._foreach_lerp_(averaged, [p.detach() for p in leaves], AVERAGING)
        if due(done := step + 1, args.save_every, args.steps):
            rmse, r2 = held_out(average, test)
            pace = (time.time() - started) / (done - first)
            l1 = float(torch.stack(losses).mean())
            line = f"{done} L1 {l1:.4f} held-out RMSE {rmse:.4f} R2 {r2:.4f} {pace:.2f} s/step"
            losses.clear()
            keep(student, average, args, done, seen + (done - first) * (args.batch + args.fresh))
            with torch.no_grad():
                w, target = test.batch(torch.arange(16))
                grid = args.out / f"teacher-above-student-{done:06d}.png"
                paired_grid(target, render(average, w).image, grid, labels=("teacher", "student"), scale=2)
                if due(done, args.measure_every, args.steps):
                    latents = test.w[-COUNT:].split(32)
                    line += " " + kid_of(torch.cat([render(average, part).image for part in latents]))
            print(line, flush=True)


if __name__ == "__main__":
    main()
