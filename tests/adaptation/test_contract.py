"""Every recipe in every space it allows keeps the same promises."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from stylegraft.adaptation.keeping import pack, unpack
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.run import domain_of
from stylegraft.adaptation.state import State
from stylegraft.checkpoints.identity import describe_base
from stylegraft.domains import SPACES, Adapted, Domain, resolve
from stylegraft.domains.deltas import effective
from stylegraft.domains.spaces import moves_mapping

from .toys import RECIPES, fresh, toy

PAIRS = [("stylegan2", recipe, space) for recipe in RECIPES for space in SPACES]
PAIRS += [("mobile", "dcl", space) for space in SPACES if space != "hdn"]  # which that network refuses
PAIRS += [("mobile", recipe, "affine-light+") for recipe in RECIPES if recipe != "dcl"]


def digest(network: nn.Module | None) -> str:
    assert network is not None
    sha = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sha.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()


def same(a: State, b: State) -> bool:
    (mine, numbers), (theirs, others) = pack(a), pack(b)
    return (
        mine.keys() == theirs.keys()
        and numbers == others
        and all(torch.equal(mine[k], theirs[k]) for k in mine)
    )


@pytest.mark.parametrize(("architecture", "recipe", "space"), PAIRS, ids=lambda name: name)
def test_contract(architecture: str, recipe: str, space: str, tmp_path):
    source = toy(architecture)
    before = digest(source.generator), digest(source.discriminator)

    # Six steps, with a copy of everything that changes taken after three.
    whole = fresh(recipe, space, architecture)
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    untouched = Adapted(whole.generator, effective(whole.averaged(), whole.base))(z).image
    assert torch.equal(untouched, source.generator(z).image), "zero deltas are not the base"
    start = {name: p.detach().clone() for name, p in whole.discriminator.named_parameters()}
    kept = {}
    for stats in train(whole, 6):
        if stats["step"] == 2:
            tensors, numbers = pack(whole)
            kept = {name: tensor.clone() for name, tensor in tensors.items()}, dict(numbers)

    # Stop and resume: bit-equal.
    resumed = fresh(recipe, space, architecture)
    unpack(resumed, *kept)
    for _ in train(resumed, 6):
        pass
    assert same(whole, resumed), "a resumed run differs from the uninterrupted one"

    # Only what was declared moves, and all of it can.
    assert list(whole.deltas) == list(resolve(space, source.generator))
    assert (digest(source.generator), digest(source.discriminator)) == before, "the base was written to"
    for name, parameter in whole.discriminator.named_parameters():
        if f"D.{name}" not in whole.learners["D"]:
            assert torch.equal(parameter, start[name]), f"{name} is frozen and moved"
    moved = [
        name
        for name, tensor in whole.ema.items()
        if not torch.equal(tensor, fresh(recipe, space, architecture).ema[name])
    ]
    assert len(moved) > 0.9 * len(whole.ema)

    # The domain: saved and loaded bit-equal, merged equal to unmerged.
    config = {"space": space, "seed": 0, "target": {}, "source": describe_base(source)}
    domain = domain_of(whole, config)
    domain.save(tmp_path / "domain.safetensors")
    loaded = Domain.load(tmp_path / "domain.safetensors", source.generator)
    for name, terms in domain.deltas.items():
        for a, b in zip(terms, loaded.deltas[name], strict=True):
            assert all(torch.equal(a.parts[part], b.parts[part]) for part in a.parts)
    assert ("mapping.w_avg" in domain.deltas) == moves_mapping(resolve(space, source.generator))
    merged = loaded.merge(source.generator)(z, psi=0.7).image
    assert torch.allclose(merged, loaded.on(source.generator)(z, psi=0.7).image, atol=1e-5)
    assert not torch.equal(merged, source.generator(z, psi=0.7).image)
