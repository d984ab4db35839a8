"""What a hypernetwork learns in a step: sentences in turn, mixed and moved a little, to meet more than the list
(HyperDomainNet, Alanov et al., NeurIPS 2022); and what it gives afterwards.

Mixtures have weights of Dirichlet(hull / K, ...) over the step's K sentences; around a mixture an embedding is drawn at
a cosine between `cone` and 1. Both keep their length. The second is done in the first guide alone, which is the one
that is read; the paper then looks through no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.sampling import Keyed, data_order
from stylegraft.domains.domain import Domain
from stylegraft.domains.hypernet import Hypernetwork
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

if TYPE_CHECKING:
    from stylegraft.adaptation.state import State
    from stylegraft.encoders.guides import Guide


def asked(state: State, keyed: Keyed) -> dict[str, Tensor]:
    """`wanted/i` and `direction/i` [K, dim] of each guide, for this step's K sentences: the same in all its parts."""
    recipe, count = state.recipe, len(state.request.texts)
    keyed = replace(keyed, batch=recipe.domains, part=(0, 1))
    turn = data_order(state.seed, state.step, recipe.domains, count)
    found = dict[str, Tensor]()
    for i in range(len(state.guides)):
        rows = state.found[f"wanted/{i}"][turn]
        if recipe.hull:
            rows = mixed(rows, shares_of(keyed, recipe.hull))
        if i == 0 and recipe.cone < 1:
            rows = near(keyed, rows, recipe.cone)
        found[f"wanted/{i}"], found[f"direction/{i}"] = rows, rows - state.found[f"start/{i}"]
    return found


def shares_of(keyed: Keyed, hull: float) -> Tensor:
    """Weights [K, K] of K mixtures of K sentences, each row's sum 1."""
    count = keyed.batch
    seeds = [one.initial_seed() for one in keyed.samples("hull").generators]
    shares = [np.random.default_rng(seed).dirichlet(np.full(count, hull / count)) for seed in seeds]
    return torch.from_numpy(np.stack(shares)).float().to(keyed.device)


def mixed(rows: Tensor, shares: Tensor) -> Tensor:
    """Mixtures [K, dim] of rows [K, dim], of the mean length of what is in them."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return F.normalize(shares @ rows, dim=1) * (shares @ length)


def near(keyed: Keyed, rows: Tensor, least: float) -> Tensor:
    """Rows [K, dim] turned in a random direction, by an angle whose cosine is uniform between `least` and 1."""
    draws = keyed.samples("cone")
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    unit, noise = F.normalize(rows, dim=1), draws.normal(rows.shape[1])
    aside = F.normalize(noise - (noise * unit).sum(1, keepdim=True) * unit, dim=1)
    cosine = least + (1 - least) * draws.uniform(1)
    return length * (cosine * unit + (1 - cosine.square()).clamp_min(0).sqrt() * aside)


# What it gives
# ------------------------------------------------------------------------------------------------------------


def domains_of(
    hypernet: Hypernetwork | str | Path,
    generator: Generator,
    texts: Sequence[str],
    guide: Guide,
) -> list[Domain]:
    """The domain of each sentence, by one forward pass; hypernet: a trained one, its file or its run's folder.

    Raises StylegraftError for another base, and for a guide that is not the one it was trained to read through.
    """
    from stylegraft.adaptation.guidance import read
    from stylegraft.adaptation.request import worded

    hypernet = hypernet if isinstance(hypernet, Hypernetwork) else Hypernetwork.load(hypernet)
    known = hypernet.config["guides"][0]
    if guide.digest != known["digest"]:
        raise StylegraftError(
            f"the hypernetwork reads through {known['name']} (digest {known['digest'][:12]}), and this guide is another"
            f" one: {guide.name} ({guide.digest[:12]}); expected that one, as --guide"
        )
    made = []
    for text in texts:
        request = worded(text, hypernet.config["from_text"], "sentence")
        (wanted,), start = read(guide, request, hypernet.config["templates"])
        target = {"name": request.name, "text": request.text, "from_text": request.from_text}
        made.append(hypernet.domain((wanted - start).cpu(), generator, target))
    return made
