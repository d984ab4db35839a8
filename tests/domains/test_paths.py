"""Each way leads from where it says to the domain, and in between it is what its formula says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stylegraft.domains import Domain
from stylegraft.domains.paths import layer_path, noise_path, of_latents, resolutions, weight_path
from stylegraft.networks.generator import Generator

Make = Callable[..., Domain]
PLACES = (0.0, 0.5, 1.0)


@pytest.fixture
def z(generator: Generator) -> torch.Tensor:
    return torch.randn(5, generator.z_dim, generator=torch.Generator().manual_seed(2))


def test_noise_leads_from_the_anchor_to_one_draw_for_all(
    generator: Generator, z: torch.Tensor, make_domain: Make
):
    domain = make_domain(generator, "full")
    network = domain.on(generator)
    images = dict(noise_path(network, of_latents(z, batch=2), PLACES, seed=3))
    random = generator.noise("random", 1, torch.Generator().manual_seed(3))
    half = {name: 0.5 * (n + random[name]) for name, n in generator.noise("const").items()}
    for a, noise in ((0.0, "const"), (0.5, half), (1.0, random)):
        torch.testing.assert_close(images[a], network(z, noise=noise).image)
    assert not torch.equal(images[0.0], images[1.0])


def test_noise_moves_where_it_is_asked_to_and_is_held_where_it_is_held(generator: Generator, z: torch.Tensor):
    anchor, other = generator.noise("const"), generator.noise("random", 1, torch.Generator().manual_seed(0))
    first, *_, last = generator.noise_shapes
    found = dict(noise_path(generator, of_latents(z), PLACES, layers=[first], fixed={last: 0.25}))
    for a in PLACES:
        noise = {**anchor, first: torch.lerp(anchor[first], other[first], a)}
        noise[last] = torch.lerp(anchor[last], other[last], 0.25)
        torch.testing.assert_close(found[a], generator(z, noise=noise).image)


@torch.no_grad()
def test_layers_are_swapped_from_the_finest_on(generator: Generator, z: torch.Tensor, make_domain: Make):
    domain, blocks = make_domain(generator, "synthesis"), resolutions(generator)
    found = list(layer_path(generator, domain, of_latents(z)))
    assert [a for a, _ in found] == [i / len(blocks) for i in range(len(blocks) + 1)]
    assert torch.equal(found[0][1], generator(z).image)
    for (_, images), block in zip(found[1:], blocks, strict=True):
        torch.testing.assert_close(images, domain.above(block).on(generator)(z).image)
    torch.testing.assert_close(found[-1][1], domain.on(generator)(z).image)
    (_, near), (_, far) = layer_path(generator, domain, of_latents(z), (0.1, 0.9))
    places = [i / len(blocks) for i in range(len(blocks) + 1)]
    for a, images in ((0.1, near), (0.9, far)):  # between its places, the nearest
        assert torch.equal(images, found[min(range(len(places)), key=lambda i: abs(places[i] - a))][1])


@torch.no_grad()
def test_weights_are_interpolated_from_the_source_bit_for_bit(
    generator: Generator, z: torch.Tensor, make_domain: Make
):
    domain = make_domain(generator, "affine")
    found = dict(weight_path(generator, domain, of_latents(z, psi=0.5), PLACES))
    assert torch.equal(found[0.0], generator(z, psi=0.5).image)
    for a in (0.5, 1.0):
        torch.testing.assert_close(found[a], (domain * a).merge(generator)(z, psi=0.5).image)
