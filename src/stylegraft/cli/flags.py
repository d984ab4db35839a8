"""What a line alone says is wrong: flags out of place, numbers out of range, names that no file can have.

A verb lists its flags that need or exclude others in `RULES`. A flag whose use could not be told from its default has
the default None, so that nothing that was typed is ignored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, arg

from stylegraft.errors import StylegraftError
from stylegraft.seeds import SEED, is_seed

if TYPE_CHECKING:
    from stylegraft.cli.resolve import Found

PSI = 0.7  # of seeds, in every verb
# kinds of flags that many verbs have: how their help reads
Switch = FlagCreatePairsOff[Annotated[bool, arg(help_behavior_hint="")]]
Device = Annotated[str, arg(metavar="DEVICE")]
Psi = Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint=f"(default: {PSI})")]

# fields of Options; whether they are out of place; why, with the options as {o}
Rule = tuple[str, Callable[[Any], object], str]

# where faces come from, in the verbs that have --seeds, --codes and --psi
FACES: tuple[Rule, ...] = (
    ("seeds", lambda o: o.codes, "--codes {o.codes} says which faces; give one of them"),
    ("psi", lambda o: o.codes, "it truncates seeds; the faces of --codes {o.codes} stay as they are"),
)

FINITE = (math.isfinite, "a finite number")
POSITIVE = (lambda x: math.isfinite(x) and x > 0, "a number above 0")
COUNT = (lambda n: n >= 1, "at least 1")
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    **dict.fromkeys(("psi", "strength", "mapping", "coarse", "middle", "fine"), FINITE),
    **dict.fromkeys(("seconds", "fps"), POSITIVE),
    **dict.fromkeys(("columns", "scale", "count", "channels"), COUNT),
    "seed": (is_seed, SEED),
}


def psi_of(options: Any) -> float:
    """--psi, or its default."""
    return PSI if options.psi is None else options.psi


def check(options: Any, rules: Iterable[Rule] = (), kinds: Mapping[str, str] | None = None) -> None:
    """Refuse numbers out of RANGES, flags that a rule finds out of place, and an `out` or `save` that cannot be.

    kinds: {ending of `out`: what is written then}.
    """
    for name, (fits, expected) in RANGES.items():
        value = getattr(options, name, None)
        if isinstance(value, int | float) and not fits(value):
            raise StylegraftError(f"{shown(options, name)}: expected {expected}")
    for names, out_of_place, why in rules:
        for name in names.split():
            if given(options, name) and out_of_place(options):
                raise StylegraftError(f"{shown(options, name)}: {why.format(o=options)}")
    if kinds is not None:
        check_out(shown(options, "out"), options.out, kinds)
    if given(options, "save"):
        check_out(shown(options, "save"), options.save, {".safetensors": "tensors"})


def given(options: Any, name: str) -> bool:
    """Whether a flag was typed, as far as its value tells."""
    value = getattr(options, name, None)
    return value is not None and value != getattr(type(options), name, None)


def shown(options: Any, name: str) -> str:
    """`--shape-below 8`, `--half`, `mixed.png`: a field of `Options` as it was typed."""
    value = getattr(options, name)
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    field = next(field for field in dataclasses.fields(options) if field.name == name)
    if "Positional[" in str(field.type):
        return text
    number = f"{value:g}" if isinstance(value, float) else text
    return f"--{name.replace('_', '-')}{'' if value is True else ' ' + number}"


def check_out(what: str, path: Path, kinds: Mapping[str, str]) -> None:
    """Refuse a place that a file cannot go to, and an ending that no kind of file has."""
    if path.suffix.lower() not in kinds:
        alike = [(kind, ", ".join(endings)) for kind, endings in groupby(kinds, lambda ending: kinds[ending])]
        known = "; ".join(f"{endings} ({kind})" for kind, endings in alike)
        raise StylegraftError(
            f"{what}: expected a name that ends in {known if len(kinds) > 1 else alike[0][1]}"
        )
    if not path.parent.is_dir():
        raise StylegraftError(f"{what}: the folder {path.parent} does not exist")


def check_read(what: str, out: Path, *read: Found) -> None:
    """Refuse to write over a file that is read."""
    for found in read:
        if out.exists() and out.samefile(found.path):
            raise StylegraftError(
                f"{what}: this would overwrite the {found.kind} that is read; choose another name"
            )


def check_outside(what: str, out: Path) -> None:
    """Refuse a place inside a run."""
    if (out.parent / "config.json").exists() and (out.parent / "stats.jsonl").exists():
        raise StylegraftError(f"{what}: this is inside the run {out.parent}; choose a place outside")


def of_domains(options: Any, found: Found, names: str) -> None:
    """Refuse flags of a domain where MODEL is a source."""
    for name in names.split():
        if found.kind == "source" and given(options, name):
            raise StylegraftError(
                f"{shown(options, name)}: {options.model} is a source; only domains have one"
            )
