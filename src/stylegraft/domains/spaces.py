"""The spaces of StyleDomain (Alanov et al., ICCV 2023, sections 3 and 5) as a table: which parameters move, and how.

A row says: every parameter of the first of these groups that the network has, whose name ends so, gets this
form. Nothing here asks which architecture it is: groups are the protocol's (`Generator.groups`), `*` stands
for any resolution, `{block}` for the resolution of the plus-spaces' block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from stylegraft.domains.deltas import Delta, FormSpec
from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.generator import Generator


@dataclass(frozen=True)
class Row:
    """groups: alternatives, the first that exists counts; names: endings of parameter names ("" is any)."""

    groups: tuple[str, ...]
    names: tuple[str, ...]
    form: str


@dataclass(frozen=True)
class Space:
    """A named choice of parameters and forms; `paper` is its name in StyleDomain and its size there (512 px)."""

    summary: str
    paper: str
    rows: tuple[Row, ...]

    @property
    def needs_block(self) -> bool:
        """Whether the space has a row for one block, so that `block` means something."""
        return any("{block}" in group for row in self.rows for group in row.groups)


ANY, BIAS, WEIGHT = ("",), (".bias",), (".weight",)
KERNELS = (".weight", ".pointwise")  # a depthwise kernel mixes no channels, so the block leaves it alone
BLOCK = (
    Row(("conv@{block}/pointwise", "conv@{block}"), KERNELS, "box"),
    Row(("torgb@{block}",), KERNELS, "box"),
)

SPACES: dict[str, Space] = {
    "full": Space("every parameter of the generator", "Full, 30.3M", (Row(("*",), ANY, "dense"),)),
    "mapping": Space("the mapping network, with w_avg", "Mapping, 2.1M", (Row(("mapping",), ANY, "dense"),)),
    "synthesis": Space(
        "convolutions, toRGB and noise strengths; no affine layers, no constant",
        "SyntConv, 23.6M",
        (Row(("conv@*",), ANY, "dense"), Row(("torgb@*",), ANY, "dense"), Row(("noise",), ANY, "dense")),
    ),
    "affine": Space("affine layers, weights and biases", "Affine, 4.6M", (Row(("affine@*",), ANY, "dense"),)),
    "stylespace": Space(
        "one offset a style channel (the bias of every affine layer, toRGB included)",
        "StyleSpace, 6.0K without toRGB",
        (Row(("affine@*",), BIAS, "dense"),),
    ),
    "affine+": Space(
        "affine layers, and one number a channel pair in the kernels of one block",
        "Affine+, 5.1M",
        (Row(("affine@*",), ANY, "dense"), *BLOCK),
    ),
    "affine-light+": Space(
        "rank-5 affine weights (biases frozen), and the block of affine+",
        "AffineLight+, 0.6M",
        (Row(("affine@*",), WEIGHT, "lowrank:5"), *BLOCK),
    ),
}


def find_space(name: str) -> Space:
    """The row of SPACES called `name`; raises StylegraftError with the nearest name."""
    if name not in SPACES:
        raise StylegraftError(
            f"space {name!r} is unknown{nearest(name, SPACES)}; known spaces: {', '.join(SPACES)}"
        )
    return SPACES[name]


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
