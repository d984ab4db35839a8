"""What one of two processes does for `test_distributed.py`, as a script under torchrun, and the test itself in one.

Each number is found by the function that finds it in one process, so that the two can only differ by the world.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adaptation.toys import BRIEF, RECIPES, fresh, golden_space, pictures, toy
from stylegraft.adaptation import loop, run
from stylegraft.adaptation.diverged import Diverged
from stylegraft.adaptation.joining import join
from stylegraft.adaptation.loop import phases, teach, train
from stylegraft.adaptation.meeting import agree
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.run import adapt
from stylegraft.adaptation.stages import enter
from stylegraft.adaptation.state import State
from stylegraft.adaptation.world import ALONE, World
from stylegraft.cli.main import main as command
from stylegraft.distributed import restarts
from stylegraft.errors import StylegraftError

Case = tuple[str, dict[str, Any]]
# Gradients of every method, R1 and path length those of the first; then what else can couple or split a batch.
CASES: dict[str, Case] = {name: (name, BRIEF if name != "tgan" else {}) for name in RECIPES} | {
    "other images of the source": ("dcl", BRIEF | {"cl2_negatives": "source", "cl_taps": "each"}),
    "all shots": ("dcl", BRIEF | {"cl2_negatives": "shots", "cl2_to_g": True, "cl_latents": "anchors"}),
    "parts for each process": ("dcl", BRIEF | {"micro": 2}),
    "a process left over": ("dcl", BRIEF | {"batch": 3}),
    "disturbed now": ("rssa", BRIEF | {"cross_every": 1}),
}
LONG: Case = ("dcl", {"augment": "color", "ada_kimg": 0.2, "ada_p": 0.2})
STEPS = 20
RUN = 4  # steps of a whole run: the second preview is its last
SETTINGS: dict[str, Any] = {
    "recipe": "dcl",
    "space": "affine-light+",
    "every": 2,
    "quiet": True,
    "warmup": 0,
    "align": "off",
}


def gradients(case: Case, world: World = ALONE) -> dict[str, Tensor]:
    """{phase/learner: gradient} of one step of a generator that has moved; nobody takes the step."""
    name, changes = case
    state = fresh(name, golden_space(name), **changes)
    state.world = world
    rng, found = torch.Generator().manual_seed(0), dict[str, Tensor]()
    with torch.no_grad():
        for leaf in state.learners["G"].values():
            leaf.add_(torch.randn(leaf.shape, generator=rng), alpha=0.1)
    enter(state)
    for phase, acting in phases(objectives(state.recipe)).items():
        if acting and (phase in ("G", "PL") or own_judge(state.recipe)):
            owner = acting[0].owner

            def keep(phase: str = phase, owner: str = owner) -> None:
                own = state.learners[owner].items()
                found.update({f"{phase}/{n}": p.grad.clone() for n, p in own if p.grad is not None})

            state.optimizers[owner].step = keep  # pyright: ignore[reportAttributeAccessIssue]
            teach(state, acting, {})
    return found


def own_judge(row: Recipe) -> bool:
    """Whether D learns otherwise than in the first case."""
    same = Recipe("", "")
    fields = "discriminator", "cdc", "cl2", "dist_d", "mask", "augment", "batch", "micro"
    return row.name == "tgan" or any(getattr(row, field) != getattr(same, field) for field in fields)


def losses(case: Case, world: World = ALONE) -> list[dict[str, float]]:
    """The numbers of `STEPS` steps, but for the times."""
    name, changes = case
    state = fresh(name, **changes)
    state.world = world
    return [
        {key: value for key, value in stats.items() if not key.startswith("time/")}
        for stats in train(state, STEPS)
    ]


def skipping(world: World) -> dict[str, Any]:
    """Three steps of which process 1 alone finds the second one's gradient of D infinite, left out; what is said of
    that step where nothing is left out.
    """

    def spoiled(state: State, acting: Any, *args: Any) -> Any:
        found = loop_backward(state, acting, *args)
        if world.rank and state.step == 1 and acting[0].owner == "D":
            leaf = next(iter(state.learners["D"].values()))
            assert leaf.grad is not None
            leaf.grad.fill_(float("inf"))
        return found

    loop_backward, loop.backward = loop.backward, spoiled
    states = [fresh("ada", "stylespace", **BRIEF) for _ in range(2)]
    for state in states:
        state.world = world
    skipped = [stats.get("skipped", "") for stats in train(states[0], 3, skip=True)]
    said = ""
    try:
        list(train(states[1], 3))
    except Diverged as error:
        said = str(error)
    loop.backward = loop_backward
    leaves = {name: leaf.detach() for own in states[0].learners.values() for name, leaf in own.items()}
    return {"skipped": skipped, "leaves": leaves, "said": said}


def refusal(world: World, config: dict[str, Any], **more: Any) -> str:
    """What is said where the processes do not agree."""
    try:
        agree(world, config, **more)
    except StylegraftError as error:
        return str(error)
    return ""


def killed(state: State, *args: Any) -> Iterator[Any]:
    """`train` of a process that dies after the step that follows the first preview."""
    for stats in train(state, *args):
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield stats


def go(out: Path, steps: int, source: Any = None, images: Any = None) -> None:
    """A run in a folder, or what is left of it."""
    adapt(source or toy(), images or pictures(), out=out, steps=steps, **SETTINGS)


def main(folder: Path, source: Path, images: Path) -> int:
    """All of it, then a run by the command in which process 1 dies, and which is all that torchrun's second start does;
    process 1 is given other folders, which it must not make.
    """
    world = join("cpu")
    where = folder if not world.rank else folder / "of the other process"
    if not restarts():
        same = {"steps": 4, "nonfinite": "stop"}
        found = {
            "gradients": {name: gradients(case, world) for name, case in CASES.items()},
            "losses": losses(LONG, world),
            "skipping": skipping(world),
            "refused": [
                refusal(world, {"seed": 0}, **same),
                refusal(world, {"seed": world.rank}, **same),
                refusal(world, {"seed": 0}, **same | {"steps": 4 + world.rank}),
                refusal(world, {"seed": 0}, **same | {"nonfinite": ("stop", "skip")[world.rank]}),
            ],
        }
        torch.save(found, folder / f"found-{world.rank}.pt")
        go(where / "begun by two", 1)
        go(where / "begun by one", 2)
        go(where / "calm", RUN, source, images)
        if world.rank:
            run.train = killed
    flags = f"--recipe dcl --space affine-light+ --every 2 --align off --set warmup=0 --steps {RUN}"
    return command(["adapt", str(source), str(images), *flags.split(), "--out", str(where / "killed")])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(*map(Path, sys.argv[1:])))
