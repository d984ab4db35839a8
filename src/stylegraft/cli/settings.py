"""`--set FIELD=VALUE`: text to the typed fields of a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from stylegraft.errors import StylegraftError, nearest

WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def parse(settings: Sequence[str]) -> dict[str, Any]:
    """`("cdc=no", "cl1=1")` -> {"cdc": False, "cl1": 1.0}; the field's default decides the type.

    Raises StylegraftError for an unknown field (suggesting the nearest), a missing `=`, or a value of another type.
    """
    from stylegraft.adaptation.recipes import FIXED, Recipe

    kinds = {
        field.name: type(field.default) for field in dataclasses.fields(Recipe) if field.name not in FIXED
    }
    changes: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        if not equals:
            raise StylegraftError(f"--set {setting}: expected FIELD=VALUE, for example cl1=1.0")
        if field not in kinds:
            raise StylegraftError(
                f"--set {setting}: a recipe has no field {field!r}{nearest(field, kinds)};"
                " `stylegraft recipes NAME` lists them"
            )
        changes[field] = convert(setting, text, kinds[field])
    return changes


def convert(setting: str, text: str, kind: type) -> Any:
    """One value of the type that the field has."""
    if kind is bool:
        if text.lower() not in WORDS:
            raise StylegraftError(f"--set {setting}: expected yes or no")
        return WORDS[text.lower()]
    try:
        return kind(text)
    except ValueError:
        name = {int: "a whole number", float: "a number"}[kind]
        raise StylegraftError(f"--set {setting}: expected {name}, found {text!r}") from None
