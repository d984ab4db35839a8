"""What the host tells a phase of a step, in order, so that the phase can be recorded once and played again.

A phase is a function of its tensors and of what `Keyed` says: numbers drawn on the CPU (`fed`), and choices that decide
what is computed (`told`). A tape keeps the questions. For another step it asks them again: where all choices are the
same, the new numbers are written over the old ones, in place, and whatever was computed from them can be computed again
(`graphs`). What a phase draws otherwise is not on the tape, so that it refuses to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from stylegraft.adaptation.sampling import Keyed


class Untaped(Exception):
    """A phase has drawn something that no tape can repeat."""


@dataclass(frozen=True)
class Question:
    """Something asked of draws. answer: for `fed` the tensors that hold it, for `told` the choice itself."""

    keyed: Keyed
    make: Callable[[Keyed], Any]
    answer: Any
    fed: bool

    def again(self, step: int) -> Any:
        """What is said for another step."""
        return self.make(self.keyed.host.at(step))


class Tape:
    """Records until `rewind`; from then on it gives the same tensors and choices, in the same order."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.questions: list[Question] = []
        self.place: int | None = None  # of the next question; None while it records

    def fed(self, keyed: Keyed, make: Callable[[Keyed], Any]) -> Any:
        """Tensors on the device with what `make` draws."""
        if self.place is not None:
            return self._next().answer
        held = tree_map(lambda tensor: tensor.to(self.device, copy=True), make(keyed.host))
        self.questions.append(Question(keyed, make, held, fed=True))
        return held

    def told(self, keyed: Keyed, make: Callable[[Keyed], Any]) -> Any:
        """The choice that `make` makes."""
        if self.place is not None:
            return self._next().answer
        self.questions.append(Question(keyed, make, make(keyed.host), fed=False))
        return self.questions[-1].answer

    def fits(self, step: int) -> bool:
        """Whether all choices are the same in this step."""
        return all(one.again(step) == one.answer for one in self.questions if not one.fed)

    def refill(self, step: int) -> None:
        """Write this step's numbers over those that are held."""
        for one in self.questions:
            if one.fed:
                tree_map(lambda held, new: held.copy_(new), one.answer, one.again(step))

    def rewind(self) -> None:
        """From the first question on again."""
        self.place = 0

    def _next(self) -> Question:
        assert self.place is not None
        self.place += 1
        return self.questions[self.place - 1]
