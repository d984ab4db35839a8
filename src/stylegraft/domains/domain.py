"""A domain: deltas over named parameters of a frozen base, with their algebra.

    sketch = Domain.load("sketch.safetensors")
    mild = sketch * 0.5
    both = sketch * 0.6 + other * 0.4
    generator = both.merge(source.generator)

Strength and mixing act on the effective delta and stay a lazy list of (coefficient, form, parts), so that
mixing two low-rank deltas adds U1 V1 + U2 V2 and nothing is lost to arithmetic on the parts.
"""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.checkpoints.foreign import is_foreign
from stylegraft.checkpoints.identity import base_digest, fingerprint
from stylegraft.domains import deltas as algebra
from stylegraft.domains import file
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import FORMS, Delta, check_parts
from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.generator import Generator

W_AVG = "mapping.w_avg"

# Blocks by what they decide of an image: pose and shape, features, colours and texture (StyleGAN, Karras et al., CVPR
# 2019, section 3.1: 4-8, 16-32, 64-1024 px), whatever the size of the network. 0: what belongs to no block.
LEVELS = {"mapping": (0, 0), "coarse": (4, 8), "middle": (16, 32), "fine": (64, math.inf)}


@dataclass(frozen=True, eq=False)
class Domain:
    """deltas: {parameter: its terms, summed}; config: space, recipe, steps, seed, target, ... (JSON-able);
    base: fingerprint, name, licence and sha256 of the generator they stand on (`checkpoints.describe_base`)."""

    deltas: Mapping[str, Sequence[Delta]]
    config: dict[str, Any] = field(default_factory=dict)
    base: dict[str, str] = field(default_factory=dict)

    # -- the file

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], generator: Generator | None = None, *, transfer: bool = False
    ) -> Domain:
        """Read a domain file (or the `domain.safetensors` of a run folder); with `generator`, check it against it too.

        Raises StylegraftError naming the file and the fault; nothing is half-loaded.
        """
        path = Path(path)
        path = path / "domain.safetensors" if path.is_dir() else path
        if path.is_file() and is_foreign(path):
            raise StylegraftError(
                f"{path}: a zip archive or a Python pickle, not a domain file; the directions of StyleDomain and"
                " HyperDomainNet are read by stylegraft.domains.directions.load_domain(path, source)"
            )
        domain = cls(*file.read(path))
        if generator is not None:
            try:
                domain.check(generator, transfer=transfer)
            except StylegraftError as error:
                raise StylegraftError(f"{path}: {error}") from error
        return domain

    def save(self, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
        """Write the file, version 1, atomically; `dtype` float16 halves it. Equal domains give equal bytes."""
        file.write(path, self.deltas, self.config, self.base, dtype)

    # -- the algebra

    def __mul__(self, strength: float) -> Domain:
        """The domain at another strength: 0 is the base, 1 the domain, more an exaggeration, below 0 its opposite."""
        if not isinstance(strength, Real):
            return NotImplemented
        strength = float(strength)
        if not math.isfinite(strength):
            raise StylegraftError(f"strength {strength} is not a finite number")
        scaled = {name: tuple(term.scaled(strength) for term in terms) for name, terms in self.deltas.items()}
        mix = [{**item, "coefficient": item["coefficient"] * strength} for item in self._mix()]
        return replace(self, deltas=scaled, config={"mix": mix})

    __rmul__ = __mul__

    def __add__(self, other: Domain) -> Domain:
        """The mix of two domains of one base: their effective deltas add. Raises StylegraftError on different bases."""
        if not isinstance(other, Domain):
            return NotImplemented
        if self.base.get("sha256") != other.base.get("sha256"):
            raise StylegraftError(
                f"domains of different bases cannot be mixed: {_call(self.base)} and {_call(other.base)}"
            )
        names = [*self.deltas, *(name for name in other.deltas if name not in self.deltas)]
        terms = {name: (*self.deltas.get(name, ()), *other.deltas.get(name, ())) for name in names}
        return replace(self, deltas=terms, config={"mix": [*self._mix(), *other._mix()]})

    def __neg__(self) -> Domain:
        return self * -1.0

    def __sub__(self, other: Domain) -> Domain:
        return self + -other

    def _mix(self) -> list[dict[str, Any]]:
        """What this domain is made of: [{coefficient, config}, ...]."""
        # A mix that something was done to afterwards (`above`, `shaped`, `prune`) is one item of the next.
        items = self.config["mix"] if self.config.keys() == {"mix"} else None
        kept = isinstance(items, list) and all(
            isinstance(item, dict) and isinstance(item.get("coefficient"), int | float) for item in items
        )  # a file may say anything there
        return items if items is not None and kept else [{"coefficient": 1.0, "config": self.config}]

    def with_w_avg(self, shift: Tensor) -> Domain:
        """This domain with the change of the mapping's mean w ([w_dim], see `apply.w_avg_shift`) as a delta of its own.

        It replaces an earlier one, and follows strength and mixing like every other delta.
        """
        return replace(self, deltas={**self.deltas, W_AVG: (Delta(1.0, "dense", {"D": shift.detach()}),)})

    @property
    def count(self) -> int:
        """How many numbers the domain holds; a tensor that several deltas share counts once."""
        parts = {id(p): p for terms in self.deltas.values() for term in terms for p in term.parts.values()}
        return sum(part.numel() for part in parts.values())

    def to_dense(self, generator: Generator) -> Domain:
        """The same domain with one dense delta a parameter, computed on its own base `generator`.

        What a form that multiplies the base or turns in its singular vectors needs before it can be transferred.
        """
        self.check(generator)
        base = base_tensors(generator)
        with torch.no_grad():
            totals = {name: algebra.effective_delta(terms, base[name]) for name, terms in self.deltas.items()}
            dense = {name: d.expand_as(base[name]).clone() for name, d in totals.items() if d is not None}
        return replace(self, deltas={name: (Delta(1.0, "dense", {"D": d}),) for name, d in dense.items()})

    def above(self, resolution: int) -> Domain:
        """The domain in the blocks of `resolution` px and more; those below are the source's again.

        Layer swapping (Pinkney and Adler 2020, UI2I): structure of the source, texture of the domain. What belongs to
        no block (the mapping) stays as it is.
        """
        kept = {name: terms for name, terms in self.deltas.items() if not 0 < _resolution(name) < resolution}
        if not kept:
            raise StylegraftError(f"the domain moves nothing from {resolution} px on")
        return replace(self, deltas=kept, config={**self.config, "above": resolution})

    def shaped(self, factors: Mapping[int | str, float]) -> Domain:
        """The domain at another strength in each resolution: {32: 0.5} or {"fine": 0}, one of LEVELS; 1 where none is
        given, and a resolution goes before its level.

        A tensor belongs to the resolution of its block, mapping, miner and mean of w to "mapping"; what has the factor
        0 is left out. Raises StylegraftError for an unknown level, a number that is no block's, and factors
        that are not finite.
        """
        for key, factor in factors.items():
            if isinstance(key, str) and key not in LEVELS:
                raise StylegraftError(
                    f"level {key!r} is unknown{nearest(key, LEVELS)}; there are {', '.join(LEVELS)}"
                )
            if isinstance(key, int) and (key < 4 or key.bit_count() != 1):
                raise StylegraftError(f"{key} px: expected the resolution of a block: 4, 8, 16, ...")
            if not math.isfinite(factor):
                raise StylegraftError(f"strength {factor} at {key} is not a finite number")

        def factor_of(name: str) -> float:
            at = _resolution(name)
            level = next(level for level, (low, high) in LEVELS.items() if low <= at <= high)
            return float(factors.get(at, factors.get(level, 1.0)))

        deltas = {
            name: terms if factor == 1 else tuple(term.scaled(factor) for term in terms)
            for name, terms in self.deltas.items()
            if (factor := factor_of(name))
        }
        told = {str(key): float(factor) for key, factor in factors.items()}
        config = {**self.config, "shaped": [*self.config.get("shaped", ()), told]}
        return replace(self, deltas=deltas, config=config)

    # -- on a generator

    def check(self, generator: Generator, *, transfer: bool = False) -> None:
        """Raise StylegraftError unless `generator` is the base.

        With `transfer`, another one of the same parameters will do, if no form depends on the base's values.
        """
        multiplied = [
            f"{name}|{term.form}"
            for name, terms in self.deltas.items()
            for term in terms
            if FORMS[term.form].reads_base
        ]
        if (multiplied or not transfer) and self.base.get("sha256") != (found := base_digest(generator)):
            this = f"{fingerprint(generator.config)}, sha256 {found[:12]}"
            other = (
                f"the domain stands on the base {_call(self.base)}, this generator is another one ({this}):"
            )
            if transfer:
                raise StylegraftError(
                    f"{other} {multiplied[0]} depends on the base's values, so compute the deltas on that base"
                    " first, domain.to_dense(base)"
                )
            raise StylegraftError(f"{other} use that base, or in Python ask for transfer=True")
        parameters = base_tensors(generator)
        for name, terms in self.deltas.items():
            if name not in parameters:
                raise StylegraftError(
                    f"the domain moves {name!r}, which {fingerprint(generator.config)} does not have"
                )
            for term in terms:
                check_parts(name, term, parameters[name].shape)

    def effective(self, generator: Generator, *, transfer: bool = False) -> dict[str, Tensor]:
        """{parameter: theta + Delta} on this generator after `check`; entries with zero delta keep theta's bits."""
        self.check(generator, transfer=transfer)
        return algebra.effective(self.deltas, base_tensors(generator))

    def on(self, generator: Generator, *, transfer: bool = False) -> Adapted:
        """The adapted network as a view: the base is shared and untouched."""
        return Adapted(generator, self.effective(generator, transfer=transfer))

    def merge(self, generator: Generator, *, transfer: bool = False) -> Generator:
        """A copy of the base with the domain folded in, offsets of W+ into the affine biases; the base is untouched.

        It is an ordinary generator unless gains after demodulation are in it (`Generator.require_ordinary`).
        """
        with torch.no_grad():
            values = self.effective(generator, transfer=transfer)
            merged = copy.deepcopy(generator)
            targets = base_tensors(merged)
            for name, value in values.items():
                targets[name].copy_(value)
            merged.fold_w_offsets()
        return merged


def base_tensors(generator: Generator) -> dict[str, Tensor]:
    """Everything a domain may move: parameters, gains after demodulation, offsets of W+, and `mapping.w_avg`."""
    moved = dict(generator.named_parameters()) | generator.movable_buffers()
    return {**moved, W_AVG: generator.get_buffer(W_AVG)}


def _call(base: Mapping[str, str]) -> str:
    name, mark, sha = base.get("name", "unknown"), base.get("fingerprint", ""), base.get("sha256", "unknown")
    return f"{name!r} ({mark + ', ' if mark else ''}sha256 {sha[:12]})"


def _resolution(parameter: str) -> int:
    """Of the block that a parameter belongs to; 0: of none."""
    found = re.match(r"synthesis\.b(\d+)\.", parameter)
    return int(found[1]) if found else 0
