"""Pruning of style offsets: StyleSpaceSparse (Alanov et al., StyleDomain, ICCV 2023, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from stylegraft.domains.deltas import Delta, effective_delta
from stylegraft.domains.domain import Domain
from stylegraft.errors import StylegraftError


def prune(domain: Domain, keep: float) -> Domain:
    """The domain with the share `keep` of its style offsets, those of the largest magnitudes over all layers.

    The others are zero, as they are in the file then. The offsets are the effective ones of a mix, in the units
    in which they are learnt. Raises StylegraftError for a share outside 0..1 and for a domain that moves more than
    style offsets: the additive deltas of affine biases.
    """
    offsets = {}
    for name, terms in domain.deltas.items():
        odd = [term.form for term in terms if term.form != "dense"]
        if odd or not name.endswith(".affine.bias"):
            raise StylegraftError(
                f"pruning ranks additive style offsets alone, and the domain moves {name}"
                f" ({' + '.join(odd) or 'dense'}); use a domain of the spaces stylespace or stylespace-conv"
            )
        total = effective_delta(terms, torch.zeros(terms[0].parts["D"].shape))
        offsets[name] = torch.zeros(0) if total is None else total
    masks = largest(offsets, keep)
    deltas = {name: (Delta(1.0, "dense", {"D": d * masks[name]}),) for name, d in offsets.items()}
    return replace(domain, deltas=deltas, config={**domain.config, "keep": keep})


def largest(offsets: Mapping[str, Tensor], keep: float) -> dict[str, Tensor]:
    """{name: mask} that is true for the share `keep` of all numbers, those of the largest magnitudes.

    Of N numbers int((1 - keep) N) are left out, as in the paper's code: 1,210 of 6,048 stay at 0.2.
    """
    if not 0 <= keep <= 1:
        raise StylegraftError(f"keep={keep}: expected a share from 0 to 1")
    names = sorted(offsets)
    magnitudes = torch.cat([offsets[name].detach().abs().reshape(-1) for name in names])
    out = math.floor((1 - keep) * magnitudes.numel() + 1e-6)
    mask = torch.ones_like(magnitudes, dtype=torch.bool)
    mask[magnitudes.argsort(stable=True)[:out]] = False
    parts = mask.split([offsets[name].numel() for name in names])
    return {name: part.reshape(offsets[name].shape) for name, part in zip(names, parts, strict=True)}
