"""The PyTorch port of rosinality and the many code bases on it, in and out.

CDC, StyleGAN-NADA, JoJoGAN, MindTheGap, DiFa, HyperDomainNet and StyleDomain keep a dict with state dicts `g_ema`,
`g`, `d` and the vector `latent_avg`; encoders (pSp, e4e, ReStyle) keep the generator under `decoder.`. Both code bases
store the same numbers, so one table of names serves reading and writing, and round trips are bit-equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stylegraft.checkpoints.foreign import Foreign, Network, Numbers, Turned, attempt
from stylegraft.checkpoints.pickles import Budget, Refused, article
from stylegraft.checkpoints.torch_files import FLOATS, TensorRecord

FORMAT = "rosinality checkpoint"

# (their name, our name, axes of length 1 before ours, and after)
Row = tuple[str, str, int, int]
CONV = (("conv.weight", "weight", 1, 0), ("conv.modulation.weight", "affine.weight", 0, 0),
        ("conv.modulation.bias", "affine.bias", 0, 0), ("noise.weight", "noise_strength", 1, 0),
        ("activate.bias", "bias", 0, 0))  # fmt: skip
RGB = (("conv.weight", "weight", 1, 0), ("conv.modulation.weight", "affine.weight", 0, 0),
       ("conv.modulation.bias", "affine.bias", 0, 0), ("bias", "bias", 1, 2))  # fmt: skip
PAIR = ("weight", "bias")


def generator_rows(resolution: int, depth: int) -> Iterator[Row]:
    """Every tensor of a generator of this resolution and mapping depth."""
    for i in range(depth):
        yield from ((f"style.{i + 1}.{p}", f"mapping.fc{i}.{p}", 0, 0) for p in PAIR)
    yield "input.input", "synthesis.b4.const", 1, 0
    layers = [("conv1", "b4.conv1", CONV), ("to_rgb1", "b4.torgb", RGB)]
    maps = ["b4.conv1"]
    for i in range(resolution.bit_length() - 3):
        r = 8 << i
        layers += [(f"convs.{2 * i + q}", f"b{r}.conv{q}", CONV) for q in (0, 1)] + [
            (f"to_rgbs.{i}", f"b{r}.torgb", RGB)
        ]
        maps += [f"b{r}.conv0", f"b{r}.conv1"]
    for theirs, ours, rows in layers:
        yield from ((f"{theirs}.{a}", f"synthesis.{ours}.{b}", lead, trail) for a, b, lead, trail in rows)
    yield from ((f"noises.noise_{k}", f"synthesis.{name}.noise_const", 2, 0) for k, name in enumerate(maps))


def discriminator_rows(resolution: int) -> Iterator[Row]:
    """Every tensor of a discriminator of this resolution."""
    names = [
        ("convs.0.0.weight", f"b{resolution}.fromrgb.weight"),
        ("convs.0.1.bias", f"b{resolution}.fromrgb.bias"),
    ]
    for k in range(1, resolution.bit_length() - 2):
        r = resolution >> (k - 1)
        names += [
            (f"convs.{k}.conv1.0.weight", f"b{r}.conv0.weight"), (f"convs.{k}.conv1.1.bias", f"b{r}.conv0.bias"),
            (f"convs.{k}.conv2.1.weight", f"b{r}.conv1.weight"), (f"convs.{k}.conv2.2.bias", f"b{r}.conv1.bias"),
            (f"convs.{k}.skip.1.weight", f"b{r}.skip.weight"),
        ]  # fmt: skip
    names += [("final_conv.0.weight", "b4.conv.weight"), ("final_conv.1.bias", "b4.conv.bias")]
    names += [
        (f"final_linear.{i}.{p}", f"b4.{name}.{p}") for i, name in enumerate(("fc", "out")) for p in PAIR
    ]
    yield from ((theirs, ours, 0, 0) for theirs, ours in names)


_KERNEL = re.compile(r".*\.kernel")  # FIR kernels, made again
_WRAPPED = re.compile(r"(module\.)?(generator\.)?(decoder\.)?")  # what other code bases put in front
HEADS = re.compile(r"heads\.conv_(\d{1,2})\.(\w{1,40})")


def networks(value: Any, budget: Budget) -> Foreign:
    """The networks of a checkpoint, or the heads of a StyleSpace direction."""
    if not isinstance(value, dict):
        raise Refused(f"{article(value)}, no checkpoint of networks")
    state = value.get("state_dict")
    if isinstance(state, dict) and any(type(name) is str and HEADS.fullmatch(name) for name in state):
        return _direction(value, state, budget)
    if "heads" in value or value.get("model_type") == "mapper":
        raise Refused("a hypernetwork of HyperDomainNet: it emits directions, and is none")
    key, averaged = _find_generator(value)
    generator = _generator(averaged, value.get("latent_avg"), budget)
    notes = []
    if key == "g":
        notes.append("no averaged generator (g_ema) in the .pt: `g` was used")
    if "mapping.w_avg" not in generator.tensors:
        notes.append("no latent_avg in the .pt: the mean of w was estimated from 10,000 latents")
    licence = value.get("licence")  # of a file that stylegraft wrote
    info = {"licence": licence[:2000]} if type(licence) is str else {}
    discriminator, note = attempt(lambda: _discriminator(value.get("d"), budget))
    return Foreign(FORMAT, generator, discriminator, info=info, notes=(*notes, *note))


def _find_generator(value: Mapping[Any, Any]) -> tuple[str, dict[Any, Any]]:
    """The best state dict of a generator in a checkpoint, and the key it lies under."""
    for key in ("g_ema", "g", "state_dict", "generator"):
        found = value.get(key)
        if isinstance(found, dict) and any(
            type(name) is str and name.endswith("input.input") for name in found
        ):
            return key, found
    if any(type(name) is str and name.endswith("input.input") for name in value):
        return "", dict(value)
    keys = ", ".join(ascii(key)[1:-1][:20] for key in list(value)[:8])
    raise Refused(f"no generator in it (it holds {keys or 'nothing'}; expected g_ema or g)")


def _strip(state: Mapping[Any, Any], sign: str, budget: Budget) -> dict[str, TensorRecord]:
    """{name: tensor} with the prefix taken off under which the tensor `sign` lies; other prefixes are left out."""
    at = next(name for name in state if type(name) is str and name.endswith(sign))
    prefix = at.removesuffix(sign)
    if _WRAPPED.fullmatch(prefix) is None:
        raise Refused(f"a generator under the unknown prefix {prefix[:40]!a}")
    kept = {}
    for name, tensor in state.items():
        if type(name) is not str or not name.startswith(prefix):
            continue
        if not isinstance(tensor, TensorRecord):
            raise Refused(f"{article(tensor)} where the tensor {name[:80]!a} belongs")
        budget.take(tensor.size)
        kept[name.removeprefix(prefix)] = tensor
    return kept


def _renamed(state: Mapping[str, TensorRecord], rows: Iterator[Row]) -> dict[str, Numbers]:
    """{our name: numbers}; raises Refused for a tensor that no row knows."""
    table = {theirs: (ours, lead, trail) for theirs, ours, lead, trail in rows}
    for name in state:
        if name not in table and not _KERNEL.fullmatch(name):
            raise Refused(f"a tensor {name[:80]!a} that a StyleGAN2 of this size does not have")
    found: dict[str, Numbers] = {}
    for theirs, (ours, lead, trail) in table.items():
        if theirs not in state:
            continue
        tensor = state[theirs]
        inner = tensor.shape[lead : len(tensor.shape) - trail]
        if tensor.shape != (1,) * lead + inner + (1,) * trail or tensor.storage.kind not in FLOATS:
            raise Refused(f"a tensor {theirs} of shape {list(tensor.shape)} and kind {tensor.storage.kind}")
        found[ours] = Turned(tensor, inner)
    return found


def _generator(state: Mapping[Any, Any], latent_avg: Any, budget: Budget) -> Network:
    own = _strip(state, "input.input", budget)
    blocks = sum(re.fullmatch(r"to_rgbs\.[0-9]{1,2}\.bias", name) is not None for name in own)
    depth = sum(re.fullmatch(r"style\.[0-9]{1,2}\.weight", name) is not None for name in own)
    tensors = _renamed(own, generator_rows(4 << blocks, depth))
    if isinstance(latent_avg, TensorRecord) and latent_avg.shape:
        budget.take(latent_avg.size)
        width = latent_avg.shape[-1]  # encoders keep one row of W+ for each layer, all of them the same
        tensors["mapping.w_avg"] = Turned(latent_avg, (width,), lambda x: x.reshape(-1, width)[0])
    return Network(tensors)


def _discriminator(state: Any, budget: Budget) -> Network | None:
    if not isinstance(state, dict):
        return None
    if not any(type(name) is str and name.endswith("final_conv.0.weight") for name in state):
        return None
    own = _strip(state, "final_conv.0.weight", budget)
    blocks = sum(re.fullmatch(r"convs\.[0-9]{1,2}\.skip\.1\.weight", name) is not None for name in own)
    return Network(_renamed(own, discriminator_rows(4 << blocks)), {"mbstd_group_size": 4})


def _direction(value: Mapping[Any, Any], state: Mapping[Any, Any], budget: Budget) -> Foreign:
    """StyleDomain's and HyperDomainNet's models_STEP.pt: one vector, or a few, for each convolution."""
    heads: dict[tuple[int, str], Numbers] = {}
    for name, tensor in state.items():
        match = HEADS.fullmatch(name) if type(name) is str else None
        if match is None or not isinstance(tensor, TensorRecord):
            raise Refused(f"a direction with {str(name)[:60]!a}, which is no heads.conv_K")
        budget.take(tensor.size)
        heads[int(match[1]), match[2]] = tensor
    settings = value.get("sg2_params")
    info = {
        "patch_key": value.get("patch_key"),
        "da_type": value.get("da_type"),
        "model_type": value.get("model_type"),
    }
    size = settings.get("img_size", settings.get("size")) if isinstance(settings, dict) else None
    said = {key: text[:80] for key, text in info.items() if type(text) is str}
    return Foreign(
        "StyleSpace direction",
        heads={"heads": heads, "styled": "style_latents" in value},
        info=said | ({"size": size} if type(size) is int else {}),
    )
