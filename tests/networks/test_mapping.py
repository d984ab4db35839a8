"""The miner before the mapping: nothing until a domain moves it, and then a part of the domain alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegraft.checkpoints import Source
from stylegraft.checkpoints.exporting import save_rosinality
from stylegraft.checkpoints.identity import base_digest, describe_base
from stylegraft.checkpoints.native import save_source
from stylegraft.domains import Domain
from stylegraft.domains.apply import w_avg_shift
from stylegraft.domains.deltas import Delta
from stylegraft.domains.spaces import count
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, mean_w
from stylegraft.networks.mapping import Mapping, Miner

from .conftest import toy_generator


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def generator() -> Generator:
    """Alive but for what domains alone move."""
    torch.manual_seed(0)
    G = toy_generator().float().eval().requires_grad_(False)
    for buffer in G.movable_buffers().values():
        buffer.zero_()
    return G


def mined(G: Generator, seed: int = 5) -> Domain:
    parts = {"weight": 0.2 * normal(16, 16, seed=seed), "bias": normal(16, seed=seed + 1)}
    deltas = {f"mapping.miner.{name}": (Delta(1.0, "dense", {"D": d}),) for name, d in parts.items()}
    return Domain(deltas, {"space": "miner"}, describe_base(Source("toy", G)))


def test_a_miner_is_z_plus_a_z_plus_b():
    miner, z = Miner(5).double(), normal(3, 5).double()
    miner.weight.copy_(normal(5, 5, seed=1))
    miner.bias.copy_(normal(5, seed=2))
    for b in range(3):
        for o in range(5):
            expected = float(z[b, o] + miner.bias[o] + sum(miner.weight[o, i] * z[b, i] for i in range(5)))
            assert float(miner(z)[b, o]) == pytest.approx(expected, rel=1e-12)


def test_at_zero_it_is_the_identity_bit_for_bit():
    z = normal(64, 512)
    assert torch.equal(Miner(512)(z), z)
    torch.manual_seed(0)
    mapping = Mapping(16, 24, layers=2)
    x = z[:, :16] * torch.rsqrt(z[:, :16].square().mean(1, keepdim=True) + 1e-8)
    for name in ("fc0", "fc1"):
        x = mapping.get_submodule(name)(x)
    assert torch.equal(mapping(z[:, :16]), x)


def test_no_file_and_no_digest_knows_of_it_and_a_mapping_of_labels_has_none():
    G = generator()
    assert not any("miner" in name for name in (*G.state_dict(), *dict(G.named_parameters())))
    before = base_digest(G)
    G.mapping.miner.bias.fill_(1.0)
    assert base_digest(G) == before
    assert not hasattr(Mapping(0, 8, 3, average=False), "miner")
    assert count("miner", G) == 16 * 16 + 16


def test_strength_is_linear_in_it():
    G, z = generator(), normal(3, 16, seed=9)
    domain = mined(G)
    A, b = (domain.deltas[f"mapping.miner.{n}"][0].parts["D"] for n in ("weight", "bias"))
    for strength in (0.0, 0.5, 2.0, -1.0):
        by_hand = G(z + strength * (z @ A.T + b)).image
        assert torch.allclose((domain * strength).on(G)(z).image, by_hand, atol=1e-4)
    assert torch.equal((domain * 0).on(G)(z).image, G(z).image)
    both = domain * 0.5 + mined(G, seed=8) * 0.5
    mean = 0.5 * (A + mined(G, seed=8).deltas["mapping.miner.weight"][0].parts["D"])
    assert torch.allclose(both.effective(G)["mapping.miner.weight"], mean, atol=1e-6)


def test_the_mean_of_w_follows():
    G = generator()
    domain = mined(G)
    moved = domain.effective(G)
    shift = w_avg_shift(G, moved, samples=500)
    assert shift.abs().max() > 0.01
    expected = mean_w(domain.on(G), 500) - mean_w(G, 500)
    assert torch.allclose(shift.double(), expected, atol=1e-6)
    truncated = domain.with_w_avg(shift).on(G)(normal(2, 16), psi=0.0).image
    assert not torch.allclose(truncated, G(normal(2, 16), psi=0.0).image, atol=1e-3)


def test_a_merged_network_has_it_and_no_file_of_a_network_takes_it(tmp_path):
    G, z = generator(), normal(2, 16)
    domain = mined(G)
    merged = domain.merge(G)
    assert torch.allclose(merged(z).image, domain.on(G)(z).image, atol=1e-5)
    assert not torch.equal(merged(z).image, G(z).image)
    assert not G.mapping.miner.weight.any(), "the base is untouched"
    for save, path in ((save_source, "merged.safetensors"), (save_rosinality, "merged.pt")):
        with pytest.raises(StylegraftError, match=r"a miner before the mapping \(MineGAN\) in 2 tensors"):
            save(tmp_path / path, Source("merged", merged))
        assert not (tmp_path / path).exists()


def test_a_domain_file_brings_it_back_bit_for_bit(tmp_path):
    G, z = generator(), normal(2, 16)
    domain = mined(G)
    domain.save(tmp_path / "mined.safetensors")
    again = Domain.load(tmp_path / "mined.safetensors", G)
    assert torch.equal(again.on(G)(z).image, domain.on(G)(z).image)
    assert again.count == 16 * 16 + 16
