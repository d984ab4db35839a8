"""What moved where: a domain taken apart by group and resolution, and what each part does to the images.

StyleDomain (Alanov et al., ICCV 2023, section 3) trains one component at a time; here a domain that is there already is
asked the same. A part is a group of parameters at one resolution, named as `--space` takes it: `affine@8`, `noise@16`,
`mapping`. With d a distance of two images of one latent, and the noise the network's own,

    size     RMS(Delta) / RMS(theta)        effective deltas of any form, stored numbers, over the tensors that move
    alone    E_z d(G(z), G_part(z))         the part's deltas and no others
    without  E_z d(G_all(z), G_rest(z))     all deltas but the part's

The last two agree where parts do not act on each other; they do, and neither adds up to E_z d(G(z), G_all(z)).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.sight import draw
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import Delta, effective_delta
from stylegraft.domains.domain import W_AVG, Domain, base_tensors
from stylegraft.domains.expression import GROUPS
from stylegraft.domains.spaces import groups_of
from stylegraft.errors import StylegraftError
from stylegraft.metrics.correspondence import apart
from stylegraft.metrics.diversity import Distance, flat
from stylegraft.networks.generator import Generator

LATENTS = 24  # that effects are the mean over
BATCH = 16
NOWHERE = "-"  # the column of what belongs to no resolution
# field of Part -> what a heat map of it is called
MAPS = {
    "size": "size of the delta, relative to the base",
    "alone": "effect alone",
    "without": "effect when left out",
}


@dataclass(frozen=True)
class Part:
    """A group of parameters at one resolution.

    numbers: that the domain holds for it, tied ones where they are first met; share: of all its numbers. rms: of the
    effective delta, stored units; size: relative to the base, None where that is zero (offsets and gains are zeros of
    the base). alone, without: effects, means of the distance.
    """

    name: str
    numbers: int
    share: float
    rms: float
    size: float | None
    alone: float
    without: float

    @property
    def group(self) -> str:
        """`affine` of `affine@8`."""
        return self.name.partition("@")[0]

    @property
    def column(self) -> str:
        """`8` of `affine@8`, NOWHERE of `mapping`."""
        return self.name.partition("@")[2] or NOWHERE


@dataclass(frozen=True)
class Anatomy:
    """whole: effect of all parts together; distance: its name, which the effects are in; latents: how many."""

    parts: tuple[Part, ...]
    whole: float
    distance: str
    latents: int

    def grid(self, field: str) -> tuple[list[str], list[str], list[list[float | None]]]:
        """A field of the parts (MAPS) as groups, resolutions, and values [group][resolution], None where none is."""
        groups = list(dict.fromkeys(part.group for part in self.parts))
        columns = sorted({part.column for part in self.parts}, key=_place)
        values = {(part.group, part.column): getattr(part, field) for part in self.parts}
        return groups, columns, [[values.get((group, column)) for column in columns] for group in groups]

    @property
    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def anatomy(
    domain: Domain,
    generator: Generator,
    distance: Distance,
    z: Tensor,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Anatomy:
    """A domain taken apart on its base; z [N, z_dim] are the latents of the effects.

    progress: called with (what, done, of how many). Raises StylegraftError for another base, and for a
    conditional one.
    """
    if generator.c_dim:
        raise StylegraftError(
            f"anatomy: a conditional source ({generator.c_dim} classes); expected one that draws from z alone"
        )
    domain.check(generator)
    members = members_of(domain, generator)
    size, numbers = sizes(domain, generator), numbers_of(domain)
    whole, found = effects(domain, generator, members, distance, z, progress)
    counts = {part: sum(numbers[name] for name in names) for part, names in members.items()}
    parts = tuple(
        Part(part, counts[part], counts[part] / domain.count, *size.get(part, (0.0, None)), *found[part])
        for part in members
    )
    return Anatomy(parts, whole, distance.name, len(z))


# Parts
# ------------------------------------------------------------------------------------------------------------


def parts_of(generator: Generator) -> dict[str, str]:
    """{what a domain may move: its part}; noise and the constant are told by resolution too."""
    found = {W_AVG: "mapping"}
    for label, names in groups_of(generator).items():
        group, _, finer = label.partition("@")
        if "/" in finer:
            continue
        for name in names:
            block = re.match(r"synthesis\.b(\d+)\.", name)
            found[name] = f"{group}@{block[1]}" if block else group
    return found


def members_of(domain: Domain, generator: Generator) -> dict[str, list[str]]:
    """{part: what the domain moves of it}, in the order of groups, then of resolutions."""
    part_of = parts_of(generator)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name in domain.deltas:
        members[part_of[name]].append(name)
    return {part: members[part] for part in sorted(members, key=order)}


def order(part: str) -> tuple[int, float]:
    """Where a part stands among others: by group, as `--space` lists them, then by resolution."""
    group, _, resolution = part.partition("@")
    return list(GROUPS).index(group), _place(resolution)


def _place(resolution: str) -> float:
    return float(resolution) if resolution.isdigit() else float("inf")


def numbers_of(domain: Domain) -> dict[str, int]:
    """{parameter: numbers that the domain holds for it}; a tensor that several deltas share counts at the first."""
    met: set[int] = set()
    counts = {}
    for name, terms in domain.deltas.items():
        own = {id(tensor): tensor for term in terms for tensor in term.parts.values()}
        counts[name] = sum(tensor.numel() for key, tensor in own.items() if key not in met)
        met |= own.keys()
    return counts


# Sizes
# ------------------------------------------------------------------------------------------------------------


def whole_delta(terms: Iterable[Delta], theta: Tensor) -> Tensor:
    """The effective delta of a parameter theta in its whole shape, float64 on the CPU."""
    delta = effective_delta(terms, theta)
    assert delta is not None
    return delta.detach().expand_as(theta).cpu().double()


def sizes(domain: Domain, generator: Generator) -> dict[str, tuple[float, float | None]]:
    """{part: (RMS of its effective delta, the same relative to the base's)}, over the tensors that the domain moves.

    Relative is None where the base is zero. The mean of w, which only follows the mapping, does not count.
    """
    part_of, base = parts_of(generator), base_tensors(generator)
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for name, terms in domain.deltas.items():
        if name != W_AVG:
            theta, total = base[name].cpu().double(), sums[part_of[name]]
            total[0] += float(whole_delta(terms, base[name]).square().sum())
            total[1] += float(theta.square().sum())
            total[2] += theta.numel()
    return {
        part: ((moved / count) ** 0.5, (moved / still) ** 0.5 if still else None)
        for part, (moved, still, count) in sums.items()
    }


# Effects
# ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def effects(
    domain: Domain,
    generator: Generator,
    members: dict[str, list[str]],
    distance: Distance,
    z: Tensor,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[float, dict[str, tuple[float, float]]]:
    """How far images move by all deltas, and {part: (by it alone, when it is left out)}."""
    values = domain.effective(generator)

    def seen(names: Iterable[str]) -> Sequence[Tensor]:
        images = draw(Adapted(generator, {name: values[name] for name in names}), z)
        levels = [flat(distance, few) for few in images.split(BATCH)]
        return [torch.cat(level) for level in zip(*levels, strict=True)]

    def between(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        return float(apart(a, b).mean())

    source, whole = seen(()), seen(values)
    found = {}
    for done, (part, own) in enumerate(members.items()):
        progress(part, done, len(members))
        rest = [name for name in values if name not in own]
        found[part] = between(source, seen(own)), between(whole, seen(rest))
    return between(source, whole), found
