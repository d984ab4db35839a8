"""The published FFHQ MobileStyleGAN as a generator of ours, whole (1024 px) or cut at a hidden map.

Published values are stored at unit scale, with the RMS of each tensor as its gain (see `networks.mobile`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from stylegraft.checkpoints.openvino import HIDDEN
from stylegraft.networks.generator import Generator, build_generator, mean_w


def mobile_faces(
    published: Mapping[str, Tensor], resolution: int = 1024, head: Literal["wavelet", "pixel"] = "wavelet"
) -> Generator:
    """The generator of 64 to 1024 px; a cut one has a zero head that has yet to be fitted.

    published: the asset "mobile". head: "wavelet" cuts at the map of half the size, as published, "pixel" at the map of
    the image's own size.
    """
    synthesis = {k.removeprefix("synthesis."): v for k, v in published.items() if k.startswith("synthesis.")}
    hidden = [r for r in HIDDEN if r < resolution or (head == "pixel" and r == resolution)]
    widths = {r: synthesis[f"b{r}.conv1.bias"].shape[0] for r in hidden}
    kept = {k: v for k, v in synthesis.items() if int(k.split(".")[0][1:]) <= hidden[-1]}
    if resolution < 1024:
        kept |= _empty_head(hidden[-1], widths[hidden[-1]], 12 if head == "wavelet" else 3)
    gains = {k: _rms(v) for k, v in kept.items() if not k.endswith(("noise_strength", "noise_const"))}
    config = {
        "architecture": "mobile", "resolution": resolution, "img_channels": 3, "z_dim": 512, "w_dim": 512, "c_dim": 0,
        "mapping_layers": 8, "channels": {str(r): widths[r] for r in hidden}, "gains": gains,
    }  # fmt: skip
    generator = build_generator(config)
    generator.synthesis.load_state_dict({k: v / gains.get(k, 1.0) for k, v in kept.items()})
    mapping = {k.removeprefix("mapping."): v for k, v in published.items() if k.startswith("mapping.")}
    generator.mapping.load_state_dict({**mapping, "w_avg": torch.zeros(512)})
    generator.mapping.w_avg.copy_(mean_w(generator))
    return generator.eval().requires_grad_(False)


def _empty_head(r: int, channels: int, outputs: int) -> dict[str, Tensor]:
    return {
        f"b{r}.torgb.affine.weight": torch.zeros(channels, 512),
        f"b{r}.torgb.affine.bias": torch.ones(channels),
        f"b{r}.torgb.weight": torch.zeros(outputs, channels, 1, 1),
        f"b{r}.torgb.bias": torch.zeros(outputs),
    }


def _rms(x: Tensor) -> float:
    rms = float(x.double().square().mean().sqrt())
    return round(rms, 9) if rms > 0 else 512**-0.5
