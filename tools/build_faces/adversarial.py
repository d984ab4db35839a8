"""Finish a distilled generator adversarially and train its discriminator.

    python tools/build_faces/adversarial.py --pairs PAIRS --out runs/build-faces-64

Half of a batch are the pairs' latents at the anchor noise, tied to the pairs' images by L1 and LPIPS; the other half
are fresh latents at the pairs' truncation with *random* noise. Two judges see all of them beside real training pairs:
the StyleGAN2 discriminator that ships with the source (non-saturating loss, lazy R1, flips; Karras et al. 2020), and
a critic on frozen VGG16 features (`critic.py`). Noise strengths start no lower than `--wake` and are trained. The
same command resumes; state is kept without Adam moments, so a resumed run warms up.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

import state
from critic import Critic, maps, paired
from data import PAIR_PSI, epoch_batches, load_pairs
from state import Tensors
from stylegraft.data.grids import save_grid
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks import build_discriminator
from stylegraft.networks.discriminator import Discriminator
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source
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
    return torch.where(mirrored.to(images.device), images.flip(3), images)


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
    z = torch.randn(count, generator.z_dim, generator=rng).to(generator.mapping.w_avg)
    return generator(z, psi=PAIR_PSI, noise="random", generator=rng).image


@torch.no_grad()
def many_fakes(generator: Generator, count: int, rng: torch.Generator) -> Tensor:
    """`fakes` in parts of 32."""
    return torch.cat([fakes(generator, 32, rng) for _ in range(count // 32)])


def half_anchored(generator: Generator, w: Tensor, rng: torch.Generator) -> Tensor:
    """Images of the first half of w [B, w_dim] at the anchor noise, then of as many fresh latents at random noise."""
    half = len(w) // 2
    z = torch.randn(len(w) - half, generator.z_dim, generator=rng).to(w)
    fresh = generator.ws(generator.mapping(z), PAIR_PSI)
    anchor, random = generator.noise("const"), generator.noise("random", len(z), rng)
    noise = {name: torch.cat((n.expand(half, -1, -1, -1), random[name])) for name, n in anchor.items()}
    return generator(ws=torch.cat((generator.ws(w[:half]), fresh)), noise=noise).image


def moved(images: Sequence[Tensor], rng: torch.Generator, size: int, reach: int = 4) -> list[Tensor]:
    """The same square of `size` px of each set of images, which may reach `reach` px over their edge, all mirrored or
    not: what the critic sees.
    """
    room = images[0].shape[-1] + 2 * reach - size
    top, left = torch.randint(room + 1, (2,), generator=rng).tolist()
    mirrored = bool(torch.rand([], generator=rng) < 0.5)
    out = []
    for x in images:
        x = pad(x, (reach,) * 4, mode="reflect")[:, :, top : top + size, left : left + size]
        out.append(x.flip(3) if mirrored else x)
    return out


@torch.no_grad()
def wake(generator: Generator, floor: float) -> None:
    """Raise each noise strength to at least `floor` times the RMS of its layer's map.

    The teacher's noise is nearly dead at 64 px, and the discriminator alone does not revive it in a short build.
    """
    z = torch.randn(32, generator.z_dim, generator=torch.Generator().manual_seed(3))
    z = z.to(generator.mapping.w_avg)
    for name, x in generator(z, psi=PAIR_PSI, taps=tuple(generator.noise_shapes)).taps.items():
        strength = generator.get_parameter(f"synthesis.{name}.noise_strength")
        strength.copy_(strength.abs().clamp(min=floor * float(x.square().mean().sqrt())))


def restored(
    folder: Path, judge: str = ""
) -> tuple[Generator, Generator, Discriminator, Tensors, dict[str, Any]]:
    """(generator, its average, discriminator, critic's tensors, notes) of the newest stage.

    A distilled one gets a new discriminator, with the blocks that the source `judge` has as well.
    """
    stage, build = state.newest(folder)
    resolution, channels = build.notes["generator"]["resolution"], build.notes["generator"]["img_channels"]
    fresh = {**DISCRIMINATOR, "resolution": resolution, "img_channels": channels}
    torch.manual_seed(0)
    discriminator = build_discriminator(build.notes.get("discriminator", fresh))
    if "D" in build.parts:
        discriminator.load_state_dict(build.parts["D"])
    elif judge:
        trained = load_source(judge).discriminator
        assert trained is not None, f"{judge} has no discriminator"
        own = discriminator.state_dict()
        fitting = {k: v for k, v in trained.state_dict().items() if k in own and own[k].shape == v.shape}
        discriminator.load_state_dict(own | fitting)
    notes = build.notes if stage == "finished" else {"step": 0, "images": 0}
    return build.generator("G"), build.generator("E"), discriminator, build.parts.get("C", {}), notes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="as for distill.py")
    parser.add_argument("--out", type=Path, default=Path("runs/build-faces-64"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--judge", default="", help="source whose discriminator a new build starts from")
    parser.add_argument("--d-only", type=int, default=50, help="first steps with the generator at rest")
    parser.add_argument("--g-lr", type=float, default=1e-3)
    parser.add_argument("--noise-lr", type=float, default=5e-6)
    parser.add_argument(
        "--wake", type=float, default=0.05, help="least noise, over a map's RMS, at the start"
    )
    parser.add_argument("--d-lr", type=float, default=2e-3)
    parser.add_argument("--gamma", type=float, default=0.02)
    parser.add_argument("--critic", type=float, default=1.0, help="weight of the critic on VGG16 features")
    parser.add_argument("--see", type=int, default=96, help="px of the squares that VGG16 looks at")
    parser.add_argument("--tie", type=float, default=4.0, help="weight of the L1 to the pairs")
    parser.add_argument("--lpips", type=float, default=2.0, help="weight of LPIPS-VGG to the pairs")
    parser.add_argument(
        "--decay", type=float, default=0.3, help="last part of the steps, over which G's rate falls to zero"
    )
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--measure-every", type=int, default=1000, help="steps between KIDs; 0: none")
    args = parser.parse_args()

    *networks, critic_tensors, notes = restored(args.out, args.judge)
    generator, average, discriminator = (network.to(args.device) for network in networks)
    first, seen = notes["step"], notes.get("images", notes["step"] * args.batch)
    train, held = (pairs.to(args.device) for pairs in load_pairs(args.pairs, generator.resolution))
    critic = Critic().to(args.device)
    if critic_tensors:
        critic.load_state_dict(critic_tensors)
    if first == 0:
        wake(generator, args.wake)
        wake(average, args.wake)
    leaves, averaged = list(generator.synthesis.parameters()), list(average.synthesis.parameters())
    g_opt, d_opt = optimisers(generator, discriminator, args.g_lr, args.d_lr, args.noise_lr)
    c_opt = torch.optim.Adam(critic.parameters(), lr=args.d_lr, betas=(0.0, 0.99), fused=True)
    perceptual, kid_of = load_lpips("vgg", args.device), Watch(held.images)
    started, log = time.time(), defaultdict(list)
    half = args.batch // 2

    for step in range(first, args.steps):
        rng = torch.Generator().manual_seed(step)
        warm = min((step - first + 1) / state.REWARM, 1.0)
        settling = min((args.steps - step) / (args.decay * args.steps), 1.0)
        for optimiser, rate in ((g_opt, warm * settling), (d_opt, warm)):
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate
        w, real = train.batch(epoch_batches(len(train.w), args.batch, step))

        # G: both judges on all images, the pairs on the first half
        learning = step >= args.d_only
        discriminator.requires_grad_(False)
        critic.requires_grad_(False)
        generator.synthesis.requires_grad_(learning)
        fake = half_anchored(generator, w, rng)
        fake_seen, real_seen = moved((fake, real), rng, min(args.see, generator.resolution))
        with torch.no_grad():
            real_maps = maps(perceptual, real_seen)
        fake_maps = maps(perceptual, fake_seen)
        if learning:
            parts = {
                "G": softplus(-discriminator(fake).logits).mean(),
                "fooled": args.critic * critic.fooled(fake_maps),
                "tie": args.tie * (fake[:half] - real[:half]).abs().mean(),
                "lpips": args.lpips
                * paired(perceptual, [x[:half] for x in fake_maps], [x[:half] for x in real_maps]),
            }
            advance(g_opt, torch.stack(list(parts.values())).sum())
            torch._foreach_lerp_(averaged, [p.detach() for p in leaves], 0.002)
            for name, value in parts.items():
                log[name].append(value.detach())

        # D and the critic, on the same images
        discriminator.requires_grad_(True)
        critic.requires_grad_(True)
        fake, shown = fake.detach(), flip(real, rng)
        logits = discriminator(torch.cat((fake, shown)), halves=2).logits
        d_loss = softplus(logits[: args.batch]).mean() + softplus(-logits[args.batch :]).mean()
        log["sign"].append(logits[args.batch :].detach().sign().mean())
        if step % R1_EVERY == 0:
            d_loss = d_loss + R1_EVERY * r1_penalty(discriminator, shown, args.gamma)
        advance(d_opt, d_loss)
        log["D"].append(d_loss.detach())
        c_loss = critic.error([x.detach() for x in fake_maps], real_maps)
        advance(c_opt, c_loss)
        log["critic"].append(c_loss.detach())

        if due(done := step + 1, args.save_every, args.steps):
            pace = (time.time() - started) / (done - first)
            means = " ".join(f"{k} {float(sum(v) / len(v)):.4f}" for k, v in log.items() if v)
            strengths = [
                float(p.detach()) for n, p in generator.named_parameters() if n.endswith("noise_strength")
            ]
            line = f"{done} {means} {pace:.2f} s/step noise " + " ".join(f"{s:.3f}" for s in strengths)
            log.clear()
            notes = {
                "generator": generator.config,
                "discriminator": discriminator.config,
                "step": done,
                "images": seen + (done - first) * args.batch,
                "recipe": state.recipe(args),
            }
            networks = {"G": generator, "E": average, "D": discriminator, "C": critic}
            state.save(args.out, "finished", notes, networks)
            with torch.no_grad():
                grid = fakes(average, 32, torch.Generator().manual_seed(1))
            save_grid(grid, args.out / f"fakes-{done:06d}.png", columns=8, scale=2)
            if due(done, args.measure_every, args.steps):
                line += " " + kid_of(many_fakes(average, COUNT, torch.Generator().manual_seed(2)))
            print(line, flush=True)


if __name__ == "__main__":
    main()
