"""What a GPU shows beside times: kernels of a phase, and what a CUDA graph or the compiler would make of it."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import Any

import contenders
import torch

from measure import Task, digits, medians, one, sync, told
from stylegraft.adaptation import loop
from stylegraft.adaptation.graphs import Graphs
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


def graph_of_phase(ours: contenders.Ours, phase: str) -> tuple[Task, Task]:
    """(the phase as it is, the same with the library's CUDA graphs)."""
    state, acting = ours.state, ours.plan[phase]
    graphs = Graphs(state.device)

    def with_graphs() -> None:
        loop.teach(state, acting, {}, graphs)
        if graphs.given_up or graphs.untaped:
            raise RuntimeError(graphs.given_up or f"untaped: {[*graphs.untaped.values()]}")

    for _ in range(2):  # taped, recorded
        with_graphs()
    return lambda: loop.teach(state, acting, {}), with_graphs


def captured(step: Task) -> Task:
    """A CUDA graph of `step`, whose weights are frozen, after three calls on a stream of their own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    finally:
        torch.cuda.synchronize()
    return graph.replay


def graphs(ours: contenders.Ours, draw: Task, device: str, rounds: int) -> dict[str, Any]:
    """{phase: ms eager, ms as a graph} of inference and of the four phases; an error where capture fails."""
    found: dict[str, Any] = {}
    for phase in ("infer", "G", "D", "PL", "R1"):
        try:
            tried = (draw, captured(draw)) if phase == "infer" else graph_of_phase(ours, phase)
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
