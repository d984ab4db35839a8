"""How long a checkpoint takes to load, and how much memory beside its own size, by format.

    python benchmarks/load_checkpoints.py

Files of a 1024-px StyleGAN2 (config-f) with its discriminator are made by the tests' builders in a temporary folder;
each is loaded in a process of its own, `--rounds` times, after torch and the networks are imported. Linux. Writes
benchmarks/results/load-checkpoints.json: medians of seconds, and peak resident memory over what it was before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from heading import RESULTS, ROOT, heading, write

sys.path.insert(0, str(ROOT / "tests" / "checkpoints"))

import foreign_files

from stylegraft.checkpoints import Source, save_rosinality, save_source
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

LOAD = """
import re, sys, time
from stylegraft.checkpoints import loading

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

before, started = peak(), time.perf_counter()
loading.load(sys.argv[1])
print(time.perf_counter() - started, peak() - before)
"""
SIZES = {"resolution": 1024, "channel_base": 32768, "channel_max": 512}


def writers() -> dict[str, Callable[[Path, Source], object]]:
    """{file name: what writes it}."""
    return {
        "nvidia.pkl": lambda path, s: path.write_bytes(
            foreign_files.nvidia_pickle(s.generator, s.discriminator)
        ),
        "tensorflow.pkl": lambda path, s: path.write_bytes(
            foreign_files.tensorflow_pickle(s.generator, s.discriminator)
        ),
        "rosinality.pt": save_rosinality,
        "fp32.safetensors": lambda path, s: save_source(path, s, torch.float32),
        "fp16.safetensors": lambda path, s: save_source(path, s, torch.float16),
    }


def loaded(path: Path) -> tuple[float, float]:
    """Seconds and bytes of one load, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.manual_seed(0)
    generator = build_generator({"architecture": "stylegan2", **SIZES})
    source = Source("big", generator, build_discriminator(SIZES))
    result = heading() | {"seed": 0}
    with tempfile.TemporaryDirectory() as folder:
        for name, writer in writers().items():
            path = Path(folder) / name
            writer(path, source)
            size = path.stat().st_size
            seconds, memory = zip(*(loaded(path) for _ in range(args.rounds)), strict=True)
            result[name] = {
                "megabytes": round(size / 1e6, 1),
                "seconds": round(median(seconds), 3),
                "slowest": round(max(seconds), 3),
                "memory over size": round(max(memory) / size, 2),
            }
            print(name, result[name], flush=True)
            path.unlink()
    write(args.out / "load-checkpoints.json", result)


if __name__ == "__main__":
    main()
