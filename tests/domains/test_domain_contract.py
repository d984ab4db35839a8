"""What every space promises on every architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stylegraft.checkpoints import Source, base_digest
from stylegraft.domains import Adapted, Domain, resolve, start, w_avg_shift
from stylegraft.domains.deltas import FORMS, effective
from stylegraft.domains.domain import base_tensors
from stylegraft.domains.spaces import moves_mapping
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

from ..toys import PAIRS, REFUSED, parts_of

Make = Callable[..., Domain]
spaces = pytest.mark.parametrize(("generator", "space"), PAIRS, indirect=["generator"])


def z_of(generator: Generator, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(5))


@spaces
def test_an_untrained_domain_is_the_base_bit_for_bit(
    generator: Generator, zero_domain: Make, space: str
) -> None:
    domain = zero_domain(generator, space)
    z = z_of(generator)
    expected = generator(z, psi=0.7).image
    assert torch.equal(domain.on(generator)(z, psi=0.7).image, expected)
    merged = domain.merge(generator)
    assert torch.equal(merged(z, psi=0.7).image, expected)
    assert base_digest(merged) == base_digest(generator)


@spaces
def test_merged_equals_unmerged_and_the_base_stays(
    generator: Generator, make_domain: Make, space: str
) -> None:
    domain = make_domain(generator, space)
    before, z = base_digest(generator), z_of(generator)
    base_image = generator(z).image
    adapted = domain.on(generator)
    merged = domain.merge(generator)
    torch.testing.assert_close(merged(z, psi=0.7).image, adapted(z, psi=0.7).image, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        merged(z, psi=0.7, cutoff=2).image, adapted(z, psi=0.7, cutoff=2).image, rtol=1e-5, atol=1e-5
    )
    assert not torch.allclose(merged(z).image, base_image)
    assert base_digest(generator) == before
    assert torch.equal(generator(z).image, base_image)


@spaces
def test_only_the_declared_parameters_move(generator: Generator, make_domain: Make, space: str) -> None:
    domain = make_domain(generator, space)
    merged, base = base_tensors(domain.merge(generator)), base_tensors(generator)
    folded = {name.replace(".w_offset", ".affine.bias") for name in domain.deltas}
    assert {name for name in base if not torch.equal(base[name], merged[name])} == folded


@spaces
def test_save_and_load_are_bit_equal(
    generator: Generator, make_domain: Make, space: str, tmp_path: Path
) -> None:
    domain = make_domain(generator, space)
    domain.save(tmp_path / "d.safetensors")
    loaded = Domain.load(tmp_path / "d.safetensors", generator)
    assert (loaded.config, loaded.base) == (domain.config, domain.base)
    assert loaded.count == domain.count
    expected, found = domain.effective(generator), loaded.effective(generator)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


@spaces
def test_a_foreign_base_is_refused_unless_transfer_is_asked_for(
    generator: Generator, make_domain: Make, make_toy: Callable[..., Generator], space: str
) -> None:
    domain = make_domain(generator, space)
    other = make_toy(generator.config["architecture"], seed=1)
    for call in (domain.merge, domain.on, domain.effective):
        with pytest.raises(StylegraftError, match="stands on the base 'toy'.*another one.*transfer=True"):
            call(other)
    if any(FORMS[term.form].reads_base for terms in domain.deltas.values() for term in terms):
        with pytest.raises(
            StylegraftError, match=r"depends on the base's values, .* first, domain.to_dense\(base\)"
        ):
            domain.merge(other, transfer=True)
        domain = domain.to_dense(generator)
    domain.merge(other, transfer=True)
    moved, expected = domain.effective(other, transfer=True), domain.effective(generator)
    for name, value in moved.items():
        shift = value - base_tensors(other)[name]
        torch.testing.assert_close(
            shift, expected[name] - base_tensors(generator)[name], atol=1e-4, rtol=1e-4
        )


def test_transfer_to_another_architecture_names_the_missing_parameter(
    make_domain: Make, make_toy: Callable[..., Generator]
) -> None:
    with pytest.raises(
        StylegraftError,
        match=r"the domain moves .synthesis\.b4\.torgb\.affine\.bias., which mobile-16px-.* does not have",
    ):
        make_domain(make_toy("stylegan2")).merge(make_toy("mobile"), transfer=True)


@spaces
def test_training_reaches_every_part_and_nothing_else(generator: Generator, space: str) -> None:
    deltas = start(space, generator, torch.Generator().manual_seed(0))
    leaves = [part.requires_grad_() for part in parts_of(deltas)]
    with torch.no_grad():
        for leaf in leaves:
            leaf.add_(torch.randn(leaf.shape), alpha=0.1)
    adapted = Adapted(generator, effective(deltas, base_tensors(generator)))
    w = adapted.mapping(z_of(generator))
    noise = generator.noise("const")
    output = adapted.synthesis(adapted.synthesis.styles(adapted.ws(w)), noise, taps=generator.tap_names[:1])
    assert generator.tap_names[0] in output.taps
    grads = torch.autograd.grad(output.image.square().sum(), leaves, create_graph=True)
    for leaf, grad in zip(leaves, grads, strict=True):
        assert grad.abs().max() > 1e-5, leaf  # a factor that demodulation cancels would leave rounding
    torch.stack(
        [grad.square().sum() for grad in grads]
    ).sum().backward()  # any order: path length differentiates twice
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)
    assert all(parameter.grad is None for parameter in generator.parameters())


@pytest.mark.parametrize(("architecture", "space"), sorted(REFUSED))
def test_a_network_that_lacks_what_a_space_moves_refuses_it_by_name(
    architecture: str, space: str, make_toy: Callable[..., Generator]
) -> None:
    with pytest.raises(
        StylegraftError, match="space 'hdn': this mobile generator has nothing for gain; .* use hdn-before"
    ):
        resolve(space, make_toy(architecture))


@spaces
def test_a_domain_made_dense_is_the_same_domain(generator: Generator, make_domain: Make, space: str) -> None:
    domain = make_domain(generator, space)
    dense = (domain * 0.5).to_dense(generator)
    assert all(term.form == "dense" for terms in dense.deltas.values() for term in terms)
    expected, found = (domain * 0.5).effective(generator), dense.effective(generator)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-6, atol=1e-6)


def test_adapted_offers_the_calls_of_a_generator(generator: Generator, make_domain: Make) -> None:
    adapted = make_domain(generator, "full").on(generator)
    assert (adapted.resolution, adapted.num_ws, adapted.layers) == (
        generator.resolution,
        generator.num_ws,
        generator.layers,
    )
    z, noise = z_of(generator), generator.noise("const")
    w = adapted.mapping(z)
    ws = adapted.ws(w, psi=0.5)
    expected = adapted(z, psi=0.5).image
    assert torch.equal(adapted(w=w, psi=0.5).image, expected)
    assert torch.equal(adapted(ws=ws).image, expected)
    assert torch.equal(adapted.synthesis(adapted.synthesis.styles(ws), noise).image, expected)
    with pytest.raises(AttributeError, match=r"its base is \.generator"):
        adapted.parameters()


def test_truncation_pulls_towards_the_adapted_mean(generator: Generator, make_domain: Make) -> None:
    domain = make_domain(generator, "mapping")
    assert moves_mapping(domain.deltas)
    assert not moves_mapping(make_domain(generator, "affine+").deltas)
    shift = w_avg_shift(generator, domain.effective(generator), samples=500)
    z = torch.randn(500, generator.z_dim, generator=torch.Generator().manual_seed(0))
    domain = domain.with_w_avg(shift)
    adapted = domain.on(generator)
    torch.testing.assert_close(
        shift, (adapted.mapping(z) - generator.mapping(z)).mean(0), rtol=1e-4, atol=1e-6
    )
    mean = generator.mapping.w_avg + shift
    torch.testing.assert_close(adapted.ws(adapted.mapping(z[:2]), psi=0.0)[:, 0], mean.expand(2, -1))
    half = (domain * 0.5).merge(generator)
    torch.testing.assert_close(half.mapping.w_avg, generator.mapping.w_avg + 0.5 * shift)
    both = (domain * 0.5 + domain * 0.25).merge(generator)
    torch.testing.assert_close(both.mapping.w_avg, generator.mapping.w_avg + 0.75 * shift)


def test_the_mean_does_not_move_when_the_mapping_does_not(generator: Generator, zero_domain: Make) -> None:
    effect = zero_domain(generator, "mapping").effective(generator)
    assert not w_avg_shift(generator, effect, samples=50).any()


def test_w_avg_is_no_part_of_the_base(generator: Generator, make_domain: Make) -> None:
    domain, before = make_domain(generator), base_digest(generator)
    generator.mapping.w_avg.add_(1.0)
    assert base_digest(generator) == before
    domain.check(generator)


def test_the_noise_maps_are_part_of_the_base(generator: Generator) -> None:
    before = base_digest(generator)
    name = next(name for name, _ in generator.named_buffers() if name.endswith("noise_const"))
    generator.get_buffer(name).add_(1.0)
    assert base_digest(generator) != before


def test_a_source_with_a_domain_is_an_ordinary_source(generator: Generator, make_domain: Make) -> None:
    domain = make_domain(generator)
    source = Source("toy", generator, None, {"licence": "none"}).with_domain(domain)
    z = z_of(generator)
    assert torch.equal(source.generator(z).image, domain.merge(generator)(z).image)
    assert source.info["licence"] == "none"
    assert source.info["domain"] == domain.config


def test_what_is_no_domain_is_refused_with_what_to_pass(generator: Generator) -> None:
    with pytest.raises(StylegraftError, match=r"found str, expected a Domain: run\.domain, or Domain\.load"):
        Source("toy", generator).with_domain("runs/sketches")  # pyright: ignore
