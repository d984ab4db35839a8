"""Inverting: a face of the source is found again, alone or in company, and what goes wrong is said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stylegraft.adaptation.inversion import descent
from stylegraft.adaptation.inversion.descent import schedule, seen
from stylegraft.adaptation.inversion.encoder import (
    Encoder,
    find_encoder,
    guess,
    levels,
    load_encoder,
    row_sizes,
    save_encoder,
)
from stylegraft.adaptation.inversion.noise import autocorrelation, normalise
from stylegraft.adaptation.inversion.space import PSI, SPACES, coordinates, rows_of_styles, sample_w
from stylegraft.applications import invert as inversion
from stylegraft.applications.invert import Recipe, invert_images, verdict
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, build_generator
from stylegraft.sources import load_source

SMALL = {"resolution": 16, "img_channels": 3, "c_dim": 0, "z_dim": 16, "w_dim": 16, "mapping_layers": 2}
STYLEGAN2 = {**SMALL, "architecture": "stylegan2", "channel_base": 128, "channel_max": 8}
MOBILE = {**SMALL, "architecture": "mobile", "channels": {"4": 8, "8": 8, "16": 8}}
QUICK = Recipe(steps=40, rate=0.1)


class Pixels:
    """A distance that needs no weights."""

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5, images.mean((2, 3), keepdim=True)]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "CANDIDATES", 8)


@pytest.fixture(params=[STYLEGAN2, MOBILE], ids=["stylegan2", "mobile"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return made(request.param)


def made(config: dict) -> Generator:
    torch.manual_seed(0)
    generator = build_generator(config).requires_grad_(False)
    generator.mapping.w_avg.copy_(sample_w(generator, 1000).mean(0))
    return generator


def faces(generator: Generator, count: int = 3) -> Tensor:
    w = sample_w(generator, count, seed=7)
    return generator(ws=generator.ws(w, PSI)).image


@pytest.mark.parametrize(
    ("config", "space"), [*((STYLEGAN2, space) for space in SPACES), (MOBILE, "w+")], ids=[*SPACES, "mobile"]
)
def test_a_face_of_the_source_is_found_again(config: dict, space: str):
    generator = made(config)
    photos = faces(generator)
    far = invert_images(
        generator, photos, space=space, recipe=Recipe(0, 0.0), start="best", perceptual=Pixels()
    )
    near = invert_images(generator, photos, space=space, recipe=QUICK, start="best", perceptual=Pixels())
    assert near.lpips.mean() < 0.5 * far.lpips.mean()
    assert (near.lpips < far.lpips).all()
    again = generator(**near.latents.code()).image  # what the code gives is what was measured
    assert torch.allclose(again, near.images, rtol=1e-4, atol=1e-5)
    expected = (again - photos).double().square().mean((1, 2, 3)).sqrt() / 2
    assert torch.allclose(near.rmse.double(), expected, rtol=1e-5)
    assert bool(near.latents.styles) == (space == "s")


@pytest.mark.parametrize("space", ["z", "w+", "s"])
def test_the_company_of_other_photos_changes_nothing(space: str):
    generator = made(STYLEGAN2)
    photos = faces(generator)
    row = Recipe(15, 0.05, explore=0.1)
    together = invert_images(generator, photos, space=space, recipe=row, perceptual=Pixels())
    alone = [
        invert_images(generator, photos[i : i + 1], space=space, recipe=row, perceptual=Pixels())
        for i in (2, 0)
    ]
    for i, one in zip((2, 0), alone):
        assert torch.equal(one.latents.ws, together.latents.ws[i : i + 1])
        assert torch.equal(one.images, together.images[i : i + 1])


def test_a_seed_repeats_itself_bit_for_bit_and_another_one_does_not():
    generator = made(STYLEGAN2)
    photos, row = faces(generator, 1), Recipe(10, 0.05, explore=0.5)
    first, second, other = (
        invert_images(generator, photos, recipe=row, seed=seed, perceptual=Pixels()).latents.ws
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.allclose(first, other, atol=1e-3)


def test_w_has_one_row_and_z_is_a_face_that_sample_could_draw():
    generator = made(STYLEGAN2)
    photos = faces(generator, 2)
    w = invert_images(generator, photos, space="w", recipe=Recipe(5, 0.05), perceptual=Pixels()).latents.ws
    assert torch.equal(w, w[:, :1].expand_as(w))
    z = invert_images(generator, photos, space="z", recipe=Recipe(5, 0.05), perceptual=Pixels()).latents.ws
    assert torch.equal(z, z[:, :1].expand_as(z))


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_coordinates_have_unit_deviation_and_come_back(generator: Generator, space: str):
    where = coordinates(space, generator)
    rows = generator.ws(sample_w(generator, 2048, seed=3))
    x = where.of(rows)
    big = x.std((0, 1))
    assert torch.allclose(big[big > 0.5].mean(), torch.tensor(1.0), atol=0.1)
    assert x.mean((0, 1)).abs().max() < 0.2
    code = where.code(x[:4])
    again = code.get("ws")
    if again is not None:
        assert torch.allclose(again, rows[:4], atol=1e-3)
    else:
        for layer, s in generator.synthesis.styles(rows[:4]).items():
            assert torch.allclose(code["styles"][layer], s, atol=1e-4)


def test_styles_give_back_their_rows(generator: Generator):
    """Exactly where a row's layers have as many channels as w numbers, else rows of the same styles, near the mean."""
    ws = torch.stack([sample_w(generator, 3, seed) for seed in range(generator.num_ws)], 1)
    styles = generator.synthesis.styles(ws)
    found = rows_of_styles(generator, styles)
    for layer, s in generator.synthesis.styles(found).items():
        assert torch.allclose(s, styles[layer], atol=1e-4)
    width = [sum(layer.channels for layer in generator.layers if layer.row == r) for r in range(ws.shape[1])]
    determined = [row for row, channels in enumerate(width) if channels > generator.w_dim]
    assert torch.allclose(found[:, determined], ws[:, determined], atol=1e-2)
    open_, mean = [row for row in range(ws.shape[1]) if row not in determined], generator.mapping.w_avg
    assert ((found - mean).norm(dim=2) <= (ws - mean).norm(dim=2) + 1e-2)[:, open_].all()


def test_rows_of_styles_that_no_w_has_are_the_least_squares():
    generator = made(STYLEGAN2 | {"w_dim": 4, "z_dim": 4})
    styles = {layer.name: torch.randn(2, layer.channels) for layer in generator.layers}
    found = rows_of_styles(generator, styles).double()
    for row in range(generator.num_ws):
        layers = [layer.name for layer in generator.layers if layer.row == row]
        affine = [generator.get_submodule(f"synthesis.{layer}.affine") for layer in layers]
        a = torch.cat([each.weight.double() * each.weight_gain for each in affine])
        b = torch.cat([each.bias.double() * each.bias_gain for each in affine])
        s = torch.cat([styles[layer].double() for layer in layers], 1)
        assert torch.allclose(found[:, row], (s - b) @ torch.linalg.pinv(a).T, atol=1e-4)


def test_a_code_in_s_has_the_rows_of_its_own_styles():
    generator = made(STYLEGAN2)
    found = invert_images(
        generator, faces(generator, 2), space="s", recipe=Recipe(5, 0.05), perceptual=Pixels()
    )
    codes = found.latents
    assert torch.allclose(codes.ws, rows_of_styles(generator, codes.styles), atol=1e-5)


def test_the_rate_rises_over_five_per_cent_and_falls_over_the_last_quarter():
    row = Recipe(1000, 0.1)
    rates = [schedule(step, row) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 50)
    assert rates[24] == pytest.approx(0.5)
    assert set(rates[50:750]) == {1.0}
    assert rates[875] == pytest.approx(0.5)
    assert rates[999] == pytest.approx(0.5 - 0.5 * math.cos(math.pi * 0.004))


def test_autocorrelation_is_that_of_the_paper_written_out():
    n = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    for b in range(2):
        level = n[b, 0]
        while True:
            side = len(level)
            for dy, dx in ((0, 1), (1, 0)):
                total = sum(
                    level[y, x] * level[(y - dy) % side, (x - dx) % side]
                    for y in range(side)
                    for x in range(side)
                )
                expected[b] += (total / side**2) ** 2
            if side <= 8:
                break
            level = level.reshape(side // 2, 2, side // 2, 2).sum((1, 3)) / 2
    assert torch.allclose(autocorrelation({"a": n}), expected, atol=1e-12)
    stripes = torch.ones(1, 1, 8, 8)
    assert float(autocorrelation({"a": stripes})) == 2.0


def test_moving_noise_is_dropped_and_the_error_is_that_of_the_own_noise():
    generator = made(STYLEGAN2)
    for name, p in generator.named_parameters():
        if name.endswith("noise_strength"):
            p.fill_(0.3)
    photos = faces(generator, 2)
    fixed = invert_images(generator, photos, recipe=Recipe(5, 0.05), perceptual=Pixels())
    found = invert_images(generator, photos, recipe=Recipe(5, 0.05), optimise_noise=True, perceptual=Pixels())
    assert not torch.equal(found.latents.ws, fixed.latents.ws)
    expected = generator(ws=found.latents.ws, noise="const").image
    assert torch.allclose(found.images, expected, rtol=1e-4, atol=1e-5)
    noise = {"a": 3 * torch.randn(2, 1, 8, 8) + 1}
    normalise(noise)
    assert torch.allclose(noise["a"].mean((1, 2, 3)), torch.zeros(2), atol=1e-6)
    assert torch.allclose(noise["a"].square().mean((1, 2, 3)), torch.ones(2), atol=1e-5)


def test_lpips_looks_at_64_to_256_px():
    assert seen(torch.zeros(1, 3, 16, 16)).shape[-1] == descent.SEEN_LEAST
    assert seen(torch.zeros(1, 3, 128, 128)).shape[-1] == 128
    assert seen(torch.zeros(1, 3, 512, 512)).shape[-1] == descent.SEEN_MOST


def test_a_verdict_compares_with_two_faces_of_the_source():
    assert verdict(0.04, 0.4) == "good"
    assert verdict(0.4 * inversion.FAIR + 0.01, 0.4) == "fair"
    assert verdict(0.4 * inversion.FAILED + 0.01, 0.4) == "failed"
    assert verdict(math.nan, 0.4) == "failed"


def test_what_makes_no_sense_is_refused_by_name():
    generator = made(STYLEGAN2)
    photos = faces(generator, 1)
    for wrong, part in (
        ({"space": "w++"}, "did you mean"),
        ({"recipe": "fsat"}, "fast"),
        ({"start": "encoder"}, "this source has none"),
        ({"start": "encoder", "space": "z"}, "has no z"),
        ({"names": ["a", "b"]}, "2 names for 1"),
    ):
        with pytest.raises(StylegraftError, match=part):
            invert_images(generator, photos, perceptual=Pixels(), **wrong)
    with pytest.raises(StylegraftError, match="expected \\[N, 3, 16, 16\\]"):
        invert_images(generator, torch.zeros(1, 3, 32, 32), perceptual=Pixels())
    with pytest.raises(StylegraftError, match="finite"):
        invert_images(generator, photos * math.nan, perceptual=Pixels())


# The encoder
# --------------------------------------------------------------------------------------------


def test_rows_know_the_map_that_their_layer_reads():
    assert row_sizes(made(STYLEGAN2)) == [4, 4, 8, 8, 16, 16]
    assert row_sizes(made(STYLEGAN2 | {"resolution": 32}))[:5] == [
        4,
        4,
        8,
        8,
        16,
    ]  # rows 0 to 3 read below 16 px
    assert row_sizes(made(MOBILE)) == [4, 4, 8, 8, 8, 16, 16, 16]
    assert levels(made(MOBILE)) == [0, 0, 0, 0, 0, 1, 1, 1]


def test_an_encoder_comes_back_from_its_file_and_serves_its_own_source(tmp_path):
    generator = made(STYLEGAN2)
    encoder = Encoder(16, 3, 16).eval()
    path = tmp_path / "toy-encoder.safetensors"
    save_encoder(path, encoder, generator, torch.full((16,), 0.5), {"source": "toy"})
    images = faces(generator)
    again, scale = load_encoder(path, generator)
    assert torch.allclose(again(images), encoder(images), atol=2e-2)
    expected = generator.mapping.w_avg + 0.5 * again(images)
    assert torch.allclose(guess(path, generator, images), expected[:, levels(generator)], atol=1e-5)
    with pytest.raises(StylegraftError, match="another source"):
        load_encoder(path, made(MOBILE))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StylegraftError, match="toy-encoder"):
        load_encoder(path, generator)


def test_an_inversion_starts_from_what_the_encoder_says(tmp_path, monkeypatch):
    generator = made(STYLEGAN2)
    path = tmp_path / "toy-encoder.safetensors"
    save_encoder(path, Encoder(16, 3, 16), generator, torch.ones(16), {"source": "toy"})
    monkeypatch.setattr(descent, "find_encoder", lambda generator: path)
    photos = faces(generator)
    found = invert_images(generator, photos, recipe=Recipe(0, 0.0), perceptual=Pixels())
    assert found.latents.info["start"] == "encoder"
    assert torch.allclose(found.latents.ws, guess(path, generator, photos), atol=1e-3)


def test_the_encoder_that_ships_is_nearer_than_the_mean_face():
    try:
        generator = load_source("faces-64").generator
    except StylegraftError as error:
        pytest.skip(str(error))
    path = find_encoder(generator)
    assert path is not None
    assert path.stat().st_size < 3_000_000
    photos = faces(generator, 4)
    rendered = generator(ws=guess(path, generator, photos)).image
    mean = generator(ws=generator.ws(generator.mapping.w_avg[None])).image
    assert (rendered - photos).square().mean() < 0.5 * (mean - photos).square().mean()
