"""What a step of each recipe costs over a step of `tgan` in the same space.

    python benchmarks/recipe_cost.py --source faces-64

One thread, process CPU time, batch 4, the scaled settings and each recipe's own space. The kinds of a recipe's phases
(which terms act, at which exit) are counted over a cycle of all periods; each round times one of each kind, of tgan
and of the recipe in turn, and the ratio is the median over the rounds. What comes every `partition_every` steps is
spread over them; what comes once (EWC's Fisher information, warm-up, lead) is not in it. Writes
benchmarks/results/step-cost-recipes-SOURCE.json, of which `stylegraft recipes` prints the ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import Counter
from pathlib import Path
from statistics import median

import torch

from stylegraft.adaptation import loop
from stylegraft.adaptation.exits import exit_of
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import PAPER, Recipe, recipe
from stylegraft.adaptation.stages import enter
from stylegraft.adaptation.state import State, begin
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.errors import StylegraftError
from stylegraft.sources import load_source

CYCLE = 192  # steps in which all periods (R1 at both exits, anchors, path length, disturbance) close
ONCE = {"batch": 4, "warmup": 0, "lead": 0, "lead_reset": False}  # the main stage from the first step on


def kinds(row: Recipe) -> dict[tuple[str, int], float]:
    """{(phase, a step on which it is of this kind): how often a step}."""
    found: dict[tuple[str, str, tuple[str, ...]], int] = {}
    counts: Counter[tuple[str, int]] = Counter()
    for step in range(CYCLE):
        for phase, members in loop.phases(objectives(row)).items():
            acting = [term for term in members if step % term.every == 0]
            if acting:
                turn = step // acting[0].every if acting[0].lazy else step
                exit = exit_of(turn, row.cdc, row.anchor_period)
                key = phase, exit, tuple(term.name for term in acting)
                counts[phase, found.setdefault(key, step)] += 1
    return {key: count / CYCLE for key, count in counts.items()}


def prepared(source, images, row: Recipe) -> State:
    """A state whose importance, if any, is found, and whose augmentations are on."""
    state = begin(source, images, row, row.space)
    enter(state)
    if state.ada and not state.ada.p:
        state.ada.p = 0.4
    return state


def step_seconds(state: State, often: dict[tuple[str, int], float]) -> float:
    """CPU seconds of a mean step: one of each kind, by how often it comes."""
    total = 0.0
    for (phase, step), share in often.items():
        state.step = step
        acting = [t for t in loop.phases(objectives(state.recipe))[phase] if step % t.every == 0]
        started = time.process_time()
        loop.teach(state, acting, {})
        total += share * (time.process_time() - started)
    if state.recipe.partition_every:
        state.step = state.recipe.partition_every
        started = time.process_time()
        enter(state)
        total += (time.process_time() - started) / state.recipe.partition_every
    loop.average(state)
    return total


def measured(source, images, name: str, rounds: int) -> dict[str, object]:
    """Medians over the rounds of a recipe and of tgan, which take turns, and of their ratio."""
    row = recipe(name, **ONCE)
    if not row.partition_every:
        row = recipe(name, **ONCE, importance_samples=1)  # found once, before the first step
    plain = recipe("tgan", **ONCE, space=row.space)
    pair = [(prepared(source, images, one), kinds(one)) for one in (plain, row)]
    taken = [[step_seconds(*one) for one in pair] for _ in range(rounds + 1)][1:]  # the first warms up
    ratios = [own / base for base, own in taken]
    return {
        "space": row.space,
        "ratio": round(median(ratios), 2),
        "lowest": round(min(ratios), 2),
        "highest": round(max(ratios), 2),
        "cpu_seconds": round(median(own for _, own in taken), 3),
        "cpu_seconds_tgan": round(median(base for base, _ in taken), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(PAPER), help="measure these anew, keep the others")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = load_source(args.source)
    images = to_float(load_target("pencil", source.generator.resolution).images)
    path = args.out / f"step-cost-recipes-{source.name}.json"
    rows = json.loads(path.read_text())["recipes"] if path.exists() else {}
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        try:
            rows[name] = measured(source, images, name, args.rounds)
        except StylegraftError as error:  # MobileStyleGAN lacks what FreezeSG looks at
            print(f"{name} is not measured: {error}", flush=True)
            continue
        print(name, rows[name], flush=True)
        result = {
            "source": source.name,
            "batch": 4,
            "threads": 1,
            "rounds": args.rounds,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
            "recipes": {name: rows[name] for name in PAPER if name in rows},
        }
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
