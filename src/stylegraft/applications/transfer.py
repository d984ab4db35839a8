"""Transfer: a domain that was learnt on one source, applied to another of the same family.

    styles    StyleDomain's (Alanov et al., ICCV 2023, "Transfer across generators"): the style vectors come from the
              *parent's* mapping and affine layers, s + p Delta, and go through the synthesis network of the sibling;
              its own mapping and affine layers are not used, nor what the domain moves of the mapping or behind the
              styles
    deltas    ours: p Delta is added to the sibling's own parameters. Forms that multiply the base or turn in its
              singular vectors are made dense on the parent first (`Domain.to_dense`)

Both need channels that mean the same in both networks: a sibling was fine-tuned from the parent, or both from one
ancestor. `gap` says how far the two are apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from stylegraft.applications.latents import Latents
from stylegraft.checkpoints.identity import base_digest, describe_base, fingerprint
from stylegraft.checkpoints.source import Source
from stylegraft.domains.deltas import FORMS, Delta
from stylegraft.domains.domain import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

FAR = 0.5  # runs of ours from faces-64 are 0.01 to 0.4 from it, a network of other random numbers is 1.34
UNRELATED = 1.0
STRENGTHS = {"styles": 0.85, "deltas": 1.0}  # StyleDomain's default; the domain as it is
QUIET = ("noise",)  # strengths move by their own size in fine-tuning, and hardly an image shows it

Procedure = Literal["styles", "deltas"]


@dataclass(frozen=True)
class Gap:
    """Relative L2 |theta_sibling - theta_parent| / |theta_parent| of each group of parameters, as the network
    multiplies them (stored number x gain). 0 is equal, sqrt(2) what independent networks of one size are apart.
    """

    groups: dict[str, float]

    @property
    def largest(self) -> tuple[str, float]:
        """The group that moved most, of those that count, and how far."""
        return max(((g, d) for g, d in self.groups.items() if g not in QUIET), key=lambda each: each[1])

    @property
    def verdict(self) -> Literal["close", "far", "unrelated"]:
        """close: below 0.5 in every group; unrelated: 1 or more in one."""
        most = self.largest[1]
        return "unrelated" if most >= UNRELATED else "far" if most >= FAR else "close"


@torch.no_grad()
def gap(parent: Generator, sibling: Generator) -> Gap:
    """How far two generators of one architecture are apart; raises StylegraftError for others, naming both."""
    require_same_architecture(parent, sibling)
    ours, theirs = dict(parent.named_parameters()), dict(sibling.named_parameters())
    moved: dict[str, float] = defaultdict(float)
    whole: dict[str, float] = defaultdict(float)
    for group, names in parent.groups.items():
        if "/" in group:
            continue
        kind = group.partition("@")[0]
        for name in names:
            base = ours[name].double().cpu() * parent.gains[name]
            other = theirs[name].double().cpu() * sibling.gains[name]
            moved[kind] += float((other - base).square().sum())
            whole[kind] += float(base.square().sum())
    return Gap({k: (moved[k] / whole[k]) ** 0.5 if whole[k] else float(moved[k] > 0) for k in moved})


def require_same_architecture(parent: Generator, sibling: Generator) -> None:
    """Raise StylegraftError, naming both and the first difference, unless all parameters have one name and shape."""
    ours, theirs = ({n: tuple(p.shape) for n, p in g.named_parameters()} for g in (parent, sibling))
    if ours != theirs:
        name = next(n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n))
        shapes = " and ".join(
            "none" if one is None else str(list(one)) for one in (ours.get(name), theirs.get(name))
        )
        raise StylegraftError(
            f"{fingerprint(parent.config)} and {fingerprint(sibling.config)} are other architectures"
            f" ({name}: {shapes}): a domain transfers between networks of the same layers only"
        )


def carried(domain: Domain) -> float:
    """The share of a domain's numbers that `styles` carries: those of affine layers and of offsets of rows of W+."""
    sizes = {
        name: sum(part.numel() for term in terms for part in term.parts.values())
        for name, terms in domain.deltas.items()
    }
    moved = [size for name, size in sizes.items() if ".affine." in name or name.endswith(".w_offset")]
    return sum(moved) / sum(sizes.values())


@torch.no_grad()
def transfer_styles(
    parent: Generator, domain: Domain, latents: Latents, strength: float = STRENGTHS["styles"]
) -> Latents:
    """Codes of the parent with s + p Delta as their style vectors, to be drawn by the synthesis network of a sibling.

    Raises StylegraftError for a `parent` that is not the domain's base, and for a domain that moves no style vector.
    """
    domain.check(parent)
    if not carried(domain):
        raise StylegraftError(
            "the domain moves neither affine layers nor rows of W+, and the procedure `styles` carries nothing else;"
            " use `deltas`"
        )
    before = parent.synthesis.styles(latents.ws)
    after = (domain * strength).on(parent).synthesis.styles(latents.ws)
    given = latents.styles or before
    return replace(latents, styles={layer: s + (after[layer] - before[layer]) for layer, s in given.items()})


def transfer_domain(
    domain: Domain, parent: Source, sibling: Source, strength: float = STRENGTHS["deltas"]
) -> Domain:
    """The domain on another base, by its deltas: an ordinary domain of `sibling` that can be saved, mixed and merged.

    Raises StylegraftError for a `parent` that is not its base, other architectures, and the base itself.
    """
    domain.check(parent.generator)
    require_other(parent.generator, sibling.generator)
    apart = gap(parent.generator, sibling.generator)
    domain = domain if strength == 1 else domain * strength
    reading = [n for n, terms in domain.deltas.items() if any(FORMS[t.form].reads_base for t in terms)]
    dense: Mapping[str, Sequence[Delta]] = {}
    if reading:
        part = replace(domain, deltas={name: domain.deltas[name] for name in reading})
        dense = part.to_dense(parent.generator).deltas
    kept = {**{name: terms for name, terms in domain.deltas.items() if name not in reading}, **dense}
    config = {**domain.config, "transferred": {"from": domain.base, "gap": apart.groups}}
    return Domain(kept, config, describe_base(sibling))


def require_other(parent: Generator, sibling: Generator) -> None:
    """Raise StylegraftError where both are one network."""
    if base_digest(parent) == base_digest(sibling):
        raise StylegraftError(
            "this is the base that the domain stands on: there is nothing to transfer; `stylegraft sample` draws it"
        )
