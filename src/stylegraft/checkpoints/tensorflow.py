"""NVIDIA's TensorFlow pickles of StyleGAN2 (versions 4 and 5), without TensorFlow.

A network there is an object whose state holds source text, settings and (name, array) pairs. It becomes a `Network`
record; its variables get NVIDIA's PyTorch names, which are ours. The two code bases share equalised learning rates,
so only layouts change: HWIO to OIHW, upsampling kernels turned round, modulation biases counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stylegraft.checkpoints import foreign
from stylegraft.checkpoints.architecture import FILTER, WHOLE
from stylegraft.checkpoints.foreign import Foreign, Turned, Values, same
from stylegraft.checkpoints.numpy_pickles import Array
from stylegraft.checkpoints.pickles import MAX_NAME, Budget, Record, Refused, article, positive, printable

FORMAT = "NVIDIA TensorFlow pickle"
VERSIONS = (4, 5)


class Network(Record):
    """One `dnnlib.tflib.network.Network`: its state, as it lies in the file."""

    def __init__(self, *args: Any):
        if args:
            raise Refused("a TensorFlow network made with arguments")
        self.state: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        """The state is a dict with version, name, static_kwargs, components, variables and source text."""
        if not isinstance(state, dict):
            raise Refused(f"a TensorFlow network whose state is {article(state)}")
        self.state = state


Turn = Callable[[np.ndarray], np.ndarray]


def _oihw(x: np.ndarray) -> np.ndarray:
    return x.transpose(3, 2, 0, 1)


def _turned(x: np.ndarray) -> np.ndarray:
    return x[::-1, ::-1].transpose(3, 2, 0, 1)


def _from_one(x: np.ndarray) -> np.ndarray:
    return x + 1


def _first(x: np.ndarray) -> np.ndarray:
    return x[0]


def _map(x: np.ndarray) -> np.ndarray:
    return x[0, 0]


# axes that a turn expects, and the shape that it gives
AXES: dict[Turn, int] = {_oihw: 4, _turned: 4, _first: 4, _map: 4, np.transpose: 2}
SHAPES: dict[Turn, Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    _oihw: lambda s: (s[3], s[2], s[0], s[1]),
    _turned: lambda s: (s[3], s[2], s[0], s[1]),
    _first: lambda s: s[1:],
    _map: lambda s: s[2:],
    np.transpose: lambda s: s[::-1],
    same: lambda s: s,
    _from_one: lambda s: s,
}
MODULATED: dict[str, tuple[str, Turn]] = {
    "weight": ("weight", _oihw),
    "mod_weight": ("affine.weight", np.transpose),
    "mod_bias": ("affine.bias", _from_one),
    "bias": ("bias", same),
    "noise_strength": ("noise_strength", same),
}
PLAIN: dict[str, tuple[str, Turn]] = {"weight": ("weight", np.transpose), "bias": ("bias", same)}
CONV: dict[str, tuple[str, Turn]] = {"weight": ("weight", _oihw), "bias": ("bias", same)}
UP: dict[str, tuple[str, Turn]] = {"weight": ("weight", _turned)}

# Pattern of a TensorFlow variable without its last word, our name for it ({0}, {1}: groups), the last words.
# {r}: the largest resolution. Networks that were grown keep image layers of smaller ones, which are not in use.
Table = tuple[tuple[str, str, dict[str, tuple[str, Turn]]], ...]
GENERATOR: Table = (
    (r"mapping/LabelEmbed", "mapping.embed", PLAIN),
    (r"mapping/Dense(\d+)", "mapping.fc{0}", PLAIN),
    (r"synthesis/4x4/Const", "synthesis.b4", {"const": ("const", _first)}),
    (r"synthesis/4x4/Conv", "synthesis.b4.conv1", MODULATED),
    (r"synthesis/(\d+)x\d+/Conv0_up", "synthesis.b{0}.conv0", MODULATED | UP),
    (r"synthesis/(\d+)x\d+/Conv1", "synthesis.b{0}.conv1", MODULATED),
    (r"synthesis/(\d+)x\d+/ToRGB", "synthesis.b{0}.torgb", MODULATED),
    (r"synthesis/(\d+)x\d+/Skip", "synthesis.b{0}.skip", UP),
    (r"synthesis/ToRGB_lod(\d+)", "synthesis.b{r}.torgb", MODULATED),
)
DISCRIMINATOR: Table = (
    (r"LabelEmbed", "mapping.embed", PLAIN),
    (r"Mapping(\d+)", "mapping.fc{0}", PLAIN),
    (r"(\d+)x\d+/FromRGB", "b{0}.fromrgb", CONV),
    (r"(\d+)x\d+/Conv0", "b{0}.conv0", CONV),
    (r"(\d+)x\d+/Conv1_down", "b{0}.conv1", CONV),
    (r"(\d+)x\d+/Skip", "b{0}.skip", {"weight": ("weight", _oihw)}),
    (r"FromRGB_lod(\d+)", "b{r}.fromrgb", CONV),
    (r"4x4/Conv", "b4.conv", CONV),
    (r"4x4/Dense0", "b4.fc", PLAIN),
    (r"Output", "b4.out", PLAIN),
)
# Settings that shapes tell or that act in training alone; what changes the function is read below.
IGNORED = set(
    "latent_size label_size dlatent_size resolution num_channels mapping_layers mapping_fmaps w_avg_beta fmap_base"
    " fmap_decay fmap_min fmap_max num_fp16_res architecture truncation_psi truncation_cutoff truncation_psi_val"
    " truncation_cutoff_val dlatent_avg_beta style_mixing_prob structure conditioning fused_modconv"
    " func_name mapping_func synthesis_func is_template_graph dtype randomize_noise freeze_layers".split()
)  # fmt: skip


def networks(value: tuple[Any, ...], budget: Budget) -> Foreign:
    """The networks of the tuple (G, D, Gs): Gs is the averaged generator."""
    for network in value:
        version = network.state.get("version")
        if version not in VERSIONS if type(version) is int else True:
            old = " (StyleGAN 1 or Progressive GAN, other networks)" if version in (1, 2, 3) else ""
            shown = version if type(version) is int and abs(version) < 1000 else "unknown"
            raise Refused(f"a TensorFlow network of version {shown}{old}")
    if len(value) not in (1, 3):
        raise Refused(f"{len(value)} networks, expected (G, D, Gs)")
    notes = [] if len(value) == 3 else ["one network in it: taken for the averaged generator"]
    generator = value[-1]
    settings = _settings(generator)
    rate = positive(settings.get("mapping_lrmul", 0.01), "mapping_lrmul")
    extra = {"mapping_lr_multiplier": rate} if rate != 0.01 else {}
    tensors = dict(_renamed(generator, GENERATOR, budget))
    if (
        not any(name.endswith("noise_strength") for name in tensors)
        and settings.get("use_noise") is not False
    ):
        raise Refused("a generator without noise strengths")
    discriminator = None
    if len(value) == 3:
        own = _settings(value[1])
        if own.get("mbstd_num_features", 1) not in (0, 1):
            raise Refused("a minibatch-std of several features; stylegraft knows one")
        parts = dict(_renamed(value[1], DISCRIMINATOR, budget))
        more = _group(own, value[1].state["version"]) | _common(own)
        rate = positive(own.get("mapping_lrmul", 0.1), "mapping_lrmul")
        if rate != 0.01 and "mapping.fc0.weight" in parts:
            more["mapping_lr_multiplier"] = rate
        discriminator = foreign.Network(parts, more)
    name = generator.state.get("name")
    info = {"network": printable(name)} if type(name) is str else {}
    return Foreign(
        FORMAT,
        foreign.Network(tensors, extra | _common(settings)),
        discriminator,
        info=info,
        notes=tuple(notes),
    )


def _settings(network: Network) -> dict[str, Any]:
    """static_kwargs of a network; raises Refused for a setting that this reader does not know."""
    found = network.state.get("static_kwargs")
    if not isinstance(found, dict):
        raise Refused("a TensorFlow network without static_kwargs")
    known = {"mapping_lrmul", "nonlinearity", "mapping_nonlinearity", "resample_kernel", "conv_clamp", "use_noise",
             "mbstd_group_size", "mbstd_num_features", "normalize_latents"}  # fmt: skip
    for key, value in found.items():
        if type(key) is not str or key not in known | IGNORED:
            raise Refused(
                f"a TensorFlow network with the setting {str(key)[:40]!a}, which this reader does not know"
            )
        plain = value if isinstance(value, list) else [value]
        if key in known and any(type(part) not in (int, float, bool, str, type(None)) for part in plain):
            raise Refused(f"a TensorFlow network whose setting {key} is {article(value)}")
    if found.get("nonlinearity", "lrelu") != "lrelu" or found.get("mapping_nonlinearity", "lrelu") != "lrelu":
        raise Refused("layers of another activation than lrelu")
    if found.get("normalize_latents", True) is not True:
        raise Refused("a mapping network that does not normalise z")
    return {key: found[key] for key in known & found.keys()}


def _group(settings: dict[str, Any], version: int) -> dict[str, Any]:
    """The group of minibatch-std: 4 unless it is said in version 4, the batch in version 5."""
    group = settings.get("mbstd_group_size", 4 if version == 4 else None)
    if group == 0:  # none at all
        group = 1
    return {"mbstd_group_size": WHOLE if group is None else int(positive(group, "mbstd_group_size"))}


def _common(settings: dict[str, Any]) -> dict[str, Any]:
    """Entries of our config that G and D share."""
    kernel = settings.get("resample_kernel", list(FILTER))
    if kernel is None:  # no filter: each sample is repeated, or the mean of two taken
        kernel = [1, 1]
    clamp = settings.get("conv_clamp")
    if (
        not isinstance(kernel, list)
        or not 0 < len(kernel) <= 16
        or any(type(k) not in (int, float) or not abs(k) < 1e9 for k in kernel)
        or not abs(sum(kernel)) > 1e-6
    ):
        raise Refused("a resample_kernel that is no short list of numbers with a sum")
    extra = {"resample_filter": kernel} if kernel != list(FILTER) else {}
    return extra | ({"conv_clamp": positive(clamp, "conv_clamp")} if clamp is not None else {})


def _variables(
    network: Network, budget: Budget, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Every variable of a network and its components, names prefixed by the component."""
    pairs, parts = network.state.get("variables"), network.state.get("components")
    if not isinstance(pairs, list):
        raise Refused("a TensorFlow network without variables")
    for pair in pairs:
        budget.visit(1)
        if type(pair) not in (tuple, list) or len(pair) != 2 or type(pair[0]) is not str:
            raise Refused("a TensorFlow variable that is no (name, array)")
        if len(prefix) + len(pair[0]) > MAX_NAME:
            raise Refused(f"a TensorFlow variable with a name of more than {MAX_NAME} letters")
        array = pair[1].value if isinstance(pair[1], Array) else None
        if type(pair[1]) in (int, float):
            array = np.array(pair[1], np.float32)
        if array is None:
            raise Refused(f"the TensorFlow variable {pair[0][:60]!a} without numbers")
        yield prefix + pair[0], array
    for name, part in parts.items() if isinstance(parts, dict) and depth < 2 else ():
        budget.visit(1)
        if isinstance(part, Network) and type(name) is str and len(name) < MAX_NAME:
            yield from _variables(part, budget, f"{prefix}{name}/", depth + 1)


def _renamed(network: Network, table: Table, budget: Budget) -> Iterator[tuple[str, Turned]]:
    """(our name, numbers in our layout) of each variable that is a part of the network."""
    variables = dict(_variables(network, budget))
    if any(name.endswith("LabelConcat/weight") for name in variables):
        raise Refused(
            "labels in the manner of the first StyleGAN2 code (LabelConcat): joined to z before it is normalised;"
            " stylegraft normalises both, as StyleGAN2-ADA does"
        )
    sizes = (re.match(r"(?:synthesis/)?(\d{1,5})x\d+/", name) for name in variables)
    top = max((int(match[1]) for match in sizes if match), default=4)
    for name, array in variables.items():
        found = _place(name, table, top)
        if found is None:
            continue
        ours, turn = found
        if (axes := AXES.get(turn, array.ndim)) != array.ndim:
            raise Refused(
                f"the TensorFlow variable {name[:60]!a} of shape {list(array.shape)}, expected {axes} axes"
            )
        budget.take(array.size)
        yield ours, Turned(Values(array), SHAPES[turn](array.shape), turn)


def _place(name: str, table: Table, top: int) -> tuple[str, Turn] | None:
    """Our name of a TensorFlow variable and what turns its numbers round; None for what is no part of a network."""
    if name == "dlatent_avg":
        return "mapping.w_avg", same
    if match := re.fullmatch(r"synthesis/noise(\d{1,2})", name):  # noise maps are counted in forward order
        k = int(match[1])
        return f"synthesis.b{4 << (k + 1) // 2}.conv{1 - k % 2}.noise_const", _map
    head, _, last = name.rpartition("/")
    for pattern, ours, words in table:
        if last in words and (match := re.fullmatch(pattern, head)):
            number = match.groups()[0][:5] if match.groups() else "0"
            if "{r}" in ours and int(number):
                return None
            word, turn = words[last]
            return f"{ours.format(number, r=top)}.{word}", turn
    return None
