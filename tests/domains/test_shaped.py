"""A strength for each resolution: deltas are scaled by their block, and nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stylegraft.domains import Domain, prune
from stylegraft.domains.domain import W_AVG, base_tensors
from stylegraft.domains.pruning import kept
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

Make = Callable[..., Domain]


def shifts(domain: Domain, generator: Generator) -> dict[str, torch.Tensor]:
    base = base_tensors(generator)
    return {name: value - base[name] for name, value in domain.effective(generator).items()}


def resolution(name: str) -> int:
    found = re.match(r"synthesis\.b(\d+)\.", name)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("space", ["full", "affine-light+", "w-offset", "singular-values"])
def test_each_block_moves_by_its_own_strength(generator: Generator, make_domain: Make, space: str) -> None:
    domain = make_domain(generator, space)
    factors = {"mapping": 0.25, "coarse": 0.5, 8: -2.0, "fine": 7.0}
    want = {0: 0.25, 4: 0.5, 8: -2.0, 16: 1.0}
    whole, found = shifts(domain, generator), shifts(domain.shaped(factors), generator)
    assert found.keys() == whole.keys()
    for name, shift in found.items():
        torch.testing.assert_close(shift, want[resolution(name)] * whole[name], rtol=1e-5, atol=1e-4)


def test_the_levels_are_stylegans_whatever_the_size_of_the_network(
    make_domain: Make, stylegan2: Generator
) -> None:
    domain = make_domain(stylegan2, "full").with_w_avg(torch.ones(8))
    left = {
        level: {resolution(n) for n in domain.shaped({level: 0}).deltas}
        for level in ("mapping", "coarse", "middle")
    }
    assert left == {"mapping": {4, 8, 16}, "coarse": {0, 16}, "middle": {0, 4, 8}}
    assert W_AVG not in domain.shaped({"mapping": 0}).deltas
    half = domain.shaped({"mapping": 0.5}).effective(stylegan2)[W_AVG]
    torch.testing.assert_close(half, stylegan2.mapping.w_avg + 0.5)


def test_all_at_zero_is_the_source_and_none_given_the_domain(generator: Generator, make_domain: Make) -> None:
    domain, z = make_domain(generator, "full"), torch.randn(2, generator.z_dim)
    nothing = domain.shaped(dict.fromkeys(("mapping", "coarse", "middle", "fine"), 0.0))
    assert nothing.deltas == {}
    assert torch.equal(nothing.merge(generator)(z).image, generator(z).image)
    assert torch.equal(domain.shaped({}).merge(generator)(z).image, domain.merge(generator)(z).image)


def test_what_was_shaped_says_so_also_within_a_later_mix(
    generator: Generator, make_domain: Make, tmp_path: Path
) -> None:
    a, b = make_domain(generator, "stylespace", seed=1), make_domain(generator, "affine", seed=2)
    shaped = (a * 0.5 + b).shaped({"coarse": 0.5}).shaped({8: 2})
    assert shaped.config["shaped"] == [{"coarse": 0.5}, {"8": 2.0}]
    again = shaped * 0.5 + a
    assert again.config == {
        "mix": [{"coefficient": 0.5, "config": shaped.config}, {"coefficient": 1.0, "config": a.config}]
    }
    again.save(tmp_path / "m.safetensors")
    loaded = Domain.load(tmp_path / "m.safetensors", generator)
    assert loaded.config == again.config
    for name, value in loaded.effective(generator).items():
        assert torch.equal(value, again.effective(generator)[name])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (
            {"course": 0.5},
            r"level 'course' is unknown \(did you mean 'coarse'\?\); there are mapping, coarse",
        ),
        ({48: 0.5}, "48 px: expected the resolution of a block"),
        ({2: 0.5}, "2 px: expected the resolution of a block"),
        ({"fine": float("nan")}, "strength nan at fine is not a finite number"),
    ],
)
def test_a_level_that_is_none_is_refused(
    factors: dict[int | str, float], message: str, stylegan2: Generator, make_domain: Make
) -> None:
    with pytest.raises(StylegraftError, match=message):
        make_domain(stylegan2).shaped(factors)


@pytest.mark.parametrize("space", ["affine-light+", "singular-values", "w-offset", "miner"])
def test_any_space_is_pruned_once_it_is_dense(generator: Generator, make_domain: Make, space: str) -> None:
    domain = make_domain(generator, space) * 0.5
    pruned, whole = prune(domain, 0.25, base=generator), domain.to_dense(generator)
    names = sorted(whole.deltas)
    values, found = (torch.cat([d.deltas[n][0].parts["D"].flatten() for n in names]) for d in (whole, pruned))
    left = found != 0
    assert torch.equal(found[left], values[left])
    assert float(values[left].abs().min()) >= float(values[~left].abs().max())
    assert abs(kept(pruned) - whole.count / 4) <= 1
    assert pruned.config["keep"] == 0.25


def test_where_the_mapping_is_pruned_the_mean_of_w_is_measured_anew(
    stylegan2: Generator, make_domain: Make
) -> None:
    domain = make_domain(stylegan2, "mapping").with_w_avg(torch.full((8,), 9.0))
    pruned = prune(domain, 0.5, base=stylegan2)
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(3))
    adapted = pruned.on(stylegan2)
    shift = (adapted.mapping(z) - stylegan2.mapping(z)).mean(0)
    torch.testing.assert_close(pruned.deltas[W_AVG][0].parts["D"], shift, rtol=0.2, atol=0.1)
    assert W_AVG not in prune(make_domain(stylegan2, "mapping"), 0.5, base=stylegan2).deltas
