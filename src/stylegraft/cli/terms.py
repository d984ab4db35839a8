"""Domains of a command line with their coefficients: `a.safetensors:0.6 runs/b:-0.4`, all on one source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.cli.model import base_name, check_base, find_base
from stylegraft.cli.resolve import Found, Kind, find
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.checkpoints import Source
    from stylegraft.domains import Domain

DOMAINS: tuple[Kind, ...] = ("domain", "direction", "run")


@dataclass(frozen=True)
class Term:
    """text: what was typed, without the coefficient; found: the domain that it names; coefficient: its strength."""

    text: str
    found: Found
    coefficient: float

    @property
    def label(self) -> str:
        """A short name for captions: the run folder's or the file's own."""
        path = self.found.path
        return path.parent.name if self.found.kind == "run" else path.stem


def parse_term(text: str) -> Term:
    """`PATH` or `PATH:COEFFICIENT`; raises StylegraftError for what is no domain and no finite number."""
    path, colon, number = text.rpartition(":")
    if is_number(text) and not Path(text).exists():
        raise StylegraftError(f"{text}: a number alone; an amount follows its domain, as in runs/a:{text}")
    if not colon or Path(text).exists():
        return Term(text, find(text, DOMAINS), 1.0)
    try:
        coefficient = float(number)
    except ValueError:
        if len(path) == 1 or "://" in text:  # a drive letter, or a name of the hub
            return Term(text, find(text, DOMAINS), 1.0)
        raise StylegraftError(
            f"{text}: {number!r} is not a number; expected DOMAIN or DOMAIN:STRENGTH, such as runs/a:0.6"
        ) from None
    if not math.isfinite(coefficient):
        raise StylegraftError(f"{text}: strength {number} is not a finite number")
    return Term(path, find(path, DOMAINS), coefficient)


def is_number(text: str) -> bool:
    """Whether a text is one."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def find_terms(texts: Sequence[str], source: str | None) -> tuple[list[Term], str]:
    """The domains and the text that names their common source, without importing torch.

    Raises StylegraftError for domains of different bases, naming both.
    """
    terms = [parse_term(text) for text in texts]
    base_text = base_name(terms[0].found, source)
    base = find_base(base_text)
    first = terms[0]
    for term in terms:
        if term.found.foreign is not None:
            continue
        if first.found.foreign is None and (theirs := _base(term)) != (own := _base(first)):
            raise StylegraftError(
                f"domains of different bases cannot be mixed: {first.text} stands on {own}, {term.text} on {theirs}"
            )
        check_base(term.found, base)
    return terms, base_text


def _base(term: Term) -> str:
    name, sha = (term.found.says(str, "base", key) for key in ("name", "sha256"))
    return f"{name!r} (sha256 {sha[:12]})"


def load_terms(terms: Sequence[Term], base_text: str) -> tuple[Source, list[Domain]]:
    """The source and the domains at strength 1, in the order given; the coefficients are left to the caller."""
    from stylegraft.domains.directions import load_domain
    from stylegraft.sources import load_source

    source = load_source(base_text)
    return source, [load_domain(term.found.path, source) for term in terms]
