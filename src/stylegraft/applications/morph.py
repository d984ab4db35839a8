"""Morph: the frames of a path through faces, domains and noise.

    plan = along(tour([1.0, 1.0]), seconds=10)  # source, first domain, second domain, source
    frames = morph_frames(source, [a, b], plan, seeds=[3], fps=30)
    write_video("morph.mp4", frames, fps=30)

Weights are interpolated over everything that the domains move, theta + sum_k a_k(t) Delta_k, as StyleDomain's
cross-domain morph does (Alanov et al., ICCV 2023), and w follows from the mapping of each frame's own mix. Faces go
along a straight line in W: on faces-64 that way is half as long as the great circle in Z, by LPIPS, for it passes no
third faces (benchmarks/results/morph-speed.json).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor

from stylegraft.adaptation.sampling import Draws, labels
from stylegraft.applications.keyframes import Morph
from stylegraft.applications.latents import Latents
from stylegraft.applications.mixing import Mixer
from stylegraft.checkpoints import Source
from stylegraft.checkpoints.identity import describe_base
from stylegraft.data.pixels import to_uint8
from stylegraft.domains.domain import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Noise, blend_noise

Walk = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Any]]
"""Amounts [B, k], the faces before and after [B] (their places) and the share of the way [B] -> what a Mixer draws."""


def morph_frames(
    source: Source,
    domains: Sequence[Domain],
    plan: Morph,
    *,
    seeds: Sequence[int] = (0,),
    codes: Latents | None = None,
    fps: float = 30.0,
    times: Sequence[float] | None = None,
    blend: Literal["linear", "vp", "slerp"] = "linear",
    noise_seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Tensor]:
    """The frames of a morph, uint8 [B, C, R, R] a batch, made when they are asked for.

    plan: a track for each domain; its faces are places in `seeds`, or in `codes`, which are truncated already. times:
    in seconds, None for all frames at `fps`. blend, noise_seed: of the noise that the noise track goes to. Drawn on the
    source's device. Raises StylegraftError for another number of domains than tracks and for places that there are not.
    """
    if len(domains) != len(plan.domains):
        raise StylegraftError(f"{len(domains)} domains, {len(plan.domains)} tracks; expected one for each")
    have = len(seeds) if codes is None else len(codes)
    if odd := [int(key.value) for key in plan.face.keys if not 0 <= key.value < have]:
        raise StylegraftError(f"a morph through face {odd[0]}; there are {have}, counted from 0")
    mixer = Mixer(source.generator, domains or [Domain({}, base=describe_base(source))])
    walk = _of_codes(codes) if codes is not None else _of_seeds(mixer, seeds)
    seconds = plan.times(fps) if times is None else times
    return _render(
        mixer, plan, walk, seconds, codes is None, _noise(mixer, plan, blend, noise_seed), progress
    )


def _render(
    mixer: Mixer,
    plan: Morph,
    walk: Walk,
    times: Sequence[float],
    truncated: bool,
    noise: Callable[[Sequence[float]], Noise | Literal["const"]],
    progress: Callable[[str, int, int], None] | None,
) -> Iterator[Tensor]:
    """Batches of frames that share one psi."""
    device = mixer.generator.get_buffer("mapping.w_avg").device
    size = 16 if mixer.generator.resolution <= 256 else 4
    done = 0
    for psi, those in groupby(times, plan.psi.number if truncated else lambda t: 1.0):
        alike = list(those)
        for part in (alike[i : i + size] for i in range(0, len(alike), size)):
            rows = [[track.number(t) for track in plan.domains] or [0.0] for t in part]
            places = torch.tensor([plan.face.place(t) for t in part], dtype=torch.float64)
            before, after = places[:, :2].long().to(device).unbind(1)
            with torch.inference_mode():
                amounts = torch.tensor(rows, device=device)
                code = walk(amounts, before, after, places[:, 2].float().to(device))
                maps = noise([plan.noise.number(t) for t in part])
                images = to_uint8(mixer(amounts, **code, psi=psi, noise=maps).image)
            done += len(part)
            if progress:
                progress("images of the morph", done, len(times))
            yield images


def _of_seeds(mixer: Mixer, seeds: Sequence[int]) -> Walk:
    """A line in W between the faces of seeds, each through the mapping of the frame; of class seed % c_dim."""
    generator = mixer.generator
    z = Draws(seeds, generator.get_buffer("mapping.w_avg").device).normal(generator.z_dim)
    c = labels(generator, seeds)

    def walk(amounts: Tensor, before: Tensor, after: Tensor, u: Tensor) -> dict[str, Any]:
        ends = torch.cat((before, after))
        w, next_w = mixer.mapping(amounts.repeat(2, 1), z[ends], None if c is None else c[ends]).chunk(2)
        return {"w": torch.lerp(w, next_w, u[:, None])}

    return walk


def _of_codes(codes: Latents) -> Walk:
    """A line between codes, in W+ and, where they have style vectors, in S."""

    def between(x: Tensor, before: Tensor, after: Tensor, u: Tensor) -> Tensor:
        return torch.lerp(x[before], x[after], u.reshape(-1, *(1 for _ in x.shape[1:])))

    def walk(amounts: Tensor, *place: Tensor) -> dict[str, Any]:
        code: dict[str, Any] = {"ws": between(codes.ws, *place)}
        if codes.styles:
            code["styles"] = {layer: between(s, *place) for layer, s in codes.styles.items()}
        return code

    return walk


def _noise(
    mixer: Mixer, plan: Morph, blend: Literal["linear", "vp", "slerp"], seed: int
) -> Callable[[Sequence[float]], Noise | Literal["const"]]:
    """Amounts of noise -> maps of those frames, from the anchor (0) to one fixed other draw (1): nothing flickers."""
    anchor = mixer.generator.noise()
    other: Noise = {}
    if any(key.value for key in plan.noise.keys):
        other = mixer.generator.noise("random", 1, torch.Generator().manual_seed(seed))

    def maps(amounts: Sequence[float]) -> Noise | Literal["const"]:
        if not any(amounts):
            return "const"
        if len(set(amounts)) == 1:
            return blend_noise(anchor, other, amounts[0], blend)
        each = [blend_noise(anchor, other, a, blend) for a in amounts]
        return {name: torch.cat([one[name] for one in each]) for name in anchor}

    return maps
