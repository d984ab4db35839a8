"""How fast the library is beside a textbook StyleGAN2, in one process, on a CPU or a GPU.

    python benchmarks/speed/run.py --device cpu --cells quick              # minutes; one thread, CPU time
    python benchmarks/speed/run.py --device cuda --cells quick --minutes 3
    python benchmarks/speed/run.py --device cpu --cells all                # an hour and more: run it again to go on
    python benchmarks/speed/run.py --show benchmarks/results/speed-cpu.json

Contenders take turns, phase by phase: "ours", the library's own step as `adapt` takes it; "textbook" and "textbook,
grouped" (`textbook.py`), from the same weights. Before a cell is timed their images, logits, losses and gradients have
to be equal. The result file is written after every cell; cells that are in it are skipped, unless `--again`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))  # the benchmarks' own `heading`

import contenders
import extras
import flops
import measure
import table
import textbook
from heading import RESULTS, heading, write

from stylegraft.networks import ops
from stylegraft.sources import SOURCES

OUTPUTS, GRADIENTS = 1e-4, 1e-2  # largest relative difference of outputs and losses; of gradients (L2)
SPACES = ("full", "affine-light+", "stylespace")

# Name -> batch of a training step on a CPU (those of the measurements that came before), on a GPU
TRAINED = {
    "64/2048/128": ((16,), (16,)),
    "64/4096/256": ((8,), (8, 4, 16)),
    "64/16384/512": ((4,), (8, 4, 16)),
    "256/16384/512": ((2,), (8, 4, 16)),
    "faces-64": ((4,), (4, 16)),
    "faces-128": ((4,), (4, 16)),
}
QUICK = {"cpu": {"64/2048/128": 4}, "cuda": {"64/4096/256": 8, "256/16384/512": 8, "64/16384/512": 8}}
DRAWN = {"1024/32768/512": ((1,), (1, 8))}  # inference alone
MODES = {  # TF32 in matrix products, in convolutions, cuDNN tries its algorithms
    "fp32": (False, False, True),
    "tf32": (True, True, True),
    "default": (False, True, False),  # PyTorch's, and so the library's
}


@dataclass(frozen=True)
class Cell:
    """One measurement. kind: infer, train, profile, graphs, bf16 or compile."""

    name: str
    kind: str
    batch: int
    mode: str
    space: str = ""

    @property
    def key(self) -> str:
        return " | ".join(
            part for part in (self.name, self.kind, self.space, f"B{self.batch}", self.mode) if part
        )


def cells(kind: str, chosen: str, modes: list[str]) -> Iterator[Cell]:
    """The most telling first. kind: cpu or cuda; chosen: quick or all."""
    fast = modes[0]
    quick = QUICK[kind].items()
    for name, batch in quick:
        yield Cell(name, "infer", 8, fast)
        yield Cell(name, "train", batch, fast, "full")
        yield Cell(name, "infer", 1, fast)
        if kind == "cuda":
            yield Cell(name, "profile", batch, fast, "full")
            yield Cell(name, "graphs", batch, fast, "full")
    for mode in modes[1:]:
        for name, batch in quick:
            yield Cell(name, "train", batch, mode, "full")
            yield Cell(name, "infer", 8, mode)
    if kind == "cuda":
        for name, _ in quick:
            yield Cell(name, "bf16", 8, fast)
        yield Cell("64/4096/256", "compile", 8, fast)
    if chosen == "quick":
        return
    column = 1 if kind == "cuda" else 0
    for mode in modes:
        for name, batches in (TRAINED | DRAWN).items():
            for batch in DRAWN[name][column] if name in DRAWN else (8, 1):
                yield Cell(name, "infer", batch, mode)
        for space in SPACES:
            for name, batches in TRAINED.items():
                for batch in batches[column]:
                    yield Cell(name, "train", batch, mode, space)
    if kind == "cuda":
        for name in ("64/16384/512", "256/16384/512", "1024/32768/512"):
            yield Cell(name, "compile", 1 if name in DRAWN else 8, fast)


class Bench:
    """Both sides of the cells of one network, space and batch, built once."""

    def __init__(self, name: str, space: str, batch: int, device: str):
        self.name, self.space, self.batch, self.device = name, space, batch, device
        self.source = contenders.random_source(name).to(device)
        self.source.generator.eval().requires_grad_(False)
        self.alone = name in SOURCES  # the textbook has not its architecture

    @cached_property
    def ours(self) -> contenders.Ours:
        return contenders.Ours(self.source, self.space or "full", self.batch, self.device)

    @cached_property
    def textbooks(self) -> dict[str, contenders.Textbook]:
        names = {} if self.alone else {"textbook": False, "textbook, grouped": True}
        return {who: contenders.Textbook(self.source, self.ours, grouped) for who, grouped in names.items()}

    @cached_property
    def generators(self) -> dict[str, textbook.Generator]:
        """For inference alone, without optimisers."""
        config = {"z_dim": 512, "w_dim": 512, **self.source.generator.config}
        names = {} if self.alone else {"textbook": False, "textbook, grouped": True}
        made = {who: textbook.Generator(config, grouped) for who, grouped in names.items()}
        for generator in made.values():
            generator.load_state_dict(self.source.generator.state_dict())
            generator.to(self.device).eval().requires_grad_(False)
        return made

    @cached_property
    def equality(self) -> dict[str, Any]:
        """How far the textbook is from the library before the first step; raises ValueError where that is too far."""
        found: dict[str, Any] = {}
        for who, theirs in self.textbooks.items():
            outputs = contenders.output_errors(self.source, self.ours, theirs, min(self.batch, 4))
            within(outputs, OUTPUTS, who)
            grades = contenders.phase_errors(self.ours, theirs)
            within({phase: loss for phase, (loss, _) in grades.items()}, 10 * OUTPUTS, f"{who}, loss")
            within(
                {phase: gradient for phase, (_, gradient) in grades.items()}, GRADIENTS, f"{who}, gradient"
            )
            found[who] = {"outputs": rounded(outputs), "loss, gradient": rounded(grades)}
        return found

    @torch.no_grad()
    def drawn_equally(self) -> dict[str, Any]:
        z = torch.randn(1, 512, generator=torch.Generator().manual_seed(2)).to(self.device)
        found = {}
        for who, generator in self.generators.items():
            image, _ = generator(z, noise=generator.constants())
            found[who] = contenders.relative(image, self.source.generator(z).image)
        within(found, OUTPUTS, "images")
        return rounded(found)


def within(errors: dict[str, float], bound: float, what: str) -> None:
    """Refuse to time what is not equal."""
    wrong = {name: error for name, error in errors.items() if not error < bound}
    if wrong:
        raise ValueError(f"not equal: {what}: {wrong}, expected less than {bound:g}")


def rounded(found: dict[str, Any]) -> dict[str, Any]:
    return {
        k: [float(f"{x:.2g}") for x in v] if isinstance(v, list) else float(f"{v:.2g}")
        for k, v in found.items()
    }


def settle(mode: str) -> None:
    """Set TF32 and cuDNN's search; they mean nothing on a CPU."""
    matrix, convolution, search = MODES[mode]
    torch.backends.cuda.matmul.allow_tf32 = matrix
    torch.backends.cudnn.allow_tf32 = convolution
    torch.backends.cudnn.benchmark = search


# The kinds of cells --------------------------------------------------------------------------------------------


def infer(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle("fp32")
    equal = bench.drawn_equally()
    settle(cell.mode)
    z = torch.randn(cell.batch, bench.source.generator.z_dim, device=bench.device)

    @torch.no_grad()
    def ours() -> None:
        bench.source.generator(z)

    def other(generator: textbook.Generator) -> Callable[[], None]:
        noise = generator.constants()

        @torch.no_grad()
        def draw() -> None:
            generator(z, noise=noise)

        return draw

    draws = {"ours": ours} | {who: other(generator) for who, generator in bench.generators.items()}
    tasks = {("infer", who): task for who, task in draws.items()}
    taken, errors = measure.in_turns(tasks, bench.device, **run.rounds)
    return run.result(bench, cell, taken, errors, draws, {"infer": draws}) | {"equality": equal}


def train(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle("fp32")
    equal = bench.equality
    settle(cell.mode)
    ours = bench.ours
    sides: dict[str, Callable[[str], None]] = {"ours": ours.run}
    if run.gpu:
        sides["ours, device draws"] = lambda phase: contenders.drawn_on_device(lambda: ours.run(phase))()
    sides |= {who: theirs.run for who, theirs in bench.textbooks.items()}
    shared = {("R1", "textbook, grouped"), ("EMA", "textbook, grouped"), ("EMA", "ours, device draws")}
    tasks = {
        (phase, who): (lambda phase=phase, side=side: side(phase))
        for phase in contenders.PHASES
        for who, side in sides.items()
        if (phase, who) not in shared
    }

    def next_step() -> None:
        ours.state.step += 1

    taken, errors = measure.in_turns(tasks, bench.device, after=next_step, **run.rounds)
    by_phase = {
        phase: {who: task for (p, who), task in tasks.items() if p == phase and f"{p}, {who}" not in errors}
        for phase in ("D", "R1", "G", "PL")
    }
    return run.result(bench, cell, taken, errors, sides, by_phase) | {"equality": equal}


def profile(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle(cell.mode)
    found: dict[str, Any] = {}
    sides = {"ours": bench.ours} | {k: v for k, v in bench.textbooks.items() if k == "textbook"}
    for who, side in sides.items():
        for phase in ("D", "G", "PL", "R1", "EMA"):
            try:
                found[f"{phase}, {who}"] = extras.profile(
                    lambda side=side, phase=phase: side.run(phase), bench.device
                )
            except Exception as error:
                found[f"{phase}, {who}"] = {"error": measure.told(error)}
    return {"phases": found}


def graphs(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle(cell.mode)
    return {"phases": extras.graphs(bench.ours, bench.source, cell.batch, bench.device, 10)}


def bf16(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle(cell.mode)
    return extras.half_inference(bench.source, cell.batch, bench.device, 10)


def compile_(bench: Bench, cell: Cell, run: Run) -> dict[str, Any]:
    settle(cell.mode)
    return extras.compiled(bench.source, cell.batch, bench.device, 10)


KINDS = {
    "infer": infer,
    "train": train,
    "profile": profile,
    "graphs": graphs,
    "bf16": bf16,
    "compile": compile_,
}


# The run ---------------------------------------------------------------------------------------------------------


class Run:
    """What is asked for, and the result file."""

    def __init__(self, args: argparse.Namespace):
        self.device: str = args.device
        self.gpu = self.device.startswith("cuda")
        self.out: Path = args.out or RESULTS / f"speed-{'cuda' if self.gpu else 'cpu'}.json"
        seconds = args.cell_seconds or (10 if self.gpu else 240)
        rounds = args.rounds or (15 if self.gpu else 5)
        self.rounds = {"rounds": rounds, "warmup": 3 if self.gpu else 1, "seconds": seconds}
        self.file: dict[str, Any] = json.loads(self.out.read_text()) if self.out.is_file() else {}
        self.file = {**described(self.device), "roof": {}, "rows": {}} | {
            k: v for k, v in self.file.items() if k in ("rows", "roof")
        }

    def save(self, key: str, row: dict[str, Any]) -> None:
        self.file["rows"][key] = row
        write(self.out, self.file)

    def result(
        self,
        bench: Bench,
        cell: Cell,
        taken: dict[str, measure.Taken],
        errors: dict[str, str],
        sides: dict[str, Any],
        memory_of: dict[str, dict[str, Callable[[], None]]],
    ) -> dict[str, Any]:
        """The row of a timed cell: times, ratios, share of the roof, images a second, memory."""
        timed = dict(taken)
        if cell.kind == "train":
            every = bench.ours.state.recipe
            timed["iteration"] = measure.iteration(taken, every.r1_every, every.pl_every)
        row: dict[str, Any] = {p: measure.summary(t, bench.device) for p, t in timed.items()}
        work = {} if bench.alone else flops.phases(bench.source.generator.config, cell.batch, cell.space)
        best = max(self.file["roof"][cell.mode][k] for k in ("gemm GF/s", "conv GF/s"))
        for phase, sides_of in row.items():
            for numbers in sides_of.values():
                numbers["img/s"] = measure.digits(cell.batch / numbers["ms"] * 1e3)
                if phase in work and cell.space != "affine-light+":
                    numbers["of roof"] = round(work[phase] / numbers["ms"] * 1e3 / best, 3)
        extra: dict[str, Any] = {}
        for phase, tasks in memory_of.items():
            for who, task in tasks.items():
                try:
                    extra.setdefault(phase, {})[who] = measure.extra_memory(task, bench.device)
                except Exception as error:
                    errors[f"memory of {phase}, {who}"] = measure.told(error)
        return {"phases": row, "extra MiB": extra, "GFLOP": {k: measure.digits(v) for k, v in work.items()},
                "errors": errors}  # fmt: skip


def described(device: str) -> dict[str, Any]:
    """The machine and its software; clocks are left as they are."""
    about = heading() | {"cpu": cpu_name(), "numpy threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        about["gpu"] = {
            "name": properties.name,
            "MiB": properties.total_memory // 2**20,
            "processors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver, clocks now, clocks at most": smi("driver_version,clocks.sm,clocks.max.sm,power.limit"),
        }
    about.pop("numpy threads")
    return about


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def smi(query: str) -> str:
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return measure.told(error)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--cells", choices=("quick", "all"), default="quick")
    parser.add_argument("--only", nargs="*", default=[], help="cells whose name holds all of these")
    parser.add_argument("--modes", default="", help=f"of a GPU, joined by commas: {', '.join(MODES)}")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no cell begins after these")
    parser.add_argument("--rounds", type=int, help="of each cell (5 on a CPU, 15 on a GPU)")
    parser.add_argument("--cell-seconds", type=float, help="from then on three rounds are enough")
    parser.add_argument("--threads", type=int, help="1 on a CPU, PyTorch's choice on a GPU")
    parser.add_argument("--again", action="store_true", help="measure cells anew that are there")
    parser.add_argument("--list", action="store_true", help="name the cells")
    parser.add_argument("--show", type=Path, help="print a result file as tables")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.show:
        print(table.text(json.loads(args.show.read_text())))
        return
    gpu = args.device.startswith("cuda")
    modes = (args.modes or ("tf32,fp32" if gpu else "fp32")).split(",")
    chosen = list(dict.fromkeys(cells("cuda" if gpu else "cpu", args.cells, modes)))
    chosen = [cell for cell in chosen if all(part in cell.key for part in args.only)]
    if args.list:
        print("\n".join(cell.key for cell in chosen))
        return
    if threads := args.threads or (0 if gpu else 1):
        torch.set_num_threads(threads)
    started = perf_counter()
    run = Run(args)
    bench: Bench | None = None
    for mode in modes:
        if mode not in run.file["roof"] or args.again:
            settle(mode)
            run.file["roof"][mode] = measure.roof(args.device)
            print("roof", mode, run.file["roof"][mode], flush=True)
    for cell in chosen:
        known = run.file["rows"].get(cell.key)
        if known and "error" not in known and not args.again:
            continue
        if perf_counter() - started > 60 * args.minutes:
            print(f"{args.minutes:g} minutes are over; the same command goes on", flush=True)
            break
        begun = perf_counter()
        try:
            wanted = (cell.name, cell.space, cell.batch if cell.space else 0)
            if bench is None or (bench.name, bench.space, bench.batch if bench.space else 0) != wanted:
                bench = None
                ops.clear_caches()
                measure.release(args.device)
                bench = Bench(cell.name, cell.space, cell.batch, args.device)
            row = KINDS[cell.kind](bench, cell, run)
        except Exception as error:
            row = {"error": measure.told(error)}
            bench = None
        row["seconds"] = round(perf_counter() - begun, 1)
        row["commit"] = run.file["commit"]
        run.save(cell.key, row)
        print(table.line(cell.key, row), flush=True)


if __name__ == "__main__":
    main()
