"""Checkpoints as other code bases write them, made of our own networks: `nvidia_pickle`, `tensorflow_pickle`,
`rosinality_file`.

Python's pickler and torch.save write them, from records of the published structure: no line of the others' code is
needed, and where NVIDIA keeps source text stands SOURCE. Names and layouts are spelled out here a second time on
purpose, from the formats and not from the readers.
"""

from __future__ import annotations

import argparse
import copy
import io
import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from stylegraft.networks.discriminator import Discriminator
from stylegraft.networks.generator import Generator

SOURCE = "# Here stands the text of the module with the network's class.\n"
FILTER = [1, 3, 3, 1]
WHOLE = 1 << 20  # our minibatch-std group as large as any batch; NVIDIA says None


def resolutions(network: Generator | Discriminator) -> list[int]:
    """4, 8, ... up to the size of the image."""
    return [2**i for i in range(2, network.resolution.bit_length())]


# --- Modules that have the names which a pickle names -----------------------------------------------------------------


class EasyDict(dict):
    """A dict of NVIDIA's code; its items are what is pickled."""


def _reconstruct_persistent_obj(meta: Any) -> Any:
    """Named in pickles; called where a network is copied."""
    made = object.__new__(type(meta["class_name"], (_Persistent,), {}))
    made.__dict__.update(meta["state"])
    return made


def scalar(dtype: Any, data: Any) -> Any:
    """`numpy.core.multiarray.scalar` of numpy 1."""
    raise AssertionError("named in pickles, never called")


def _reconstruct(*_: Any) -> Any:
    raise AssertionError("named in pickles, never called")


class TensorFlowNetwork:
    """`dnnlib.tflib.network.Network`: its `__dict__` is the state that the code base writes."""

    def __init__(self, state: Mapping[str, Any]):
        self.__dict__.update(state)


# object here: (module, name) in the file
NAMES: dict[Any, tuple[str, str]] = {
    EasyDict: ("dnnlib.util", "EasyDict"),
    _reconstruct_persistent_obj: ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    TensorFlowNetwork: ("dnnlib.tflib.network", "Network"),
}
NUMPY_1: dict[Any, tuple[str, str]] = {
    scalar: ("numpy.core.multiarray", "scalar"),
    _reconstruct: ("numpy.core.multiarray", "_reconstruct"),
}


@contextmanager
def _named(package: str, numpy: int) -> Iterator[None]:
    """The objects above under the names that the pickler is to write, for as long as it looks them up."""
    rows = {thing: (package + module, name) for thing, (module, name) in NAMES.items()}
    rows |= NUMPY_1 if numpy == 1 else {}
    own = {thing: (thing.__module__, thing.__qualname__) for thing in rows}
    whole = {
        ".".join(module.split(".")[:depth])
        for module, _ in rows.values()
        for depth in range(1, module.count(".") + 2)
    }
    kept = {module: sys.modules.get(module) for module in whole if module != "numpy"}
    try:
        for module in kept:
            sys.modules[module] = types.ModuleType(module)
        for thing, (module, name) in rows.items():
            thing.__module__, thing.__qualname__ = module, name
            setattr(sys.modules[module], name, thing)
        yield
    finally:
        for module, before in kept.items():
            del sys.modules[module]
            if before is not None:
                sys.modules[module] = before
        for thing, (module, name) in own.items():
            thing.__module__, thing.__qualname__ = module, name


class _OldNumpy(pickle.Pickler):
    """Arrays and numbers under the names of numpy 1, which wrote most of the published files."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.generic):
            return scalar, (obj.dtype, obj.tobytes())
        if type(obj) is np.ndarray:
            _, arguments, state = obj.__reduce__()
            return _reconstruct, arguments, state
        return NotImplemented


def dump(value: Any, protocol: int, package: str = "", numpy: int = 2) -> bytes:
    """The pickle of a value that holds the objects above; package: where a project keeps NVIDIA's folders."""
    buffer = io.BytesIO()
    pickler = _OldNumpy if numpy == 1 else pickle.Pickler
    with _named(package, numpy):
        pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


# --- NVIDIA, PyTorch --------------------------------------------------------------------------------------------------


class _Persistent(nn.Module):
    """A module that is pickled as one call with its whole state; a subclass has the name of NVIDIA's class."""

    _init_args: tuple[Any, ...] = ()

    def __reduce__(self) -> Any:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": type(self).__name__,
                "state": self.__dict__}  # fmt: skip
        return _reconstruct_persistent_obj, (meta,)


@dataclass(frozen=True)
class Extra:
    """What StyleDomain adds to one module: parameters, buffers and attributes."""

    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Layout:
    """How the tensors of a network lie in the file."""

    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    frozen: Collection[str] = ()  # parameters that FixNoise's or FreezeD's training keeps as buffers
    noise_rand: bool = False
    extras: Mapping[str, Extra] = field(default_factory=dict)

    def stored(self, tensor: Tensor) -> Tensor:
        """A copy of its own with the dtype and strides that are asked for."""
        tensor = tensor.detach().to(self.dtype)
        wide = tensor.ndim == 4 and self.channels_last
        order = torch.channels_last if wide else torch.contiguous_format
        return tensor.clone(memory_format=order)

    def module(
        self, class_name: str, name: str, tensors: Mapping[str, Tensor], buffers: Any, **attributes: Any
    ) -> _Persistent:
        """A module of that class; `tensors` become parameters unless they are frozen."""
        made = type(class_name, (_Persistent,), {})()
        made._parameters, made._buffers, made._modules = OrderedDict(), OrderedDict(), OrderedDict()
        for key, value in attributes.items():
            setattr(made, key, value)
        extra = self.extras.get(name, Extra())
        for key, tensor in {**tensors, **extra.parameters}.items():
            if f"{name}.{key}" in self.frozen:
                made.register_buffer(key, self.stored(tensor))
            else:
                made.register_parameter(key, nn.Parameter(self.stored(tensor)))
        for key, tensor in {**buffers, **extra.buffers}.items():
            made.register_buffer(key, self.stored(tensor))
        for key, value in extra.attributes.items():
            setattr(made, key, value)
        for side in ("in", "out"):  # that code base finds the factors of a product through bound methods
            factors = [key for key in (*made._parameters, *made._buffers) if f"weights_offset_{side}_" in key]
            if factors:
                getters = (made.get_parameter, made.get_buffer)
                found = [(getters[key in made._buffers], key) for key in sorted(factors)]
                setattr(made, f"weights_offset_{side}", found)
        made._init_args = ()
        made._init_kwargs = EasyDict(block_kwargs=EasyDict(), name=class_name)
        return made

    def linear(self, name: str, layer: Any, in_features: int, rate: float = 1) -> _Persistent:
        """A FullyConnectedLayer."""
        gain = rate / np.sqrt(in_features)
        activation = "lrelu" if layer.lrelu else "linear"
        return self.module("FullyConnectedLayer", name, {"weight": layer.weight, "bias": layer.bias}, {},
                           activation=activation, weight_gain=gain, bias_gain=rate)  # fmt: skip

    def conv(
        self, name: str, layer: Any, f: Tensor | None, clamp: float | None, up: int = 1, down: int = 1
    ) -> _Persistent:
        """A Conv2dLayer; f: its filter where it resamples (else it has the usual one, which nobody reads)."""
        out, given, size, _ = layer.weight.shape
        bias = getattr(layer, "bias", None)
        tensors = {"weight": layer.weight} | ({} if bias is None else {"bias": bias})
        made = self.module("Conv2dLayer", name, tensors, {"resample_filter": _filter(FILTER) if f is None else f},
                           activation="linear" if bias is None else "lrelu", up=up, down=down, conv_clamp=clamp,
                           padding=size // 2, weight_gain=1 / np.sqrt(given * size**2),
                           act_gain=1 if bias is None else np.sqrt(2))  # fmt: skip
        if bias is None:
            made.bias = None
        return made


def _filter(taps: Any) -> Tensor:
    """A FIR kernel as the buffers have it: two axes, sum 1; above 7 taps one axis."""
    f = torch.tensor(taps, dtype=torch.float32)
    f = f if len(f) >= 8 else torch.outer(f, f)
    return f / f.sum()


def _mapping(layout: _Layout, prefix: str, mapping: Any, rate: float) -> _Persistent:
    buffers = {"w_avg": mapping.w_avg} if hasattr(mapping, "w_avg") else {}
    made = layout.module("MappingNetwork", prefix, {}, buffers, z_dim=mapping.z_dim, c_dim=mapping.c_dim,
                         num_layers=mapping.num_layers, w_avg_beta=0.995 if buffers else None)  # fmt: skip
    for name, layer in mapping.named_children():
        if name == "miner":
            continue  # a domain's, no part of any file
        own = 1 if name == "embed" else rate
        made.add_module(name, layout.linear(f"{prefix}.{name}", layer, layer.weight.shape[1], own))
    return made


def _generator(generator: Generator, layout: _Layout, noise: bool, w_avg: bool) -> _Persistent:
    config = generator.config
    clamp, f = config.get("conv_clamp"), _filter(config.get("resample_filter", FILTER))
    sizes = {
        "w_dim": generator.w_dim,
        "img_resolution": generator.resolution,
        "img_channels": generator.img_channels,
    }
    made = layout.module("Generator", "", {}, {}, z_dim=generator.z_dim, c_dim=generator.c_dim, **sizes)
    made._init_kwargs = EasyDict(z_dim=generator.z_dim, **sizes, synthesis_kwargs=EasyDict(conv_clamp=clamp))
    synthesis = layout.module("SynthesisNetwork", "synthesis", {}, {}, num_ws=generator.num_ws, **sizes)
    for r in resolutions(generator):
        name, block = f"synthesis.b{r}", generator.synthesis.get_submodule(f"b{r}")
        const = {"const": block.const} if r == 4 else {}
        part = layout.module("SynthesisBlock", name, const, {"resample_filter": f}, resolution=r, use_fp16=r >= 16,
                             architecture=config.get("variant", "skip"), is_last=r == generator.resolution)  # fmt: skip
        for key in ("conv0", "conv1", "torgb"):
            layer: Any = getattr(block, key)
            if layer is None:
                continue
            tensors = {"weight": layer.weight, "bias": layer.bias}
            buffers, attributes = {}, {"weight_gain": 1 / np.sqrt(layer.weight.shape[1])}
            if key != "torgb":
                # the filter is handed to the layer that enlarges; the other has the usual one, which nobody reads
                buffers = {"resample_filter": f if key == "conv0" else _filter(FILTER)}
                attributes = {"up": 2 if key == "conv0" else 1, "use_noise": noise, "activation": "lrelu",
                              "padding": 1, "act_gain": np.sqrt(2)}  # fmt: skip
            if key != "torgb" and noise:
                tensors["noise_strength"] = layer.noise_strength
                buffers["noise_const"] = layer.noise_const
                if layout.noise_rand:
                    buffers["noise_rand"] = torch.randn(r, r)
            class_name = "ToRGBLayer" if key == "torgb" else "SynthesisLayer"
            child = layout.module(class_name, f"{name}.{key}", tensors, buffers, resolution=r, conv_clamp=clamp,
                                  **attributes)  # fmt: skip
            affine = layout.linear(f"{name}.{key}.affine", layer.affine, generator.w_dim)
            child.add_module("affine", affine)
            part.add_module(key, child)
        if block.skip is not None:
            part.add_module("skip", layout.conv(f"{name}.skip", block.skip, f, None, up=2))
        synthesis.add_module(f"b{r}", part)
    made.add_module("synthesis", synthesis)
    mapping = _mapping(layout, "mapping", generator.mapping, config.get("mapping_lr_multiplier", 0.01))
    if not w_avg:
        del mapping._buffers["w_avg"]
    made.add_module("mapping", mapping)
    return made


def _discriminator(network: Discriminator, layout: _Layout) -> _Persistent:
    config = network.config
    clamp, f = config.get("conv_clamp"), _filter(config.get("resample_filter", FILTER))
    made = layout.module("Discriminator", "", {}, {}, c_dim=network.c_dim, img_resolution=network.resolution)
    for r in reversed(resolutions(network)[1:]):
        block = network.block(r)
        part = layout.module("DiscriminatorBlock", f"b{r}", {}, {"resample_filter": f}, resolution=r,
                             architecture=network.architecture)  # fmt: skip
        if block.fromrgb is not None:
            part.add_module("fromrgb", layout.conv(f"b{r}.fromrgb", block.fromrgb, None, clamp))
        part.add_module("conv0", layout.conv(f"b{r}.conv0", block.conv0, None, clamp))
        part.add_module("conv1", layout.conv(f"b{r}.conv1", block.conv1, f, clamp, down=2))
        if block.skip is not None:
            part.add_module("skip", layout.conv(f"b{r}.skip", block.skip, f, None, down=2))
        made.add_module(f"b{r}", part)
    if network.c_dim:
        rate = config.get("mapping_lr_multiplier", 0.01)
        made.add_module("mapping", _mapping(layout, "mapping", network.mapping, rate))
    head, group = network.b4, config.get("mbstd_group_size", 4)
    last = layout.module("DiscriminatorEpilogue", "b4", {}, {}, cmap_dim=network.cmap_dim if network.c_dim else 0,
                         resolution=4, architecture=network.architecture)  # fmt: skip
    if head.fromrgb is not None:  # the one convolution that is never clamped
        last.add_module("fromrgb", layout.conv("b4.fromrgb", head.fromrgb, None, None))
    if group > 1:
        size = None if group == WHOLE else group
        last.add_module(
            "mbstd", layout.module("MinibatchStdLayer", "b4.mbstd", {}, {}, group_size=size, num_channels=1)
        )
    else:
        last.mbstd = None
    last.add_module("conv", layout.conv("b4.conv", head.conv, None, clamp))
    last.add_module("fc", layout.linear("b4.fc", head.fc, head.fc.weight.shape[1]))
    last.add_module("out", layout.linear("b4.out", head.out, head.out.weight.shape[1]))
    made.add_module("b4", last)
    return made


def _augment_pipe(layout: _Layout) -> _Persistent:
    buffers = {"p": torch.tensor(0.25), "Hz_geom": torch.randn(12), "Hz_fbank": torch.randn(4, 43)}
    return layout.module("AugmentPipe", "", {}, buffers, xflip=1.0, brightness_std=0.2)


def nvidia_networks(
    generator: Generator | None,
    discriminator: Discriminator | None = None,
    *,
    raw: Generator | None = None,
    order: Literal["ada", "sg3"] = "ada",
    noise: bool = True,
    w_avg: bool = True,
    **layout: Any,
) -> dict[str, Any]:
    """The dict that NVIDIA's training loop pickles; `raw`, `noise`, `w_avg`, layout: as in `nvidia_pickle`.

    The loop copies its networks first, which untangles the bound methods in StyleDomain's layers.
    """
    own = _Layout(**layout)
    plain = _Layout()
    networks: dict[str, _Persistent | None] = {
        "G": None if raw is None else _generator(raw, plain, noise, w_avg),
        "D": None if discriminator is None else _discriminator(discriminator, own),
        "G_ema": None if generator is None else _generator(generator, own, noise, w_avg),
        "augment_pipe": _augment_pipe(plain),
    }
    networks = {name: copy.deepcopy(network) for name, network in networks.items()}
    data = EasyDict(class_name="training.dataset.ImageFolderDataset", path="/data/faces.zip", use_labels=False,
                    max_size=None, xflip=True, resolution=16)  # fmt: skip
    if order == "ada":
        return {"training_set_kwargs": dict(data), **networks}
    return {**networks, "training_set_kwargs": data}


def nvidia_pickle(
    generator: Generator | None,
    discriminator: Discriminator | None = None,
    *,
    protocol: int = 4,
    package: str = "",
    numpy: int = 2,
    keep: Collection[str] | None = None,
    **networks: Any,
) -> bytes:
    """A snapshot of StyleGAN2-ADA (order "ada") or of the StyleGAN3 repository ("sg3").

    raw: the G beside G_ema (None: none); keep: entries of the dict that are written, None for all; noise: False for
    layers without noise; w_avg: False for a mapping that does not keep it; dtype of the storages; channels_last;
    frozen: parameters that lie among the buffers; noise_rand: FixNoise's second maps; extras: {module: Extra} of
    StyleDomain; package: "name." before NVIDIA's modules; numpy: 1 or 2, whose names it writes.
    """
    value = nvidia_networks(generator, discriminator, **networks)
    return dump({k: v for k, v in value.items() if keep is None or k in keep}, protocol, package, numpy)


def style_offset(rule: str, offset: Tensor, mask: Tensor | None = None) -> Extra:
    """StyleDomain's offset of one layer's style (or of w, in the rules that end in w_space): [channels]."""
    buffers = {"offset_mask": torch.ones_like(offset)[None] if mask is None else mask[None]}
    if rule.startswith("multiplicative"):
        buffers["ones"] = torch.ones_like(offset)[None]
    return Extra({"offset": offset[None]}, buffers, _rules(style=rule))


def weight_offset(rule: str, offset: Tensor) -> Extra:
    """StyleDomain's offset of a kernel, of a shape that broadcasts to it."""
    buffers = {"ones_weights": torch.ones_like(offset)}
    return Extra({"weights_offset": offset}, buffers, _rules(weights=rule))


def low_rank_offset(rule: str, pairs: list[tuple[Tensor, Tensor]], frozen: Collection[str] = ()) -> Extra:
    """StyleDomain's products: (U_t [O, K], V_t [K, I]) for each t; frozen: names of factors that are buffers."""
    factors = {}
    for t, (u, v) in enumerate(pairs):
        factors |= {f"weights_offset_in_{t}": v, f"weights_offset_out_{t}": u}
    buffers = {name: factors.pop(name) for name in frozen}
    affine = rule.startswith("affine")
    shape = [len(pairs[0][0]), pairs[0][1].shape[1]] + ([] if affine else [1, 1])
    rules = {"affine_weights_domain_modulation_parametrization": rule} if affine else _rules(weights=rule)
    return Extra(factors, {**buffers, "ones_weights": torch.ones(shape)}, rules)


def both(a: Extra, b: Extra) -> Extra:
    """A style offset and a weight offset in one layer."""
    rules = {k: a.attributes.get(k) or b.attributes.get(k) for k in {**a.attributes, **b.attributes}}
    return Extra({**a.parameters, **b.parameters}, {**a.buffers, **b.buffers}, rules)


def _rules(style: str | None = None, weights: str | None = None) -> dict[str, Any]:
    return {"use_domain_modulation": True, "domain_modulation_parametrization": style,
            "weights_domain_modulation_parametrization": weights, "layer_idx": 3}  # fmt: skip


def stylegan3_pickle(protocol: int = 4) -> bytes:
    """A config-T generator of the StyleGAN3 repository, as far as its names go."""
    layout = _Layout()
    made = layout.module(
        "Generator", "", {}, {}, z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=3
    )
    synthesis = layout.module("SynthesisNetwork", "synthesis", {}, {}, num_ws=16)
    buffers = {"freqs": torch.randn(8, 2), "phases": torch.randn(8), "transform": torch.eye(3)}
    source = layout.module("SynthesisInput", "synthesis.input", {"weight": torch.randn(8, 8)}, buffers)
    synthesis.add_module("input", source)
    for name in ("L0_36_8", "L1_36_8"):
        layer = layout.module("SynthesisLayer", f"synthesis.{name}", {"weight": torch.randn(8, 8, 3, 3)},
                              {"magnitude_ema": torch.ones([]), "up_filter": torch.randn(12)})  # fmt: skip
        synthesis.add_module(name, layer)
    made.add_module("synthesis", synthesis)
    made.add_module("mapping", layout.module("MappingNetwork", "mapping", {}, {"w_avg": torch.zeros(8)}))
    return dump({"G": made, "D": None, "G_ema": made}, protocol)


# --- NVIDIA, TensorFlow -----------------------------------------------------------------------------------------------


def _hwio(kernel: Tensor, turned: bool = False) -> np.ndarray:
    """[O, I, h, w] as TensorFlow keeps it: [h, w, I, O], for enlarging layers turned round."""
    kernel = kernel.flip(2, 3) if turned else kernel
    return np.ascontiguousarray(kernel.permute(2, 3, 1, 0).numpy())


def _dense(layer: Any) -> Iterator[tuple[str, Any]]:
    yield "weight", np.ascontiguousarray(layer.weight.detach().numpy().T)
    yield "bias", layer.bias.detach().numpy()


def _modulated(layer: Any, turned: bool = False, noise: bool = True) -> Iterator[tuple[str, Any]]:
    yield "weight", _hwio(layer.weight.detach(), turned)
    yield "mod_weight", np.ascontiguousarray(layer.affine.weight.detach().numpy().T)
    yield "mod_bias", layer.affine.bias.detach().numpy() - np.float32(1)
    if hasattr(layer, "noise_strength") and noise:
        yield (
            "noise_strength",
            np.float32(layer.noise_strength.item()),
        )  # a session returns scalars as numbers
    yield "bias", layer.bias.detach().numpy()


def _under(scope: str, pairs: Any) -> list[tuple[str, Any]]:
    return [(f"{scope}/{name}", value) for name, value in pairs]


def _synthesis_variables(generator: Generator, noise: bool, grown: bool) -> Iterator[tuple[str, Any]]:
    blocks = resolutions(generator)
    if noise:
        for k, layer in enumerate(layer for layer in generator.layers if layer.noise):
            own = generator.synthesis.get_buffer(f"{layer.name}.noise_const")
            yield f"noise{k}", own[None, None].numpy()
    for r in blocks:
        block: Any = generator.synthesis.get_submodule(f"b{r}")
        scope = f"{r}x{r}"
        if r == 4:
            yield "4x4/Const/const", block.const.detach()[None].numpy()
        else:
            yield from _under(f"{scope}/Conv0_up", _modulated(block.conv0, turned=True, noise=noise))
        yield from _under(f"{scope}/{'Conv' if r == 4 else 'Conv1'}", _modulated(block.conv1, noise=noise))
        if block.skip is not None:
            yield f"{scope}/Skip/weight", _hwio(block.skip.weight.detach(), turned=True)
        if grown:
            yield from _under(f"ToRGB_lod{int(math.log2(blocks[-1] // r))}", _grown_rgb(block, generator))
        elif block.torgb is not None:
            yield from _under(f"{scope}/ToRGB", _modulated(block.torgb))
    if grown:
        yield "lod", np.float32(0)


def _grown_rgb(block: Any, generator: Generator) -> Iterator[tuple[str, Any]]:
    """A grown network keeps the image layers of the sizes that it has left behind."""
    if block.torgb is not None:
        return _modulated(block.torgb)
    width = block.conv1.weight.shape[0]
    return iter([("weight", np.ones((1, 1, width, generator.img_channels), np.float32)),
                 ("mod_weight", np.ones((generator.w_dim, width), np.float32)),
                 ("mod_bias", np.zeros(width, np.float32)),
                 ("bias", np.zeros(generator.img_channels, np.float32))])  # fmt: skip


def _mapping_variables(mapping: Any, scope: str) -> Iterator[tuple[str, Any]]:
    for name, layer in mapping.named_children():
        if name == "miner":
            continue  # a domain's, no part of any file
        yield from _under(
            "LabelEmbed" if name == "embed" else f"{scope}{name.removeprefix('fc')}", _dense(layer)
        )


def _discriminator_variables(network: Discriminator, grown: bool) -> Iterator[tuple[str, Any]]:
    def conv(layer: Any) -> Iterator[tuple[str, Any]]:
        yield "weight", _hwio(layer.weight.detach())
        if hasattr(layer, "bias"):
            yield "bias", layer.bias.detach().numpy()

    if network.c_dim:
        yield from _mapping_variables(network.mapping, "Mapping")
    for r in reversed(resolutions(network)):
        block: Any = network.b4 if r == 4 else network.block(r)
        scope = f"{r}x{r}"
        if grown:
            lod = int(math.log2(network.resolution // r))
            width = (block.conv if r == 4 else block.conv0).weight.shape[0]
            left = [("weight", np.ones((1, 1, network.img_channels, width), np.float32)),
                    ("bias", np.zeros(width, np.float32))]  # fmt: skip
            yield from _under(f"FromRGB_lod{lod}", conv(block.fromrgb) if block.fromrgb is not None else left)
        elif block.fromrgb is not None:
            yield from _under(f"{scope}/FromRGB", conv(block.fromrgb))
        if r > 4:
            yield from _under(f"{scope}/Conv0", conv(block.conv0))
            yield from _under(f"{scope}/Conv1_down", conv(block.conv1))
            if block.skip is not None:
                yield from _under(f"{scope}/Skip", conv(block.skip))
    yield from _under("4x4/Conv", conv(network.b4.conv))
    yield from _under("4x4/Dense0", _dense(network.b4.fc))
    yield from _under("Output", _dense(network.b4.out))
    if grown:
        yield "lod", np.float32(0)


def _tensorflow(
    name: str, version: int, settings: Mapping[str, Any], variables: Any, **components: Any
) -> Any:
    state = {"version": version, "name": name, "static_kwargs": dict(settings), "components": components,
             "build_module_src": SOURCE, "build_func_name": f"{name}_main", "variables": list(variables)}  # fmt: skip
    if version == 5:
        state |= {"input_shapes": [[None, 8], [None, 0]], "output_shapes": [[None, 3, 16, 16]],
                  "input_names": ["latents_in", "labels_in"], "output_names": ["images_out"],
                  "components": EasyDict(components)}  # fmt: skip
    return TensorFlowNetwork(state)


def tensorflow_settings(network: Generator | Discriminator) -> dict[str, Any]:
    """static_kwargs of a network: what its maker said, defaults left out."""
    config = network.config
    settings: dict[str, Any] = {"num_channels": network.img_channels, "resolution": network.resolution,
                                "label_size": network.c_dim, "fmap_base": config["channel_base"] // 2,
                                "fmap_max": config["channel_max"]}  # fmt: skip
    if "resample_filter" in config:
        settings["resample_kernel"] = list(config["resample_filter"])
    if "conv_clamp" in config:
        settings |= {"conv_clamp": config["conv_clamp"], "num_fp16_res": 4}
    if isinstance(network, Generator):
        settings |= {"latent_size": network.z_dim, "dlatent_size": network.w_dim, "truncation_psi": 0.5,
                     "mapping_layers": network.mapping.num_layers, "mapping_fmaps": network.w_dim,
                     "architecture": config.get("variant", "skip"), "style_mixing_prob": 0.9}  # fmt: skip
        if "mapping_lr_multiplier" in config:
            settings["mapping_lrmul"] = config["mapping_lr_multiplier"]
        return settings
    settings["architecture"] = network.architecture
    group = config.get("mbstd_group_size", 4)
    if group == 1:
        settings["mbstd_num_features"] = 0
    settings["mbstd_group_size"] = None if group == WHOLE else group
    if network.c_dim:
        settings |= {"mapping_layers": network.mapping.num_layers, "mapping_fmaps": config.get("cmap_dim")}
        settings["mapping_lrmul"] = config.get("mapping_lr_multiplier", 0.01)
    return settings


def tensorflow_networks(
    generator: Generator,
    discriminator: Discriminator,
    *,
    raw: Generator | None = None,
    version: int = 4,
    settings: Mapping[str, Any] | None = None,
    d_settings: Mapping[str, Any] | None = None,
    noise: bool = True,
    grown: bool = False,
    change: Callable[[list[tuple[str, Any]]], list[tuple[str, Any]]] | None = None,
) -> tuple[Any, Any, Any]:
    """(G, D, Gs), as in `tensorflow_pickle`."""

    def whole(name: str, network: Generator) -> Any:
        said = {**tensorflow_settings(network), **(settings or {})} | ({} if noise else {"use_noise": False})
        if grown:
            said |= {"structure": "fixed"}
            del said["architecture"]
        synthesis = list(_synthesis_variables(network, noise, grown))
        mapping = list(_mapping_variables(network.mapping, "Dense"))
        mapping = change(mapping) if change else mapping
        own = [("dlatent_avg", network.get_buffer("mapping.w_avg").numpy())]
        if version == 4:
            own.insert(0, ("lod", np.float32(0)))
        components = {"synthesis": _tensorflow("G_synthesis", version, said, synthesis),
                      "mapping": _tensorflow("G_mapping", version, said, mapping)}  # fmt: skip
        return _tensorflow(name, version, said, own, **components)

    said = {**tensorflow_settings(discriminator), **(d_settings or {})}
    if grown:
        del said["architecture"]
    last = _tensorflow("D", version, said, _discriminator_variables(discriminator, grown))
    return whole("G", raw or generator), last, whole("Gs", generator)


def tensorflow_pickle(
    generator: Generator, discriminator: Discriminator, *, protocol: int = 3, numpy: int = 1, **networks: Any
) -> bytes:
    """A snapshot of StyleGAN2 (version 4) or StyleGAN2-ADA (5) in TensorFlow: the tuple (G, D, Gs).

    raw: another G than Gs; settings, d_settings: entries of static_kwargs to change; noise: False for layers without;
    grown: configs B to D, which keep an image layer for each size and use the largest; change: of mapping variables.
    """
    return dump(tensorflow_networks(generator, discriminator, **networks), protocol, numpy=numpy)


# --- rosinality -------------------------------------------------------------------------------------------------------


def rosinality_state(generator: Generator) -> dict[str, Tensor]:
    """The state dict of that code base's Generator."""
    state: dict[str, Tensor] = {}
    kernel = _filter(FILTER) * 4

    def put(name: str, tensor: Tensor, *shape: int) -> None:
        state[name] = (
            tensor.detach().reshape(shape or tensor.shape).clone(memory_format=torch.contiguous_format)
        )

    def modulated(name: str, layer: Any) -> None:
        put(f"{name}.conv.weight", layer.weight, 1, *layer.weight.shape)
        put(f"{name}.conv.modulation.weight", layer.affine.weight)
        put(f"{name}.conv.modulation.bias", layer.affine.bias)

    def conv(name: str, layer: Any) -> None:
        modulated(name, layer)
        put(f"{name}.noise.weight", layer.noise_strength, 1)
        put(f"{name}.activate.bias", layer.bias)

    def to_rgb(name: str, layer: Any) -> None:
        modulated(name, layer)
        put(f"{name}.bias", layer.bias, 1, -1, 1, 1)

    for i in range(generator.mapping.num_layers):
        layer: Any = generator.mapping.get_submodule(f"fc{i}")
        put(f"style.{i + 1}.weight", layer.weight)
        put(f"style.{i + 1}.bias", layer.bias)
    blocks: dict[int, Any] = {r: generator.synthesis.get_submodule(f"b{r}") for r in resolutions(generator)}
    put("input.input", blocks[4].const, 1, *blocks[4].const.shape)
    conv("conv1", blocks[4].conv1)
    to_rgb("to_rgb1", blocks[4].torgb)
    for i, r in enumerate(list(blocks)[1:]):
        conv(f"convs.{2 * i}", blocks[r].conv0)
        conv(f"convs.{2 * i + 1}", blocks[r].conv1)
        to_rgb(f"to_rgbs.{i}", blocks[r].torgb)
        put(f"convs.{2 * i}.conv.blur.kernel", kernel)
        put(f"to_rgbs.{i}.upsample.kernel", kernel)
    for k, layer in enumerate(layer for layer in generator.layers if layer.noise):
        noise = generator.synthesis.get_buffer(f"{layer.name}.noise_const")
        put(f"noises.noise_{k}", noise, 1, 1, *noise.shape)
    return state


def rosinality_discriminator_state(network: Discriminator) -> dict[str, Tensor]:
    """The state dict of that code base's Discriminator."""
    state: dict[str, Tensor] = {}
    kernel = _filter(FILTER)

    def put(name: str, tensor: Tensor) -> None:
        state[name] = tensor.detach().clone(memory_format=torch.contiguous_format)

    def pair(weight: str, bias: str, layer: Any) -> None:
        put(weight, layer.weight)
        put(bias, layer.bias)

    blocks = list(reversed(resolutions(network)[1:]))
    pair("convs.0.0.weight", "convs.0.1.bias", network.block(blocks[0]).fromrgb)
    for k, r in enumerate(blocks, 1):
        block: Any = network.block(r)
        pair(f"convs.{k}.conv1.0.weight", f"convs.{k}.conv1.1.bias", block.conv0)
        put(f"convs.{k}.conv2.0.kernel", kernel)
        pair(f"convs.{k}.conv2.1.weight", f"convs.{k}.conv2.2.bias", block.conv1)
        put(f"convs.{k}.skip.0.kernel", kernel)
        put(f"convs.{k}.skip.1.weight", block.skip.weight)
    pair("final_conv.0.weight", "final_conv.1.bias", network.b4.conv)
    pair("final_linear.0.weight", "final_linear.0.bias", network.b4.fc)
    pair("final_linear.1.weight", "final_linear.1.bias", network.b4.out)
    return state


def _optimiser(network: nn.Module) -> dict[str, Any]:
    """The state of an Adam that has made a step."""
    network = copy.deepcopy(network).requires_grad_()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.0016, betas=(0.0, 0.9919919), fused=False)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return optimiser.state_dict()


def rosinality_value(
    generator: Generator,
    discriminator: Discriminator | None = None,
    *,
    raw: Generator | None = None,
    keep: Collection[str] = ("g_ema", "latent_avg", "d"),
    prefix: str = "",
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """The dict of a checkpoint.

    keep: of g_ema, g, d, latent_avg, g_optim, d_optim, args, ada_aug_p, iter, state_dict, opts (the last two: pSp's
    layout, the generator under `decoder.`); prefix: before each name, as "module.".
    """

    def stored(state: Mapping[str, Tensor], before: str = prefix) -> OrderedDict[str, Tensor]:
        made = OrderedDict((before + k, v.to(dtype)) for k, v in state.items())
        made._metadata = OrderedDict({"": {"version": 1}})
        return made

    average = generator.get_buffer("mapping.w_avg").detach().clone()
    encoder = {"encoder.input_layer.0.weight": torch.randn(4, 3, 3, 3), "encoder.body.0.num": torch.tensor(7)}
    made: dict[str, Callable[[], Any]] = {
        "g": lambda: stored(rosinality_state(raw or generator)),
        "d": lambda: None if discriminator is None else stored(rosinality_discriminator_state(discriminator)),
        "g_ema": lambda: stored(rosinality_state(generator)),
        "g_optim": lambda: _optimiser(generator),
        "d_optim": lambda: None if discriminator is None else _optimiser(discriminator),
        "args": lambda: argparse.Namespace(
            path="faces.lmdb", iter=800_000, size=generator.resolution, r1=10.0, ckpt=None, arch="stylegan2"
        ),
        "ada_aug_p": lambda: 0.125,
        "iter": lambda: 1000,
        "latent_avg": lambda: average,
        "state_dict": lambda: {**encoder, **stored(rosinality_state(generator), "decoder.")},
        "opts": lambda: {
            "output_size": generator.resolution,
            "encoder_type": "GradualStyleEncoder",
            "train": True,
        },
    }
    if "state_dict" in keep:  # one row for each row of W+
        made["latent_avg"] = lambda: average[None].repeat(generator.num_ws, 1)
    return {name: make() for name, make in made.items() if name in keep}


def rosinality_file(
    path: Path,
    generator: Generator,
    discriminator: Discriminator | None = None,
    *,
    new: bool = True,
    **value: Any,
) -> Path:
    """A checkpoint written by torch.save, as the zip of today (`new`) or the stream of before torch 1.6."""
    made = rosinality_value(generator, discriminator, **value)
    torch.save(made, path, _use_new_zipfile_serialization=new)
    return path
