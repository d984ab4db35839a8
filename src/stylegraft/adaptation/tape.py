"""What the host tells a phase of a step, in order, so that the phase can be recorded once and played again.

A phase is a function of its tensors and of what `Keyed` says: numbers drawn on the CPU (`fed`), and choices that decide
what is computed (`told`). A tape keeps the questions. For another step it asks them again: where all choices are the
same, the new numbers are written over the old ones, in place, and whatever was computed from them can be computed again
(`graphs`). What a phase draws otherwise is not on the tape, so that it refuses to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
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
    """Something asked of draws. answer: for `fed` the tensors that hold it, for `told` the choice itself. name: of a
    choice, the same for two questions of one meaning; None for `fed`.
    """

    keyed: Keyed
    make: Callable[[Keyed], Any]
    answer: Any
    name: Hashable = None

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
            return self._next(keyed, None).answer
        held = tree_map(lambda tensor: tensor.to(self.device, copy=True), make(keyed.host))
        self.questions.append(Question(keyed, make, held))
        return held

    def told(self, keyed: Keyed, name: Hashable, make: Callable[[Keyed], Any]) -> Any:
        """The choice of this name that `make` makes."""
        if self.place is not None:
            return self._next(keyed, name).answer
        self.questions.append(Question(keyed, make, make(keyed.host), name))
        return self.questions[-1].answer

    def fits(self, step: int, known: dict[Hashable, Any]) -> bool:
        """Whether all choices are the same in this step; known: those that were asked for already, of other tapes of
        the phase, to which new ones are added.
        """
        for one in self.questions:
            if one.name is not None:
                place = one.keyed.part, one.name
                if place not in known:
                    known[place] = one.again(step)
                if known[place] != one.answer:
                    return False
        return True

    def refill(self, step: int) -> None:
        """Write this step's numbers over those that are held."""
        for one in self.questions:
            if one.name is None:
                tree_map(lambda held, new: held.copy_(new), one.answer, one.again(step))

    def rewind(self) -> None:
        """From the first question on again."""
        self.place = 0

    def ended(self) -> None:
        """Raise Untaped where not all questions have been asked again."""
        if self.place != len(self.questions):
            raise Untaped(f"{self.place} questions of {len(self.questions)}")

    def _next(self, keyed: Keyed, name: Hashable) -> Question:
        assert self.place is not None
        one = self.questions[self.place] if self.place < len(self.questions) else None
        if one is None or one.name != name or one.keyed.part != keyed.part:
            raise Untaped(f"question {self.place} is another one")
        self.place += 1
        return one
