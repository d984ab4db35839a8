"""Pruning of style offsets: StyleSpaceSparse (Alanov et al., StyleDomain, ICCV 2023, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stylegraft.domains.apply import w_avg_shift
from stylegraft.domains.deltas import Delta, effective_delta
from stylegraft.domains.domain import W_AVG, Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator


def prune(domain: Domain, keep: float, *, base: Generator | None = None) -> Domain:
    """The domain with the share `keep` of its numbers, those of the largest magnitudes; the others are zero.

    Without `base` these are its style offsets, the additive deltas of affine biases, over all layers. With it the
    domain is made dense on that base first (`Domain.to_dense`), whatever its forms, and all numbers are ranked
    together; where the mapping moves, the change of the mean of w is measured anew. Ranked are the effective numbers
    of a mix, in stored units: those in which a step of training is alike everywhere, so that
    what stays is what training moved furthest.

    Raises StylegraftError for a share outside 0..1 and, without `base`, for what is more than style offsets.
    """
    if base is not None:
        offsets = {name: terms[0].parts["D"] for name, terms in domain.to_dense(base).deltas.items()}
        offsets.pop(W_AVG, None)
    else:
        offsets = {name: _offset(name, terms) for name, terms in domain.deltas.items()}
    masks = largest(offsets, keep)
    deltas = {name: (Delta(1.0, "dense", {"D": d * masks[name]}),) for name, d in offsets.items()}
    pruned = replace(domain, deltas=deltas, config={**domain.config, "keep": keep})
    if base is None or W_AVG not in domain.deltas:
        return pruned
    return pruned.with_w_avg(w_avg_shift(base, pruned.effective(base)))


def _offset(name: str, terms: Sequence[Delta]) -> Tensor:
    """The effective style offset of a layer; refuses any other delta."""
    odd = [term.form for term in terms if term.form != "dense"]
    if odd or not name.endswith(".affine.bias"):
        raise StylegraftError(
            f"pruning ranks additive style offsets alone, and the domain moves {name}"
            f" ({' + '.join(odd) or 'dense'}); use a domain of the spaces stylespace or stylespace-conv, or make this"
            " one dense on its base: --dense, in Python prune(domain, keep, base=generator)"
        )
    total = effective_delta(terms, torch.zeros(terms[0].parts["D"].shape))
    return torch.zeros(0) if total is None else total


def kept(domain: Domain) -> int:
    """How many numbers of a domain are not zero; a tensor that several deltas share counts once."""
    parts = {id(p): p for terms in domain.deltas.values() for term in terms for p in term.parts.values()}
    return sum(int(part.count_nonzero()) for part in parts.values())


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
