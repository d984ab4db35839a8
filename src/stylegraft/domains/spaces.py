"""A space on a network: which parameters it moves, how many numbers that is, and the deltas to start from."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch

from stylegraft.domains.deltas import Delta, FormSpec
from stylegraft.domains.table import find_space
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator


def default_block(generator: Generator) -> int:
    """Resolution of the plus-spaces' block: the paper's 64 px, or the second-highest in smaller networks."""
    return min(64, generator.resolution // 2)


def resolve(space: str, generator: Generator, block: int | None = None) -> dict[str, FormSpec]:
    """{parameter name: form} of a space on this network, in the generator's own parameter order.

    block: resolution of the plus-spaces' block (None: `default_block`; ignored by spaces without one).
    Raises StylegraftError for an unknown space or a block that the network does not have.
    """
    table = find_space(space)
    block = default_block(generator) if block is None else block
    if table.needs_block:
        blocks = sorted(
            int(name[5:]) for name in generator.groups if name.startswith("conv@") and "/" not in name
        )
        if block not in blocks:
            listed = ", ".join(map(str, blocks))
            raise StylegraftError(
                f"space {space!r}: the network has no block of {block} px; --block is one of {listed}"
            )
    forms: dict[str, FormSpec] = {}
    for row in table.rows:
        spec = FormSpec.parse(row.form)
        for name in _members(generator, [group.format(block=block) for group in row.groups]):
            if name.endswith(row.names):
                forms[name] = spec
    return {name: forms[name] for name, _ in generator.named_parameters() if name in forms}


def _members(generator: Generator, patterns: Iterable[str]) -> list[str]:
    """Parameters of the groups that match the first pattern with any match; `*` alone is every parameter."""
    for pattern in patterns:
        if pattern == "*":
            return [name for name, _ in generator.named_parameters()]
        found = [
            name
            for group in generator.groups
            if fnmatchcase(group, pattern)
            for name in generator.groups[group]
        ]
        if found:
            return found
    return []


def count(space: str, generator: Generator, block: int | None = None) -> int:
    """How many numbers a domain of this space trains (works on the meta device)."""
    shapes = {name: parameter.shape for name, parameter in generator.named_parameters()}
    return sum(spec.count(shapes[name]) for name, spec in resolve(space, generator, block).items())


def start(
    space: str, generator: Generator, rng: torch.Generator | None = None, block: int | None = None
) -> dict[str, tuple[Delta, ...]]:
    """Fresh deltas of a space, all zero in effect; the parts are the tensors to train (fp32, CPU)."""
    shapes = {name: parameter.shape for name, parameter in generator.named_parameters()}
    forms = resolve(space, generator, block)
    return {name: (Delta(1.0, spec.form, spec.init(shapes[name], rng)),) for name, spec in forms.items()}


def moves_mapping(names: Iterable[str]) -> bool:
    """Whether a domain over these parameters moves the mapping network, so that `w_avg` has to follow."""
    return any(name.startswith("mapping.") for name in names)
