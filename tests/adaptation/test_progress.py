"""The bar says how far a run is, however narrow the terminal."""

from __future__ import annotations

import io
import sys
from threading import Event

import pytest
import rich.console

from stylegraft.adaptation import progress
from stylegraft.adaptation.importance import Stopped
from stylegraft.adaptation.progress import Progress, Voice, estimating


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


class Terminal(io.StringIO):
    """A screen that says it is one."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_wrapped_at_words_and_a_pipe_gets_them_whole(monkeypatch: pytest.MonkeyPatch):
    line = "the training images as the network sees them: " + "/a-long-folder" * 8 + "/targets.png and so on"
    monkeypatch.setenv("COLUMNS", "60")
    for screen in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", screen)
        Voice(None, quiet=False)(line)
        said = screen.getvalue().splitlines()
        assert " ".join(part.strip() for part in said) == line
        assert (len(said) > 1) == screen.isatty()
        assert any("/a-long-folder" * 8 + "/targets.png" in part for part in said)


def test_an_estimate_is_heard_now_and_then_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch):
    now, said, stop = [0.0], list[str](), Event()
    monkeypatch.setattr(progress, "perf_counter", lambda: now[0])
    bar = Progress(0, 5, quiet=False)
    heard = estimating(lambda line, aloud: said.append(line), bar, stop)  # type: ignore[arg-type]
    for now[0] in (0.0, 1.0, 2.0):
        heard("G", int(now[0]), 200)
    assert said == [], "a short one passes in silence"
    for k in range(3, 100):
        now[0] = float(k)
        heard("G", k, 200)
    assert said[0] == "estimating G's Fisher information: 31 of 200 samples"
    assert len(said) == 3
    assert bar.last == 99.0, "its time is not that of a step"
    stop.set()
    with pytest.raises(Stopped):
        heard("G", 100, 200)


def test_the_bar_says_what_is_estimated(monkeypatch: pytest.MonkeyPatch):
    screen, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda stderr: console(file=screen, force_terminal=True, width=120)
    )
    with Progress(0, 300, quiet=False) as bar:
        estimating(Voice(None, quiet=False), bar, Event())("D", 40, 200)
    assert "estimating D's Fisher information: 40 of 200 samples" in screen.getvalue()
