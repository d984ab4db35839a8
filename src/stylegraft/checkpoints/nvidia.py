"""NVIDIA's PyTorch pickles of StyleGAN2 (StyleGAN2-ADA, the StyleGAN3 repository, FixNoise, StyleDomain).

A network there is one call of a function that would run the source text inside the file. Here that call becomes a
`Module`, a record of its state, and the text is never looked at beyond its hash. Tensor names are ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylegraft.checkpoints import offsets, tensorflow
from stylegraft.checkpoints.architecture import FILTER, WHOLE
from stylegraft.checkpoints.foreign import Foreign, Network, attempt
from stylegraft.checkpoints.numpy_pickles import NAMES as NUMPY
from stylegraft.checkpoints.pickles import (
    MAX_KEY,
    MAX_NAME,
    Budget,
    Cursor,
    Record,
    Refused,
    Vocabulary,
    article,
    interpret,
    positive,
    printable,
)
from stylegraft.checkpoints.torch_files import CONTAINERS, TENSORS, Inert, TensorRecord, load_from_bytes

MAX_DEPTH = 16  # modules in modules
FORMAT = "NVIDIA PyTorch pickle"
METHODS = ("get_parameter", "get_buffer")

# buffers that are made again, belong to FixNoise's training, or to the offsets that have been folded in
_IGNORED = re.compile(r"(.*\.)?(resample_filter|noise_rand|offset_mask|ones|ones_weights)")

# layers that do not resample; they have the published filter, whatever their network's is
_SAME_SIZE = re.compile(r"(synthesis\.b\d{1,5}\.conv1|b\d{1,5}\.(conv0|conv|fromrgb))\.resample_filter")


@dataclass(eq=False)
class Module(Record):
    """One persistent object: its class and the attributes it had."""

    class_name: str = ""
    state: dict[Any, Any] = field(default_factory=dict)
    source: str = ""

    def build(self, state: Any) -> None:
        """Some writers hand the state over afterwards."""
        if not isinstance(state, dict):
            raise Refused(f"a network whose state is {article(state)}")
        self.state = state

    def items(self, kind: str, budget: Budget) -> dict[str, Any]:
        """`_parameters`, `_buffers` or `_modules`, by name."""
        found = self.state.get(kind)
        if not isinstance(found, dict):
            return {}
        budget.visit(1 + len(found))
        if any(type(name) is str and len(name) > MAX_NAME for name in found):
            raise Refused(f"a part of a network with a name of more than {MAX_NAME} letters")
        return {name: value for name, value in found.items() if type(name) is str and value is not None}


def _module(*args: Any) -> Module:
    if len(args) != 1 or not isinstance(args[0], dict):
        raise Refused("a persistent object without its one dict")
    meta = args[0]
    class_name, source, state = (meta.get(key) for key in ("class_name", "module_src", "state"))
    if type(class_name) is not str or type(source) is not str or not isinstance(state, dict):
        raise Refused("a persistent object without (class_name, module_src, state)")
    return Module(class_name, state, source)


def _method(*args: Any) -> Inert:
    """StyleDomain's layers list the factors of their offsets with a bound method each; the list is not needed."""
    if (
        len(args) != 2
        or not isinstance(args[0], Module)
        or type(args[1]) is not str
        or args[1] not in METHODS
    ):
        raise Refused(
            "the name builtins.getattr for something else than a layer's get_parameter or get_buffer"
        )
    return Inert()


def vocabulary(budget: Budget) -> Vocabulary:
    """Names of a pickle of networks, PyTorch's or TensorFlow's."""
    names = {**NUMPY, **CONTAINERS, **TENSORS, "torch.storage._load_from_bytes": load_from_bytes(budget)}
    names |= {"builtins.getattr": _method, "__builtin__.getattr": _method}
    vendored = {
        "torch_utils.persistence._reconstruct_persistent_obj": _module,
        "dnnlib.util.EasyDict": CONTAINERS["easydict.EasyDict"],
        "dnnlib.tflib.network.Network": tensorflow.Network,
    }
    return Vocabulary("a pickle of StyleGAN2 networks", names, vendored)


def read(data: memoryview, budget: Budget) -> Foreign:
    """The networks of a plain pickle, of either NVIDIA code base."""
    value = interpret(Cursor(data), vocabulary(budget), budget)
    if isinstance(value, tensorflow.Network):
        value = (value,)
    if type(value) is tuple and value and all(isinstance(part, tensorflow.Network) for part in value):
        return tensorflow.networks(value, budget)
    if isinstance(value, Module):
        value = {"G_ema": value}
    if not isinstance(value, dict) or not any(isinstance(value.get(key), Module) for key in ("G_ema", "G")):
        found = (
            ", ".join(ascii(key)[1:-1][:20] for key in list(value)[:8])
            if isinstance(value, dict)
            else article(value)
        )
        raise Refused(f"no network G_ema or G in it (it holds {found or 'nothing'})")
    notes = []
    key = "G_ema" if isinstance(value.get("G_ema"), Module) else "G"
    if key == "G":
        notes.append("no averaged generator (G_ema) in the .pkl: the last raw one was used")
    generator, more = _network(value[key], key, budget)
    if "mapping.w_avg" not in generator.tensors:
        notes.append("no w_avg in the .pkl: the mean of w was estimated from 10,000 latents")
    d = value.get("D")
    discriminator, note = attempt(lambda: _network(d, "D", budget)[0] if isinstance(d, Module) else None)
    source = hashlib.sha256(value[key].source.encode("utf-8", "surrogatepass")).hexdigest()
    info = {"network": printable(value[key].class_name), "embedded source sha256": source}
    return Foreign(FORMAT, generator, discriminator, info=info, notes=(*notes, *more, *note))


def _walk(module: Module, budget: Budget) -> Iterator[tuple[str, Module]]:
    """Every module with its dotted name, parents first."""
    waiting = [("", module)]
    while waiting:
        prefix, module = waiting.pop()
        if prefix.count(".") > MAX_DEPTH:
            raise Refused(f"modules nested deeper than {MAX_DEPTH}")
        yield prefix, module
        for name, child in module.items("_modules", budget).items():
            if isinstance(child, Module):
                waiting.append((f"{prefix}{name}.", child))


def _network(module: Module, key: str, budget: Budget) -> tuple[Network, list[str]]:
    """Tensors and settings of G or D, and what there is to say about them."""
    tensors: dict[str, Any] = {}
    attributes: dict[str, dict[Any, Any]] = {}
    for prefix, part in _walk(module, budget):
        attributes[prefix.removesuffix(".")] = part.state
        for name, value in {**part.items("_buffers", budget), **part.items("_parameters", budget)}.items():
            if not isinstance(value, TensorRecord):
                raise Refused(f"{article(value)} where the tensor {(prefix + name)[:80]!a} belongs")
            budget.take(value.size)
            tensors[prefix + name] = value
    if any(name.startswith(("synthesis.input.", "synthesis.L0_")) for name in tensors):
        raise Refused(
            "a StyleGAN3 generator (config T or R): it has no noise inputs and another synthesis network;"
            " stylegraft adapts StyleGAN2 networks, also those of the StyleGAN3 repository (its --cfg=stylegan2)"
        )
    filters = [
        tensor.array()
        for name, tensor in tensors.items()
        if name.endswith("resample_filter") and not _SAME_SIZE.fullmatch(name)
    ]
    extra = _settings(attributes, key) | _filter(filters)
    tensors, notes = offsets.fold(tensors, attributes)
    kept = {name: tensor for name, tensor in tensors.items() if not _IGNORED.fullmatch(name)}
    return Network(kept, extra), notes


def _settings(attributes: dict[str, dict[Any, Any]], key: str) -> dict[str, Any]:
    """What shapes do not tell, from the attributes of the modules; raises Refused for what we do not compute."""

    def said(name: str) -> set[Any]:
        """The plain values that layers have for an attribute, but for the two kinds that are never clamped."""
        bounded = [state for part, state in attributes.items() if not part.endswith(("skip", "b4.fromrgb"))]
        found = [state[name] for state in bounded if name in state]
        for value in found:
            plain = type(value) in (float, str, type(None)) or (type(value) is int and abs(value) < MAX_KEY)
            if not plain:
                raise Refused(f"layers whose {name} ({article(value)}) makes no sense")
        return set(found)

    if odd := said("activation") - {"lrelu", "linear"}:
        raise Refused(f"layers with the activation {str(odd.pop())[:20]!a}; stylegraft knows lrelu")
    if len(clamps := said("conv_clamp")) > 1:
        raise Refused("layers of different conv_clamp")
    extra: dict[str, Any] = {}
    if clamps - {None}:
        extra["conv_clamp"] = positive(clamps.pop(), "conv_clamp")
    if key == "D":
        for group in said("group_size"):
            extra["mbstd_group_size"] = (
                WHOLE if group is None else int(positive(group, "minibatch-std group"))
            )
        if said("num_channels") - {0, 1}:
            raise Refused("a minibatch-std of several channels; stylegraft knows one")
    rate = attributes.get("mapping.fc0", {}).get("bias_gain", 0.01)
    if positive(rate, "bias_gain of the mapping") != 0.01:
        extra["mapping_lr_multiplier"] = rate
    return extra


def _filter(filters: list[np.ndarray]) -> dict[str, Any]:
    """{"resample_filter"}, where it is not the published networks'; raises Refused when layers have different ones."""
    if not filters or any(
        f.ndim not in (1, 2) or max(f.shape, default=0) > 16 or not f.size for f in filters
    ):
        return {}
    wide = [f.astype(np.float64) for f in filters]
    lines = [f if f.ndim == 1 else f.sum(1) for f in wide]
    if not all(np.isfinite(line).all() and abs(line.sum()) > 1e-6 for line in lines):
        raise Refused("a resampling filter whose taps have no sum")
    first = lines[0] / lines[0].sum()
    if any(
        line.shape != first.shape or not np.allclose(line / line.sum(), first, atol=1e-6) for line in lines
    ):
        raise Refused("layers of different resampling filters")
    published = np.array(FILTER) / sum(FILTER)
    if first.shape == published.shape and np.allclose(first, published, atol=1e-6):
        return {}
    return {"resample_filter": [round(float(value), 8) for value in first]}
