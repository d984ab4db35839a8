"""What a term of a method is: a row of data beside the function of its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from stylegraft.networks.generator import Generator

if TYPE_CHECKING:
    from stylegraft.adaptation.views import Views

NEEDS = (
    "fake", "real", "shots", "real_fake_logits", "anchored_pair", "free_pair", "anchor_pair", "disturbed_pair", "paths",
    "rows", "discriminator_features", "drift", "fitted", "guided_pair", "embedded", "referred", "mixture",
)  # fmt: skip


def no_taps(views: Views) -> tuple[str, ...]:
    """An objective that looks at no feature map of the generators."""
    return ()


def any_network(generator: Generator) -> None:
    """An objective that every generator can be asked for."""


@dataclass(frozen=True)
class Objective:
    """One term: weight * loss, taught to its owner every `every` steps.

    A lazy term has a phase and an optimiser step of its own, and is multiplied by `every`. `taps` names the
    feature maps that it will read from the pairs of this step; `check` refuses a generator without them. `in_order`: a
    part of the batch needs what the one before has left behind. A term that compares the samples of a batch asks
    `views.share.whole` for those of other processes, and draws for all of them by `views.compared`.
    """

    name: str
    owner: Literal["G", "D"]
    loss: Callable[[Views], Tensor]
    needs: tuple[str, ...] = ()
    weight: float = 1.0
    every: int = 1
    lazy: bool = False
    in_order: bool = False
    taps: Callable[[Views], tuple[str, ...]] = no_taps
    check: Callable[[Generator], None] = any_network

    def __post_init__(self) -> None:
        assert set(self.needs) <= set(NEEDS), f"{self.name}: unknown view in {self.needs}"

    @property
    def scale(self) -> float:
        """What the loss is multiplied by."""
        return self.weight * self.every if self.lazy else self.weight
