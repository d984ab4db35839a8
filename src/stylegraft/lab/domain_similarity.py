"""How alike domains of one base are, in their deltas and in what they do to images; how far each is from the source.

    deltas    cos(Delta_i, Delta_j)     effective deltas as the network multiplies them: stored numbers x their gain
    effects   cos(m_i, m_j)             m_i = mean over z of E(G_i(z)) - E(G(z)), the shift of an encoder's mean feature
    distance  KID and FID of the domain's samples from the source's, which are of other latents

Two domains can do the same by other parameters, so that their effects agree where their deltas do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.sight import draw, latents
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import Delta
from stylegraft.domains.domain import W_AVG, Domain, base_tensors
from stylegraft.encoders.protocol import Encoder
from stylegraft.lab.anatomy import order, parts_of, whole_delta
from stylegraft.metrics.features import features
from stylegraft.metrics.frechet import fid
from stylegraft.metrics.kernel import FEWEST, kid
from stylegraft.networks.generator import Generator

COUNT = 300  # samples on either side
ALL = "all"

Matrix = list[list[float | None]]


@dataclass(frozen=True)
class SourceDistance:
    """Of two sets of images through an encoder: KID with the spread of one subset, FID, and the images on both sides.

    FID is biased upwards for few images: compare it at equal counts only.
    """

    encoder: str
    kid: float
    spread: float
    fid: float
    source: int
    target: int

    def __str__(self) -> str:
        """One phrase: both with their encoder and the counts, and a warning where those are few."""
        guess = f", fewer than {FEWEST}: a guess" if min(self.source, self.target) < FEWEST else ""
        return (
            f"kid-{self.encoder} {self.kid:.4f} ± {self.spread:.4f}, fid-{self.encoder} {self.fid:.1f} "
            f"({self.source} and {self.target} images{guess})"
        )


@dataclass(frozen=True)
class DomainSimilarity:
    """names: of the domains, rows and columns of every matrix. deltas: by `all`, group and part, None where a domain
    moves nothing of it; effects: of the mean shift in features of `encoder`; distances: of each domain to the source.
    """

    names: tuple[str, ...]
    deltas: dict[str, Matrix]
    effects: Matrix
    distances: tuple[SourceDistance, ...]
    encoder: str

    @property
    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def domain_similarity(
    domains: dict[str, Domain],
    generator: Generator,
    encoder: Encoder,
    *,
    count: int = COUNT,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> DomainSimilarity:
    """Of domains by name, on their base; `count` latents for the effects, and as many others for the distances.

    progress: called with (what, done, of how many). Raises StylegraftError for another base.
    """
    deltas = delta_cosines(list(domains.values()), generator)
    z = latents(seed, "anatomy", count, device).normal(generator.z_dim)
    total = len(domains) + 2
    progress("the source", 0, total)
    source = _seen(generator, encoder, z, device)
    other = source_features(generator, encoder, count, seed, device)
    found = []
    for done, (name, domain) in enumerate(domains.items(), 2):
        progress(f"{name} as a whole", done, total)
        found.append(_seen(domain.on(generator), encoder, z, device))
    distances = tuple(distance(encoder.name, other, one, seed) for one in found)
    return DomainSimilarity(tuple(domains), deltas, shift_cosines(source, found), distances, encoder.name)


def delta_cosines(domains: Sequence[Domain], generator: Generator) -> dict[str, Matrix]:
    """{`all`, group or part: cosines of the domains' effective deltas there}, each number times its gain."""
    part_of, base = parts_of(generator), base_tensors(generator)
    grams: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for domain in domains for name in domain.deltas if name != W_AVG):
        gram = _gram([domain.deltas.get(name) for domain in domains], base[name])
        part = part_of[name]
        for label in dict.fromkeys((ALL, part.partition("@")[0], part)):
            grams[label] = grams.get(label, 0) + gram * generator.gains.get(name, 1.0) ** 2
    parts = sorted(grams.keys() - {ALL}, key=lambda label: ("@" in label, *order(label)))
    return {label: cosines(grams[label]) for label in (ALL, *parts)}


def _gram(terms: Sequence[Sequence[Delta] | None], theta: Tensor) -> Tensor:
    """Inner products [K, K] of the deltas of one parameter, zero where a domain has none."""
    rows = [
        torch.zeros(theta.numel()).double() if one is None else whole_delta(one, theta).flatten()
        for one in terms
    ]
    return torch.stack([torch.stack([a @ b for b in rows]) for a in rows])


def shift_cosines(source: Tensor, found: Sequence[Tensor]) -> Matrix:
    """Cosines of the shifts of the mean feature, of features [N, D] of the source and of each domain, same latents."""
    shifts = torch.stack([one.double().mean(0) - source.double().mean(0) for one in found])
    return cosines(shifts @ shifts.T)


def cosines(gram: Tensor) -> Matrix:
    """Of a matrix of inner products [K, K]; None beside a vector that is zero."""
    norms = gram.diagonal().sqrt()
    unit = (gram / (norms[:, None] * norms)).clamp(-1, 1).tolist()
    return [[value if value == value else None for value in row] for row in unit]


def distance(encoder: str, source: Tensor, target: Tensor, seed: int = 0) -> SourceDistance:
    """KID and FID of features [N, D] and [M, D]."""
    found = kid(source, target, seed=seed)
    return SourceDistance(encoder, found.mean, found.spread, fid(source, target), len(source), len(target))


def source_features(
    generator: Generator, encoder: Encoder, count: int, seed: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Features [N, D] of the source's samples that distances are taken from; no domain is drawn at their latents."""
    z = latents(seed, "anatomy.source", count, device).normal(generator.z_dim)
    return _seen(generator, encoder, z, device)


def _seen(network: Generator | Adapted, encoder: Encoder, z: Tensor, device: torch.device | str) -> Tensor:
    return features(encoder, (draw(network, few) for few in z.split(32)), device=device)
