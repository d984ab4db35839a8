"""The forms a delta can take, and what happens when several deltas meet on one parameter.

Every form is written theta + Delta and starts at Delta = 0, so an untrained domain is the base itself. Mixing
and strength act on Delta, never on the parts: two low-rank deltas add up to U1 V1 + U2 V2. Several forms on one
parameter add too, each computed from the base's theta. `Form` is the place to add another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from stylegraft.errors import StylegraftError
from stylegraft.networks import ops

Shape = tuple[int, ...]
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Form:
    """One row of FORMS.

    - names: the parts, as the domain file names them.
    - parts: (parameter shape, rank) -> the shape of each part, or None when the form does not fit that parameter.
    - delta: (parts, theta) -> Delta, broadcastable to theta.
    - wants: the parameters that the form fits, in words.
    - reads_base: whether Delta depends on theta; such a domain moves to another base by way of `Domain.to_dense`.
    - rank: parts -> the rank they were made with (0 where the form has none).
    - start: values of the parts that do not start at zero; at least one part does, so that Delta is zero.
    """

    names: tuple[str, ...]
    parts: Callable[[Shape, int], dict[str, Shape] | None]
    delta: Callable[[Mapping[str, Tensor], Tensor], Tensor]
    wants: str = "every parameter"
    reads_base: bool = False
    rank: Callable[[Mapping[str, Tensor]], int] = lambda parts: 0
    start: dict[str, Callable[[Shape, torch.Generator | None], Tensor]] = field(default_factory=dict)


def _unit_rows(shape: Shape, rng: torch.Generator | None) -> Tensor:
    """Gaussian rows normalised to unit norm."""
    rows = torch.randn(shape, generator=rng)
    return rows / rows.norm(dim=1, keepdim=True)


def _normal(shape: Shape, rng: torch.Generator | None) -> Tensor:
    return torch.randn(shape, generator=rng)


def _lowrank_parts(shape: Shape, rank: int) -> dict[str, Shape] | None:
    if len(shape) < 2 or rank < 1:
        return None
    return {"U": (shape[0], rank), "V": (rank, prod(shape[1:]))}


def _per_output(d: Tensor, theta: Tensor) -> Tensor:
    """[O] -> [O, 1, ...], to stand beside theta [O, ...]."""
    return d.reshape(d.shape + (1,) * (theta.ndim - d.ndim))


def _singular(p: Mapping[str, Tensor], theta: Tensor) -> Tensor:
    """U diag(d) V^T of theta flattened to [O, I*k*k]: the singular values are s + d, the vectors stay."""
    vectors = ops.derived(theta, _singular_vectors)
    left, right = vectors[:, : len(theta)], vectors[:, len(theta) :]
    return (left.T * p["d"] @ right).reshape(theta.shape)


def _singular_vectors(theta: Tensor) -> Tensor:
    """U^T beside V^T, [min(O, M), O + M], for theta flattened to [O, M].

    On the CPU and in float64, because vectors of nearly equal singular values turn among each other with
    rounding, and a domain has to mean the same on every machine.
    """
    if theta.is_meta:
        rows = theta.flatten(1)
        return rows.new_empty(min(rows.shape), sum(rows.shape))
    u, _, vt = torch.linalg.svd(theta.detach().flatten(1).cpu().double(), full_matrices=False)
    return torch.cat((u.T, vt), 1).to(theta)


KERNELS = "kernels and matrices"

# s is the parameter's shape
FORMS: dict[str, Form] = {
    "dense": Form(
        names=("D",),
        parts=lambda s, rank: {"D": s},
        delta=lambda p, theta: p["D"],
    ),
    "lowrank": Form(  # StyleDomain (Alanov et al., ICCV 2023): AffineLight+
        names=("U", "V"),
        parts=_lowrank_parts,
        delta=lambda p, theta: (p["U"] @ p["V"]).reshape(theta.shape),
        wants=KERNELS,
        rank=lambda p: p["V"].shape[0] if p["V"].ndim else 0,
        start={"V": _unit_rows},
    ),
    "box": Form(  # StyleDomain: one number a channel pair, the same on every tap of the kernel
        names=("D",),
        parts=lambda s, rank: {"D": (s[0], s[1], 1, 1)} if len(s) == 4 else None,
        delta=lambda p, theta: p["D"],
        wants="kernels",
    ),
    "scale": Form(  # theta (1 + d), one d an output channel
        names=("d",),
        parts=lambda s, rank: {"d": s[:1]},
        delta=lambda p, theta: theta * _per_output(p["d"], theta),
        reads_base=True,
    ),
    "scale-in": Form(  # theta (1 + d), one d an input channel
        names=("d",),
        parts=lambda s, rank: {"d": s[1:2]} if len(s) > 1 else None,
        delta=lambda p, theta: theta * _per_output(p["d"], theta[0]),
        wants=KERNELS,
        reads_base=True,
    ),
    "rank1": Form(  # AdAM (Zhao et al., NeurIPS 2022), section 4: theta (1 + u v^T), u over the output channels
        names=("u", "v"),
        parts=lambda s, rank: {"u": s[:1], "v": (prod(s[1:]),)} if len(s) > 1 else None,
        delta=lambda p, theta: theta * torch.outer(p["u"], p["v"]).reshape(theta.shape),
        wants=KERNELS,
        reads_base=True,
        start={"v": _normal},
    ),
    "singular": Form(  # FSGAN (Robb et al., 2020), equation 3
        names=("d",),
        parts=lambda s, rank: {"d": (min(s[0], prod(s[1:])),)} if len(s) > 1 else None,
        delta=_singular,
        wants=KERNELS,
        reads_base=True,
    ),
}


@dataclass(frozen=True)
class FormSpec:
    """A form with its rank (`dense`, `box`, `lowrank:5`); tie: what it shares its parts with, "" for nothing."""

    form: str
    rank: int = 0
    tie: str = ""

    @classmethod
    def parse(cls, text: str) -> FormSpec:
        """`"lowrank:5"` -> FormSpec("lowrank", 5); raises StylegraftError for an unknown form."""
        form, _, rank = text.partition(":")
        if form not in FORMS:
            raise StylegraftError(f"form {form!r} is unknown; known forms: {', '.join(FORMS)}")
        return cls(form, int(rank or 0))

    def fits(self, shape: Iterable[int]) -> bool:
        """Whether the form goes with a parameter of this shape."""
        return FORMS[self.form].parts(tuple(shape), self.rank) is not None

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


def leaves_of(deltas: Mapping[str, Iterable[Delta]]) -> Parts:
    """Their tensors by name `parameter|form|part`; one that several share under the name where it is met first."""
    found: Parts = {}
    met: set[int] = set()
    for parameter, terms in deltas.items():
        for term in terms:
            for part, tensor in term.parts.items():
                if id(tensor) not in met:
                    met.add(id(tensor))
                    found[f"{parameter}|{term.form}|{part}"] = tensor
    return found


def refilled(
    deltas: Mapping[str, Iterable[Delta]], leaves: Mapping[str, Tensor]
) -> dict[str, tuple[Delta, ...]]:
    """The same deltas of other tensors, named as `leaves_of` names their own; shared ones stay shared."""
    others = {id(tensor): leaves[name] for name, tensor in leaves_of(deltas).items()}
    return {
        parameter: tuple(
            Delta(term.coefficient, term.form, {part: others[id(own)] for part, own in term.parts.items()})
            for term in terms
        )
        for parameter, terms in deltas.items()
    }


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
    if not (result.requires_grad or theta.is_meta or ops.in_cuda_graph(theta)) and ops.derived(
        theta, _minus_zero
    ):
        result = torch.where(delta == 0, theta, result)
    if theta.ndim == 4 and theta.is_contiguous(memory_format=torch.channels_last):
        # A convolution with another memory layout sums in another order, and zero would not be bit-equal.
        result = result.contiguous(memory_format=torch.channels_last)
    return result


def _minus_zero(theta: Tensor) -> Tensor:
    """Whether any entry is -0.0, which adding 0.0 would make 0.0; all others keep their bits by themselves. Asked once
    of a base: two passes less over what moves, 3 to 10 % of a D step.
    """
    return ((theta == 0) & torch.signbit(theta)).any().cpu()


def effective(deltas: Mapping[str, Iterable[Delta]], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{parameter: moved value} for every parameter that has a delta; differentiable in the parts."""
    return {name: moved(base[name], terms) for name, terms in deltas.items()}
