"""The forms a delta can take, and what happens when several deltas meet on one parameter.

Every form is written theta + Delta and starts at Delta = 0, so an untrained domain is the base itself. Mixing
and strength act on Delta, never on the parts: two low-rank deltas add up to U1 V1 + U2 V2. (StyleDomain,
Alanov et al., ICCV 2023, for the forms; `Form` is the place to add another.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError

Shape = tuple[int, ...]
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Form:
    """One row of FORMS.

    - names: the parts, as the domain file names them.
    - parts: (parameter shape, rank) -> the shape of each part, or None when the form does not fit that parameter.
    - delta: (parts, theta) -> Delta, broadcastable to theta.
    - rank: parts -> the rank they were made with (0 where the form has none).
    - start: values of the parts that do not start at zero; at least one part does, so that Delta is zero.
    """

    names: tuple[str, ...]
    parts: Callable[[Shape, int], dict[str, Shape] | None]
    delta: Callable[[Mapping[str, Tensor], Tensor], Tensor]
    rank: Callable[[Mapping[str, Tensor]], int] = lambda parts: 0
    start: dict[str, Callable[[Shape, torch.Generator | None], Tensor]] = field(default_factory=dict)


def _unit_rows(shape: Shape, rng: torch.Generator | None) -> Tensor:
    """Gaussian rows normalised to unit norm."""
    rows = torch.randn(shape, generator=rng)
    return rows / rows.norm(dim=1, keepdim=True)


def _lowrank_parts(shape: Shape, rank: int) -> dict[str, Shape] | None:
    if len(shape) < 2 or rank < 1:
        return None
    return {"U": (shape[0], rank), "V": (rank, prod(shape[1:]))}


# s is the parameter's shape
FORMS: dict[str, Form] = {
    "dense": Form(
        names=("D",),
        parts=lambda s, rank: {"D": s},
        delta=lambda p, theta: p["D"],
    ),
    "lowrank": Form(
        names=("U", "V"),
        parts=_lowrank_parts,
        delta=lambda p, theta: (p["U"] @ p["V"]).reshape(theta.shape),
        rank=lambda p: p["V"].shape[0] if p["V"].ndim else 0,
        start={"V": _unit_rows},
    ),
    "box": Form(  # one number a channel pair, the same on every tap of the kernel
        names=("D",),
        parts=lambda s, rank: {"D": (s[0], s[1], 1, 1)} if len(s) == 4 else None,
        delta=lambda p, theta: p["D"],
    ),
}


@dataclass(frozen=True)
class FormSpec:
    """A form with its rank, as the table of spaces names it: `dense`, `box`, `lowrank:5`."""

    form: str
    rank: int = 0

    @classmethod
    def parse(cls, text: str) -> FormSpec:
        """`"lowrank:5"` -> FormSpec("lowrank", 5); raises StylegraftError for an unknown form."""
        form, _, rank = text.partition(":")
        if form not in FORMS:
            raise StylegraftError(f"form {form!r} is unknown; known forms: {', '.join(FORMS)}")
        return cls(form, int(rank or 0))

    def parts(self, shape: Iterable[int]) -> dict[str, Shape]:
        """The shape of each part over a parameter of this shape; raises StylegraftError when the form does not fit."""
        shape = tuple(shape)
        shapes = FORMS[self.form].parts(shape, self.rank)
        if shapes is None:
            rank = f" of rank {self.rank}" if self.rank else ""
            raise StylegraftError(
                f"the form {self.form}{rank} does not fit a parameter of shape {list(shape)}"
            )
        return shapes

    def count(self, shape: Iterable[int]) -> int:
        """How many numbers the parts hold."""
        return sum(prod(part) for part in self.parts(shape).values())

    def init(self, shape: Iterable[int], rng: torch.Generator | None = None) -> Parts:
        """Fresh fp32 parts on the CPU with Delta = 0 exactly."""
        start = FORMS[self.form].start
        return {
            name: start[name](part, rng) if name in start else torch.zeros(part)
            for name, part in self.parts(shape).items()
        }


@dataclass(frozen=True, eq=False)
class Delta:
    """One term of a parameter's effective delta: coefficient * form(parts)."""

    coefficient: float
    form: str
    parts: Parts

    def scaled(self, factor: float) -> Delta:
        """The same parts under coefficient * factor."""
        return Delta(self.coefficient * factor, self.form, self.parts)

    @property
    def spec(self) -> FormSpec:
        """The form, with the rank that the parts have."""
        return FormSpec(self.form, FORMS[self.form].rank(self.parts))

    @property
    def count(self) -> int:
        """How many numbers the parts hold."""
        return sum(part.numel() for part in self.parts.values())


def check_parts(name: str, delta: Delta, shape: Iterable[int]) -> None:
    """Refuse parts that do not belong to a parameter `name` of this shape, saying what was expected."""
    expected = delta.spec.parts(shape)
    for part, tensor in delta.parts.items():
        if tuple(tensor.shape) != expected[part]:
            raise StylegraftError(
                f"{name}|{delta.form}|{part} has shape {list(tensor.shape)}, expected {list(expected[part])}"
            )


def effective_delta(deltas: Iterable[Delta], theta: Tensor) -> Tensor | None:
    """sum_k c_k * Delta_k in theta's dtype and device, in the order given; None without deltas."""
    total: Tensor | None = None
    for delta in deltas:
        parts = {name: part.to(theta) for name, part in delta.parts.items()}
        term = FORMS[delta.form].delta(parts, theta)
        if delta.coefficient != 1.0:
            term = term * delta.coefficient
        total = term if total is None else total + term
    return total


def moved(theta: Tensor, deltas: Iterable[Delta]) -> Tensor:
    """theta + sum_k c_k * Delta_k; outside autograd, entries whose delta is zero keep theta's bits (-0.0 included)."""
    delta = effective_delta(deltas, theta)
    if delta is None:
        return theta
    result = theta + delta
    if not result.requires_grad:
        result = torch.where(delta == 0, theta, result)
    if theta.ndim == 4 and theta.is_contiguous(memory_format=torch.channels_last):
        # A convolution with another memory layout sums in another order, and zero would not be bit-equal.
        result = result.contiguous(memory_format=torch.channels_last)
    return result


def effective(deltas: Mapping[str, Iterable[Delta]], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{parameter: moved value} for every parameter that has a delta; differentiable in the parts."""
    return {name: moved(base[name], terms) for name, terms in deltas.items()}
