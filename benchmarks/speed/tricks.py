"""What each trick of the library's step is worth alone: the step as it is beside the step without it, in turns.

    python benchmarks/speed/tricks.py                                    # ten minutes of one core
    python benchmarks/speed/tricks.py --only "1x1" --rounds 5            # one anew, the others are kept

A trick is undone by replacing functions of the library while its phase runs; what comes out is the same. `over ours`:
the median (least, largest) over rounds of the time without it over the time with it, of each phase and of the amortised
iteration. Writes benchmarks/results/speed-tricks.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))  # the benchmarks' own `heading`

from contenders import Ours, device_draws, random_source
from heading import RESULTS, heading, write

import measure
from stylegraft.adaptation import loop
from stylegraft.adaptation.rates import ema_beta
from stylegraft.adaptation.views import Views
from stylegraft.networks import convolution, discriminator, fir, ops, products, stylegan2

NETWORK = "64/4096/256"

Undo = Callable[[Ours], Any]  # a context in which the trick is not used


def replaced(*changes: tuple[Any, str, Any]) -> Undo:
    """Attributes replaced."""

    @contextmanager
    def undone(ours: Ours) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in changes:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield

    return undone


def going(**bounds: products.Bounds) -> Undo:
    """Some products of a convolution torch's way."""
    return lambda ours: products.going(products.HERE._replace(**bounds))


# Convolution -------------------------------------------------------------------------------------------------


def torchs(function: type, *args: Any) -> Tensor:
    """The convolution with torch's own derivatives, and so all products torch's own way."""
    with products.going(products.THEIRS):
        return function.forward(*args)


def every_gradient(ctx: Any, index: int) -> bool:
    return ctx.needs_input_grad[index]


def planes(x: Tensor) -> Tensor:
    return x.contiguous()


def in_planes(function: type, *args: Any) -> Tensor:
    return CALL(function, *(a.contiguous() if isinstance(a, Tensor) else a for a in args))


CALL = convolution.call


# Resampling --------------------------------------------------------------------------------------------------


def step_by_step(x: Tensor, f: Tensor, up: tuple[int, int], down: tuple[int, int], pads: Any) -> Tensor:
    """Insert zeros, pad, filter, drop: each a pass of its own."""
    if up != (1, 1):
        x = F.pad(x[:, :, :, None, :, None], (0, up[1] - 1, 0, 0, 0, up[0] - 1)).flatten(4, 5).flatten(2, 3)
    x = convolution.channels_last(F.pad(x, tuple(pads)))
    taps = f.repeat(x.shape[1], 1, 1, 1)
    y = convolution.call(convolution.Correlate, x, taps, convolution.Geometry((1, 1), (0, 0), x.shape[1]))
    return y[:, :, :: down[0], :: down[1]]


# Modulation, activation, pointwise layers ---------------------------------------------------------------------


def kernel_per_sample(x: Tensor, w: Tensor, s: Tensor, **options: Any) -> Tensor:
    """Demodulation from the kernels of each sample, [B, O, I, k, k]."""

    def demodulation(s: Tensor, energy: Tensor, gain: float = 1.0) -> Tensor:
        return ((w[None] * s[:, None, :, None, None]).square().sum((2, 3, 4)) + ops.EPS).rsqrt() * gain

    with mock.patch.object(ops, "demodulation", demodulation):
        return MODULATED(x, w, s, **options)


MODULATED = ops.modulated_conv2d


def styled(self: stylegan2.StyledConv, x: Tensor, style: Tensor, noise: Tensor | None, f: Tensor) -> Tensor:
    """Demodulation, noise, bias, leaky ReLU and gain one after the other, none in place."""
    y = ops.modulated_conv2d(x, self.weight, style, up=self.up, f=f)
    y = y if noise is None else y + noise * self.noise_strength
    return F.leaky_relu(y + self.bias[:, None, None], ops.SLOPE) * self.gain


def judging(self: discriminator.Conv, x: Tensor, f: Tensor) -> Tensor:
    """Convolution, bias, leaky ReLU and gain one after the other, none in place."""
    w = self.weight * self.weight_gain
    y = ops.downsampling_conv2d(x, w, f) if self.down else ops.conv2d(x, w, padding=w.shape[2] // 2)
    return F.leaky_relu(y + self.bias[:, None, None], ops.SLOPE) * self.gain


def pointwise(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    gain: float = 1.0,
    residual: Tensor | None = None,
    noise: Tensor | None = None,
    lrelu: bool = False,
) -> Tensor:
    """`ops.conv1x1` as a convolution."""
    y = ops.conv2d(x, w * gain)
    y = y if bias is None else y + bias[:, None, None]
    y = y if residual is None else y + residual
    y = y if noise is None else y + noise
    return F.leaky_relu(y, ops.SLOPE) if lrelu else y


def rgb(x: Tensor, w: Tensor, s: Tensor, bias: Tensor) -> Tensor:
    """`ops.modulated_rgb` as a convolution of scaled maps."""
    return ops.conv2d(x * s[:, :, None, None], w) + bias[:, None, None]


def scaled_rows(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    weight_gain: float = 1.0,
    bias_gain: float = 1.0,
    lrelu: bool = False,
) -> Tensor:
    """`ops.linear` with scaled copies of kernel and bias."""
    y = x @ (w * weight_gain).t()
    y = y if bias is None else y + bias * bias_gain
    return F.leaky_relu(y, ops.SLOPE) * ops.SQRT2 if lrelu else y


# The step ----------------------------------------------------------------------------------------------------


def one_by_one(self: Views) -> tuple[Tensor, Tensor]:
    """D on fakes, then on reals."""
    fake, real = self.judge(self.fake, "fake"), self.judge(self.real, "real")
    self.observe_real(real)
    return fake, real


@torch.no_grad()
def average(state: Any) -> None:
    """The average tensor by tensor."""
    for name, mean in state.ema.items():
        mean.lerp_(state.learners["G"][name].detach(), 1 - ema_beta(state.recipe))


@contextmanager
def plain_adam(ours: Ours) -> Iterator[None]:
    """Adam as PyTorch has it by default, and the average tensor by tensor."""
    groups = [group for optimizer in ours.state.optimizers.values() for group in optimizer.param_groups]
    try:
        for group in groups:
            group["fused"] = None
        with mock.patch.object(loop, "average", average):
            yield
    finally:
        for group in groups:
            group["fused"] = True


@contextmanager
def no_maps(ours: Ours) -> Iterator[None]:
    """Frozen blocks of D see the training images again each time."""
    kept, ours.state.frozen = ours.state.frozen, None
    try:
        yield
    finally:
        ours.state.frozen = kept


@contextmanager
def drawing(ours: Ours) -> Iterator[None]:
    """Not a trick but its opposite: what draws cost that are the same on every machine."""
    with device_draws():
        yield


# name -> how it is undone, space, recipe
FULL, STYLE = ("full", "tgan"), ("stylespace", "tgan")
TRICKS: dict[str, tuple[Undo, tuple[str, str]]] = {
    "convolution closed under differentiation": (
        replaced((convolution, "call", torchs), (fir, "call", torchs)),
        FULL,
    ),
    "gradients that nobody asks for are not computed": (
        replaced((convolution, "_wanted", every_gradient)),
        FULL,
    ),
    "kernels' gradients by tiles or patches": (
        going(kernel_tiles=products.Bounds(), kernel_patches=products.Bounds()),
        FULL,
    ),
    "wide layers by tiles": (going(tiles=products.Bounds()), FULL),
    "channels innermost": (
        replaced(
            *((module, "channels_last", planes) for module in (convolution, fir, ops)),
            *((module, "call", in_planes) for module in (convolution, fir)),
        ),
        FULL,
    ),
    "demodulation as a matrix product": (replaced((ops, "modulated_conv2d", kernel_per_sample)), FULL),
    "gains folded, bias and leaky ReLU in place": (
        replaced((stylegan2.StyledConv, "forward", styled), (discriminator.Conv, "forward", judging)),
        FULL,
    ),
    "resampling as one strided depthwise convolution": (replaced((fir, "_fir", step_by_step)), FULL),
    "1x1 layers as matrix products": (
        replaced((ops, "conv1x1", pointwise), (ops, "modulated_rgb", rgb)),
        FULL,
    ),
    "fully connected layers without a scaled kernel": (replaced((ops, "linear", scaled_rows)), FULL),
    "fakes and reals in one pass of D": (
        replaced((Views, "real_fake_logits", property(one_by_one))),
        FULL,
    ),
    "fused Adam, averages in one call": (plain_adam, FULL),
    "what frozen kernels give is remembered": (
        replaced((ops, "derived", lambda w, function, *args: function(w, *args))),
        STYLE,
    ),
    "what frozen blocks of D make of the images is kept": (no_maps, ("stylespace", "freezed")),
    "draws that are the same on every machine": (drawing, FULL),
}


def without(ours: Ours, undo: Undo, phase: str) -> None:
    with undo(ours):
        ours.run(phase)


def row(name: str, network: str, batch: int, rounds: int) -> dict[str, Any]:
    """Both forms of a step, phase by phase; who begins takes turns."""
    undo, (space, recipe) = TRICKS[name]
    ours = Ours(random_source(network), space, batch, "cpu", recipe)
    phases: dict[str, measure.Taken] = {}
    for turn in range(rounds + 1):
        for phase in ("D", "R1", "G", "PL", "EMA"):
            tasks = {"ours": partial(ours.run, phase), "without": partial(without, ours, undo, phase)}
            for who in sorted(tasks, reverse=turn % 2 == 1):
                spent = measure.one(tasks[who], "cpu")
                if turn:
                    phases.setdefault(phase, {}).setdefault(who, []).append(spent)
        ours.state.step += 1
    recipe_row = ours.state.recipe
    phases["iteration"] = measure.iteration(phases, recipe_row.r1_every, recipe_row.pl_every)
    found = {phase: measure.summary(taken, "cpu") for phase, taken in phases.items()}
    return {
        "cell": f"{network}, {recipe} in {space}, batch {batch}",
        "over ours": {phase: sides["without"]["over ours"] for phase, sides in found.items()},
        "iteration ms": {who: sides["ms"] for who, sides in found["iteration"].items()},
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default=NETWORK, help="resolution/channel base/most channels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="tricks whose name holds this")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed-tricks.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = json.loads(args.out.read_text()) if args.out.is_file() else {}
    rows = file.get("rows", {})
    for name in TRICKS:
        if args.only in name:
            found = row(name, args.network, args.batch, args.rounds)
            key = name if args.network == NETWORK else f"{name} | {args.network}"
            rows[key] = found
            median, low, most = found["over ours"]["iteration"]
            print(f"{key}: {median} ({low} to {most})", flush=True)
            write(args.out, heading() | {"load": round(os.getloadavg()[0], 1), "rows": rows})


if __name__ == "__main__":
    main()
