"""How much each number of a network matters to what it does: per-sample Fisher information, by number or by filter.

F_i = E (d log p / d theta_i)^2, with log p the log likelihood of the verdict: log sigmoid(D(G(z))) for G, and
log sigmoid(-D(G(z))) + log sigmoid(D(x)) for D (EWC, Li et al. 2020, equation 3; AdAM, Zhao et al. 2022; RICK, Zhao et
al. 2023). The mean is of the squares of single samples' gradients: the square of a batch's gradient is another thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation import sampling
from stylegraft.adaptation.judges import AdaptedJudge
from stylegraft.adaptation.projected import Judge
from stylegraft.adaptation.state import State, on_device
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.networks.generator import Generator


class Stopped(Exception):
    """For `State.between` to raise: the estimate is given up, and nothing has changed."""


def fisher(
    verdict: Callable[[int], Tensor],
    leaves: Mapping[str, Tensor],
    samples: int,
    between: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """{name: mean square of d verdict(k) / d leaf over k = 0 .. samples - 1}, of the leaf's shape.

    verdict: index of a sample -> log likelihood, a scalar, of one sample; between: called with k and `samples` before
    each.
    """
    sums = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    for k in range(samples):
        if between:
            between(k, samples)
        gradients = torch.autograd.grad(verdict(k), list(leaves.values()), allow_unused=True)
        for total, gradient in zip(sums.values(), gradients, strict=True):
            if gradient is not None:
                total += gradient.square()
    return {name: total / samples for name, total in sums.items()}


def source_fisher(state: State, samples: int) -> dict[str, Tensor]:
    """F of every parameter that the space moves, on the source G as the source D judges it (EWC)."""
    moved = {name: state.base[name].clone().requires_grad_() for name in state.deltas}
    student = Adapted(state.generator, moved)

    def verdict(k: int) -> Tensor:
        return F.logsigmoid(judged(state.discriminator, one_fake(state, student, samples, k))).sum()

    return fisher(verdict, moved, samples, partial(state.between, "G"))


def leaf_fisher(
    state: State,
    owner: str,
    leaves: Mapping[str, Tensor],
    samples: int,
    moved: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """F of these learners of G (on its average) or of D, as the run stands; of D on images of G with the parameters
    `moved`, or as it stands too.
    """
    between = partial(state.between, owner)
    if owner == "D":
        with torch.no_grad():
            student = Adapted(state.generator, moved or effective(state.deltas, state.base))

        def verdict_on_both(k: int) -> Tensor:
            with torch.no_grad():
                fake = one_fake(state, student, samples, k)
            judge, real = state.judge, state.images[k % len(state.images)][None]
            return (F.logsigmoid(-judged(judge, fake)) + F.logsigmoid(judged(judge, real))).sum()

        return fisher(verdict_on_both, leaves, samples, between)

    deltas, averages = on_device(state.averaged(), str(state.device))

    def verdict(k: int) -> Tensor:
        # A graph of its own for each sample.
        student = Adapted(state.generator, effective(deltas, state.base))
        return F.logsigmoid(judged(state.judge, one_fake(state, student, samples, k))).sum()

    return fisher(verdict, {name: averages[name] for name in leaves if name in averages}, samples, between)


def judged(judge: Judge | AdaptedJudge, images: Tensor) -> Tensor:
    """The mean logit of whole images."""
    return judge(images).logits.flatten(1).mean(1)


def one_fake(state: State, generator: Generator | Adapted, samples: int, k: int) -> Tensor:
    """The k-th of `samples` images [1, C, R, R] of a step's importance estimate, with random noise."""
    keyed = sampling.Keyed(state.seed, state.step, samples, state.device, "importance", (k, samples))
    noise = sampling.random_noise(keyed, "noise", state.generator.noise_shapes)
    return generator(sampling.free(keyed, "z", state.generator.z_dim), noise=noise).image


def by_filter(found: Mapping[str, Tensor], parameters: Iterable[str], prefix: str = "") -> dict[str, Tensor]:
    """{parameter: [O]}: for each output channel, the mean F of its own numbers; a part that all outputs share (v of a
    rank-1 factor) counts by its mean. Leaves are named `prefix + parameter`, or with `|form|part` behind it.
    """
    wanted, filters = {prefix + name: name for name in parameters}, dict[str, Tensor]()
    for leaf, values in found.items():
        parameter, _, part = leaf.partition("|")
        if parameter not in wanted:
            continue
        shared = part.endswith(("|v", "|V"))
        own = values.mean() if shared else values.flatten(1).mean(1) if values.ndim > 1 else values
        name = wanted[parameter]
        filters[name] = filters[name] + own if name in filters else own
    return filters
