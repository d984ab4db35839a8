"""What a policy lets the discriminator learn, in the same forms of deltas as a space gives the generator.

A policy is terms joined by ` + `: groups of the discriminator separated by commas, or a form on them, as in
`singular(all)` or `rank1(b*.conv*) + b*.conv* + head`. `all` is every group, `upto-R` the blocks of resolution <= R and
the head (FreezeD, Mo et al. 2020, freezes the rest).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stylegraft.adaptation.choosing import matching
from stylegraft.adaptation.projected import Judge
from stylegraft.domains.deltas import Delta, FormSpec, effective
from stylegraft.domains.expression import FORMS
from stylegraft.errors import StylegraftError, nearest

Forms = dict[str, tuple[FormSpec, ...]]
_TERM = re.compile(r"(?P<form>[\w-]+(:\d+)?)\((?P<groups>[^()]*)\)")


class AdaptedJudge:
    """`judge` with the parameters in `effective` ({name: tensor}) in place of its own; everything else is its own."""

    def __init__(self, judge: Judge, effective: Mapping[str, Tensor]):
        self.judge = judge
        self.effective = dict(effective)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the judge's own call."""
        return functional_call(self.judge, self.effective, args, kwargs, tie_weights=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.judge, name)


def adapted(
    judge: Judge, deltas: Mapping[str, Sequence[Delta]], base: Mapping[str, Tensor]
) -> Judge | AdaptedJudge:
    """The discriminator with its deltas in place; itself where it has none."""
    return AdaptedJudge(judge, effective(deltas, base)) if deltas else judge


def forms_of(judge: Judge, policy: str) -> Forms:
    """{parameter: its forms} of a policy on this discriminator, in its own order.

    A form takes those parameters of a group that it fits. Raises StylegraftError for a group or form that there is not,
    or a term that leaves nothing to learn.
    """
    found: dict[str, list[FormSpec]] = {}
    shapes = {name: p.shape for name, p in judge.named_parameters()}
    for term in re.split(r"\s+\+\s+", policy.strip()):
        match = _TERM.fullmatch(term)
        spec = _spec(match["form"] if match else "dense", policy)
        members = [
            name
            for name in named(judge, match["groups"] if match else term, policy)
            if spec.fits(shapes[name])
        ]
        if not members:
            raise StylegraftError(f"discriminator policy {policy!r}: {term} leaves nothing to learn")
        for name in members:
            others = {other.form: other for other in found.setdefault(name, [])}
            if others.get(spec.form, spec) != spec:
                raise StylegraftError(
                    f"discriminator policy {policy!r}: {name} gets the form {spec.form} in two ways"
                )
            if spec.form not in others:
                found[name].append(spec)
    return {name: tuple(found[name]) for name in shapes if name in found}


def _spec(form: str, policy: str) -> FormSpec:
    name, _, rank = form.partition(":")
    if name not in FORMS:
        raise StylegraftError(
            f"discriminator policy {policy!r}: no form {name!r}{nearest(name, FORMS)}; there are {', '.join(FORMS)}"
        )
    if bool(rank) != FORMS[name]:
        wanted = "a rank, as in lowrank:4" if FORMS[name] else "no rank"
        raise StylegraftError(f"discriminator policy {policy!r}: the form {name} takes {wanted}")
    return FormSpec.parse(form)


def named(judge: Judge, groups: str, policy: str) -> list[str]:
    """Parameters of a comma list of groups, wildcards, `all` and `upto-R`."""
    chosen: set[str] = set()
    for group in (part.strip() for part in groups.split(",")):
        for label in _groups(judge, group, policy):
            chosen.update(judge.groups[label])
    return [name for name, _ in judge.named_parameters() if name in chosen]


def _groups(judge: Judge, group: str, policy: str) -> list[str]:
    labels = matching(judge.groups, group)
    if not labels:
        if group.startswith("upto-"):
            raise StylegraftError(f"discriminator policy {policy!r}: expected upto-R, e.g. upto-16")
        raise StylegraftError(
            f"discriminator policy {policy!r}: no group {group!r}{nearest(group, judge.groups)}; expected all, upto-R,"
            f" or some of {', '.join(judge.groups)}"
        )
    return labels


def forms_that_learn(learners: Iterable[str]) -> set[str]:
    """The forms of D's learners, given by name; `dense` where a parameter moves freely. A patch exit has none."""
    own = (name.partition("|")[2] for name in learners if name.startswith("D."))
    return {rest.partition("|")[0] or "dense" for rest in own}


def split(
    judge: nn.Module, forms: Forms, rng: torch.Generator, device: str
) -> tuple[dict[str, Tensor], dict[str, tuple[Delta, ...]]]:
    """(learners by name, deltas): a parameter that moves freely is itself a learner, which saves an addition a step;
    of all others the parts of their deltas are (`name|form|part`).
    """
    learners: dict[str, Tensor] = {}
    deltas: dict[str, tuple[Delta, ...]] = {}
    for name, parameter in judge.named_parameters():
        specs = forms.get(name, ())
        if [spec.form for spec in specs] == ["dense"]:
            learners[name] = parameter
            continue
        for spec in specs:
            parts = {
                part: tensor.to(device).requires_grad_()
                for part, tensor in spec.init(parameter.shape, rng).items()
            }
            deltas[name] = (*deltas.get(name, ()), Delta(1.0, spec.form, parts))
            learners |= {f"{name}|{spec.form}|{part}": leaf for part, leaf in parts.items()}
    return learners, deltas
