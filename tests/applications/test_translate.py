"""Translating: what `keep` means, whose rows a reference takes, and a folder that is not inverted twice."""

from __future__ import annotations

import math

import pytest
import torch

from stylegraft.applications import photos as folder
from stylegraft.applications.control import codes as drawn_by
from stylegraft.applications.control import control_path
from stylegraft.applications.edit import edited_code
from stylegraft.applications.latents import Latents, draw_codes, of_seeds
from stylegraft.applications.photos import invert_photos
from stylegraft.applications.translate import default_along, shape_rows, translate_codes, with_reference
from stylegraft.checkpoints import Source, describe_base
from stylegraft.data.images import ImageSet
from stylegraft.domains import Domain
from stylegraft.domains.deltas import Delta
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, blend_noise

from .. import toys
from .test_invert import MOBILE, STYLEGAN2, Pixels, faces, made


def domain_of(generator: Generator, recipe: str = "dcl") -> Domain:
    """Styles and noise strengths moved at random."""
    rng = torch.Generator().manual_seed(1)
    deltas = {
        name: (Delta(1.0, "dense", {"D": 0.3 * torch.randn(p.shape, generator=rng)}),)
        for name, p in generator.named_parameters()
        if name.endswith(("affine.bias", "noise_strength"))
    }
    return Domain(deltas, {"recipe": recipe}, describe_base(Source("toy", generator)))


def image_set(generator: Generator, names=("a.png", "b.png", "c.png")) -> ImageSet:
    images = (faces(generator, len(names)) * 127.5 + 127.5).clamp(0, 255).to(torch.uint8)
    return ImageSet(images, tuple(names), ("aligned",) * len(names), (), (), "auto")


@pytest.fixture
def generator() -> Generator:
    return made(STYLEGAN2)


def test_all_of_the_source_is_the_source_bit_for_bit_and_none_is_the_domain(generator: Generator):
    codes, domain = of_seeds(generator, range(3)), domain_of(generator)
    images = translate_codes(generator, domain, codes, [1.0, 0.25, 0.0])
    assert torch.equal(images[:, 0], draw_codes(generator, codes))
    assert torch.equal(images[:, 1], draw_codes((domain * 0.75).merge(generator), codes))
    assert torch.equal(images[:, 2], draw_codes(domain.merge(generator), codes))


def test_of_fix_the_noise_it_is_the_noise(generator: Generator):
    codes, domain = of_seeds(generator, range(2)), domain_of(generator, "fixnoise")
    assert default_along(domain) == "noise"
    assert default_along(domain_of(generator)) == "strength"
    assert default_along(domain * 0.5 + domain_of(generator)) == "noise"  # a mix of which it learnt a part
    images = translate_codes(generator, domain, codes, [1.0, 0.5, 0.0], seed=3)
    merged = domain.merge(generator)
    fresh = generator.noise("random", 1, torch.Generator().manual_seed(3))
    assert torch.equal(images[:, 0], draw_codes(merged, codes))
    assert torch.equal(
        images[:, 1], draw_codes(merged, codes, blend_noise(generator.noise("const"), fresh, 0.5))
    )
    assert torch.allclose(images[:, 2], draw_codes(merged, codes, fresh), atol=1e-6)
    by_strength = translate_codes(generator, domain, codes, [0.5], how="strength")
    assert torch.equal(by_strength[:, 0], draw_codes((domain * 0.5).merge(generator), codes))


@pytest.mark.parametrize("space", ["stylespace", "affine"])
def test_codes_in_styles_get_what_the_domain_adds_to_styles(space: str):
    """Styles that no w has: given as they are they would go past the domain's affine layers."""
    generator = toys.toy("stylegan2")
    domain = toys.domain_of(generator, space)
    ws, rng = of_seeds(generator, range(3)).ws, torch.Generator().manual_seed(4)
    own, there = generator.synthesis.styles(ws), domain.on(generator).synthesis.styles(ws)
    styles = {layer: s + 0.3 * torch.randn(s.shape, generator=rng) for layer, s in own.items()}
    codes = Latents(ws, ("a", "b", "c"), styles)
    source = generator(styles=styles).image
    moved = domain.on(generator)(styles={k: s + (there[k] - own[k]) for k, s in styles.items()}).image
    assert not torch.allclose(source, moved, atol=1e-2)

    images = translate_codes(generator, domain, codes, [1.0, 0.0])
    assert torch.equal(images[:, 0], source)
    torch.testing.assert_close(images[:, 1], moved)
    (_, first), (_, last) = control_path("weights", generator, domain, drawn_by(codes), (0, 1))
    assert torch.equal(first, source)
    torch.testing.assert_close(last, moved)
    merged = domain.merge(generator)
    torch.testing.assert_close(merged(**edited_code(generator, codes, [], merged)).image, moved)
    fresh = generator.noise("random", 3, rng)  # maps of their own for each code
    each = [
        draw_codes(domain.on(generator), codes[i : i + 1], {k: n[i : i + 1] for k, n in fresh.items()})
        for i in range(3)
    ]
    torch.testing.assert_close(draw_codes(domain.on(generator), codes, fresh), torch.cat(each))


def test_degrees_that_make_no_sense_are_refused(generator: Generator):
    codes = of_seeds(generator, range(1))
    with pytest.raises(StylegraftError, match="nan.*finite"):
        translate_codes(generator, domain_of(generator), codes, [math.nan])
    with pytest.raises(StylegraftError, match="no degree"):
        translate_codes(generator, domain_of(generator), codes, [])
    with pytest.raises(StylegraftError, match="from 0 to 1"):
        translate_codes(generator, domain_of(generator, "fixnoise"), codes, [1.5])


@pytest.mark.parametrize("config", [STYLEGAN2, MOBILE], ids=["stylegan2", "mobile"])
def test_a_reference_gives_the_rows_of_the_larger_maps(config: dict):
    generator = made(config | {"resolution": 32, "channels": {"4": 8, "8": 8, "16": 8, "32": 8}})
    photos, reference = of_seeds(generator, range(3)), of_seeds(generator, [9])
    rows = shape_rows(generator)
    assert rows == list(range(4 if config is STYLEGAN2 else 5))
    mixed = with_reference(generator, photos, reference)
    assert torch.equal(mixed.ws[:, rows], photos.ws[:, rows])
    rest = [row for row in range(generator.num_ws) if row not in rows]
    assert torch.equal(mixed.ws[:, rest], reference.ws[:, rest].expand(3, -1, -1))
    assert mixed.names == photos.names


def test_in_styles_a_reference_gives_whole_layers(generator: Generator):
    photos, reference = (of_seeds(generator, seeds) for seeds in (range(2), [9]))
    photos, reference = (
        Latents(code.ws, code.names, generator.synthesis.styles(code.ws)) for code in (photos, reference)
    )
    mixed = with_reference(generator, photos, reference, below=8)
    by_rows = with_reference(
        generator, Latents(photos.ws, photos.names), Latents(reference.ws, ("r",)), below=8
    )
    for layer, s in generator.synthesis.styles(by_rows.ws).items():
        assert torch.allclose(mixed.styles[layer], s, atol=1e-6)
    with pytest.raises(StylegraftError, match="of the photos' space"):
        with_reference(generator, photos, Latents(reference.ws, ("r",)))
    with pytest.raises(StylegraftError, match="leaves one side no layer; expected more than 4, at most 16"):
        with_reference(generator, photos, reference, below=4)


def test_a_folder_is_inverted_once(generator: Generator, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "load_lpips", lambda *_: Pixels())
    monkeypatch.setattr("stylegraft.applications.invert.CANDIDATES", 8)
    monkeypatch.setattr(folder, "BATCH", {128: 2})
    calls = []
    real = folder.invert_images
    monkeypatch.setattr(folder, "invert_images", lambda *a, **k: calls.append(list(a[2])) or real(*a, **k))
    source, path = Source("toy", generator), tmp_path / "codes.safetensors"
    quick = {"recipe": folder.RECIPES["fast"].__class__(4, 0.05)}
    monkeypatch.setitem(folder.RECIPES, "fast", quick["recipe"])
    photos = image_set(generator)
    first, rows = invert_photos(source, photos, path)
    assert calls == [["a.png", "b.png"], ["c.png"]]
    assert [row.kept for row in rows] == [False] * 3

    again, rows = invert_photos(source, photos, path)
    assert len(calls) == 2
    assert [row.kept for row in rows] == [True] * 3
    assert torch.equal(again.ws, first.ws)
    assert torch.equal(Latents.load(path, generator).ws, first.ws)
    assert Latents.load(path, generator).names == photos.names

    more = image_set(generator, ("a.png", "b.png", "c.png", "d.png"))
    invert_photos(source, more, path)
    assert calls[2:] == [["d.png"]]
    images = more.images.clone()
    images[1] += 1  # another picture of that name
    changed = ImageSet(images, more.names, more.framed, (), ())
    invert_photos(source, changed, path)
    assert calls[3:] == [["b.png"]]

    kept = Latents.load(path, generator)
    codes, rows = invert_photos(source, image_set(generator, ("e.png",)), path)
    assert calls[4:] == [["e.png"]]
    assert (codes.names, [row.name for row in rows]) == (("e.png",), ["e.png"])  # of this call alone
    there = Latents.load(path, generator)
    assert there.names == (*kept.names, "e.png")
    assert torch.equal(there.ws, torch.cat([kept.ws, codes.ws]))

    before = path.read_bytes()
    with pytest.raises(StylegraftError, match=r"codes.safetensors: .*seed 0 \(now 1\); choose another --out"):
        invert_photos(source, image_set(generator, ("f.png",)), path, seed=1)
    assert calls[5:] == []
    assert path.read_bytes() == before


def test_two_photos_of_one_name_are_refused(generator: Generator, tmp_path):
    with pytest.raises(StylegraftError, match="two photos of that name"):
        invert_photos(
            Source("toy", generator), image_set(generator, ("a.png", "a.png")), tmp_path / "c.safetensors"
        )
