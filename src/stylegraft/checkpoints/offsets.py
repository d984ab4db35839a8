"""The offset parameters of StyleDomain's few-shot networks, folded into the parameters they stand beside.

Alanov et al., ICCV 2023: a style offset moves the style of a layer, a weight offset its kernel, an affine offset the
kernel of its affine layer. All of them are linear in parameters of the layer, so an ordinary generator holds them.
(A layer's style is affine(w), for toRGB times 1 / sqrt(C_in); the offset is added after that gain.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegraft.checkpoints.foreign import Numbers, Values
from stylegraft.checkpoints.pickles import Refused

_OWN = re.compile(r"(.*\.)?(offset|weights_offset|weights_offset_(in|out)_\d+)")


def fold(
    tensors: dict[str, Numbers], attributes: Mapping[str, Mapping[Any, Any]]
) -> tuple[dict[str, Numbers], list[str]]:
    """The tensors without offsets, and a note if there were any; attributes: {module: its attributes}."""
    owners = sorted({name.rpartition(".")[0] for name in tensors if _OWN.fullmatch(name)}, key=_affine_first)
    if not owners:
        return tensors, []
    kept = {name: tensor for name, tensor in tensors.items() if not _OWN.fullmatch(name)}
    for owner in owners:
        own = {
            name.removeprefix(f"{owner}."): tensor.array().astype(np.float64)
            for name, tensor in tensors.items()
            if name.startswith(f"{owner}.") and "." not in name.removeprefix(f"{owner}.")
        }
        state = attributes.get(owner, {})
        for name, values in _layer(owner, own, state, kept).items():
            if values.shape != kept[name].shape:
                raise Refused(f"offsets of {owner} that do not fit its {name} {list(kept[name].shape)}")
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
            raise Refused(f"offsets of {owner} beside no {name}")
        return tensors[name].array().astype(np.float64)

    moved: dict[str, np.ndarray] = {}
    if "offset" in own:
        style = (own["offset"] * own.get("offset_mask", 1.0)).reshape(-1)
        weight, bias = now(f"{owner}.affine.weight"), now(f"{owner}.affine.bias")
        rule = state.get("domain_modulation_parametrization")
        moved |= _style(owner, rule, style, weight, bias)
    affine = owner.endswith(".affine")
    rule = state.get(
        "affine_weights_domain_modulation_parametrization"
        if affine
        else "weights_domain_modulation_parametrization"
    )
    shift = _weight_offset(own, affine)
    if shift is not None:
        if type(rule) is not str:
            raise Refused(f"weight offsets of {owner} without the name of their parametrization")
        weight = now(f"{owner}.weight")
        if weight.ndim == 4 and shift.ndim == 2:
            shift = shift[:, :, None, None]
        moved[f"{owner}.weight"] = weight + shift if rule.endswith("additive") else weight * (1 + shift)
    return moved


def _style(
    owner: str, rule: Any, style: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> dict[str, np.ndarray]:
    """The affine layer that gives the moved style; sizes are checked by numpy's own rules."""
    names = f"{owner}.affine.weight", f"{owner}.affine.bias"
    wide = style.shape[0] == weight.shape[1 if str(rule).endswith("w_space") else 0]
    if type(rule) is not str or not wide:
        raise Refused(f"a style offset of {owner} whose kind or size is unknown")
    if rule == "additive":
        gain = weight.shape[0] ** -0.5 if owner.endswith("torgb") else 1.0
        return {names[1]: bias + style / gain}
    if rule == "multiplicative":
        return {names[0]: weight * (1 + style)[:, None], names[1]: bias * (1 + style)}
    if rule == "additive_w_space":
        return {names[1]: bias + weight @ style * weight.shape[1] ** -0.5}
    if rule == "multiplicative_w_space":
        return {names[0]: weight * (1 + style)}
    raise Refused(f"the style offset {rule[:40]!a} of {owner}, which is unknown")


def _weight_offset(own: Mapping[str, np.ndarray], affine: bool) -> np.ndarray | None:
    """D of theta + D or theta (1 + D): as stored, or the sum of its products (of a kernel: their mean)."""
    if "weights_offset" in own:
        return own["weights_offset"]
    pairs = []
    while f"weights_offset_in_{len(pairs)}" in own and f"weights_offset_out_{len(pairs)}" in own:
        pairs.append((own[f"weights_offset_out_{len(pairs)}"], own[f"weights_offset_in_{len(pairs)}"]))
    if not pairs:
        return None
    if any(u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[0] for u, v in pairs):
        raise Refused("weight offsets whose factors do not fit together")
    total = np.sum([u @ v for u, v in pairs], axis=0)
    return total if affine else total / len(pairs)
