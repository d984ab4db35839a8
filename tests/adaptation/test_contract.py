"""Every recipe in every space it allows keeps the same promises, and a pair it refuses says why.

Recipes in their own space, and `dcl` in every space, take six steps and are resumed after three, in the middle of
leads, partitions and warm-ups. All others take two steps, are resumed after one, and go without R1 (which depends on no
space) and path length (which depends on no recipe).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from stylegraft.adaptation import stages
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import PAPER
from stylegraft.adaptation.run import domain_of
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints.identity import describe_base
from stylegraft.domains import SPACES, Adapted, Domain, resolve
from stylegraft.domains.deltas import effective
from stylegraft.domains.spaces import moves_mapping
from stylegraft.errors import StylegraftError

from .toys import BRIEF, BRIEF_OWN, OWN, RECIPES, REFUSED, WITHOUT, fresh, pictures, small, toy

ARCHITECTURES = ("stylegan2", "mobile")


class Pair(NamedTuple):
    """A case of the matrix; `steps` of training, of which a resumed run takes those from `stop` on."""

    architecture: str
    recipe: str
    space: str
    steps: int
    stop: int

    @property
    def label(self) -> str:
        return f"{self.architecture}-{self.recipe}-{self.space}"

    @property
    def why(self) -> str:
        """What is said of it if it is refused, as a pattern; empty: it is allowed."""
        for (architecture, recipe, spaces), why in REFUSED.items():
            if (
                architecture in ("*", self.architecture)
                and recipe in ("*", self.recipe)
                and self.space in spaces
            ):
                return why
        return ""

    def begin(self) -> State:
        """Its state before the first step, checked as `adapt` checks it; raises StylegraftError."""
        changes = BRIEF | BRIEF_OWN.get(self.recipe, {}) if self.steps < 3 else {}
        state = fresh(self.recipe, self.space, self.architecture, **changes)
        stages.check(state, self.space)
        return state


def matrix() -> Iterator[Pair]:
    """All pairs of both architectures."""
    for architecture in ARCHITECTURES:
        for recipe in RECIPES:
            own = small(recipe).space
            for space in dict.fromkeys((own, *SPACES)):
                diagonal = space == own or (recipe == "dcl" and architecture == "stylegan2")
                yield Pair(architecture, recipe, space, *((6, 3) if diagonal else (2, 1)))


def looked_at(pair: Pair) -> bool:
    """All that is refused; of what MobileStyleGAN allows, recipes in their own spaces and `dcl` in all."""
    return bool(pair.why) or pair.architecture == "stylegan2" or pair.steps > 2 or pair.recipe == "dcl"


PAIRS = [pair for pair in matrix() if looked_at(pair)]


def cases(refused: bool) -> pytest.MarkDecorator:
    """Those pairs, by name."""
    chosen = [pair for pair in PAIRS if bool(pair.why) == refused]
    return pytest.mark.parametrize("pair", chosen, ids=lambda pair: pair.label)


def digest(network: nn.Module | None) -> str:
    assert network is not None
    sha = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sha.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


Z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


@cache
def of_source(architecture: str) -> tuple[str, str, Tensor, Tensor, dict[str, Any]]:
    """Digests of the toy's G and D, its images of Z at psi 1 and 0.7, and its identity: computed once."""
    source = toy(architecture)
    G = source.generator
    return digest(G), digest(source.discriminator), G(Z).image, G(Z, psi=0.7).image, describe_base(source)


def same(a: State, b: State) -> bool:
    (mine, numbers), (theirs, others) = pack(a), pack(b)
    return (
        mine.keys() == theirs.keys()
        and numbers == others
        and all(torch.equal(mine[k], theirs[k]) for k in mine)
    )


@cases(refused=False)
def test_contract(pair: Pair, tmp_path):
    source = toy(pair.architecture)
    G_digest, D_digest, images, truncated, base = of_source(pair.architecture)

    # All steps, with a copy of everything that changes taken on the way.
    whole, resumed = pair.begin(), pair.begin()
    untouched = Adapted(whole.generator, effective(whole.averaged(), whole.base))(Z).image
    assert torch.equal(untouched, images), "zero deltas are not the base"
    first = {name: p.detach().clone() for name, p in whole.discriminator.named_parameters()}
    begun = {name: tensor.clone() for name, tensor in whole.ema.items()}
    kept = {}
    for stats in train(whole, pair.steps):
        if stats["step"] == pair.stop - 1:
            tensors, numbers = pack(whole)
            kept = {name: tensor.clone() for name, tensor in tensors.items()}, dict(numbers)

    # Stop and resume: bit-equal.
    unpack(resumed, *kept)
    for _ in train(resumed, pair.steps):
        pass
    assert same(whole, resumed), "a resumed run differs from the uninterrupted one"

    # Only what was declared moves, and all of it can.
    assert list(whole.deltas) == list(resolve(pair.space, source.generator))
    assert (digest(source.generator), digest(source.discriminator)) == (G_digest, D_digest), "base written to"
    for name, parameter in whole.discriminator.named_parameters():
        if f"D.{name}" not in whole.learners["D"]:
            assert torch.equal(parameter, first[name]), f"{name} is frozen and moved"
    moved = [name for name, tensor in whole.ema.items() if not torch.equal(tensor, begun[name])]
    assert len(moved) > 0.9 * len(whole.ema)

    # The domain: saved and loaded bit-equal, merged equal to unmerged.
    domain = domain_of(whole, {"space": pair.space, "seed": 0, "target": {}, "source": base})
    domain.save(tmp_path / "domain.safetensors")
    loaded = Domain.load(tmp_path / "domain.safetensors", source.generator)
    for name, terms in domain.deltas.items():
        for a, b in zip(terms, loaded.deltas[name], strict=True):
            assert all(torch.equal(a.parts[part], b.parts[part]) for part in a.parts)
    assert ("mapping.w_avg" in domain.deltas) == moves_mapping(resolve(pair.space, source.generator))
    merged = loaded.merge(source.generator)(Z, psi=0.7).image
    assert torch.allclose(merged, loaded.on(source.generator)(Z, psi=0.7).image, atol=1e-5)
    assert not torch.equal(merged, truncated)


@cases(refused=True)
def test_a_refused_pair_says_why_in_one_line(pair: Pair):
    with pytest.raises(StylegraftError) as refusal:
        pair.begin()
    line = str(refusal.value)
    assert re.search(pair.why, line), line
    assert pair.space in line
    assert "\n" not in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("architecture", "recipe"), [(a, name) for a, rows in WITHOUT.items() for name in rows]
)
def test_what_a_network_lacks_is_refused_with_the_field_that_goes_without(architecture: str, recipe: str):
    images = pictures().float() / 127.5 - 1
    (field,) = WITHOUT[architecture][recipe]
    with pytest.raises(StylegraftError, match=f"{field}=0 goes without") as refusal:
        begin(toy(architecture), images, small(recipe), "full")
    assert "\n" not in str(refusal.value)


def test_the_toys_have_a_row_for_every_method_and_every_refusal_is_met():
    assert set(OWN) == set(PAPER), "expected a row of toys.OWN for every row of PAPER"
    for key, why in REFUSED.items():
        met = [pair.space for pair in PAIRS if pair.why == why and key[1] in ("*", pair.recipe)]
        assert set(met) >= set(key[2]), key
