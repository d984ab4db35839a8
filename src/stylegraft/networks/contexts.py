"""How networks are told what a caller around them has settled: a variable that has a value inside a `with`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def holding(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Inside, the variable has this value, in this thread."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
