"""The three products of StyleGAN2's convolutions, each by every way that `networks/products.py` knows.

    python benchmarks/convolutions.py           # five minutes of one core; writes results/convolutions.json
    python benchmarks/convolutions.py --show    # prints the file

One thread, milliseconds of the processor, the ways in turns, the median of so many rounds. `error`: the largest
difference to a convolution in float64, over its largest number.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from heading import RESULTS, heading, write
from torch import Tensor

from stylegraft.networks import products
from stylegraft.networks.convolution import channels_last
from stylegraft.networks.products import Geometry

OUT = RESULTS / "convolutions.json"
# Samples, channels in and out, px, step: of D and G at 64 px (bases 2048, 4096, 16384) and 256 px (16384).
LAYERS = (
    (16, 32, 32, 64, 1),
    (16, 64, 64, 32, 1),
    (16, 128, 128, 16, 1),
    (16, 128, 128, 8, 1),
    (8, 64, 64, 64, 1),
    (8, 128, 128, 32, 1),
    (8, 256, 256, 16, 1),
    (8, 256, 256, 8, 1),
    (8, 512, 512, 8, 1),
    (8, 512, 512, 16, 1),
    (4, 512, 512, 8, 1),
    (4, 512, 512, 16, 1),
    (4, 512, 512, 32, 1),
    (4, 256, 256, 64, 1),
    (1, 512, 512, 32, 1),
    (1, 256, 256, 64, 1),
    (2, 128, 128, 128, 1),
    (2, 64, 64, 256, 1),
    (16, 32, 64, 32, 2),
    (8, 64, 128, 32, 2),
    (8, 128, 256, 16, 2),
    (8, 256, 256, 8, 2),
    (8, 512, 512, 8, 2),
    (4, 512, 512, 16, 2),
    (4, 256, 512, 32, 2),
    (2, 128, 256, 64, 2),
    (2, 64, 128, 128, 2),
)
ALWAYS = products.Bounds(0, 0)
WAYS = {
    "PyTorch": products.THEIRS,
    "tiles": products.Ways(ALWAYS, ALWAYS),
    "patches": products.Ways(kernel_patches=ALWAYS),
    "taken": products.HERE,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if not args.show:
        torch.set_num_threads(1)
        rows = []
        for layer in LAYERS:
            rows.append(measured(layer, args.rounds))
            print(line(rows[-1]), flush=True)
            write(OUT, heading() | {"cpu": torch.backends.cpu.get_cpu_capability(), "layers": rows})
        return
    for row in json.loads(OUT.read_text())["layers"]:
        print(line(row))


@torch.no_grad()
def measured(layer: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds and errors of each product of a layer by each way."""
    b, i, o, r, step = layer
    seeded = torch.Generator().manual_seed(0)
    side, padding = (r, 1) if step == 1 else (2 * r + 1, 0)
    geometry = Geometry((step, step), (padding, padding), 1)
    x, y = (channels_last(torch.randn(b, c, s, s, generator=seeded)) for c, s in ((i, side), (o, r)))
    w = channels_last(torch.randn(o, i, 3, 3, generator=seeded) / (9 * i) ** 0.5)
    asked: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "C": lambda x, w, y: products.correlate(x, w, geometry),
        "T": lambda x, w, y: products.transpose(y, w, geometry, x.shape[2:]),
        "K": lambda x, w, y: products.kernel(x, y, geometry, w.shape),
    }
    row: dict[str, Any] = {"layer": layer}
    for name, product in asked.items():
        with products.going(products.THEIRS):
            exact = product(x.double(), w.double(), y.double())
        ways = {way: bounds for way, bounds in WAYS.items() if possible(way, name, step)}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        errors = {}
        for turn in range(rounds + 1):
            for way, bounds in ways.items():
                with products.going(bounds):
                    begun = process_time()
                    result = product(x, w, y)
                    taken[way].append(1000 * (process_time() - begun))
                if not turn:
                    errors[way] = f"{float((result - exact).abs().max() / exact.abs().max()):.1e}"
        medians = {way: round(statistics.median(values[1:]), 2) for way, values in taken.items()}
        row[name] = {"ms": medians, "error": errors}
    return row


def possible(way: str, product: str, step: int) -> bool:
    return not (way == "tiles" and step > 1) and not (way == "patches" and product != "K")


def line(row: dict[str, Any]) -> str:
    b, i, o, r, step = row["layer"]
    told = (f"{name} " + ", ".join(f"{way} {ms:g}" for way, ms in row[name]["ms"].items()) for name in "CTK")
    return f"{b} x {i} -> {o}, {r} px, step {step}: " + "; ".join(told)


if __name__ == "__main__":
    main()
