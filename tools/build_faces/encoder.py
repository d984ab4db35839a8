"""Train the encoder that an inversion may start from, on the source's own samples alone.

    nice -n 10 python tools/build_faces/encoder.py --source faces-64 --out runs/build-encoder-64

1. A bank of samples is rendered once: rows of coarse, middle and fine layers from up to three latents (style mixing),
   at a truncation between `--psi` and 1.
2. `--steps` of regression on w, with colours and noise disturbed; then `--render-steps` in which the guess is rendered
   again and compared with the image, by pixels and LPIPS-VGG, half of the weight staying on w.

The same command resumes (the bank in its parts; state every 200 steps, Adam's moments in it). `export` writes the fp16
file that ships:

    python tools/build_faces/encoder.py --source faces-64 --out runs/build-encoder-64 --export
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from data import epoch_batches
from state import recipe
from stylegraft.adaptation.inversion.encoder import LEVELS, Encoder, encoder_path, levels, save_encoder
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.data.grids import paired_grid
from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

PART = 256  # samples a part of the bank
HELD = 256  # of the bank that only measure
WARM = 100  # steps over which the rate rises after a start


@torch.no_grad()
def render_part(generator: Generator, number: int, psi: float) -> dict[str, Tensor]:
    """Part `number` of the bank: images uint8 [PART, C, R, R] and w of the levels [PART, levels, w_dim]."""
    n, indices = len(LEVELS) + 1, range(number * PART, (number + 1) * PART)
    draws = Draws([seed_of(0, 0, "encoder", i) for i in indices])
    w = generator.mapping(draws.normal(n, generator.z_dim).flatten(0, 1)).unflatten(0, (-1, n))
    mixed = draws.uniform(n) < 0.3  # the level has a latent of its own; else that of the coarse one
    w = torch.where(mixed[..., None], w, w[:, :1])
    w = torch.lerp(generator.mapping.w_avg, w, psi + (1 - psi) * draws.uniform(1, 1))
    rows = w[:, levels(generator)]
    images = torch.cat([to_uint8(generator(ws=part).image) for part in rows.split(16)])
    return {"images": images, "w": w.half()}


def bank(generator: Generator, folder: Path, count: int, psi: float) -> tuple[Tensor, Tensor]:
    """All parts, those that are missing rendered first."""
    parts = []
    for number in range(count // PART):
        path = folder / f"bank-{number:03d}.pt"
        if not path.exists():
            started = time.process_time()
            torch.save(render_part(generator, number, psi), path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            print(f"bank {number + 1}: {time.process_time() - started:.1f} s", flush=True)
        parts.append(torch.load(path, weights_only=True))
    return torch.cat([p["images"] for p in parts]), torch.cat([p["w"] for p in parts])


def disturbed(images: Tensor, rng: torch.Generator) -> Tensor:
    """Photographs differ from samples in light, colour and grain."""
    gain = 1 + 0.1 * torch.randn(len(images), images.shape[1], 1, 1, generator=rng)
    shift = 0.1 * torch.randn(len(images), images.shape[1], 1, 1, generator=rng)
    grain = 0.1 * torch.rand(len(images), 1, 1, 1, generator=rng) * torch.randn(images.shape, generator=rng)
    return images * gain + shift + grain


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--out", type=Path, default=Path("runs/build-encoder-64"))
    parser.add_argument("--bank", type=int, default=4096)
    parser.add_argument("--psi", type=float, default=0.6)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--render-steps", type=int, default=150)
    parser.add_argument("--render-batch", type=int, default=8)
    parser.add_argument("--render-lr", type=float, default=5e-4)
    parser.add_argument("--export", action="store_true", help="write the file that ships, and stop")
    args = parser.parse_args()
    if args.export:
        export(args)
        return
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    generator = load_source(args.source).generator
    images, w = bank(generator, args.out, args.bank, args.psi)
    deviation = deviations(generator)
    aim = (w.float() - generator.mapping.w_avg) / deviation
    held, held_aim = to_float(images[:HELD]), aim[:HELD]
    level, perceptual = levels(generator), load_lpips("vgg")

    torch.manual_seed(0)
    encoder = Encoder(generator.resolution, generator.img_channels, generator.w_dim)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=0.02)
    path, first = args.out / "state.pt", 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        encoder.load_state_dict(state["encoder"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    total = args.steps + args.render_steps
    started, sums = time.process_time(), {}

    def rendered(guess: Tensor) -> Tensor:
        return generator(ws=(generator.mapping.w_avg + deviation * guess)[:, level]).image

    for step in range(first, total):
        rendering = step >= args.steps
        done, length = (step - args.steps, args.render_steps) if rendering else (step, args.steps)
        rate = (args.render_lr if rendering else args.lr) * min((done + 1) / WARM, 1.0) * (1 - done / length)
        for group in optimiser.param_groups:
            group["lr"] = rate
        size = args.render_batch if rendering else args.batch
        index = HELD + epoch_batches(len(images) - HELD, size, done, seed=int(rendering))
        real = to_float(images[index])
        rng = torch.Generator().manual_seed(step)
        encoder.train(not rendering)  # the statistics of small batches would be others
        guess = encoder(disturbed(real, rng))
        parts = {"w": (guess - aim[index]).square().mean()}
        if rendering:
            again = rendered(guess)
            parts["pixels"] = (again - real).square().mean()
            parts["lpips"] = perceptual(again, real).mean()
            loss = 0.5 * parts["w"] + 2 * parts["pixels"] + parts["lpips"]
        else:
            loss = parts["w"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        for name, value in parts.items():
            sums.setdefault(name, []).append(float(value.detach()))
        if (step + 1) % 200 == 0 or step + 1 in (args.steps, total) or (rendering and (step + 1) % 50 == 0):
            encoder.eval()
            with torch.no_grad():
                guess = encoder(held)
                again = rendered(guess[:32])
                distance = float(perceptual(again, held[:32]).mean())
            error = float((guess - held_aim).square().mean() / held_aim.square().mean())
            line = " ".join(f"{name} {sum(v) / len(v):.4f}" for name, v in sums.items())
            print(
                f"{step + 1} {line} held: w {error:.3f} of its variance, lpips {distance:.4f},"
                f" {time.process_time() - started:.0f} s",
                flush=True,
            )
            sums = {}
            paired_grid(
                held[:16], again[:16], args.out / f"held-{step + 1:05d}.png", labels=("sample", "guess")
            )
            save = {"encoder": encoder.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(save, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)


def export(args: argparse.Namespace) -> None:
    """Write the encoder of the state beside its source, in fp16."""
    state = torch.load(args.out / "state.pt", weights_only=True)
    source = load_source(args.source)
    generator = source.generator
    encoder = Encoder(generator.resolution, generator.img_channels, generator.w_dim)
    encoder.load_state_dict(state["encoder"])
    config = {"source": args.source, "licence": source.info.get("licence", "not stated")}
    config["trained"] = {**recipe(args), "step": state["step"]}
    path = encoder_path(args.source)
    save_encoder(path, encoder, generator, deviations(generator), config)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, step {state['step']}")


@torch.no_grad()
def deviations(generator: Generator) -> Tensor:
    """[w_dim]: standard deviation of w over 4,096 seeded latents."""
    z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.mapping(z).std(0)


if __name__ == "__main__":
    main()
