"""The architecture of a StyleGAN2 from the shapes of its tensors, which cannot lie about themselves.

Names are NVIDIA's (and ours). What shapes do not tell (the learning-rate multiplier of the mapping, the groups of
minibatch-std, the clamp of fp16 layers) comes from the file's own settings and is handed in as `extra`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stylegraft.checkpoints.pickles import Refused

Shapes = Mapping[str, tuple[int, ...]]
MAX_RESOLUTION = 2048
FILTER = (1, 3, 3, 1)  # the published networks' FIR kernel
WHOLE = 1 << 20  # a minibatch-std group as large as the batch


def generator_config(shapes: Shapes, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The config of `build_generator`; raises Refused when the shapes are of no StyleGAN2 generator."""
    blocks = _blocks(shapes, r"synthesis\.b(\d+)\.", "a StyleGAN2 generator")
    const = _shape(shapes, "synthesis.b4.const", 3)
    widths = {r: _shape(shapes, f"synthesis.b{r}.conv1.weight", 4)[0] for r in blocks}
    w_dim = _shape(shapes, "synthesis.b4.conv1.affine.weight", 2)[1]
    depth = _count(shapes, r"mapping\.fc(\d+)\.weight")
    c_dim = _shape(shapes, "mapping.embed.weight", 2)[1] if "mapping.embed.weight" in shapes else 0
    if not depth:
        raise Refused("a generator without a mapping network")
    z_dim = _shape(shapes, "mapping.fc0.weight", 2)[1] - (w_dim if c_dim else 0)
    top = blocks[-1]
    images = sum(f"synthesis.b{r}.torgb.weight" in shapes for r in blocks)
    variant = (
        "resnet" if f"synthesis.b{top}.skip.weight" in shapes else "skip" if images == len(blocks) else "orig"
    )
    if const[0] != widths[4] or z_dim < 1:
        raise Refused("a generator whose constant or mapping does not fit its layers")
    config = {
        "architecture": "stylegan2",
        "resolution": top,
        "img_channels": _shape(shapes, f"synthesis.b{top}.torgb.weight", 4)[0],
        "z_dim": z_dim,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "mapping_layers": depth,
        **channel_rule(widths),
        "variant": variant,
    }
    return config | dict(extra)


def discriminator_config(shapes: Shapes, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The config of `build_discriminator`; raises Refused when the shapes are of no StyleGAN2 discriminator."""
    blocks = _blocks(shapes, r"b(\d+)\.", "a StyleGAN2 discriminator")
    top = blocks[-1]
    widths = {r: _shape(shapes, f"b{r}.conv0.weight", 4)[0] for r in blocks if r > 4}
    out, given, *_ = _shape(shapes, "b4.conv.weight", 4)
    widths[4] = out
    if given - out not in (0, 1):
        raise Refused(f"a discriminator with {given - out} channels of minibatch-std; known are 0 and 1")
    readers = sum(f"b{r}.fromrgb.weight" in shapes for r in blocks)
    kind = "resnet" if f"b{top}.skip.weight" in shapes else "skip" if readers == len(blocks) else "orig"
    config: dict[str, Any] = {
        "resolution": top,
        "img_channels": _shape(shapes, f"b{top}.fromrgb.weight", 4)[1],
        **channel_rule(widths),
        "architecture": kind,
    }
    if "mapping.embed.weight" in shapes:
        config["c_dim"] = _shape(shapes, "mapping.embed.weight", 2)[1]
        config["cmap_dim"] = _shape(shapes, "b4.out.weight", 2)[0]
        config["mapping_layers"] = _count(shapes, r"mapping\.fc(\d+)\.weight")
    config |= extra
    if given == out:
        config["mbstd_group_size"] = 1
    return config


def channel_rule(widths: Mapping[int, int]) -> dict[str, int]:
    """{"channel_base", "channel_max"}, the least with min(base // r, max) = widths[r] everywhere.

    Raises Refused for networks of other widths.
    """
    most = max(widths.values())
    base = max(width * r for r, width in widths.items())
    for r, width in widths.items():
        if min(base // r, most) != width:
            raise Refused(
                f"layers {', '.join(f'{w} wide at {s} px' for s, w in sorted(widths.items()))}: not the rule"
                " min(channel_base / resolution, channel_max) of StyleGAN2"
            )
    return {"channel_base": base, "channel_max": most}


def _blocks(shapes: Shapes, pattern: str, what: str) -> list[int]:
    """Resolutions in ascending order: 4, 8, ... without a gap."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name)) and len(match[1]) < 6}
    blocks = sorted(found)
    if len(blocks) < 2 or blocks != [4 << i for i in range(len(blocks))]:
        listed = ", ".join(map(str, blocks[:12])) or "none"
        raise Refused(f"tensors that are not those of {what} (blocks of resolution: {listed})")
    if blocks[-1] > MAX_RESOLUTION:
        raise Refused(f"networks of {blocks[-1]} px; at most {MAX_RESOLUTION} are read")
    return blocks


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)


def _shape(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    if name not in shapes:
        raise Refused(f"networks without the tensor {name}")
    shape = shapes[name]
    if len(shape) != axes or 0 in shape:
        raise Refused(f"a tensor {name} of shape {list(shape)}, expected {axes} axes")
    return shape
