"""What a step of each recipe costs over a step of `tgan` in the same space.

    python benchmarks/recipe_cost.py --source faces-64

One thread, process CPU time, batch 4, the scaled settings and each recipe's own space. The kinds of a recipe's phases
(which terms act, at which exit) are counted over a cycle of all periods; each round times one of each kind, of tgan
and of the recipe in turn, and the ratio is the median over the rounds. What comes every `partition_every` steps is
spread over them; what comes once (EWC's Fisher information, warm-up, lead, what is found of a request) is not in it.
Recipes that look through a guide look through the first that is here, whose name the file gives, at a sentence or else
one picture; hypernet's step is two faces in each of four sentences, its batch. Writes
benchmarks/results/step-cost-recipes-SOURCE.json, of which `stylegraft recipes` prints the ratios.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation import loop
from stylegraft.adaptation.guidance import Guides
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import PAPER, Recipe, recipe
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.stages import enter
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.timing import Kind, acting_at, kinds
from stylegraft.data.pixels import to_float
from stylegraft.data.targets import load_target
from stylegraft.encoders.guides import guide_in_reach, load_guide
from stylegraft.errors import StylegraftError
from stylegraft.sources import load_source

ONCE = {"batch": 4, "warmup": 0, "lead": 0, "lead_reset": False}  # the main stage from the first step on
OWN = {  # what is found once, before the first step, is found quickly; and where the scaled settings have another batch
    "mtg": {"invert_steps": 1},
    "jojogan": {"invert_steps": 1},
    "difa": {"source_samples": 8},
    "hypernet": {"batch": 2},
}
ELSEWHERE = {"hdn": "hdn-before"}  # its kernels hold their demodulation
WORDS = ("pencil drawing", "oil painting", "line drawing in orange", "stone relief in pink", "neon outline")


def prepared(source, images, row: Recipe, guides: Guides) -> State:
    """A state whose importance, if any, is found, and what it asks for, and whose augmentations are on."""
    request = Request(texts=WORDS) if row.domains else Request(WORDS[0]) if row.reads else Request()
    images = images[:0] if request.sentences else images[:1] if row.guided or row.inverts else images
    state = begin(source, images, row, row.space, request=request, guides=guides if row.guided else ())
    enter(state)
    if state.ada and not state.ada.p:
        state.ada.p = 0.4
    return state


def guided(name: str) -> bool:
    """Whether a recipe looks through a guide."""
    return recipe(name).guided


def step_seconds(state: State, often: dict[Kind, float]) -> float:
    """CPU seconds of a mean step: one of each kind, by how often it comes."""
    total = 0.0
    for (phase, step), share in often.items():
        state.step = step
        acting = acting_at(loop.phases(objectives(state.recipe))[phase], step)
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


def measured(source, images, name: str, rounds: int, guides: Guides) -> dict[str, object]:
    """Medians over the rounds of a recipe and of tgan, which take turns, and of their ratio."""
    row = recipe(name, **{**ONCE, **OWN.get(name, {})})
    if not row.partition_every:
        row = replace(row, importance_samples=1)  # found once, before the first step
    if source.generator.config["architecture"] == "mobile":
        row = replace(row, space=ELSEWHERE.get(row.space, row.space))
    plain = recipe("tgan", **ONCE, space=row.space)
    pair = [(prepared(source, images, one, guides), kinds(one)) for one in (plain, row)]
    taken = [[step_seconds(*one) for one in pair] for _ in range(rounds + 1)][1:]  # the first warms up
    ratios = [own / base for base, own in taken]
    return {
        "space": row.space,
        "rounds": rounds,
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
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = load_source(args.source)
    images = to_float(load_target("pencil", source.generator.resolution).images)
    guides: Guides = ((load_guide(guide_in_reach()), 1.0),) if any(map(guided, args.only)) else ()
    path = args.out / f"step-cost-recipes-{source.name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    rows = before.get("recipes", {})
    for name in args.only:
        try:
            rows[name] = measured(source, images, name, args.rounds, guides)
        except StylegraftError as error:  # MobileStyleGAN lacks what FreezeSG looks at
            print(f"{name} is not measured: {error}", flush=True)
            continue
        print(name, rows[name], flush=True)
        result = heading() | {
            "source": source.name,
            "batch": 4,
            "guide": guides[0][0].name if guides else before.get("guide"),
            "recipes": {name: rows[name] for name in PAPER if name in rows},
        }
        write(path, result)


if __name__ == "__main__":
    main()
