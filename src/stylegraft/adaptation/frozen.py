"""What the first blocks of a discriminator make of the training images, kept: where they never learn (FreezeD, Mo et
al. 2020), it never changes, and fakes alone pass them.

Measured alone (freezed in stylespace, one AVX2 core): of a D phase it saves 29 % at 256/16384/512 and batch 2, 12 % at
64/4096/256 and batch 8, 6 % with the narrow D of faces-64 and batch 4; of a whole step 12, 6 and 2.5 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from stylegraft.adaptation.projected import Judge
from stylegraft.networks.discriminator import Discriminator

LIMIT = 1 << 28  # bytes of maps that a run may keep


class Frozen:
    """D's blocks above the one of resolution `start` (4: above the head), none of which ever learns."""

    def __init__(self, judge: Discriminator, start: int, images: int) -> None:
        self.judge, self.start = judge, start
        above = [name for r in judge.resolutions if r > start for name in judge.groups[f"b{r}"]]
        self.weights = [judge.get_parameter(name) for name in above]
        each = judge.width(start) * start**2 * self.weights[0].element_size()
        self.nbytes = 2 * images * each  # of all images and their mirror images
        self.known: dict[tuple[int, bool], Tensor] = {}
        self.source: tuple[Tensor | None, list[int]] = None, []

    def maps(self, fakes: Tensor, images: Tensor, shown: Sequence[tuple[int, bool]]) -> Tensor:
        """What the block `start` reads of B fakes and of these training images, (number, mirrored or not) each: maps
        [B + len(shown), C, start, start].
        """
        known = [self._map(images, *one) for one in shown]
        return torch.cat([self.judge.lower(fakes, self.start), *known])

    @torch.no_grad()
    def _map(self, images: Tensor, i: int, mirrored: bool) -> Tensor:
        """The map of one training image [1, C, start, start]. It passes alone: in a batch the last bits would depend on
        the others, and so on the step at which a run was resumed.
        """
        source = images, [weight._version for weight in self.weights]
        if source[0] is not self.source[0] or source[1] != self.source[1]:  # as after the loading of a state
            self.source, self.known = source, {}
        if (i, mirrored) not in self.known:
            image = images[i : i + 1]
            self.known[i, mirrored] = self.judge.lower(image.flip(3) if mirrored else image, self.start)
        return self.known[i, mirrored]


def frozen_blocks(judge: Judge, learners: Iterable[str], images: int) -> Frozen | None:
    """The first blocks of a StyleGAN2 discriminator that hold none of D's learners (`D.parameter`, of a delta
    `D.parameter|form|part`); None where there are none, where blocks read the image as well, or where the maps of so
    many images and their mirror images take more than `LIMIT`.

    Which learners rest for a stage, or are held by a partition, does not matter: they may have moved before.
    """
    if not isinstance(judge, Discriminator) or judge.architecture == "skip":
        return None
    learning = {name.removeprefix("D.").partition("|")[0] for name in learners}
    start = next((r for r in judge.resolutions if not learning.isdisjoint(judge.groups[f"b{r}"])), 4)
    if start == judge.resolution:
        return None
    frozen = Frozen(judge, start, images)
    return frozen if frozen.nbytes <= LIMIT else None
