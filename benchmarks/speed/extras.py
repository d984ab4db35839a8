"""What a GPU shows beside times: kernels of a phase, and what a CUDA graph or the compiler would make of it."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import contenders
import torch

from measure import Task, digits, medians, one, sync, told
from stylegraft.adaptation import loop
from stylegraft.adaptation.stages import active, thaw
from stylegraft.adaptation.views import Views
from stylegraft.networks import ops

TOP = 15
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")


def profile(task: Task, device: str) -> dict[str, Any]:
    """Launches, time in which the GPU was busy, and the kernels that take longest, of one call after two others.

    On a CPU, of PyTorch's operators (nested ones count in those that call them).
    """
    gpu = device.startswith("cuda")
    kinds = DEVICE if gpu else ("cpu_op",)
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if gpu else []
    task()
    wall = one(task, device)[0]
    with torch.profiler.profile(activities=activities) as recorded:
        task()
        sync(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    own = [e for e in events if e.get("cat") in kinds and "dur" in e]
    runtime = [e["name"] for e in events if e.get("cat") in ("cuda_runtime", "cuda_driver")]
    by_name: dict[str, list[float]] = defaultdict(list)
    for event in own:
        by_name[event["name"]].append(event["dur"])
    top = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:TOP]
    return {
        "wall ms": digits(wall * 1e3),
        "busy ms": digits(busy([(e["ts"], e["ts"] + e["dur"]) for e in own]) / 1e3),
        "kernels": len(own),
        "launches": sum("Launch" in name for name in runtime),
        "copies": sum(e["cat"] == "gpu_memcpy" for e in own),
        "synchronisations": sum("Synchronize" in name for name in runtime),
        "top": [
            {"ms": digits(sum(times) / 1e3), "calls": len(times), "name": name[:160]} for name, times in top
        ],
    }


def busy(spans: list[tuple[float, float]]) -> float:
    """Length of the union of spans."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


# CUDA graphs ------------------------------------------------------------------------------------------------


@contextmanager
def static_draws(ours: contenders.Ours) -> Iterator[None]:
    """Inside, a step asks the host for nothing: numbers are drawn on the device, the picked images stay the same."""
    picked = torch.arange(ours.state.recipe.batch, device=ours.state.device) % len(ours.state.images)
    kept = Views._picked
    Views._picked = lambda self: picked  # pyright: ignore
    try:
        with contenders.device_draws():
            yield
    finally:
        Views._picked = kept


def graph_of_phase(ours: contenders.Ours, phase: str) -> tuple[Task, Task]:
    """(the phase as `loop.teach` does it without its report, the same as one CUDA graph).

    A measurement, not a way to train: the draws of the host (crossover, picked images) are those of the capture.
    """
    state, acting = ours.state, ours.plan[phase]
    owner = acting[0].owner
    optimizer = state.optimizers[owner]
    learners = list(active(state, owner).values())

    def step() -> None:
        with static_draws(ours):
            thaw(state, owner)
            optimizer.zero_grad(set_to_none=True)
            loop.backward(state, acting, (0, 1))
            loop.gradient_norm(learners)
            optimizer.step()

    for group in optimizer.param_groups:
        group["capturable"] = True
    replay = captured(step, frozen=False)
    return step, replay


def captured(step: Task, *, frozen: bool) -> Task:
    """A CUDA graph of `step`, after three calls on a stream of their own. Unless all weights are `frozen`, what is
    derived from them is computed inside the graph.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    if not frozen:
        ops.clear_caches()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    finally:
        if not frozen:
            ops.clear_caches()
        torch.cuda.synchronize()
    return graph.replay


def graphs(ours: contenders.Ours, draw: Task, device: str, rounds: int) -> dict[str, Any]:
    """{phase: ms eager, ms as a graph} of inference and of the four phases; an error where capture fails."""
    found: dict[str, Any] = {}
    for phase in ("infer", "G", "D", "PL", "R1"):
        try:
            tried = (draw, captured(draw, frozen=True)) if phase == "infer" else graph_of_phase(ours, phase)
            found[phase] = medians(dict(zip(("eager", "graph"), tried, strict=True)), device, rounds)
        except Exception as error:
            found[phase] = {"error": told(error)}
            for optimizer in ours.state.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            ops.clear_caches()
    return found


# Inference otherwise ----------------------------------------------------------------------------------------


def compiled(draw: Task, device: str, rounds: int) -> dict[str, Any]:
    """Inference eager and through torch.compile: ms, seconds of compilation, largest relative difference."""
    fast = torch.compile(draw)
    started = perf_counter()
    first = fast()
    sync(device)
    seconds = perf_counter() - started
    error = contenders.relative(first, draw())
    times = medians({"eager": draw, "compiled": fast}, device, rounds)
    return times | {"compile seconds": digits(seconds), "difference": digits(error)}
