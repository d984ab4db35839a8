"""The bar of a run: how far, how long still, and the numbers that matter."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Any


class Progress:
    """A bar on a terminal, nothing elsewhere (`live` tells which)."""

    def __init__(self, done: int, steps: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self.live = console.is_terminal and not quiet
        columns = (
            BarColumn(20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self.bar = Bar(*columns, console=console, disable=not self.live, speed_estimate_period=60)
        self.task = self.bar.add_task("", total=steps, completed=done)
        self.last = perf_counter()
        self.seconds = 0.0

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def show(self, stats: dict[str, Any]) -> None:
        """Advance by one step."""
        now = perf_counter()
        self.seconds = now - self.last if not self.seconds else 0.9 * self.seconds + 0.1 * (now - self.last)
        self.last = now
        if self.live:
            self.bar.update(self.task, advance=1, description=numbers(stats, self.seconds))


def numbers(stats: dict[str, Any], seconds: float) -> str:
    """`G 1.02 D 1.31 cl1 0.40 real +0.25 p 0.02 0.61 s/step`: adversarial losses by owner, other terms by
    name.
    """
    parts = [
        f"{name[0] if name.endswith('/adv') else name[2:]} {value:.2f}"
        for name, value in stats.items()
        if name[:2] in ("G/", "D/") and not name[2:].startswith(("grad", "r1", "pl"))
    ]
    parts.append(f"real {stats['real_sign']:+.2f}")
    if "ada_p" in stats:
        parts.append(f"p {stats['ada_p']:.3f}")
    return " ".join([*parts, f"{seconds:.2f} s/step"])
