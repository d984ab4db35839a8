"""StyleGAN-NADA's adaptive layers: in each step only what the guides ask most of learns.

Gal et al., "StyleGAN-NADA: CLIP-Guided Domain Adaptation of Image Generators", SIGGRAPH 2022: the rows of W+ of a few
samples go one step of gradient descent towards what is asked for; the rows that it moves furthest are the ones whose
layers should learn. One step of gradient descent is the gradient times a rate, so the mean of its magnitude ranks them.
A row belongs to the layers that read it, `Layer.row`, toRGB included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stylegraft.adaptation import sampling
from stylegraft.adaptation.guidance import embed
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective

if TYPE_CHECKING:
    from stylegraft.adaptation.state import State

SAMPLES = 8


def rows_of(state: State) -> dict[str, set[int]]:
    """{learner of G: the rows of W+ that its layers read}; empty for what no layer holds (mapping, miner)."""
    prefixes = {f"synthesis.{layer.name}.": layer.row for layer in state.generator.layers}
    names = {id(leaf): name for name, leaf in state.learners["G"].items()}
    found: dict[str, set[int]] = {name: set() for name in names.values()}
    for parameter, terms in state.deltas.items():
        rows = {row for prefix, row in prefixes.items() if parameter.startswith(prefix)}
        if parameter == "synthesis.b4.const":  # the first layer's input
            rows = {state.generator.layers[0].row}
        for term in terms:
            for leaf in term.parts.values():
                found[names[id(leaf)]] |= rows
    return found


def scores(state: State) -> Tensor:
    """How far each row of W+ would move: mean |d loss / d w_row| over samples and numbers, [num_ws]."""
    keyed = sampling.Keyed(state.seed, state.step, SAMPLES, state.device, "rows")
    with torch.no_grad():
        student = Adapted(state.generator, effective(state.deltas, state.base))
        ws = sampling.Latents(sampling.free(keyed, "z", state.generator.z_dim)).ws(student)
        noise = sampling.random_noise(keyed, "noise", state.generator.noise_shapes)
    total = torch.zeros(ws.shape[1], device=ws.device)
    for first in range(0, SAMPLES, state.recipe.at_once):
        part = slice(first, first + state.recipe.at_once)
        rows = ws[part].clone().requires_grad_()
        image = student(ws=rows, noise={name: maps[part] for name, maps in noise.items()}).image
        loss = torch.zeros((), device=ws.device)
        for i, (guide, weight) in enumerate(state.guides):
            wanted = torch.nn.functional.normalize(state.found[f"wanted/{i}"].mean(0), dim=0)
            loss = loss + weight * (1 - embed(guide, image, state.recipe.loss_resolution) @ wanted).sum()
        (gradient,) = torch.autograd.grad(loss, rows)
        total += gradient.abs().sum((0, 2))
    return total / (SAMPLES * ws.shape[2])


def choose(state: State) -> Tensor:
    """The `choose_rows` rows with the highest scores among those that something learns by: row numbers, ascending, as
    floats, which a state can hold.
    """
    able = sorted(set().union(*rows_of(state).values()))
    found = scores(state)[able]
    best = found.topk(min(state.recipe.choose_rows, len(able))).indices
    return torch.tensor(able, dtype=torch.float32)[best.cpu()].sort().values


def chosen(state: State, learners: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those learners that read a chosen row; all, where none are chosen."""
    if not state.recipe.choose_rows or "rows" not in state.recall:
        return learners
    wanted, owned = set(state.recall["rows"].tolist()), rows_of(state)
    return {name: leaf for name, leaf in learners.items() if owned.get(name, set()) & wanted}
