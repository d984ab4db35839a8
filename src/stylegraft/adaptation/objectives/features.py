"""What the losses on features share: cosines of whole maps, and which taps there are to choose from."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional as F

from stylegraft.networks.generator import Generator


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of a [N, ...] with every row of b [M, ...], on flattened features: [N, M]."""
    return F.normalize(a.flatten(1), dim=1) @ F.normalize(b.flatten(1), dim=1).T


def convolutions(generator: Generator, low: float = 8, high: float = float("inf")) -> list[str]:
    """Taps of the convolutions of these resolutions; the 4x4 ones hardly depend on z."""
    return [tap for tap in generator.tap_names if ".conv" in tap and low <= resolution(tap) <= high]


def last_of_each(taps: Iterable[str]) -> list[str]:
    """The last tap of every block: one a resolution."""
    return list({tap.partition(".")[0]: tap for tap in taps}.values())


def resolution(tap: str) -> int:
    """Of a generator's map: 64 for `b64.conv0`."""
    return int(tap.partition(".")[0].removeprefix("b"))
