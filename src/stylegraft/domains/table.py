"""The spaces of StyleDomain (Alanov et al., ICCV 2023, sections 3 and 5) as a table: which parameters move, and how.

A row says: every parameter of the first of these groups that the network has, whose name ends so, gets this
form. Nothing here asks which architecture it is: groups are the protocol's (`Generator.groups`), `*` stands
for any resolution, `{block}` for the resolution of the plus-spaces' block. No torch is imported here, so a
mistyped name is refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from stylegraft.errors import StylegraftError, nearest


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
