"""From words to a verb's `Options`, and one line for words that make none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from types import ModuleType
from typing import Any

from stylegraft.errors import StylegraftError, nearest

# how Python says that text is no number, and how we do
NUMBERS = {"could not convert string to float": "a number", "invalid literal for int()": "a whole number"}


def parse(module: ModuleType, verb: str, words: Sequence[str]) -> Any:
    """The `Options` of a verb's module; raises StylegraftError with one line, and prints help where that is asked."""
    import tyro

    def refuse(event: Any) -> None:
        """In our words, for the events that we know; tyro prints its own page about any other."""
        tell = EVENTS.get(type(event).__name__)
        if tell is not None:
            told = _stranger(words, module) or _apart(words) or tell(event, module)
            raise StylegraftError(f"{told} (`stylegraft {verb} --help`)")

    try:
        from tyro._errors import on_parse_error  # where a release has it not, its own page does
    except ImportError:
        watched = nullcontext()
    else:
        watched = on_parse_error(refuse)
    with watched:
        return tyro.cli(module.Options, prog=f"stylegraft {verb}", description=module.__doc__, args=words)


def _choice(event: Any, module: ModuleType) -> str:
    choices = sorted(
        {*event.choices} - {"None"}
    )  # of an optional choice tyro keeps no order, its metavar does
    told = str(event.argument.lowered.metavar).strip("[]{}").split(",")
    choices = told if sorted(told) == choices else choices
    hint, parts = nearest(event.value, choices), event.value.split(",")
    if len(parts) > 1 and set(parts) <= set(choices):
        hint = f"; several stand apart: {' '.join(parts)}"
    flag = "" if event.argument.is_positional() else f"{_flag(event.argument)} "
    return f"{flag}{event.value}: expected {_listed(choices)}{hint}"


def _stranger(words: Sequence[str], module: ModuleType) -> str:
    """Of the first flag that the verb has not; it is what a word that is missing then is about."""
    flags = _flags(module)
    first = next(
        (word for word in words if word.startswith("--") and word.partition("=")[0] not in flags), ""
    )
    return _no_flag(first, module) if first else ""


def _apart(words: Sequence[str]) -> str:
    """Of `--set lr 0.1`, whose value stands apart and is one word too many."""
    for i, (flag, field) in enumerate(pairwise(words)):
        rest = [word.lstrip("=") for word in words[i + 2 :] if word != "="]
        if flag == "--set" and "=" not in field.rstrip("=") and rest and not rest[0].startswith("--"):
            return f"--set {field} {rest[0]}: expected --set {field.rstrip('=')}={rest[0]}"
    return ""


def _no_flag(first: str, module: ModuleType) -> str:
    typed, flags = first.partition("=")[0], _flags(module)
    if "--set" in flags:
        from stylegraft.adaptation.fields import Recipe

        field = typed.lstrip("-").replace("-", "_")
        if any(field == one.name for one in dataclasses.fields(Recipe)):
            return f"{first}: a field of the recipe; expected --set {field}=VALUE"
    if "--example" in flags:
        from stylegraft.lab.studyfile import GRID

        if (key := typed.lstrip("-")) in GRID:
            return f"{first}: a line of a study; expected {key} in a study.toml, which `compare --example` prints"
    for field in dataclasses.fields(module.Options):
        if typed == f"--{field.name}" and "Positional[" in str(field.type):
            told = re.search(r"""metavar=['"](.+?)['"]""", str(field.type))
            return f"{first}: no flag; expected {told[1] if told else field.name} as a word of its own"
    return f"{first}: no such flag{nearest(typed, [f for f in flags if f.startswith(typed)] or flags)}"


def _flags(module: ModuleType) -> list[str]:
    """All flags of a verb; the annotation of a field may give it another name."""
    fields = [f for f in dataclasses.fields(module.Options) if "Positional[" not in str(f.type)]
    renamed = {field.name: re.search(r"""name=['"](\w+)""", str(field.type)) for field in fields}
    names = [found[1] if (found := renamed[field.name]) else field.name for field in fields]
    return [*(f"--{name.replace('_', '-')}" for name in names), "--help"]


def _unknown(event: Any, module: ModuleType) -> str:
    first = event.tokens[0]
    return _no_flag(first, module) if first.startswith("-") else f"{first}: one word too many"


def _missing(event: Any, module: ModuleType) -> str:
    return f"expected {' and '.join(_flag(each.arg) for each in event.missing_arguments)}"


def _bad_value(event: Any, module: ModuleType) -> str:
    return f"{_flag(event.argument)}: expected {event.argument.lowered.metavar} after it"


def _unfit(event: Any, module: ModuleType) -> str:
    message, argument = event.message, event.argument
    if argument is None:
        return message
    value = re.search(r"\['(.*?)'\]|: '(.*)'", message)
    kind = next((kind for said, kind in NUMBERS.items() if said in message), argument.lowered.metavar)
    return f"{_flag(argument)} {(value[1] or value[2]) if value else ''}: expected {kind}"


EVENTS: dict[str, Callable[[Any, ModuleType], str]] = {
    "InvalidChoice": _choice,
    "UnrecognizedArgs": _unknown,
    "MissingArgs": _missing,
    "BadValue": _bad_value,
    "InstantiationFailure": _unfit,
}


def _flag(argument: Any) -> str:
    """`--space`, or the name of a word without a flag."""
    flags = argument.lowered.name_or_flags
    return str(argument.lowered.metavar) if argument.is_positional() else flags[-1]


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
