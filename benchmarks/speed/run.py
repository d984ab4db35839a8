"""How fast the library is beside a textbook StyleGAN2, in one process, on a CPU or a GPU.

    python benchmarks/speed/run.py --device cpu --cells quick              # a minute; one thread, CPU time
    python benchmarks/speed/run.py --device cuda --cells quick --minutes 3
    python benchmarks/speed/run.py --device cpu --cells all                # an hour and more: the same command goes on
    python benchmarks/speed/run.py --show benchmarks/results/speed-cpu.json --chart docs/images/speed-cpu.svg

Contenders take turns, phase by phase: "ours", the library's own step as `adapt` takes it; "textbook" and "textbook,
grouped" (`textbook.py`), from the same weights. Before a cell is timed their images, logits, losses and gradients have
to be equal. The result file is written after every cell; cells that are in it are skipped, unless `--again`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))  # the benchmarks' own `heading`

import table
from bench import KINDS, Bench, Limits, settle
from cells import MODES, cells
from heading import RESULTS, heading, write

import measure
from stylegraft.lab.charts import save_chart


def described(device: str) -> dict[str, Any]:
    """The machine and its software; clocks are left as they are."""
    about = heading() | {
        "cpu": cpu_name(),
        "huge pages asked for": os.environ.get("THP_MEM_ALLOC_ENABLE", "0"),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        about["gpu"] = {
            "name": properties.name,
            "MiB": properties.total_memory // 2**20,
            "processors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver, clock, largest clock, power limit": smi(
                "driver_version,clocks.sm,clocks.max.sm,power.limit"
            ),
        }
    return about


def cpu_name() -> str:
    """As the kernel calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def smi(query: str) -> str:
    """What nvidia-smi says; why not, where it says nothing."""
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return measure.told(error)


def require_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    """Refuse to add cells to those of another machine, allocator, version or number of threads."""
    same = ("gpu",) if "gpu" in now else ("machine", "cpu", "threads", "huge pages asked for")
    for key in (*same, "torch") if before.get("rows") else ():
        old, new = (file.get(key, {}) for file in (before, now))
        if key == "gpu":
            old, new = (one.get("name") for one in (old, new))
        if old != new:
            sys.exit(f"{out} is of {key} {old}, this is {new}: give another file with --out")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--cells", choices=("quick", "all"), default="quick")
    parser.add_argument("--only", nargs="*", default=[], help="cells whose name holds all of these")
    parser.add_argument("--modes", default="", help=f"of a GPU, joined by commas: {', '.join(MODES)}")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no cell begins after these")
    parser.add_argument("--rounds", type=int, help="of each cell (5 on a CPU, 15 on a GPU)")
    parser.add_argument("--cell-seconds", type=float, help="after which three rounds are enough (240; GPU 8)")
    parser.add_argument("--threads", type=int, help="1 on a CPU, PyTorch's choice on a GPU")
    parser.add_argument("--again", action="store_true", help="measure cells anew that are there")
    parser.add_argument("--list", action="store_true", help="name the cells")
    parser.add_argument("--show", type=Path, help="print a result file as tables")
    parser.add_argument("--chart", type=Path, help="with --show: write what it holds as SVG")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    args = options()
    if args.show:
        file = json.loads(args.show.read_text())
        print(table.text(file))
        if args.chart:
            save_chart(table.chart(file), args.chart)
        return
    gpu = args.device.startswith("cuda")
    modes = (args.modes or ("tf32,fp32" if gpu else "fp32")).split(",")
    if unknown := set(modes) - set(MODES):
        sys.exit(f"--modes: {', '.join(sorted(unknown))} is unknown; there are {', '.join(MODES)}")
    chosen = dict.fromkeys(cells("cuda" if gpu else "cpu", args.cells, modes))
    chosen = [cell for cell in chosen if all(part in cell.key for part in args.only)]
    if args.list:
        print("\n".join(cell.key for cell in chosen))
        return
    started = perf_counter()
    if threads := args.threads or (0 if gpu else 1):
        torch.set_num_threads(threads)
    if gpu:
        torch.cuda.set_device(torch.device(args.device if ":" in args.device else "cuda:0"))
    limits = Limits(
        args.rounds or (15 if gpu else 5), 3 if gpu else 1, args.cell_seconds or (8 if gpu else 240)
    )

    out: Path = args.out or RESULTS / f"speed-{'cuda' if gpu else 'cpu'}.json"
    before: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    file: dict[str, Any] = described(args.device)
    require_same(before, file, out)
    file |= {"roof": before.get("roof", {}), "rows": before.get("rows", {})}

    for mode in modes:
        if mode not in file["roof"] or args.again:
            settle(mode)
            file["roof"][mode] = measure.roof(args.device)
            print(f"roof, {mode}: {file['roof'][mode]}", flush=True)

    bench: Bench | None = None
    for cell in chosen:
        known = file["rows"].get(cell.key)
        if known and "error" not in known and not args.again:
            continue
        if perf_counter() - started > 60 * args.minutes:
            print(f"{args.minutes:g} minutes are over; the same command goes on", flush=True)
            break
        begun = perf_counter()
        best = max(file["roof"][cell.mode][kind] for kind in ("gemm GF/s", "conv GF/s"))
        try:
            if bench is None or bench.name != cell.name:
                bench = None
                measure.release(args.device)
                bench = Bench(cell.name, args.device, limits)
            if cell.space:
                bench.learn(cell.space, cell.batch, cell.recipe)
            row = KINDS[cell.kind](bench, cell, best)
        except Exception as error:
            row = {"error": measure.told(error)}
            bench = None
        row |= {"seconds": round(perf_counter() - begun, 1), "commit": file["commit"]}
        file["rows"][cell.key] = row
        write(out, file)
        print(table.line(cell.key, row), flush=True)


if __name__ == "__main__":
    main()
