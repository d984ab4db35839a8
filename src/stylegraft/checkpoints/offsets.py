"""The offset parameters of StyleDomain's few-shot networks, folded into the parameters they stand beside.

Alanov et al., ICCV 2023: a style offset moves the style of a layer, a weight offset its kernel, an affine offset the
kernel of its affine layer (products are averaged for kernels and summed for affine layers, as the released code does,
whatever the paper says). All of them are linear in parameters of the layer, so an ordinary generator holds them.
(A layer's style is affine(w), for toRGB times 1 / sqrt(C_in); the offset is added after that gain.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegraft.checkpoints.foreign import Numbers, Values
from stylegraft.checkpoints.pickles import Refused, printable

MAX_PAIRS = 64  # of factors whose products are summed; the released networks have at most 9
_OWN = re.compile(r"(.*\.)?(offset|weights_offset|weights_offset_(in|out)_\d+)")


def fold(
    tensors: dict[str, Numbers], attributes: Mapping[str, Mapping[Any, Any]]
) -> tuple[dict[str, Numbers], list[str]]:
    """The tensors without offsets, and a note if there were any; attributes: {module: its attributes}."""
    owners = sorted({name.rpartition(".")[0] for name in tensors if _OWN.fullmatch(name)}, key=_affine_first)
    if not owners:
        return tensors, []
    kept = {name: tensor for name, tensor in tensors.items() if not _OWN.fullmatch(name)}
    parts: dict[str, dict[str, Numbers]] = {}
    for name, tensor in tensors.items():
        owner, _, last = name.rpartition(".")
        if last == "offset_mask" or _OWN.fullmatch(last):
            parts.setdefault(owner, {})[last] = tensor
    for owner in owners:
        own = {last: tensor.array().astype(np.float64) for last, tensor in parts[owner].items()}
        for name, values in _layer(owner, own, attributes.get(owner, {}), kept).items():
            kept[name] = Values(values.astype(np.float32))
    return kept, [f"offsets of StyleDomain in {len(owners)} layers are folded into the generator"]


def _affine_first(owner: str) -> tuple[bool, str]:
    """A style offset acts on what the moved affine layer gives."""
    return not owner.endswith(".affine"), owner


def _layer(
    owner: str, own: Mapping[str, np.ndarray], state: Mapping[Any, Any], tensors: Mapping[str, Numbers]
) -> dict[str, np.ndarray]:
    """Effective parameters of one module that has offsets."""

    def now(name: str) -> np.ndarray:
        if name not in tensors:
            raise Refused(f"offsets of {printable(owner)} beside no {printable(name)}")
        return tensors[name].array().astype(np.float64)

    moved: dict[str, np.ndarray] = {}
    if "offset" in own:
        mask = own.get("offset_mask", np.ones(()))
        _require_fit(owner, mask, own["offset"].shape)
        style = (own["offset"] * mask).reshape(-1)
        weight, bias = now(f"{owner}.affine.weight"), now(f"{owner}.affine.bias")
        rule = state.get("domain_modulation_parametrization")
        moved |= _style(owner, rule, style, weight, bias)
    affine = owner.endswith(".affine")
    rule = state.get(
        "affine_weights_domain_modulation_parametrization"
        if affine
        else "weights_domain_modulation_parametrization"
    )
    if any(name.startswith("weights_offset") for name in own):
        weight = now(f"{owner}.weight")
        shift = _weight_offset(own, affine, weight.shape)
        if type(rule) is not str or shift is None:
            raise Refused(f"weight offsets of {printable(owner)} without a partner or their parametrization")
        if "+" in rule:  # a sum of two vectors, which that code base cannot compute either
            raise Refused(f"the weight offset {rule[:40]!a} of {printable(owner)}, which is unknown")
        if weight.ndim == 4 and shift.ndim == 2:
            shift = shift[:, :, None, None]
        _require_fit(owner, shift, weight.shape)
        moved[f"{owner}.weight"] = weight + shift if rule.endswith("additive") else weight * (1 + shift)
    return moved


def _require_fit(owner: str, shift: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse offsets that numpy would broadcast to something larger: n x 1 and 1 x n make n^2 numbers."""
    axes = zip(reversed(shift.shape), reversed(shape), strict=False)
    if shift.ndim > len(shape) or any(n not in (1, wanted) for n, wanted in axes):
        raise Refused(f"offsets {list(shift.shape)} of {printable(owner)} that do not fit {list(shape)}")


def _style(
    owner: str, rule: Any, style: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> dict[str, np.ndarray]:
    """The affine layer that gives the moved style."""
    names = f"{owner}.affine.weight", f"{owner}.affine.bias"
    affine = weight.ndim == 2 and bias.shape == weight.shape[:1]
    if (
        type(rule) is not str
        or not affine
        or len(style) != weight.shape[1 if rule.endswith("w_space") else 0]
    ):
        raise Refused(f"a style offset of {printable(owner)} whose kind or size is unknown")
    if rule == "additive":
        gain = weight.shape[0] ** -0.5 if owner.endswith("torgb") else 1.0
        return {names[1]: bias + style / gain}
    if rule == "multiplicative":
        return {names[0]: weight * (1 + style)[:, None], names[1]: bias * (1 + style)}
    if rule == "additive_w_space":
        return {names[1]: bias + weight @ style * weight.shape[1] ** -0.5}
    if rule == "multiplicative_w_space":
        return {names[0]: weight * (1 + style)}
    raise Refused(f"the style offset {rule[:40]!a} of {printable(owner)}, which is unknown")


def _weight_offset(own: Mapping[str, np.ndarray], affine: bool, shape: tuple[int, ...]) -> np.ndarray | None:
    """D of theta + D or theta (1 + D): as stored, or the sum of its products (of a kernel: their mean)."""
    if "weights_offset" in own:
        return own["weights_offset"]
    pairs = []
    while f"weights_offset_in_{len(pairs)}" in own and f"weights_offset_out_{len(pairs)}" in own:
        pairs.append((own[f"weights_offset_out_{len(pairs)}"], own[f"weights_offset_in_{len(pairs)}"]))
    if not pairs:
        return None
    fit = all(u.ndim == v.ndim == 2 and u.shape[1] == v.shape[0] for u, v in pairs)
    if not fit or any((len(u), v.shape[1]) != shape[:2] for u, v in pairs) or len(pairs) > MAX_PAIRS:
        raise Refused("weight offsets whose factors do not fit together")
    total = np.zeros(shape[:2])
    for u, v in pairs:
        total += u @ v
    return total if affine else total / len(pairs)
