"""Strength scales, mixing adds: on effective deltas, whatever the forms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylegraft.domains import Delta, Domain
from stylegraft.domains.deltas import effective_delta
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

Make = Callable[..., Domain]
strengths = st.floats(-3, 3, allow_nan=False, width=32)
THETA = {"a": torch.zeros(4, 5, dtype=torch.float64), "b": torch.zeros(3, dtype=torch.float64)}


def random_domain(seed: int) -> Domain:
    rng = torch.Generator().manual_seed(seed)
    normal = functools.partial(torch.randn, generator=rng)
    lowrank = Delta(1.0, "lowrank", {"U": normal(4, 2), "V": normal(2, 5)})
    dense = Delta(1.0, "dense", {"D": normal(3)})
    deltas = [{"a": (lowrank,)}, {"b": (dense,)}, {"a": (lowrank,), "b": (dense,)}][seed % 3]
    return Domain(
        deltas, {"seed": seed}, {"sha256": "0" * 64, "fingerprint": "f", "name": "n", "licence": ""}
    )


def deltas_of(domain: Domain) -> dict[str, torch.Tensor]:
    zero = {name: torch.zeros_like(theta) for name, theta in THETA.items()}
    found = {name: effective_delta(terms, THETA[name]) for name, terms in domain.deltas.items()}
    return zero | {name: delta for name, delta in found.items() if delta is not None}


def assert_same(domain: Domain, expected: dict[str, torch.Tensor]) -> None:
    found = deltas_of(domain)
    for name in THETA:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(strengths, st.integers(0, 5)), min_size=1, max_size=4), strengths)
def test_any_mix_equals_the_explicit_sum(recipe: list[tuple[float, int]], outer: float) -> None:
    mix = functools.reduce(lambda a, b: a + b, (random_domain(seed) * c for c, seed in recipe)) * outer
    expected = {
        name: sum(
            ((outer * c) * deltas_of(random_domain(seed))[name] for c, seed in recipe),
            torch.zeros_like(theta),
        )
        for name, theta in THETA.items()
    }
    assert_same(mix, expected)
    assert [item["config"]["seed"] for item in mix.config["mix"]] == [seed for _, seed in recipe]
    assert [item["coefficient"] for item in mix.config["mix"]] == pytest.approx(
        [outer * c for c, _ in recipe]
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(strengths, st.integers(0, 5)), min_size=1, max_size=5))
def test_a_mix_survives_the_file_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, recipe: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.mktemp("mix") / "mix.safetensors"
    mix = functools.reduce(lambda a, b: a + b, (random_domain(seed) * c for c, seed in recipe))
    mix.save(path)
    loaded = Domain.load(path)
    assert loaded.config == mix.config
    found, expected = deltas_of(loaded), deltas_of(mix)
    assert all(torch.equal(found[name], expected[name]) for name in THETA)
    for name, terms in mix.deltas.items():
        assert [t.coefficient for t in loaded.deltas[name]] == [t.coefficient for t in terms]


def test_negation_and_subtraction_follow() -> None:
    a, b = random_domain(2), random_domain(5)
    da, db = deltas_of(a), deltas_of(b)
    assert_same(a - b, {name: da[name] - db[name] for name in THETA})
    assert_same(-a, {name: -da[name] for name in THETA})
    assert_same(0.25 * a, {name: 0.25 * da[name] for name in THETA})


def test_strength_zero_is_the_base_and_one_the_domain(generator: Generator, make_domain: Make) -> None:
    domain = make_domain(generator, "affine-light+")
    z = torch.randn(2, generator.z_dim)
    assert torch.equal((domain * 0.0).merge(generator)(z).image, generator(z).image)
    assert torch.equal((domain * 1.0).merge(generator)(z).image, domain.merge(generator)(z).image)


def test_the_same_domain_twice_is_twice_the_domain(generator: Generator, make_domain: Make) -> None:
    domain = make_domain(generator, "affine+")
    twice, double = (domain + domain).effective(generator), (domain * 2).effective(generator)
    for name in double:
        torch.testing.assert_close(twice[name], double[name], rtol=1e-6, atol=1e-6)


def test_domains_of_different_spaces_mix(generator: Generator, make_domain: Make, tmp_path: Path) -> None:
    a, b = make_domain(generator, "stylespace", seed=1), make_domain(generator, "affine-light+", seed=2)
    mix = a * 0.6 + b * 0.4
    assert set(mix.deltas) == set(a.deltas) | set(b.deltas)
    mix.save(tmp_path / "mix.safetensors")
    found, expected = Domain.load(tmp_path / "mix.safetensors").effective(generator), mix.effective(generator)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_domains_of_different_bases_do_not_mix(make_domain: Make, make_toy: Callable[..., Generator]) -> None:
    a, b = make_domain(make_toy("stylegan2", 0)), make_domain(make_toy("stylegan2", 1))
    with pytest.raises(StylegraftError, match="domains of different bases cannot be mixed"):
        a + b


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(strength: float) -> None:
    with pytest.raises(StylegraftError, match="not a finite number"):
        random_domain(0) * strength


def test_only_numbers_scale_and_only_domains_add() -> None:
    with pytest.raises(TypeError):
        random_domain(0) * "2"  # pyright: ignore[reportOperatorIssue]
    with pytest.raises(TypeError):
        random_domain(0) + 1  # pyright: ignore[reportOperatorIssue]
