"""The bar says how far a run is, however narrow the terminal."""

from __future__ import annotations

import io

import pytest
import rich.console

from stylegraft.adaptation.progress import Progress


@pytest.mark.parametrize("width", [60, 80, 120])
def test_step_and_time_stay_whole_on_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch):
    screen, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda stderr: console(file=screen, force_terminal=True, width=width)
    )
    with Progress(0, 4100, quiet=False) as bar:
        bar.bar.update(bar.task, advance=423, description="G 1.02 D 1.31 cl1 0.40 cl2 0.33 fm 0.22 " * 2)
    assert " 423/4100" in screen.getvalue()
    assert "-:--:--" in screen.getvalue()
