"""From words to a verb's `Options`, and one line for words that make none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
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
            raise StylegraftError(f"{tell(event, module)} (`stylegraft {verb} --help`)")

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
    flag = "" if event.argument.is_positional() else f"{_flag(event.argument)} "
    return f"{flag}{event.value}: expected {_listed(choices)}{nearest(event.value, choices)}"


def _unknown(event: Any, module: ModuleType) -> str:
    flags = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(module.Options)]
    first = event.tokens[0]
    if first.startswith("-"):
        typed = first.partition("=")[0]
        return f"{first}: no such flag{nearest(typed, [f for f in flags if f.startswith(typed)] or flags)}"
    return f"{first}: one word too many"


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
