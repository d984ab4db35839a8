"""Cut the teacher at a hidden map, give it an image head, and fine-tune both on (w, face) pairs.

    python tools/build_faces/distill.py --pairs PAIRS --out runs/build-faces-64

1. The cut is at the 64 px map, whose teacher block is narrowed: of its first convolution the channels stay that
   tell most about the pixels, its second one starts as the identity. The head starts as the least-squares map from
   there to the pixels. (A cut at the 32 px map with a head of wavelet bands, `--head wavelet`, is a third cheaper
   but draws each 2x2 pixels alone: a fine checkerboard in the faces, dots in every adapted domain.)
2. Head and prefix are tuned by L1 (plus LPIPS-VGG from `--lpips-from` on), anchor noise throughout.
   Parameters are stored at unit RMS, so one Adam step size is a step relative to each tensor's size (with one
   absolute step size the ill-conditioned features diverge).

Every 200 steps it saves, and writes a grid of held-out faces, the teacher's above its own. The same command resumes;
a larger `--steps` starts the decay anew from there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

import state
from critic import maps, paired
from data import Pairs, epoch_batches, load_pairs
from stylegraft.data.grids import paired_grid
from stylegraft.encoders.lpips import load_lpips
from stylegraft.networks import build_generator
from stylegraft.networks.generator import Generator
from stylegraft.networks.haar import haar
from teacher import teacher
from watch import COUNT, Watch, due

SAVE_EVERY = 200


def head_targets(generator: Generator, images: Tensor) -> Tensor:
    """What the head has to write for these images: their pixels, or their wavelet bands at half the size."""
    return images if generator.synthesis.hidden[-1] == generator.resolution else haar(images)


def sums(generator: Generator, pairs: Pairs, tap: str, images: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """Gram matrix [C + 1, C + 1] of a tap's features and 1, and their products [C + 1, K] with the head's targets."""
    gram: Tensor | float = 0.0
    cross: Tensor | float = 0.0
    for start in range(0, images, size):
        w, target = pairs.batch(torch.arange(start, min(start + size, images)))
        x = render(generator, w, taps=(tap,)).taps[tap].permute(0, 2, 3, 1).flatten(0, 2).double()
        x = torch.cat((x, torch.ones(len(x), 1, dtype=x.dtype)), dim=1)
        y = head_targets(generator, target).permute(0, 2, 3, 1).flatten(0, 2).double()
        gram, cross = gram + x.T @ x, cross + x.T @ y
    assert isinstance(gram, Tensor) and isinstance(cross, Tensor)
    return gram, cross


def telling(gram: Tensor, cross: Tensor, count: int) -> Tensor:
    """Indices of the `count` features that, chosen one after the other, explain most of the targets.

    Orthogonal matching pursuit on the sums alone: what a chosen feature explains is taken out of all others. The last
    row of the sums is the constant, which is taken out first.
    """
    gram, cross = gram.clone(), cross.clone()
    floor, chosen = 1e-6 * gram.diagonal(), [len(gram) - 1]
    while True:
        j = chosen[-1]
        column, row, pivot = gram[:, j].clone(), cross[j].clone(), gram[j, j].clone()
        gram -= column[:, None] * column / pivot
        cross -= column[:, None] * row / pivot
        if len(chosen) > count:
            return torch.tensor(chosen[1:]).sort().values
        gain = cross.square().sum(1) / gram.diagonal().clamp(min=1e-30)
        gain[gram.diagonal() < floor] = 0
        gain[chosen] = 0
        chosen.append(int(gain.argmax()))


@torch.no_grad()
def narrow(generator: Generator, pairs: Pairs, width: int, images: int = 64) -> Generator:
    """The same network with only the `width` most telling channels in its last block, whose second convolution
    becomes the identity (followed by its leaky ReLU); the head is left at zero.
    """
    r = generator.synthesis.hidden[-1]
    keep = telling(*sums(generator, pairs, f"b{r}.conv0", images, 4), width)
    config, tensors = json.loads(json.dumps(generator.config)), generator.state_dict()
    config["channels"][str(r)] = width
    gains, last = config.setdefault("gains", {}), f"synthesis.b{r}"
    for part in ("conv0.pointwise", "conv0.bias"):
        tensors[f"{last}.{part}"] = tensors[f"{last}.{part}"][keep]
    for layer in ("conv1", "torgb"):
        tensors[f"{last}.{layer}.affine.weight"] = torch.zeros(width, generator.w_dim)
        tensors[f"{last}.{layer}.affine.bias"] = torch.ones(width)
        gains |= {
            f"b{r}.{layer}.affine.weight": generator.w_dim**-0.5,
            f"b{r}.{layer}.affine.bias": 1.0,
        }
    centre, identity = torch.zeros(width, 1, 3, 3), torch.eye(width)[:, :, None, None]
    centre[:, :, 1, 1] = 1
    gains |= {
        f"b{r}.conv1.depthwise": 1 / 3,
        f"b{r}.conv1.pointwise": width**-0.5,
        f"b{r}.conv1.bias": 0.1,
    }
    tensors[f"{last}.conv1.depthwise"] = centre * 3
    tensors[f"{last}.conv1.pointwise"] = identity * width**0.5
    tensors[f"{last}.conv1.bias"] = torch.zeros(width)
    tensors[f"{last}.torgb.weight"] = torch.zeros(generator.img_channels, width, 1, 1)
    narrowed = build_generator(config)
    narrowed.load_state_dict(tensors)
    return narrowed.requires_grad_(False)


@torch.no_grad()
def fit_head(generator: Generator, pairs: Pairs, images: int = 512, ridge: float = 1e-4) -> Generator:
    """The same network with its head at the least-squares solution on `images` pairs."""
    last = generator.synthesis.hidden[-1]
    tap = f"b{last}.conv1"
    gram, cross = sums(generator, pairs, tap, images)
    solution = torch.linalg.solve(gram + ridge * torch.diag(gram.diagonal()), cross).float()
    weight, bias = solution[:-1].T[:, :, None, None], solution[-1]
    config = json.loads(json.dumps(generator.config))
    tensors = generator.state_dict()
    for name, value in ((f"b{last}.torgb.weight", weight), (f"b{last}.torgb.bias", bias)):
        config["gains"][name] = round(float(value.square().mean().sqrt()), 9)
        tensors[f"synthesis.{name}"] = value / config["gains"][name]
    fitted = build_generator(config)
    fitted.load_state_dict(tensors)
    return fitted


def render(generator: Generator, w: Tensor, taps: tuple[str, ...] = ()):
    """Images of latents w with the anchor noise."""
    return generator(w=w, noise="const", taps=taps)


def learning_rate(step: int, first: int, steps: int, peak: float = 2e-3) -> float:
    """Linear warm-up from `first`, then linear decay to zero at `steps`."""
    return peak * min(
        (step - first + 1) / state.REWARM, (steps - step) / max(steps - first - state.REWARM, 1)
    )


@torch.no_grad()
def held_out(generator: Generator, pairs: Pairs, count: int = 256) -> tuple[float, float]:
    """RMSE and R^2 on held-out pairs."""
    w, target = pairs.batch(torch.arange(count))
    images = torch.cat([render(generator, chunk).image for chunk in w.split(32)])
    error = (images - target).square().mean()
    return float(error.sqrt()), float(1 - error / (target - target.mean(0)).square().mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=Path, nargs="+", required=True, help="folders with faces128.zip, latents.safetensors"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/build-faces-64"))
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--head", default="pixel", choices=("pixel", "wavelet"))
    parser.add_argument("--width", type=int, default=64, help="channels of the last block, with a pixel head")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--lpips-from", type=int, default=10**9, help="step from which LPIPS-VGG joins the loss"
    )
    parser.add_argument("--lpips-weight", type=float, default=0.5)
    parser.add_argument("--measure-every", type=int, default=1000, help="steps between KIDs; 0: none")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    train, test = load_pairs(args.pairs, args.resolution)
    build = state.load(args.out, "distilled")
    if build:
        generator, first, seen = build.generator("G"), build.step, build.notes.get("images", 0)
    else:
        generator = teacher(args.resolution, args.head).requires_grad_(False)
        if args.head == "pixel":
            generator = narrow(generator, train, args.width)
        generator, first, seen = fit_head(generator, train), 0, 0
        rmse, r2 = held_out(generator, test)
        print(f"least-squares head: RMSE {rmse:.4f} R2 {r2:.4f}", flush=True)
    generator.requires_grad_(False)
    leaves = list(generator.synthesis.requires_grad_(True).parameters())
    adam = torch.optim.Adam(leaves, betas=(0.9, 0.99), fused=True)
    perceptual = load_lpips("vgg") if args.lpips_from < args.steps else None
    kid_of = Watch(test.images)
    started, losses = time.time(), []
    for step in range(first, args.steps):
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, first, args.steps)
        w, target = train.batch(epoch_batches(len(train.w), args.batch, step))
        image = render(generator, w).image
        loss = (image - target).abs().mean()
        losses.append(float(loss.detach()))
        if perceptual and step >= args.lpips_from:
            with torch.no_grad():
                wanted = maps(perceptual, target)
            loss = loss + args.lpips_weight * paired(perceptual, maps(perceptual, image), wanted)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if due(done := step + 1, SAVE_EVERY, args.steps):
            rmse, r2 = held_out(generator, test)
            pace = (time.time() - started) / (done - first)
            mean = sum(losses[-SAVE_EVERY:]) / len(losses[-SAVE_EVERY:])
            line = f"{done} L1 {mean:.4f} held-out RMSE {rmse:.4f} R2 {r2:.4f} {pace:.2f} s/step"
            notes = {
                "generator": generator.config,
                "step": done,
                "images": seen + (done - first) * args.batch,
                "recipe": state.recipe(args),
            }
            state.save(args.out, "distilled", notes, {"G": generator})
            with torch.no_grad():
                w, target = test.batch(torch.arange(16))
                grid = args.out / f"teacher-above-student-{done:06d}.png"
                paired_grid(target, render(generator, w).image, grid, labels=("teacher", "student"), scale=2)
                if due(done, args.measure_every, args.steps):
                    # other latents than those of the images it is compared with
                    latents = test.w[-COUNT:].split(32)
                    line += " " + kid_of(torch.cat([render(generator, part).image for part in latents]))
            print(line, flush=True)


if __name__ == "__main__":
    main()
