"""Write a source for the tools of others: the rosinality layout, which most of them load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from stylegraft.atomic import replacing
from stylegraft.checkpoints.architecture import FILTER, WHOLE
from stylegraft.checkpoints.rosinality import discriminator_rows, generator_rows
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import Discriminator
from stylegraft.networks.fir import setup_filter
from stylegraft.networks.generator import Generator
from stylegraft.networks.stylegan2 import resolutions, widths


def save_rosinality(path: str | os.PathLike[str], source: Source) -> tuple[str, ...]:
    """Write {g_ema, latent_avg, d} as that code base's torch.save does, atomically, bit for bit the same numbers.

    Returns what the layout leaves to whoever loads it, one line each, for the user.

    Raises StylegraftError, naming it, for what the layout cannot hold. Its forward differs in the last bits: it scales
    kernels before the 1e-8 of demodulation.
    """
    shown = os.fspath(path)
    source.generator.require_ordinary(shown)
    require_rosinality(shown, source.generator, "write a .safetensors instead")
    value: dict[str, Any] = {
        "g_ema": generator_state(source.generator),
        "latent_avg": source.generator.get_buffer("mapping.w_avg").detach().cpu().clone(),
    }
    notes = list(left_out(source))
    if licence := source.info.get("licence"):
        value["licence"] = str(licence)
    if source.discriminator is not None and (lacks := _d_lacks(source.discriminator)):
        notes.append(f"the discriminator is left out: the layout has no {' and no '.join(lacks)}")
    elif source.discriminator is not None:
        value["d"] = discriminator_state(source.discriminator)
    with replacing(path) as temporary:
        torch.save(value, temporary)
    return tuple(notes)


def require_rosinality(shown: str, generator: Generator, instead: str) -> None:
    """Raise StylegraftError, naming what the layout cannot hold of this generator and what to do instead."""
    if lacks := _lacks(generator):
        raise StylegraftError(f"{shown}: the rosinality layout has no {' and no '.join(lacks)}; {instead}")


def left_out(source: Source) -> Iterator[str]:
    """What the layout has no place for."""
    config, d = source.generator.config, source.discriminator
    if config.get("conv_clamp") is not None:
        yield f"the clamp of fp16 layers at {config['conv_clamp']:g} is not in the layout (it hardly ever acts)"
    if d is not None and (group := d.config.get("mbstd_group_size", 4)) != 4:
        shown = "the whole batch" if group >= WHOLE else group
        yield f"minibatch-std groups of {shown} are not in the layout: older tools take 4, and D's logits change"
    for multiplier in (1, 2):
        usual = {
            r: 512 if r <= 32 else 16384 * multiplier // r for r in resolutions(source.generator.resolution)
        }
        if widths(config) == usual:
            return
    yield "its layers are not those of channel_multiplier 1 or 2: older tools need their table of widths changed"


def generator_state(generator: Generator) -> dict[str, Tensor]:
    """The state dict of that code base's Generator, with the FIR kernels it keeps as buffers."""
    state = _state(generator, generator_rows(generator.resolution, generator.config.get("mapping_layers", 8)))
    kernel = _kernel(4.0)
    for i in range(generator.resolution.bit_length() - 3):
        state[f"convs.{2 * i}.conv.blur.kernel"] = kernel.clone()
        state[f"to_rgbs.{i}.upsample.kernel"] = kernel.clone()
    return state


def discriminator_state(discriminator: Discriminator) -> dict[str, Tensor]:
    """The state dict of that code base's Discriminator."""
    state = _state(discriminator, discriminator_rows(discriminator.resolution))
    kernel = _kernel(1.0)
    for k in range(1, discriminator.resolution.bit_length() - 2):
        state[f"convs.{k}.conv2.0.kernel"] = kernel.clone()
        state[f"convs.{k}.skip.0.kernel"] = kernel.clone()
    return state


def _state(network: torch.nn.Module, rows: Any) -> dict[str, Tensor]:
    own = network.state_dict()
    state = {}
    for theirs, ours, lead, trail in rows:
        tensor = own[ours].detach().cpu().contiguous()
        state[theirs] = tensor.reshape((1,) * lead + tuple(tensor.shape) + (1,) * trail).clone()
    return state


def _kernel(gain: float) -> Tensor:
    f = setup_filter(FILTER)
    return (f if f.ndim == 2 else torch.outer(f, f)) * gain


def _lacks(generator: Generator) -> list[str]:
    """What keeps a generator out of the layout."""
    config, channels = generator.config, generator.img_channels
    if config["architecture"] != "stylegan2":
        return [f"{config['architecture']} generator"]
    return [
        what
        for what, found in (
            ("class labels", generator.c_dim),
            ("grey images" if channels == 1 else f"images of {channels} channels", channels != 3),
            (f"generator of the variant {config.get('variant')!r}", config.get("variant", "skip") != "skip"),
            ("place for z and w of different sizes", generator.z_dim != generator.w_dim),
            (
                "place for a rate of the mapping that is not 0.01",
                config.get("mapping_lr_multiplier", 0.01) != 0.01,
            ),
            *_common(config),
        )
        if found
    ]


def _d_lacks(discriminator: Discriminator) -> list[str]:
    config, kind = discriminator.config, discriminator.architecture
    return [
        what
        for what, found in (
            ("class labels", discriminator.c_dim),
            (f"discriminator of the architecture {kind!r}", kind != "resnet"),
            ("discriminator without minibatch-std", config.get("mbstd_group_size", 4) <= 1),
            *_common(config),
        )
        if found
    ]


def _common(config: dict[str, Any]) -> list[tuple[str, bool]]:
    return [
        ("place for another filter than [1, 3, 3, 1]", tuple(config.get("resample_filter", FILTER)) != FILTER)
    ]
