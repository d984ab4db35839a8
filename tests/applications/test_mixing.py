"""A mix with other amounts for each sample is what merging each sample's mix by itself gives."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from stylegraft.applications import mixing
from stylegraft.applications.mixing import Mixer
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

from ..toys import ARCHITECTURES, PAIRS, domain_of, toy

AMOUNTS = torch.tensor([[0.0, 0.0], [0.6, 0.4], [-0.7, 1.3], [1.0, 0.0], [0.6, 0.4]])
NAN = float("nan")


@pytest.fixture(params=ARCHITECTURES)
def generator(request: pytest.FixtureRequest) -> Generator:
    return toy(request.param)


def z_of(generator: Generator, batch: int = len(AMOUNTS)) -> Tensor:
    return torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(5))


def mixed(domains: Sequence[Domain], row: Tensor) -> Domain:
    return functools.reduce(operator.add, [d * a for d, a in zip(domains, row.tolist(), strict=True)])


def one_by_one(generator: Generator, domains: Sequence[Domain], amounts: Tensor, **code: Tensor) -> Tensor:
    """Each sample from its own merged generator, from z or w truncated by 0.7."""
    images = []
    for i, row in enumerate(amounts):
        merged = mixed(domains, row).merge(generator)
        images.append(merged(**{name: x[i : i + 1] for name, x in code.items()}, psi=0.7).image)
    return torch.cat(images)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize(("architecture", "space"), PAIRS)
def test_every_space_mixes_for_each_sample_as_merged_one_by_one(architecture: str, space: str) -> None:
    generator = toy(architecture)
    domains = [domain_of(generator, space, 1), domain_of(generator, "affine-light+", 2)]
    mixer, z = Mixer(generator, domains), z_of(generator)
    found = mixer(AMOUNTS, z=z, psi=0.7).image
    assert_close(found, one_by_one(generator, domains, AMOUNTS, z=z))
    assert not torch.allclose(found[1], generator(z, psi=0.7).image[1], atol=1e-3)


@pytest.mark.parametrize("space", ["full", "mapping", "affine", "stylespace"])
def test_one_row_for_the_whole_batch_is_the_merged_generator(generator: Generator, space: str) -> None:
    domains = [domain_of(generator, space, 1), domain_of(generator, "w-offset", 2)]
    z, row = z_of(generator), AMOUNTS[1:2]
    expected = mixed(domains, row[0]).merge(generator)(z, psi=0.7).image
    mixer = Mixer(generator, domains)
    for _ in range(2):  # merging, and merged
        assert_close(mixer(row, z=z, psi=0.7).image, expected)


def test_truncation_pulls_w_to_the_mean_of_each_samples_mix(generator: Generator) -> None:
    domains = [domain_of(generator, "mapping", 1), domain_of(generator, "stylespace", 2)]
    w = generator.mapping(z_of(generator))
    found = Mixer(generator, domains)(AMOUNTS, w=w, psi=0.7).image
    assert_close(found, one_by_one(generator, domains, AMOUNTS, w=w))
    ws = generator.ws(w)
    expected = torch.cat([mixed(domains, a).merge(generator)(ws=ws[:1]).image for a in AMOUNTS[:2]])
    assert_close(Mixer(generator, domains)(AMOUNTS[:2], ws=ws[:1].expand(2, -1, -1)).image, expected)


@pytest.mark.parametrize("space", ["full", "affine-light+", "affine", "stylespace", "w-offset", "miner"])
def test_zero_amounts_are_the_source_bit_for_bit(generator: Generator, space: str) -> None:
    mixer = Mixer(generator, [domain_of(generator, space, 1), domain_of(generator, "stylespace", 2)])
    z = z_of(generator, 3)
    for psi in (1.0, 0.7):
        found = mixer(torch.zeros(3, 2), z=z, psi=psi, taps=generator.tap_names)
        expected = generator(z, psi=psi, taps=generator.tap_names)
        assert torch.equal(found.image, expected.image)
        assert all(torch.equal(found.taps[tap], expected.taps[tap]) for tap in generator.tap_names)
    styles = generator.synthesis.styles(generator.ws(generator.mapping(z)))
    ws = generator.ws(generator.mapping(z))
    found = mixer(torch.zeros(3, 2), ws=ws, styles=styles).image
    assert torch.equal(found, generator(styles=styles).image)


@pytest.mark.parametrize("space", ["stylespace", "affine-light+", "hdn"])
def test_a_row_of_zeros_among_others_is_the_source(space: str) -> None:
    """In one pass, and where the row shares its kernels with nobody: a pass of its own."""
    generator = toy("stylegan2")
    amounts = torch.tensor([[0.5], [0.0]])
    z = z_of(generator, 2)
    found = Mixer(generator, [domain_of(generator, space)])(amounts, z=z).image[1]
    w = generator.mapping(z)
    styles = generator.synthesis.styles(generator.ws(w))
    alone = generator(styles={name: s[1:] for name, s in styles.items()}).image[0]
    expected = alone if space == "affine-light+" else generator(z).image[1]
    assert torch.equal(found, expected)


def test_styles_that_were_found_on_the_source_move_as_the_domain_moves_styles(generator: Generator) -> None:
    """What inverting into S finds: the domain's shift of that face's styles is added to them."""
    domains = [domain_of(generator, "stylespace", 1), domain_of(generator, "affine", 2)]
    ws = generator.ws(generator.mapping(z_of(generator)))
    rng = torch.Generator().manual_seed(3)
    source = generator.synthesis.styles(ws)
    found = {name: s + 0.1 * torch.randn(s.shape, generator=rng) for name, s in source.items()}
    image = Mixer(generator, domains)(AMOUNTS, ws=ws, styles=found).image
    rows = []
    for i, row in enumerate(AMOUNTS):
        shifted = mixed(domains, row).merge(generator).synthesis.styles(ws[i : i + 1])
        rows.append({k: found[k][i : i + 1] + shifted[k] - source[k][i : i + 1] for k in found})
    expected = torch.cat([generator(styles=styles).image for styles in rows])
    assert_close(image, expected)
    alone = Mixer(generator, domains[:1])(AMOUNTS[:, :1], styles=found).image
    assert_close(alone, Mixer(generator, domains[:1])(AMOUNTS[:, :1], ws=ws, styles=found).image)
    with pytest.raises(
        StylegraftError, match=r"styles alone: the domains move b4\.conv1 by what w is; give ws"
    ):
        Mixer(generator, domains)(AMOUNTS, styles=found)


def test_noise_maps_follow_their_samples_through_the_groups(generator: Generator) -> None:
    domains = [domain_of(generator, "full", 1), domain_of(generator, "stylespace", 2)]
    z = z_of(generator)
    noise = generator.noise("random", len(z), torch.Generator().manual_seed(1))
    tap = generator.tap_names[-1]
    output = Mixer(generator, domains)(AMOUNTS, z=z, noise=noise, taps=[tap])
    for i, row in enumerate(AMOUNTS):
        own = {name: maps[i : i + 1] for name, maps in noise.items()}
        expected = mixed(domains, row).merge(generator)(z[i : i + 1], noise=own, taps=[tap])
        assert_close(output.image[i : i + 1], expected.image)
        assert_close(output.taps[tap][i : i + 1], expected.taps[tap])


def test_kernels_are_merged_once_for_each_distinct_row(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = toy("stylegan2")
    calls = []
    moved = mixing.algebra.moved
    monkeypatch.setattr(mixing.algebra, "moved", lambda *a: calls.append(a) or moved(*a))
    box = domain_of(generator, "affine-light+", 1)
    mixer = Mixer(generator, [box, domain_of(generator, "stylespace", 2)])
    amounts = torch.tensor([[0.5, 0.1], [0.5, 0.9], [0.25, 0.1], [0.0, 2.0]])
    kernels = [name for name in box.deltas if "affine" not in name]
    for _ in range(2):
        mixer(amounts, z=z_of(generator, 4))
    assert len(calls) == 2 * len(kernels)
    for i in range(2 * mixing.MERGED):
        mixer(torch.tensor([[0.01 * i, 0.0]]), z=z_of(generator, 1))
    assert len(mixer._merged) <= mixing.MERGED


def test_gradients_reach_codes_and_amounts_to_the_second_order(generator: Generator) -> None:
    domains = [domain_of(generator, "affine", 1), domain_of(generator, "stylespace", 2)]
    ws = generator.ws(generator.mapping(z_of(generator, 2))).clone().requires_grad_()
    amounts = torch.full((2, 2), 0.5, requires_grad=True)
    mixer = Mixer(generator, domains)
    image = mixer(amounts, ws=ws).image
    grads = torch.autograd.grad(image.square().sum(), (ws, amounts), create_graph=True)
    assert all(bool(torch.isfinite(g).all()) and bool(g.abs().max() > 0) for g in grads)
    torch.stack([g.square().sum() for g in grads]).sum().backward()
    step = torch.zeros(2, 2)
    step[0, 1] = 1e-3
    with torch.no_grad():
        up, down = (mixer(amounts + s * step, ws=ws).image.double().square().sum() for s in (1, -1))
    torch.testing.assert_close(float(up - down) / 2e-3, float(grads[1][0, 1].detach()), rtol=2e-2, atol=1e-2)


def test_the_base_stays_and_inference_mode_will_do(generator: Generator) -> None:
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    mixer = Mixer(generator, [domain_of(generator, "full", 1), domain_of(generator, "stylespace", 2)])
    z = z_of(generator)
    with torch.inference_mode():
        found = mixer(AMOUNTS, z=z).image
    assert_close(found, mixer(AMOUNTS, z=z).image)
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


def test_domains_of_different_bases_are_refused_naming_both() -> None:
    one, other = toy("stylegan2", 0), toy("stylegan2", 1)
    domains = [domain_of(one, "stylespace"), domain_of(other, "stylespace")]
    first, second = (d.base["sha256"][:12] for d in domains)
    with pytest.raises(StylegraftError, match=f"different bases cannot be mixed.*{first}.*{second}"):
        Mixer(one, domains)
    with pytest.raises(StylegraftError, match=f"stands on the base.*{second}.*this generator is another"):
        Mixer(one, domains[1:])
    with pytest.raises(StylegraftError, match="a mix needs at least one domain"):
        Mixer(one, [])


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        (torch.tensor([[0.5, 1.0], [0.1, NAN]]), r"amounts\[1, 1\] is nan; expected finite numbers"),
        (torch.tensor([[float("inf"), 0.0]]), r"amounts\[0, 0\] is inf"),
        (torch.zeros(2, 3), r"shape \[2, 3\]; expected \[2, 2\]: a row for each sample, a number for each domain"),
        (torch.zeros(3, 2), r"shape \[3, 2\]; expected \[2, 2\]"),
        (torch.zeros(2), r"shape \[2\]; expected \[2, 2\]"),
    ],
)  # fmt: skip
def test_amounts_that_make_no_mix_are_refused(amounts: Tensor, message: str) -> None:
    generator = toy("stylegan2")
    mixer = Mixer(generator, [domain_of(generator, "stylespace", seed) for seed in (1, 2)])
    with pytest.raises(StylegraftError, match=message):
        mixer(amounts, z=z_of(generator, 2))


def test_a_code_that_no_generator_takes_is_refused() -> None:
    generator = toy("stylegan2")
    mixer, z, one = (
        Mixer(generator, [domain_of(generator, "stylespace")]),
        z_of(generator, 2),
        torch.ones(2, 1),
    )
    ws = generator.ws(generator.mapping(z))
    with pytest.raises(StylegraftError, match="exactly one of z, w, ws, styles is needed, .* found none"):
        mixer(one)
    with pytest.raises(StylegraftError, match="found z, ws"):
        mixer(one, z=z, ws=ws)
    with pytest.raises(StylegraftError, match=r"truncation psi=0\.5 acts on z or w; found ws"):
        mixer(one, ws=ws, psi=0.5)
    with pytest.raises(StylegraftError, match=r"ws has shape \[2, 1, 8\]; expected \[B, "):
        mixer(one, ws=ws[:, :1])
    with pytest.raises(StylegraftError, match="noise for 'nowhere'|noise for \"nowhere\""):
        mixer(one, z=z, noise={"nowhere": torch.zeros(1, 1, 4, 4)})
