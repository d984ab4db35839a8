"""Control of source features: three ways, the places of the noise, and what a picture and a film are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegraft.applications import control
from stylegraft.applications.control import (
    Blend,
    control_curve,
    control_path,
    faces,
    frames,
    learnt_for_noise,
    there_and_back,
)
from stylegraft.applications.latents import of_seeds
from stylegraft.applications.places import layers_at, parse_place
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import blend_noise

from ..toys import ARCHITECTURES, domain_of, toy


class Pixels:
    """A distance that needs no weights."""

    name = "pixels"

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_every_way_ends_in_the_domain_and_two_begin_with_the_source(architecture: str):
    generator = toy(architecture)
    domain = domain_of(generator, "full")
    draw = faces(generator, range(3))
    source, there = (draw(network, generator.noise("const")) for network in (generator, domain.on(generator)))
    ends = {
        name: [images for _, images in control_path(name, generator, domain, draw, (0, 1))]
        for name in control.WAYS
    }
    assert torch.equal(ends["weights"][0], source)
    assert torch.equal(ends["layers"][0], source)
    torch.testing.assert_close(ends["weights"][1], there)
    torch.testing.assert_close(ends["layers"][1], there)
    torch.testing.assert_close(ends["noise"][0], there)
    random = generator.noise("random", 1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(ends["noise"][1], draw(domain.on(generator), random))


@pytest.mark.parametrize("mode", ["linear", "vp", "slerp"])
def test_noise_is_blended_as_the_mode_says_with_one_draw_for_all_faces(mode):
    generator = toy("stylegan2")
    domain = domain_of(generator, "full")
    blend = Blend(mode, seed=5, layers=layers_at(generator, "8.."), fixed={"b8.conv1": 0.25})
    ((_, images),) = control_path("noise", generator, domain, faces(generator, range(3)), [0.4], blend)
    ((_, alone),) = control_path("noise", generator, domain, faces(generator, [2]), [0.4], blend)
    torch.testing.assert_close(images[2:], alone, atol=1e-5, rtol=1e-4)
    random = generator.noise("random", 1, torch.Generator().manual_seed(5))
    amounts = {name: 0.4 * (r >= 8) for name, r in generator.noise_shapes.items()} | {"b8.conv1": 0.25}
    noise = blend_noise(generator.noise("const"), random, amounts, mode)
    torch.testing.assert_close(images, faces(generator, range(3))(domain.on(generator), noise))


def test_codes_go_to_every_network_as_they_are():
    generator = toy("stylegan2")
    domain = domain_of(generator, "full")
    latents = of_seeds(generator, range(2))
    (_, (_, images)) = control_path("weights", generator, domain, control.codes(latents), (0, 1))
    torch.testing.assert_close(images, domain.on(generator)(ws=latents.ws).image)
    seeded = faces(generator, range(2))(domain.on(generator), generator.noise("const"))
    assert not torch.allclose(images, seeded, atol=1e-3)  # whose mapping has moved


def test_places_of_the_noise_are_found():
    generator = toy("stylegan2")
    shapes = generator.noise_shapes
    assert layers_at(generator, "8") == [name for name, r in shapes.items() if r == 8]
    assert layers_at(generator, "..8") == [name for name, r in shapes.items() if r <= 8]
    assert (
        layers_at(generator, "8..16")
        == layers_at(generator, "8..")
        == [n for n, r in shapes.items() if r >= 8]
    )
    assert layers_at(generator, "b4.conv1, 16") == ["b4.conv1", *(n for n, r in shapes.items() if r == 16)]
    for text in ("..", "", "8-16", "conv1", "8.5"):
        with pytest.raises(StylegraftError, match="expected a resolution"):
            parse_place(text)
    for text in ("32", "b4.conv7", "16..8"):
        with pytest.raises(StylegraftError, match="no layer with noise there"):
            layers_at(generator, text)


def test_amounts_beyond_the_ends_are_refused_where_they_mean_nothing():
    generator = toy("stylegan2")
    domain, draw = domain_of(generator, "stylespace"), faces(generator, [0])
    for name in ("noise", "layers"):
        with pytest.raises(StylegraftError, match=f"{name} goes from 0 to 1"):
            control_path(name, generator, domain, draw, (0, 1.5))
    assert len(list(control_path("weights", generator, domain, draw, (-0.5, 1.5)))) == 2
    with pytest.raises(StylegraftError, match="did you mean 'weights'"):
        control_path("weight", generator, domain, draw)


def test_the_curve_starts_at_the_source_and_layers_have_their_own_places():
    generator = toy("stylegan2")
    domain, draw = domain_of(generator, "affine"), faces(generator, range(4))
    weights = control_curve("weights", generator, domain, draw, Pixels(), (0, 0.5, 1))
    layers = control_curve("layers", generator, domain, draw, Pixels(), (0, 0.5, 1))
    assert (weights.amounts, weights.distances[0], weights.count) == ((0, 0.5, 1), 0, 4)
    assert layers.amounts == pytest.approx((0, 1 / 3, 2 / 3, 1))  # 16, 8, 4 px
    assert layers.distances[-1] == pytest.approx(weights.distances[-1], rel=1e-3)


def test_a_picture_has_a_row_for_each_face_and_way(tmp_path: Path):
    generator = toy("stylegan2")
    domain, draw = domain_of(generator, "full"), faces(generator, range(2))
    control.write_sheet(tmp_path / "c.png", generator, domain, draw, ["noise", "weights"], (0, 0.5, 1))
    picture = Image.open(tmp_path / "c.png")
    assert picture.width // 128 == 4
    assert picture.height // 128 == 4
    captions = [control.caption(generator, "layers", a) for a in (0, 0.4, 1)]
    assert captions == ["no layers", "from 16 px", "from 4 px"]


def test_frames_lie_in_rows_of_ways_under_the_source_and_loop():
    generator = toy("stylegan2")
    domain, draw = domain_of(generator, "full"), faces(generator, range(3))
    amounts = there_and_back(3)
    assert amounts == [0, 0.5, 1, 0.5]
    made = list(frames(generator, domain, draw, ["noise", "weights"], amounts))
    assert [tuple(frame.shape) for frame in made] == [(3, 3 * 16, 3 * 16)] * 4
    source = draw(generator, generator.noise("const"))
    assert torch.equal(made[0][:, :16, 16:32], source[1])
    assert torch.equal(made[0][:, 32:, 32:], source[2])  # weights 0
    assert torch.equal(made[1], made[3])
    torch.testing.assert_close(made[2][:, 32:, :16], draw(domain.on(generator), generator.noise("const"))[0])


def test_only_fix_the_noise_makes_the_noise_a_control():
    generator = toy("stylegan2")
    domain = domain_of(generator, "full")
    fixed = replace(domain, config={"recipe": "fixnoise"})
    assert learnt_for_noise(fixed)
    assert learnt_for_noise(fixed * 0.5 + domain)
    shaped = (fixed * 0.5 + domain).shaped({"fine": 0.5})
    assert learnt_for_noise(shaped + domain)  # a mix in a mix
    assert not learnt_for_noise((domain * 0.5 + domain).shaped({"fine": 0.5}) + domain)
    assert not learnt_for_noise(domain)
