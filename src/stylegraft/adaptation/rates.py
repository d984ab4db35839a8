"""How fast what learns moves, and how fast its average follows: rates by space, their rise, half lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stylegraft.adaptation.fields import Recipe
from stylegraft.domains.expression import Named, Term, parse

# G's step, relative to the space `full`: the rates of StyleDomain's runs (README of its few-shot half) over its 0.002,
# the other papers' 0.002 as it is. The smallest of an expression's factors holds; there a form on a group has the
# form's, a group alone the group's, and what is not here 1. Deltas of D have the factors of their forms (`judge_rate`).
SPACE_LR: dict[str, float] = {
    "full": 1.0,           # 0.002, the configuration's default
    "mapping": 1.0,
    "synthesis": 1.0,
    "affine": 1.0,
    "stylespace": 10.0,    # 0.02
    "affine+": 10.0,       # 0.02
    "affine-light+": 4.0,  # 0.008 in the released runs; its README says 0.02
    "stylespace-conv": 10.0,
    "stylespace-sparse": 10.0,
    "style+": 10.0,
    "style-mult": 10.0,    # ours, as for stylespace; so are those of the next seven
    "style-linear": 10.0,
    "hdn": 10.0,
    "hdn-before": 10.0,
    "scale-shift": 10.0,
    "scale": 10.0,
    "scale-in": 10.0,
    "gain": 10.0,
    "w-offset": 5.0,       # 0.0025 in the scaled rows: WeditGAN's
    "w-offset@res": 5.0,
    "offset": 5.0,
    "lowrank": 4.0,        # as affine-light+
    "box": 10.0,           # as affine+
    "rank-1": 1.0,         # AdAM's 0.002
    "rank1": 1.0,
    "singular-values": 20.0,  # kernels whose numbers are about 1 have singular values of about 20
    "singular": 20.0,
}  # fmt: skip

# Of recipes without a game, whose steps StyleDomain chose apart: 0.05 on style offsets, 0.08 and 0.02 on gains with
# DiFa's losses; HyperDomainNet's 0.1 on its gains.
_OFFSETS: list[str] = ["stylespace", "stylespace-conv", "stylespace-sparse"]
_GAINS: list[str] = ["hdn", "hdn-before", "gain", "style-mult"]
OWN_LR: dict[str, dict[str, float]] = {
    **dict.fromkeys(("nada", "mtg", "jojogan"), dict.fromkeys(_OFFSETS + _GAINS, 25.0)),
    "difa": dict.fromkeys(_OFFSETS, 40.0) | dict.fromkeys(_GAINS, 10.0),
    "hdn": dict.fromkeys(_OFFSETS, 25.0) | dict.fromkeys(_GAINS, 50.0),
    "hypernet": dict.fromkeys(SPACE_LR, 1.0),  # of the network's parameters, whatever it gives
}


def learning_rate(row: Recipe, space: str) -> float:
    """G's Adam step in this space: `lr * SPACE_LR[space]` (`OWN_LR`, where the recipe has its own), in an expression by
    its most careful term.
    """
    return row.lr * _factor((_kind(item) for item in parse(space)), SPACE_LR | OWN_LR.get(row.name, {}))


def judge_rate(row: Recipe, forms: Iterable[str]) -> float:
    """D's Adam step on its deltas, of these forms: `lr_d` times the most careful factor. Weights move at `lr_d`."""
    return row.lr_d * _factor(forms, SPACE_LR)


def _kind(item: Named | Term) -> str:
    """What `SPACE_LR` knows a term by."""
    if isinstance(item, Named):
        return item.name
    return item.group if item.form == "dense" else item.form


def _factor(kinds: Iterable[str], factors: Mapping[str, float]) -> float:
    return min((factors.get(kind, 1.0) for kind in kinds), default=1.0)


def learning_rate_at(row: Recipe, space: str, step: int) -> float:
    """G's Adam step at a step of the run: a linear rise over the first `lr_warmup` of its steps, then full size."""
    return learning_rate(row, space) * warmed(row, step)


def warmed(row: Recipe, step: int) -> float:
    """That rise, as a share of the full rate: 1 / lr_warmup at G's first step, 1 from the lr_warmup-th on."""
    return min(max(step - row.warmup + 1, 0) / row.lr_warmup, 1.0) if row.lr_warmup else 1.0


def ema_half_life(row: Recipe) -> float:
    """Steps in which the averaged generator comes half way to the trained one."""
    return 1000 * row.ema_kimg / row.batch


def ema_beta(row: Recipe) -> float:
    """Weight of the old average after one step: 0.5^(batch / half life in images); 0 keeps no average."""
    return 0.5 ** (row.batch / (1000 * row.ema_kimg)) if row.ema_kimg > 0 else 0.0
