"""One generator in a `.safetensors` with the tensor names of another code base, for tools that load nothing pickled.

`nvidia`: the state dict of G_ema of StyleGAN2-ADA (PyTorch) and the StyleGAN3 repository; `rosinality`: that of g_ema,
and `latent_avg` beside it. Either has every key that a strict `load_state_dict` asks for. The metadata say how to load
it, what the network is, and the licence; by them `load` reads the file back, bit for bit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stylegraft.checkpoints import headers, tensorfile
from stylegraft.checkpoints.architecture import FILTER
from stylegraft.checkpoints.building import build
from stylegraft.checkpoints.exporting import generator_state, left_out, require_rosinality
from stylegraft.checkpoints.foreign import Values
from stylegraft.checkpoints.identity import base_digest
from stylegraft.checkpoints.rosinality import generator_rows
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.fir import setup_filter
from stylegraft.networks.generator import Generator, build_generator

FORMAT = "stylegraft-layout"
VERSIONS = range(1, 2)
MEAN = "latent_avg"  # rosinality keeps the mean of w beside the generator
_TEXTS = ("base", "config", "info", "layout", "load")
_FILTER = re.compile(r"(.*\.)?resample_filter")


@dataclass(frozen=True)
class Layout:
    """require(shown, generator): raises for what it cannot hold; state: {their name: tensor}; ours: the way back, of
    tensors and config; load: how the tools it is for read it.
    """

    require: Callable[[str, Generator], None]
    state: Callable[[Generator], dict[str, Tensor]]
    ours: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Tensor]]
    load: Callable[[Generator], str]


def save_layout(path: str | os.PathLike[str], source: Source, layout: str) -> tuple[str, ...]:
    """Write the generator of `source` in one of LAYOUTS, fp32, atomically and reproducibly; the discriminator stays
    behind.

    Returns what the layout leaves to whoever loads it. Raises StylegraftError, naming it, for what the layout cannot
    hold.
    """
    shown, generator, row = os.fspath(path), source.generator, LAYOUTS[layout]
    generator.require_ordinary(shown)
    row.require(shown, generator)
    tensors = {name: tensor.detach().cpu().float() for name, tensor in row.state(generator).items()}
    metadata = {
        "base": base_digest(generator),
        "config": tensorfile.to_json({"generator": generator.config}, "the config"),
        "info": tensorfile.to_json({**source.info, "name": source.name}, "the info"),
        "layout": layout,
        "load": row.load(generator),
    }
    metadata["digest"] = tensorfile.digest(tensors, metadata)
    tensorfile.write(path, tensors, metadata | tensorfile.stamp(FORMAT, VERSIONS))
    return tuple(left_out(Source(source.name, generator))) if layout == "rosinality" else ()


def load_layout(path: str | os.PathLike[str]) -> Source:
    """The source in a file of `save_layout`, without a discriminator; raises StylegraftError for a damaged one."""
    shown = os.fspath(path)
    tensors, metadata = tensorfile.read(path)
    tensorfile.require_format(path, metadata, FORMAT, VERSIONS)
    texts = {key: metadata.get(key, "") for key in _TEXTS}
    tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, texts))
    tensorfile.require_finite(path, tensors)
    if texts["layout"] not in LAYOUTS:
        raise StylegraftError(f"{shown}: of another layout than {' and '.join(LAYOUTS)}")
    config = headers.from_json(texts["config"], path, "its config").get("generator") or {}
    info = headers.from_json(texts["info"], path, "its info")
    try:
        ours = LAYOUTS[texts["layout"]].ours(tensors, config)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise StylegraftError(f"{shown}: tensors that do not fit its config ({error!r:.120})") from error
    numbers = {name: Values(tensor.numpy()) for name, tensor in ours.items()}
    return Source(str(info.get("name")), build(shown, build_generator, config, numbers, "G"), None, info)


def is_layout(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is one of `save_layout`."""
    try:
        return headers.read_metadata(path).get("format") == FORMAT
    except StylegraftError:
        return False


# ---------------------------------------------------------------------------------------------------------------
# NVIDIA's: our names are theirs; their modules keep FIR kernels as buffers.


def _require_nvidia(shown: str, generator: Generator) -> None:
    if generator.config["architecture"] != "stylegan2":
        raise StylegraftError(
            f"{shown}: NVIDIA's layout has no {generator.config['architecture']} generator; write an .onnx, or one of"
            " ours with `stylegraft convert`"
        )


def _nvidia_state(generator: Generator) -> dict[str, Tensor]:
    own, f = generator.state_dict(), setup_filter(generator.config.get("resample_filter", FILTER))
    for name in [name for name in own if name.endswith((".conv0.weight", ".skip.weight", ".conv1.weight"))]:
        # The layer that does not resample has the published kernel, whatever its network's is; nothing reads it.
        kernel = setup_filter(FILTER) if ".conv1." in name else f
        own[name.replace("weight", "resample_filter")] = kernel.clone()
    blocks = {name.split(".conv1.")[0] for name in own if ".conv1." in name}
    return own | {f"{block}.resample_filter": f.clone() for block in blocks}


def _nvidia_ours(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not _FILTER.fullmatch(name)}


def _nvidia_load(generator: Generator) -> str:
    config = generator.config
    synthesis = {
        "channel_base": config.get("channel_base", 32768),
        "channel_max": config.get("channel_max", 512),
        "architecture": config.get("variant", "skip"),
        "resample_filter": list(config.get("resample_filter", FILTER)),
        "conv_clamp": config.get("conv_clamp"),
        "num_fp16_res": 0,
    }
    mapping = {
        "num_layers": config.get("mapping_layers", 8),
        "lr_multiplier": config.get("mapping_lr_multiplier", 0.01),
    }
    sizes = f"{generator.z_dim}, {generator.c_dim}, {generator.w_dim}, {generator.resolution}, {generator.img_channels}"
    return (
        f"G = Generator({sizes}, mapping_kwargs={mapping}, synthesis_kwargs={synthesis});"
        " G.load_state_dict(safetensors.torch.load_file(path))"
    )


# ---------------------------------------------------------------------------------------------------------------
# rosinality's: `exporting` has its state dict.


def _require_rosinality(shown: str, generator: Generator) -> None:
    require_rosinality(shown, generator, "write an .onnx, or one of ours with `stylegraft convert`")


def _rosinality_state(generator: Generator) -> dict[str, Tensor]:
    return {**generator_state(generator), MEAN: generator.get_buffer("mapping.w_avg")}


def _rosinality_ours(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    rows = generator_rows(config["resolution"], config.get("mapping_layers", 8))
    ours = {"mapping.w_avg": tensors[MEAN]}
    for theirs, name, lead, trail in rows:
        shape = tensors[theirs].shape
        ours[name] = tensors[theirs].reshape(shape[lead : len(shape) - trail])
    return ours


def _rosinality_load(generator: Generator) -> str:
    layers = generator.config.get("mapping_layers", 8)
    return (
        f"state = safetensors.torch.load_file(path); latent_avg = state.pop('{MEAN}');"
        f" g = Generator({generator.resolution}, {generator.w_dim}, {layers}); g.load_state_dict(state)"
    )


LAYOUTS: dict[str, Layout] = {
    "nvidia": Layout(_require_nvidia, _nvidia_state, _nvidia_ours, _nvidia_load),
    "rosinality": Layout(_require_rosinality, _rosinality_state, _rosinality_ours, _rosinality_load),
}
