"""A trace: what the panel says of a run at some of its steps, averaged and trained weights apart, in RUN/trace.jsonl.

Line 1 is {"header": ...}; each further line is a point, {"step": 500, "weights": "ema", metric: value, ...}. Steps are
G's own: after the warm-up, 0 before the first. The cadence is that of the few-shot papers' plots
(`fewshot_methods.md` 5.3): 0, 50, 100, 200, 500, 1000, 1500, 2000, 3000, then every 1000, and the last step.

A line is written when its point has been measured, so that a kill loses that one at most; a run that is continued comes
by some steps again, and measures only what is missing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.outcome import domain_of
from stylegraft.adaptation.sameness import compare, machine
from stylegraft.adaptation.state import State
from stylegraft.atomic import write_error, write_text
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.errors import StylegraftError
from stylegraft.lab.panel import Panel, Settings

FILE = "trace.jsonl"
VERSION = 1
GRID = (0, 50, 100, 200, 500, 1000, 1500, 2000, 3000)
BEYOND = 1000  # steps between points after the grid's last
WEIGHTS = ("ema", "raw")


@dataclass(frozen=True)
class Trace:
    """header: what was measured and how (`Tracer`). points: by step, at each the averaged weights first."""

    header: dict[str, Any]
    points: tuple[dict[str, Any], ...]

    def series(self, metric: str, weights: str = "ema") -> list[tuple[int, float]]:
        """(step, value) of each point that has this metric, of `ema` or `raw` weights."""
        return [(p["step"], p[metric]) for p in self.points if p["weights"] == weights and metric in p]

    def at(self, step: int, weights: str = "ema") -> dict[str, Any]:
        """The point of a step; raises StylegraftError when there is none."""
        for point in self.points:
            if (point["step"], point["weights"]) == (step, weights):
                return point
        steps = ", ".join(str(p["step"]) for p in self.points if p["weights"] == weights)
        raise StylegraftError(f"the trace has no point of step {step} ({weights}); it has {steps or 'none'}")


def read_trace(folder: str | Path) -> Trace:
    """The trace of a run folder; a line that a kill cut short is left out, and lines of one point are put together.

    Raises StylegraftError when there is none, or its first line is no header of ours.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise StylegraftError(f"{path}: no such file; `stylegraft trace {folder}` records it")
    lines = _lines(path)
    header = lines[0].get("header") if lines else None
    if not isinstance(header, dict) or header.get("format") != "stylegraft-trace":
        raise StylegraftError(f"{path}: its first line is no header of a trace; remove it to record anew")
    if header.get("version") != VERSION:
        raise StylegraftError(
            f"{path}: a trace of version {header.get('version')}, expected {VERSION}; remove it to record anew"
        )
    points: dict[tuple[int, str], dict[str, Any]] = {}
    for line in lines[1:]:
        if isinstance(line.get("step"), int) and line.get("weights") in WEIGHTS:
            points.setdefault((line["step"], line["weights"]), {}).update(line)
    return Trace(header, tuple(points[key] for key in sorted(points)))


def on_grid(step: int, every: int | None = None) -> bool:
    """Whether G's step is one of the cadence, or one of every so many."""
    if every is not None:
        return step % every == 0
    return step in GRID or (step > GRID[-1] and step % BEYOND == 0)


def cadence(last: int, every: int | None = None, full_at: Iterable[int] = ()) -> list[int]:
    """The steps that a run of `last` steps is looked at."""
    wanted = {step for step in range(last + 1) if on_grid(step, every)} | {last}
    return sorted(wanted | {step for step in full_at if step <= last})


class Tracer:
    """Records a run while it is trained (an `Observer` of `adaptation.run`), and changes nothing of it.

    folder: where trace.jsonl goes. settings: of the panel. every: steps between points, None for the grid. full_at:
    G's steps at which the averaged weights are measured by the full metric as well. panel: one that another run of the
    same source, shots and settings has made. config: of the run, where another one is trained to repeat it (`replay`).
    say: hears one line a point.

    The header: format, version; run (source, target, recipe, space, seed: as in config.json); panel (what decides the
    numbers: they must agree when a trace is continued); metrics (role -> name: quality, diversity, kid, ...); anchors
    (p_real, p_source, accuracy, calibration); source (its own values); notes; machine.
    Raises StylegraftError for a cadence below 1, missing weights, and, at the first look, a trace of another run or
    panel.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Settings | None = None,
        *,
        every: int | None = None,
        full_at: Sequence[int] = (),
        panel: Panel | None = None,
        config: dict[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if every is not None and every < 1:
            raise StylegraftError(f"--trace-every {every}: expected at least 1 step between points")
        if any(step < 0 for step in full_at):
            raise StylegraftError(f"--full-at {min(full_at)}: expected steps from 0 on")
        self.path = Path(folder) / FILE
        self.settings = panel.settings.settled() if panel else (settings or Settings()).ready()
        self.every, self.full_at, self.panel = every, frozenset(full_at), panel
        self.say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self.config = config
        self.trace: Trace | None = None
        self.seen: tuple[State, dict[str, Any]] | None = None

    def due(self, step: int) -> bool:
        """Always: which step it is of G's, `look` knows, who sees the warm-up."""
        return True

    def look(self, state: State, config: dict[str, Any]) -> None:
        """Measure what the cadence asks of this step and the file does not have."""
        self.seen = state, config
        if self.trace is None:
            self._open(state, config)
        step = state.step - state.recipe.warmup
        if on_grid(max(step, 0), self.every) or step in self.full_at or state.step == state.end:
            self._record(state, config)

    def finish(self) -> None:
        """After a run has ended: its last step, where a rule or Ctrl-C ended it between two points."""
        if self.seen:
            self._record(*self.seen)

    def _open(self, state: State, config: dict[str, Any]) -> None:
        """Continue the file, or begin it with its header."""
        if self.panel is None:
            self.panel = Panel.of_run(state, config, self.settings)
        run = {
            key: (self.config or config)[key]
            for key in ("source", "discriminator", "target", "recipe", "space", "seed")
        }
        if self.path.is_file():
            self.trace = read_trace(self.path.parent)
            compare(self.path, self.trace.header["run"], run)
            self.panel.check(self.path, self.trace.header["panel"])
            lines = _lines(self.path)  # without the one that a kill may have cut
        else:
            self.say(f"trace: preparing the panel: {self.settings}")
            header = {"format": "stylegraft-trace", "version": VERSION, "run": run, **self.panel.header()}
            self.trace = Trace({**header, "machine": machine(state.device)}, ())
            lines = [{"header": self.trace.header}]
        write_text(self.path, "".join(_json(line) + "\n" for line in lines))

    def _record(self, state: State, config: dict[str, Any]) -> None:
        assert self.panel and self.trace
        step = state.step - state.recipe.warmup
        if state.step and step < 1:
            return  # the warm-up moves D alone: step 0 was seen before it
        step, panel = max(step, 0), self.panel
        have = {(point["step"], point["weights"]): point for point in self.trace.points}
        lacks = [weights for weights in WEIGHTS if (step, weights) not in have]
        full = step in self.full_at and panel.full_name not in have.get((step, "ema"), {})
        if not lacks and not full:
            return
        started = perf_counter()
        networks = {weights: _network(state, config, weights) for weights in WEIGHTS}
        # Before the first step, and without an average, both are one generator.
        one = _same(networks["ema"].effective, networks["raw"].effective)
        untouched = one and _same(networks["ema"].effective, state.base)
        measured: dict[str, Any] = dict(self.trace.header["source"]) if untouched else {}
        for weights in lacks:
            if not (one and measured):
                measured = panel.measure(networks[weights])
            self._write({"step": step, "weights": weights, **measured})
        if full:
            self._write({"step": step, "weights": "ema", **panel.full(networks["ema"])})
        self.trace = read_trace(self.path.parent)
        numbers = spoken(self.trace.at(step), panel.metrics, self.trace.header.get("anchors"))
        self.say(f"trace: step {step}: {', '.join(numbers)} ({perf_counter() - started:.0f} s)")

    def _write(self, point: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_json(point) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error


def spoken(
    point: Mapping[str, Any], metrics: Mapping[str, str], anchors: Mapping[str, float] | None
) -> list[str]:
    """The numbers of a point for a line, `NAME VALUE` each in the order of its roles; p_target between its ends."""
    found = {role: f"{name} {point[name]:.3f}" for role, name in metrics.items() if name in point}
    if anchors and "quality" in found:
        found["quality"] += f" (p(source) {anchors['p_source']:.2f}; p(real) {anchors['p_real']:.2f})"
    return list(found.values())


def _network(state: State, config: dict[str, Any], weights: str) -> Adapted:
    """The generator so far: averaged (`ema`), or as it learns."""
    domain = domain_of(state, config, averaged=weights == "ema")
    return Adapted(state.generator, effective(domain.deltas, state.base))


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if not all(isinstance(line, dict) for line in found):
            raise ValueError("a line that is no object")
        return found
    except (ValueError, RecursionError) as error:
        raise StylegraftError(f"{path}: damaged: a line is no JSON; remove it to record anew") from error


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
