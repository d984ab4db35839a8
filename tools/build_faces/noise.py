"""Whether a generator's noise is alive: strength of each layer, and what a new draw changes in the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from stylegraft.encoders.lpips import LPIPS
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator


def before_noise(generator: Generator, layer: str, tap: Tensor) -> Tensor:
    """What a layer's convolution gave, from its output tap at the anchor noise: activation, bias and noise undone."""
    module = generator.synthesis.get_submodule(layer)
    linear = torch.where(tap >= 0, tap, tap / ops.SLOPE) / getattr(module, "gain", 1.0)
    bias = module.bias * getattr(module, "bias_gain", 1.0)
    return linear - bias[:, None, None] - module.noise_strength * module.noise_const


@torch.no_grad()
def strengths(generator: Generator, z: Tensor, psi: float) -> dict[str, dict[str, float]]:
    """{layer: strength, and relative: strength / RMS of the layer's convolution before noise} (maps have unit RMS)."""
    taps = generator(
        z.to(generator.mapping.w_avg), psi=psi, noise="const", taps=tuple(generator.noise_shapes)
    ).taps
    found = {}
    for layer, tap in taps.items():
        strength = float(generator.synthesis.get_parameter(f"{layer}.noise_strength").abs())
        rms = float(before_noise(generator, layer, tap).square().mean().sqrt())
        found[layer] = {"strength": round(strength, 5), "relative": round(strength / rms, 5)}
    return found


@torch.no_grad()
def renders(generator: Generator, z: Tensor, psi: float, size: int, seed: int | None, batch: int) -> Tensor:
    """Images [B, 3, size, size] of z, box-averaged; seed: of the noise, None for the anchor."""
    rng = torch.Generator().manual_seed(seed or 0)
    z = z.to(generator.mapping.w_avg)
    noise = "const" if seed is None else "random"
    images = [generator(part, psi=psi, noise=noise, generator=rng).image for part in z.split(batch)]
    return torch.cat([avg_pool2d(image, generator.resolution // size) for image in images])


@torch.no_grad()
def report(
    generator: Generator, perceptual: LPIPS, count: int, psi: float, size: int, batch: int = 16
) -> dict[str, Any]:
    """Strengths, LPIPS-VGG and RMS between two draws, and between the anchor and a draw, at `count` same z."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(3))
    anchor, first, second = (renders(generator, z, psi, size, seed, batch) for seed in (None, 4, 5))
    return {
        "z": count,
        "layers": strengths(generator, z[:4], psi),
        "lpips_two_draws": float(perceptual(first, second).mean()),
        "lpips_anchor_draw": float(perceptual(anchor, first).mean()),
        "rms_two_draws": float((first - second).square().mean().sqrt()),
    }
