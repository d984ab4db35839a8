"""StyleDomain's and HyperDomainNet's `models_STEP.pt` as domains.

Both train one vector a convolution over a frozen rosinality generator: `s_delta` adds it to the style, which is the
bias of the affine layer (Alanov et al., ICCV 2023, StyleSpace); `cin_mult` is a gain of the input channels after
demodulation (Alanov et al., HyperDomainNet, NeurIPS 2022). toRGB layers have none. The files do not hold their power
(an argument of the forward there, 1 unless changed): it is the strength here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from stylegraft.checkpoints import foreign
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.domains.deltas import Delta
from stylegraft.domains.domain import Domain
from stylegraft.errors import StylegraftError

REFERENCE = (
    "trained with the rows of W+ from 7 on replaced by its reference's (MindTheGap), which no domain holds"
)

# patch_key there: (the tensor that the vector of a layer moves, the space as we call it)
KINDS: dict[str, tuple[Callable[[str], str], str]] = {
    "s_delta": (lambda layer: f"synthesis.{layer}.affine.bias", "stylespace"),
    "cin_mult": (lambda layer: f"synthesis.{layer}.channel_gain", "hdn"),
}


def load_domain(path: str | os.PathLike[str], source: Source) -> Domain:
    """A domain file, the domain of a run folder, or a direction file, on its base `source`.

    Raises StylegraftError naming the file and the fault, a wrong base among them.
    """
    if Path(path).is_dir() or not foreign.is_foreign(path):
        return Domain.load(path, source.generator)
    return read_direction(path, source)


def read_direction(path: str | os.PathLike[str], source: Source) -> Domain:
    """The direction in a `models_STEP.pt` as a domain of `source`, which the file itself does not name by its weights.

    Raises StylegraftError for other kinds of heads and for a source of other layers.
    """
    shown, found = os.fspath(path), foreign.read(path)
    if found.heads is None:
        raise StylegraftError(f"{shown}: a {found.format}, which is a source and not a domain")
    key = found.info.get("patch_key")
    if key not in KINDS:
        raise StylegraftError(
            f"{shown}: a direction of the kind {key!r}; stylegraft reads {' and '.join(KINDS)}"
        )
    target, space = KINDS[key]
    layers = [layer for layer in source.generator.layers if layer.kind == "conv"]
    heads = found.heads["heads"]
    count = 1 + max(k for k, _ in heads)
    if len(heads) != count or {k for k, _ in heads} != set(range(count)):
        raise StylegraftError(f"{shown}: a direction with {len(heads)} vectors for {count} convolutions")
    if count != len(layers):
        raise StylegraftError(
            f"{shown}: a direction of {count} convolutions ({_pixels(count)}), the source {source.name!r} has"
            f" {len(layers)} ({source.generator.resolution} px); give the generator it was trained on as the source"
        )
    deltas = {}
    for (k, part), numbers in sorted(heads.items()):
        vector = torch.tensor(numbers.array().reshape(-1), dtype=torch.float32)
        if part != "params_in" or len(vector) != layers[k].channels or not bool(torch.isfinite(vector).all()):
            raise StylegraftError(
                f"{shown}: heads.conv_{k}.{part} has {len(vector)} numbers, expected params_in with"
                f" {layers[k].channels} finite ones for {layers[k].name}"
            )
        deltas[target(layers[k].name)] = (Delta(1.0, "dense", {"D": vector}),)
    config = {"space": space, "from": Path(shown).name, **found.info}
    if found.heads["styled"]:
        config["note"] = REFERENCE
    domain = Domain(deltas, config, describe_base(source))
    domain.check(source.generator)
    return domain


def _pixels(convolutions: int) -> str:
    """What resolution has so many convolutions: 2 log2(r) - 3."""
    exponent, odd = divmod(convolutions + 3, 2)
    return "no StyleGAN2" if odd else f"{2**exponent} px"
