"""What a picture costs in a mix of k domains, over one in a single domain; and what moving a slider costs.

    python benchmarks/mix_cost.py --source faces-64

One thread, process CPU time. Domains are of random numbers (the work does not depend on them). `over one`: medians over
`--rounds` of the ratio of two calls one after the other, k domains over one, at amounts that have been merged before;
`over merged`: one and k domains over an ordinary generator with one domain folded in. `drag`: seconds of a call at
amounts that are new, of which `merging` is what it takes over one that is not. Writes benchmarks/results/mix-cost.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.applications.mixing import Mixer
from stylegraft.checkpoints import Source, describe_base
from stylegraft.domains import Domain, start
from stylegraft.sources import load_source

SPACES = ("stylespace", "affine-light+", "full")
COUNTS = (2, 3, 4)
BAR = 1.05


def random_domain(source: Source, base: dict[str, str], space: str, seed: int) -> Domain:
    """A domain of small random numbers."""
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, source.generator, rng)
    for part in (part for terms in deltas.values() for term in terms for part in term.parts.values()):
        part.normal_(std=0.02, generator=rng)
    return Domain(deltas, {"space": space, "seed": seed}, base)


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def ratio(above: Callable[[], Any], below: Callable[[], Any], rounds: int) -> float:
    """Median of the ratios of pairs, whose order takes turns; one pair before to warm up."""
    found = []
    for turn in range(rounds + 1):
        first, second = (above, below) if turn % 2 else (below, above)
        a, b = seconds(first), seconds(second)
        found.append(a / b if turn % 2 else b / a)
    return round(median(found[1:]), 3)


def measured(source: Source, domains: Sequence[Domain], z: torch.Tensor, rounds: int) -> dict[str, Any]:
    """The row of one space."""
    generator = source.generator
    mixers = {k: Mixer(generator, domains[:k]) for k in (1, *COUNTS)}
    merged = domains[0].merge(generator)
    steady = {k: torch.full((1, k), 0.3) for k in mixers}

    def call(k: int) -> Callable[[], Any]:
        return lambda: mixers[k](steady[k], z=z, psi=0.7)

    def plain() -> Any:
        return merged(z, psi=0.7)

    def drag(k: int) -> tuple[float, float]:
        new, old = [], []
        for turn in range(rounds):
            amounts = torch.full((1, k), 0.31 + 1e-4 * turn)
            new.append(seconds(lambda amounts=amounts: mixers[k](amounts, z=z, psi=0.7)))
            old.append(seconds(lambda amounts=amounts: mixers[k](amounts, z=z, psi=0.7)))
        return median(new), median(old)

    row: dict[str, Any] = {
        "over one": {k: ratio(call(k), call(1), rounds) for k in COUNTS},
        "over merged": {k: ratio(call(k), plain, rounds) for k in (1, COUNTS[-1])},
        "drag": {},
        "merging": {},
    }
    for k in (1, COUNTS[-1]):
        new, old = drag(k)
        row["drag"][k], row["merging"][k] = round(new, 4), round(max(0.0, new - old), 4)
    row["within the bar"] = max(row["over one"].values()) < BAR
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = load_source(args.source)
    base = describe_base(source)
    z = torch.randn(args.batch, source.generator.z_dim, generator=torch.Generator().manual_seed(0))
    rows = {}
    with torch.inference_mode():
        for space in SPACES:
            domains = [random_domain(source, base, space, seed) for seed in range(max(COUNTS))]
            rows[space] = measured(source, domains, z, args.rounds)
    result = heading() | {
        "source": source.name,
        "batch": args.batch,
        "rounds": args.rounds,
        "seeds": {"domains": list(range(max(COUNTS))), "latents": 0},
        "bar": f"over one < {BAR}",
        "spaces": rows,
    }
    write(args.out / "mix-cost.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
