"""Time and memory of calls that take turns in one process, and what the machine can do at best."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

Task = Callable[[], Any]
Taken = dict[str, list[tuple[float, float]]]  # contender -> (wall seconds, CPU seconds) a round


def sync(device: str) -> None:
    """Wait for all that the device has to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def one(task: Task, device: str) -> tuple[float, float]:
    """(wall, CPU) seconds of one call, the device's work included."""
    sync(device)
    wall, cpu = perf_counter(), process_time()
    task()
    sync(device)
    return perf_counter() - wall, process_time() - cpu


def in_turns(
    tasks: Mapping[tuple[str, str], Task],
    device: str,
    *,
    rounds: int,
    warmup: int,
    seconds: float,
    after: Task = lambda: None,
) -> tuple[dict[str, Taken], dict[str, str]]:
    """({phase: times}, {"phase, contender": error}) of tasks {(phase, contender): call}, round after round, every other
    one backwards so that nobody always follows the same, `after` at the end of each.

    Ends after `rounds`, or after three once `seconds` are over. A task that raises is left out from then on.
    """
    taken: dict[str, Taken] = {}
    for phase, who in tasks:  # in the order given, whoever begins
        taken.setdefault(phase, {})[who] = []
    errors: dict[str, str] = {}
    left = dict(tasks)
    started = perf_counter()
    for turn in range(warmup + rounds):
        if turn >= warmup + 3 and perf_counter() - started > seconds:
            break
        for (phase, who), task in list(left.items())[:: -1 if turn % 2 else 1]:
            try:
                spent = one(task, device)
            except Exception as error:
                errors[f"{phase}, {who}"] = told(error)
                del left[phase, who]
                taken[phase].pop(who)
                release(device)
                continue
            if turn >= warmup:
                taken[phase][who].append(spent)
        after()
    return taken, errors


def clock(device: str) -> int:
    """Which of (wall, CPU) seconds counts: of one thread on a CPU its own, else the clock of the wall, as the CPU time
    of several threads holds what they wait for each other.
    """
    return 0 if device.startswith("cuda") or torch.get_num_threads() > 1 else 1


def told(error: BaseException) -> str:
    """An error in a few words."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"


def summary(taken: Taken, device: str, reference: str = "ours") -> dict[str, Any]:
    """Medians in ms with the extremes, and each contender's time over the reference's, round by round.

    Times are those that `clock` names; where that is the CPU's, the wall clock stands beside it.
    """
    kind = clock(device)
    result: dict[str, Any] = {}
    for who, rounds in taken.items():
        times = [r[kind] * 1e3 for r in rounds]
        result[who] = {
            "ms": digits(median(times)),
            "from": digits(min(times)),
            "to": digits(max(times)),
            "rounds": len(times),
        }
        if kind:
            result[who]["wall ms"] = digits(median(r[0] * 1e3 for r in rounds))
        if who != reference and reference in taken:
            ratios = [a[kind] / b[kind] for a, b in zip(rounds, taken[reference], strict=False)]
            result[who]["over ours"] = [round(f(ratios), 3) for f in (median, min, max)]
    return result


def iteration(phases: Mapping[str, Taken], r1_every: int = 16, pl_every: int = 4) -> Taken:
    """The amortised iteration of each contender, round by round: D + G + EMA + R1 / 16 + PL / 4."""
    shares = {"D": 1.0, "G": 1.0, "EMA": 1.0, "R1": 1 / r1_every, "PL": 1 / pl_every}
    found: Taken = {}
    everyone = sorted({who for taken in phases.values() for who in taken})
    for who in everyone:
        base = who.partition(",")[0]  # what a variant shares with the contender that it varies is timed once
        rows = {p: phases.get(p, {}).get(who) or phases.get(p, {}).get(base) for p in shares}
        if any(row is None for row in rows.values()):
            continue
        n = min(len(row) for row in rows.values() if row)
        found[who] = [
            tuple(sum(share * rows[p][i][k] for p, share in shares.items()) for k in (0, 1)) for i in range(n)
        ]  # pyright: ignore
    return found


def digits(x: float) -> float:
    """Four significant digits."""
    return float(f"{x:.4g}")


# Memory -----------------------------------------------------------------------------------------------------


def extra_memory(task: Task, device: str) -> float | None:
    """MiB that a call takes above what was held before it, at its peak; None where this system does not say.

    CUDA: of PyTorch's allocator. Linux: resident pages, after the allocator gave back what it could.
    """
    release(device)
    if device.startswith("cuda"):
        sync(device)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        task()
        sync(device)
        return digits((torch.cuda.max_memory_allocated() - before) / 2**20)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        task()
        return digits((_status("VmHWM") - before) / 2**10)
    except OSError:
        return None


def _status(name: str) -> int:
    """KiB, of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def release(device: str) -> None:
    """Give memory back that nothing holds any more."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


# The machine's best ------------------------------------------------------------------------------------------

CONVS = ((512, 16), (512, 32), (256, 64), (128, 128))  # channels, px


def roof(device: str) -> dict[str, float]:
    """GFLOP/s (a multiply-add is 2) of the best matrix product and the best 3x3 convolution seen; GB/s of a copy."""
    gpu = device.startswith("cuda")
    sizes, batch, rounds = ((4096, 8192), 16, 8) if gpu else ((1024, 2048), 4, 3)
    gemm, conv = 0.0, 0.0
    with torch.no_grad():
        for n in sizes:
            a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
            gemm = max(gemm, 2 * n**3 / fastest(partial(torch.matmul, a, b), device, rounds))
        for c, r in CONVS:
            for layout in (torch.contiguous_format, torch.channels_last):
                x = torch.randn(batch, c, r, r, device=device).to(memory_format=layout)
                w = torch.randn(c, c, 3, 3, device=device).to(memory_format=layout)
                flops = 2 * 9 * c * c * r * r * batch
                taken = fastest(partial(torch.conv2d, x, w, padding=1), device, rounds)
                conv = max(conv, flops / taken)
        x = torch.randn(2**28 if gpu else 2**24, device=device)
        y = torch.empty_like(x)
        copied = 8 * x.numel() / fastest(lambda: y.copy_(x), device, rounds)
    return {
        "gemm GF/s": digits(gemm / 1e9),
        "conv GF/s": digits(conv / 1e9),
        "copy GB/s": digits(copied / 1e9),
    }


def fastest(task: Task, device: str, rounds: int) -> float:
    """Least seconds of a call, of the clock that `summary` goes by."""
    kind = clock(device)
    one(task, device)
    one(task, device)
    return min(one(task, device)[kind] for _ in range(rounds))


def medians(tasks: Mapping[str, Task], device: str, rounds: int) -> dict[str, float]:
    """Median ms of calls that take turns."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 2):
        for name, task in tasks.items():
            spent = one(task, device)[clock(device)]
            if turn > 1:
                taken[name].append(spent * 1e3)
    return {f"{name} ms": digits(median(times)) for name, times in taken.items()}
