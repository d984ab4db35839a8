"""Whose turn it is to draw: one picture at a time, and of each page only the newest.

A page that drags a slider asks faster than a picture can be drawn. What it asked before and was not begun is dropped
when the next request of the same page arrives, so that the queue holds one request a page at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Superseded(Exception):
    """A newer request of the same page came before this one was begun."""


class Turns:
    """A thread that draws, and the number of the newest request of each page."""

    def __init__(self, begin: Callable[[], None] | None = None) -> None:
        """begin: what the thread does first."""
        self.thread = ThreadPoolExecutor(1, "canvas", initializer=begin)
        self.newest: dict[str, int] = {}

    async def take(self, page: str, number: int, work: Callable[[], T]) -> T:
        """Do `work` in the thread when its turn comes; raises Superseded where a newer one of this page has come.

        Numbers of a page rise; equal ones are parts of one picture, none of which drops the others.
        """
        if number < self.newest.get(page, -1):
            raise Superseded
        self.newest.pop(page, None)
        self.newest[page] = number  # the newest page last
        while len(self.newest) > 200:
            self.newest.pop(next(iter(self.newest)))

        def begin() -> T:
            if number < self.newest.get(page, number):
                raise Superseded
            return work()

        return await asyncio.get_running_loop().run_in_executor(self.thread, begin)

    def close(self) -> None:
        """Let the thread end with what it is doing."""
        self.thread.shutdown(wait=False, cancel_futures=True)
