"""A space on a network: which parameters it moves, how many numbers that is, and the deltas to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import prod

import torch

from stylegraft.domains import expression
from stylegraft.domains.deltas import FORMS, Delta, FormSpec, Parts, Shape
from stylegraft.domains.expression import FIELDS, TIES, Named, Term
from stylegraft.domains.table import SPACES
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator
from stylegraft.networks.groups import group_parameters

Forms = dict[str, tuple[FormSpec, ...]]


def default_block(generator: Generator) -> int:
    """Resolution `@R` of a space that gives none: the paper's 64 px, or the second-highest in smaller networks."""
    return min(64, generator.resolution // 2)


def canonical(space: str, generator: Generator) -> str:
    """A space as a domain stores it: one spelling, with every resolution written out (`affine+@64`)."""
    return expression.canonical(space, default_block(generator))


def resolve(space: str, generator: Generator) -> Forms:
    """{parameter name: its forms} of a space or expression on this network, in the order of `movable`.

    Raises StylegraftError for unknown names, and for what the network does not have.
    """
    tensors = movable(generator)
    groups = groups_of(generator)
    forms: dict[str, dict[str, FormSpec]] = {}
    tied: dict[tuple[str, str], dict[str, Shape]] = {}
    for item, term in _terms(space, generator):
        found = False
        for name in _members(term, groups, tensors):
            spec = FormSpec(term.form, term.rank, _tie(term, name, generator))
            if not spec.fits(tensors[name]):
                continue
            found = True
            if forms.setdefault(name, {}).setdefault(term.form, spec) != spec:
                raise StylegraftError(f"space {space!r}: {name} gets the form {term.form} in two ways")
            parts = spec.parts(tensors[name])
            if spec.tie and tied.setdefault((term.form, spec.tie), parts) != parts:
                raise StylegraftError(
                    f"space {space!r}: {term} ties parameters of different shapes, {name} for one"
                )
        if not (found or term.optional):
            _refuse(item, term, generator, groups)
    return {name: tuple(forms[name].values()) for name in tensors if name in forms}


def movable(generator: Generator) -> dict[str, torch.Size]:
    """{name: shape} of what a space may move: parameters, then the buffers of `Generator.movable_buffers`."""
    return {
        name: tensor.shape
        for name, tensor in (*generator.named_parameters(), *generator.movable_buffers().items())
    }


def groups_of(generator: Generator) -> dict[str, tuple[str, ...]]:
    """{group: names of what it holds}, `Generator.groups` and the groups of the buffers."""
    return generator.groups | group_parameters(generator.movable_buffers())


def _terms(space: str, generator: Generator) -> Iterator[tuple[Named | Term, Term]]:
    """(the term as written, a form on a group that it stands for)."""
    block = default_block(generator)
    for item in expression.parse(space):
        if isinstance(item, Named) and SPACES[item.name].needs_block:
            at, blocks = item.at or block, _resolutions("conv", generator.groups)
            if at not in blocks:
                listed = ", ".join(map(str, blocks))
                raise StylegraftError(
                    f"space {space!r}: the network has no block of {at} px; it has {listed}"
                )
        for term in expression.terms_of(item, block):
            yield item, term


def _members(
    term: Term, groups: Mapping[str, tuple[str, ...]], tensors: Mapping[str, torch.Size]
) -> Iterator[str]:
    wanted = {name for label, members in groups.items() if _is(term, label) for name in members}
    for name in tensors:
        resolution = re.match(r"synthesis\.b(\d+)\.", name)
        if (
            name in wanted
            and name.endswith(FIELDS[term.field] if term.field else "")
            and term.holds(int(resolution[1]) if resolution else None)
        ):
            yield name


def _is(term: Term, label: str) -> bool:
    """Whether a group of the network, such as `affine@64/conv`, is the term's, at whatever resolution."""
    label, _, part = label.partition("/")
    group = label.partition("@")[0]
    if term.group == "*":
        return group not in ("gain", "offset", "miner")
    return group == term.group and part == term.part


def _tie(term: Term, name: str, generator: Generator) -> str:
    """What the tied parameters of a term have in common, for example `offset by row: 3`."""
    if not term.by:
        return ""
    for layer in generator.layers:
        if name.startswith(f"synthesis.{layer.name}."):
            return f"{term}: {getattr(layer, TIES[term.by])}"
    raise StylegraftError(f"space {str(term)!r}: {name} is in no modulated layer, so nothing ties it")


def _resolutions(group: str, groups: Iterable[str]) -> list[int]:
    found = (re.fullmatch(rf"{re.escape(group)}@(\d+)", label) for label in groups)
    return sorted(int(match[1]) for match in found if match)


def _refuse(item: Named | Term, term: Term, generator: Generator, groups: Iterable[str]) -> None:
    kind = generator.config["architecture"]
    there = _resolutions(term.group, groups)
    hint = SPACES[item.name].lacking if isinstance(item, Named) else ""
    if not hint and there:
        hint = f"it has {term.group} at {', '.join(map(str, there))}"
        if term.form != "dense":
            hint += f"; {term.form} fits {FORMS[term.form].wants}"
    raise StylegraftError(
        f"space {str(item)!r}: this {kind} generator has nothing for {term}{hint and '; ' + hint}"
    )


def count(space: str, generator: Generator) -> int:
    """How many numbers a domain of this space trains, tied ones once (works on the meta device)."""
    return sum(numbers for _, _, numbers in counts(resolve(space, generator), generator))


def counts(forms: Forms, generator: Generator) -> Iterator[tuple[str, FormSpec, int]]:
    """(parameter, form, numbers) of a resolved space; tied numbers count where they are first met."""
    tensors, met = movable(generator), set()
    for name, specs in forms.items():
        for spec in specs:
            known = bool(spec.tie) and (spec.form, spec.tie) in met
            met.add((spec.form, spec.tie))
            yield name, spec, 0 if known else sum(map(prod, spec.parts(tensors[name]).values()))


def start(
    space: str, generator: Generator, rng: torch.Generator | None = None
) -> dict[str, tuple[Delta, ...]]:
    """Fresh deltas of a space, all zero in effect; the parts are the tensors to train (fp32, CPU).

    Tied deltas hold the same tensors.
    """
    tensors = movable(generator)
    tied: dict[tuple[str, str], Parts] = {}
    deltas: dict[str, tuple[Delta, ...]] = {}
    for name, specs in resolve(space, generator).items():
        for spec in specs:
            parts = tied.get((spec.form, spec.tie)) or spec.init(tensors[name], rng)
            if spec.tie:
                tied[spec.form, spec.tie] = parts
            deltas[name] = (*deltas.get(name, ()), Delta(1.0, spec.form, dict(parts)))
    return deltas


def moves_mapping(names: Iterable[str]) -> bool:
    """Whether a domain over these parameters moves the mapping network, so that `w_avg` has to follow."""
    return any(name.startswith("mapping.") for name in names)
