"""How many threads draw fastest at the moment.

On an idle machine all of them. Beside a training, one: threads that wait for each other while others hold the cores
take up to eight times as long (two cores, load 5: 0.9 s against 6.8 s for 16 faces of faces-64). Nothing tells which it
is but trying: both are timed, and the slower one is tried again now and then.
"""

from __future__ import annotations

AGAIN = 40  # drawings after which the slower number is tried once more
NEW = 0.4  # weight of the newest time in the mean


class Pace:
    """Seconds a face with one thread and with `most`, as running means."""

    def __init__(self, most: int) -> None:
        self.seconds: dict[int, float | None] = dict.fromkeys(sorted({1, most}, reverse=True))
        self.count = 0

    def choose(self) -> int:
        """The number to draw with now."""
        self.count += 1
        untried = [threads for threads, seconds in self.seconds.items() if seconds is None]
        if untried:
            return untried[0]
        ordered = sorted(self.seconds, key=lambda threads: self.seconds[threads] or 0.0)
        return ordered[-1] if self.count % AGAIN == 0 else ordered[0]

    def note(self, threads: int, seconds: float) -> None:
        """What a face took."""
        before = self.seconds.get(threads)
        stale = before is None or any(other is not None and other < before for other in self.seconds.values())
        self.seconds[threads] = seconds if stale or before is None else (1 - NEW) * before + NEW * seconds
