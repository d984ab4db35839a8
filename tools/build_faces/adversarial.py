"""Finish a distilled generator adversarially and train its discriminator.

    python tools/build_faces/adversarial.py --pairs PAIRS --out runs/build-faces-64

Reals are the training pairs with flips, fakes the generator at the pairs' truncation with *random* noise; the
generator moves at a small rate, its noise strengths start no lower than `--wake` and are trained, and it stays
tied to the pairs by L1 and LPIPS at the anchor noise. The discriminator takes several steps for each of the
generator's, on a pool of recent fakes of which some are renewed each step. Non-saturating loss and lazy R1
(Karras et al. 2020). The same command resumes; state is kept without Adam moments, so a resumed run warms up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import state
from data import PAIR_PSI, epoch_batches, load_pairs
from stylegraft.data.grids import save_grid
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks import build_discriminator
from stylegraft.networks.discriminator import Discriminator
from stylegraft.networks.generator import Generator
from watch import COUNT, Watch, due

R1_EVERY = 16
DISCRIMINATOR = {
    "channel_base": 2048,
    "channel_max": 256,
    "mbstd_group_size": 4,
    "architecture": "resnet",
    "c_dim": 0,
}


def flip(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each image with probability one half."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def r1_penalty(discriminator: nn.Module, real: Tensor, gamma: float) -> Tensor:
    """gamma/2 E ||grad_x D(x)||^2 (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_(True)
    (grad,) = torch.autograd.grad(discriminator(real).logits.sum(), real, create_graph=True)
    return gamma / 2 * grad.square().sum((1, 2, 3)).mean()


def optimisers(generator: Generator, discriminator: nn.Module, g_lr: float, d_lr: float, noise_lr: float):
    """(Adam of G with its own rate for noise strengths, Adam of D with the lazy-R1 correction)."""
    named = dict(generator.synthesis.named_parameters())
    noise = [p for name, p in named.items() if name.endswith("noise_strength")]
    others = [p for name, p in named.items() if not name.endswith("noise_strength")]
    lazy = R1_EVERY / (R1_EVERY + 1)
    g_opt = torch.optim.Adam(
        [{"params": others, "lr": g_lr}, {"params": noise, "lr": noise_lr}], betas=(0.0, 0.99), fused=True
    )
    d_opt = torch.optim.Adam(discriminator.parameters(), lr=d_lr * lazy, betas=(0.0, 0.99**lazy), fused=True)
    for group in (*g_opt.param_groups, *d_opt.param_groups):
        group["peak"] = group["lr"]
    return g_opt, d_opt


def advance(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimiser step."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def fakes(generator: Generator, count: int, rng: torch.Generator) -> Tensor:
    """Images of fresh latents at the pairs' truncation with random noise; w is drawn through the mapping."""
    z = torch.randn(count, generator.z_dim, generator=rng)
    return generator(z, psi=PAIR_PSI, noise="random", generator=rng).image


@torch.no_grad()
def many_fakes(generator: Generator, count: int, rng: torch.Generator) -> Tensor:
    """`fakes` in parts of 32."""
    return torch.cat([fakes(generator, 32, rng) for _ in range(count // 32)])


@torch.no_grad()
def wake(generator: Generator, floor: float) -> None:
    """Raise each noise strength to at least `floor` times the RMS of its layer's map.

    The teacher's noise is nearly dead at 64 px, and the discriminator alone does not revive it in a short build.
    """
    z = torch.randn(32, generator.z_dim, generator=torch.Generator().manual_seed(3))
    for name, x in generator(z, psi=PAIR_PSI, taps=tuple(generator.noise_shapes)).taps.items():
        strength = generator.get_parameter(f"synthesis.{name}.noise_strength")
        strength.copy_(strength.abs().clamp(min=floor * float(x.square().mean().sqrt())))


def restored(folder: Path) -> tuple[Generator, Generator, Discriminator, dict]:
    """(generator, its average, discriminator, notes) of the newest stage; a distilled one gets a new discriminator."""
    stage, build = state.newest(folder)
    resolution, channels = build.notes["generator"]["resolution"], build.notes["generator"]["img_channels"]
    fresh = {**DISCRIMINATOR, "resolution": resolution, "img_channels": channels}
    torch.manual_seed(0)
    discriminator = build_discriminator(build.notes.get("discriminator", fresh))
    if "D" in build.parts:
        discriminator.load_state_dict(build.parts["D"])
    notes = build.notes if stage == "finished" else {"step": 0, "images": 0}
    return build.generator("G"), build.generator("E"), discriminator, notes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="as for distill.py")
    parser.add_argument("--out", type=Path, default=Path("runs/build-faces-64"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pool", type=int, default=512, help="latest fakes that the discriminator is shown")
    parser.add_argument("--fresh", type=int, default=4, help="fakes renewed in the pool each step")
    parser.add_argument("--d-only", type=int, default=800, help="first steps with the generator at rest")
    parser.add_argument("--g-every", type=int, default=4, help="discriminator steps for one of the generator")
    parser.add_argument("--g-lr", type=float, default=4e-4)
    parser.add_argument("--noise-lr", type=float, default=5e-5)
    parser.add_argument(
        "--wake", type=float, default=0.05, help="least noise, over a map's RMS, at the start"
    )
    parser.add_argument("--d-lr", type=float, default=2e-3)
    parser.add_argument("--gamma", type=float, default=0.02)
    parser.add_argument("--tie", type=float, default=12.0, help="weight of the L1 to the pairs")
    parser.add_argument(
        "--lpips", type=float, default=4.0, help="weight of LPIPS-VGG to the pairs; 0: without"
    )
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--measure-every", type=int, default=1000, help="steps between KIDs; 0: none")
    args = parser.parse_args()

    generator, average, discriminator, notes = restored(args.out)
    first, seen = notes["step"], notes.get("images", notes["step"] * args.batch)
    train, held = load_pairs(args.pairs, generator.resolution)
    wake(generator, args.wake)
    wake(average, args.wake)
    leaves, averaged = list(generator.synthesis.parameters()), list(average.synthesis.parameters())
    g_opt, d_opt = optimisers(generator, discriminator, args.g_lr, args.d_lr, args.noise_lr)
    pool = many_fakes(generator, args.pool, torch.Generator().manual_seed(-1 - first))
    perceptual, kid_of = load_lpips("vgg") if args.lpips else None, Watch(held.images)
    started, log = time.time(), {"D": [], "G": [], "tie": [], "lpips": [], "sign": []}

    for step in range(first, args.steps):
        rng = torch.Generator().manual_seed(step)
        warm = min((step - first + 1) / state.REWARM, 1.0)
        for group in (*g_opt.param_groups, *d_opt.param_groups):
            group["lr"] = group["peak"] * warm
        w, real = train.batch(epoch_batches(len(train.w), args.batch, step))
        real_flipped = flip(real, rng)
        with torch.no_grad():
            new = step * args.fresh % args.pool + torch.arange(args.fresh)
            pool[new % args.pool] = fakes(generator, args.fresh, rng)
        fake = pool[torch.randint(args.pool, (args.batch,), generator=rng)]
        logits = discriminator(torch.cat((fake, real_flipped)), halves=2).logits
        d_loss = softplus(logits[: args.batch]).mean() + softplus(-logits[args.batch :]).mean()
        log["sign"].append(float(logits[args.batch :].detach().sign().mean()))
        if step % R1_EVERY == 0:
            d_loss = d_loss + R1_EVERY * r1_penalty(discriminator, real_flipped, args.gamma)
        advance(d_opt, d_loss)
        log["D"].append(float(d_loss.detach()))

        if step >= args.d_only and step % args.g_every == 0:
            generator.synthesis.requires_grad_(True)
            discriminator.requires_grad_(False)
            g_loss = softplus(-discriminator(fakes(generator, args.batch, rng)).logits).mean()
            image = generator(w=w, noise="const").image
            tie = (image - real).abs().mean()
            near = perceptual(image, real).mean() if perceptual else torch.zeros([])
            advance(g_opt, g_loss + args.tie * tie + args.lpips * near)
            generator.requires_grad_(False)
            discriminator.requires_grad_(True)
            torch._foreach_lerp_(averaged, leaves, 0.002 * args.g_every)
            log["G"].append(float(g_loss.detach()))
            log["tie"].append(float(tie.detach()))
            log["lpips"].append(float(near.detach()))

        if due(done := step + 1, args.save_every, args.steps):
            pace = (time.time() - started) / (done - first)
            means = " ".join(f"{k} {sum(v) / len(v):.4f}" for k, v in log.items() if v)
            strengths = [float(p) for n, p in generator.named_parameters() if n.endswith("noise_strength")]
            line = f"{done} {means} {pace:.2f} s/step noise " + " ".join(f"{s:.3f}" for s in strengths)
            log = {k: [] for k in log}
            notes = {
                "generator": generator.config,
                "discriminator": discriminator.config,
                "step": done,
                "images": seen + (done - first) * args.batch,
                "recipe": state.recipe(args),
            }
            state.save(args.out, "finished", notes, {"G": generator, "E": average, "D": discriminator})
            with torch.no_grad():
                grid = fakes(average, 32, torch.Generator().manual_seed(1))
            save_grid(grid, args.out / f"fakes-{done:06d}.png", columns=8, scale=2)
            if due(done, args.measure_every, args.steps):
                line += " " + kid_of(many_fakes(average, COUNT, torch.Generator().manual_seed(2)))
            print(line, flush=True)


if __name__ == "__main__":
    main()
