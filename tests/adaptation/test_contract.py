"""Every recipe in every space it allows keeps the same promises, and a pair it refuses says why.

Recipes in their own space take six steps and are resumed after three, in the middle of leads, partitions and warm-ups;
`dcl` takes four in every space and is resumed after two, with R1 and path length on both sides of the stop. All others
take two steps, are resumed after one, and go without R1 (which depends on no space) and path length (which depends on
no recipe). benchmarks/contract.py takes six with all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from stylegraft.adaptation import stages
from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.outcome import domain_of
from stylegraft.adaptation.recipes import PAPER
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints.identity import describe_base
from stylegraft.domains import SPACES, Adapted, Domain, resolve
from stylegraft.domains.deltas import effective
from stylegraft.domains.spaces import moves_mapping
from stylegraft.errors import StylegraftError

from .toys import BRIEF, BRIEF_OWN, GUIDED, OWN, RECIPES, REFUSED, WITHOUT, fresh, pictures, small, toy

ARCHITECTURES = ("stylegan2", "mobile")


# For runs of six steps: R1 and RSSA's second term on both sides of the stop, as path length is anyway.
OFTEN: dict[str, Any] = {"r1_every": 4, "cross_every": 2}
# The same for runs of four.
OFTENER: dict[str, Any] = {"r1_every": 2, "pl_every": 2}


FEW = (
    "stylespace",
    "full",
    "hdn",
    "hdn-before",
)  # spaces in which recipes that look through guides are tried


class Pair(NamedTuple):
    """A case of the matrix; `steps` of training, of which a resumed run takes those from `stop` on."""

    architecture: str
    recipe: str
    space: str
    steps: int = 6
    stop: int = 3

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
        changes = {2: BRIEF | BRIEF_OWN.get(self.recipe, {}), 4: OFTENER, 6: OFTEN}[self.steps]
        state = fresh(self.recipe, self.space, self.architecture, **changes)
        stages.check(state, self.space)
        return state


def matrix() -> Iterator[Pair]:
    """All pairs of both architectures."""
    for architecture in ARCHITECTURES:
        for recipe in RECIPES:
            for space in dict.fromkeys((small(recipe).space, *SPACES)):
                yield Pair(architecture, recipe, space)


def looked_at() -> Iterator[Pair]:
    """All that is refused; of what MobileStyleGAN allows, recipes in their own spaces and `dcl` in all. Recipes with a
    guide in a few spaces: nothing of them but the rates depends on it.
    """
    for pair in matrix():
        if pair.recipe in GUIDED and not pair.why and pair.space not in (small(pair.recipe).space, *FEW):
            continue
        own, dcl = pair.space == small(pair.recipe).space, pair.recipe == "dcl"
        stylegan2 = pair.architecture == "stylegan2"
        if own:
            yield pair
        elif dcl and stylegan2:
            yield pair._replace(steps=4, stop=2)
        elif pair.why or dcl or stylegan2:
            yield pair._replace(steps=2, stop=1)


PAIRS = list(looked_at())


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


def parts_of(domain: Domain) -> dict[tuple[Any, ...], Tensor]:
    """Every tensor of a domain, by what says where it goes."""
    return {
        (name, number, term.form, term.coefficient, part): tensor
        for name, terms in domain.deltas.items()
        for number, term in enumerate(terms)
        for part, tensor in term.parts.items()
    }


def alike(a: Domain, b: Domain) -> bool:
    """Whether two domains hold the same deltas, bit for bit."""
    mine, others = parts_of(a), parts_of(b)
    return mine.keys() == others.keys() and all(torch.equal(mine[key], others[key]) for key in mine)


def promises(pair: Pair, folder: Path) -> dict[str, bool]:
    """Train an allowed pair and say of each promise whether it is kept; the domain is saved in `folder`."""
    source = toy(pair.architecture)
    G_digest, D_digest, images, truncated, base = of_source(pair.architecture)

    # All steps, with a copy of everything that changes taken on the way.
    whole, resumed = pair.begin(), pair.begin()
    untouched = Adapted(whole.generator, effective(whole.averaged(), whole.base))(Z).image
    first = {name: p.detach().clone() for name, p in whole.discriminator.named_parameters()}
    begun = {name: tensor.clone() for name, tensor in whole.ema.items()}
    kept, came = {}, set()
    for stats in train(whole, pair.steps):
        came |= {key.removeprefix("time/") for key in stats}
        if stats["step"] == pair.stop - 1:
            tensors, numbers = pack(whole)
            kept = {name: tensor.clone() for name, tensor in tensors.items()}, dict(numbers)
    lazy = {"R1": whole.recipe.r1_gamma, "PL": whole.recipe.pl_weight}

    unpack(resumed, *kept)
    for _ in train(resumed, pair.steps):
        pass

    intact = {
        "the base is as it was": (digest(source.generator), digest(source.discriminator))
        == (G_digest, D_digest)
    }
    if not all(intact.values()):  # and a domain stands on no other
        return intact

    forms = resolve(pair.space, source.generator)
    moved = [name for name, tensor in whole.ema.items() if not torch.equal(tensor, begun[name])]
    frozen = [name for name in first if f"D.{name}" not in whole.learners["D"]]
    judge = dict(whole.discriminator.named_parameters())

    domain = domain_of(whole, {"space": pair.space, "seed": 0, "target": {}, "source": base})
    domain.save(folder / "domain.safetensors")
    loaded = Domain.load(folder / "domain.safetensors", source.generator)
    merged = loaded.merge(source.generator)(Z, psi=0.7).image
    unmerged = loaded.on(source.generator)(Z, psi=0.7).image

    return intact | {
        "zero deltas are the base": torch.equal(untouched, images),
        "R1 and path length come where the recipe has them": came >= {name for name in lazy if lazy[name]},
        "a resumed run is the uninterrupted one": same(whole, resumed),
        "the deltas are those of the space": list(whole.deltas) == list(forms),
        "what the space declares moves": len(moved) > 0.9 * len(whole.ema),
        "what is frozen in D stays": all(torch.equal(judge[name], first[name]) for name in frozen),
        "a saved domain loads as it was": alike(domain, loaded),
        "w_avg follows the mapping": ("mapping.w_avg" in domain.deltas) == moves_mapping(forms),
        "merged is unmerged": torch.allclose(merged, unmerged, atol=1e-5),
        "the domain moves the images": not torch.equal(merged, truncated),
    }


def refusal(pair: Pair) -> str:
    """What is said when a pair is refused; empty: it is not."""
    try:
        pair.begin()
    except StylegraftError as error:
        return str(error)
    return ""


def well_said(pair: Pair, line: str) -> bool:
    """Whether a refusal is that of the table, names the space and is one line."""
    return bool(
        pair.why and re.search(pair.why, line) and pair.space in line and "\n" not in line and len(line) < 300
    )


@cases(refused=False)
def test_contract(pair: Pair, tmp_path: Path):
    broken = [promise for promise, kept in promises(pair, tmp_path).items() if not kept]
    assert not broken


@cases(refused=True)
def test_a_refused_pair_says_why_in_one_line(pair: Pair):
    line = refusal(pair)
    assert well_said(pair, line), line


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
