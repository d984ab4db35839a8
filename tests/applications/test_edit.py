"""An edit is the formula of its module, written out layer by layer."""

from __future__ import annotations

import pytest
import torch

from stylegraft.applications.directions import channel, ganspace
from stylegraft.applications.edit import draw, edited, edited_code
from stylegraft.applications.latents import Latents, of_seeds
from stylegraft.errors import StylegraftError

from ..toys import ARCHITECTURES, domain_of, toy


@pytest.fixture(params=ARCHITECTURES)
def generator(request: pytest.FixtureRequest):
    return toy(request.param)


def some(generator) -> Latents:
    return of_seeds(generator, range(3), 0.7)


def moved(generator, layer: str = "b8.conv1", index: int = 2, amount: float = 1.5):
    return channel(generator, layer, index), amount


def test_a_step_in_w_is_added_to_every_row(generator):
    latents, (direction,) = some(generator), ganspace(generator, 1, samples=200)
    found = edited(generator, latents, [(direction, 2.0), (direction, -0.5)])
    assert torch.allclose(found.ws, latents.ws + 1.5 * direction.ws[0], atol=1e-6)
    assert not found.styles
    by_hand = generator(ws=latents.ws + 1.5 * direction.ws[0]).image
    assert torch.allclose(draw(generator, found.code()), by_hand, atol=1e-5)


def test_a_step_on_rows_moves_the_layers_that_read_them_alone(generator):
    latents, (direction,) = some(generator), ganspace(generator, 1, [1, 2], samples=200)
    before = generator.synthesis.styles(latents.ws)
    after = generator.synthesis.styles(edited(generator, latents, [(direction, 1.0)]).ws)
    for layer in generator.layers:
        assert torch.equal(before[layer.name], after[layer.name]) == (layer.row not in (1, 2))


def test_a_channel_is_added_to_the_style_of_its_layer(generator):
    latents = some(generator)
    styles = dict(generator.synthesis.styles(latents.ws))
    styles["b8.conv1"] = styles["b8.conv1"].clone()
    styles["b8.conv1"][:, 2] += 1.5
    found = edited_code(generator, latents, [moved(generator)])
    assert torch.allclose(draw(generator, found), generator(styles=styles).image, atol=1e-5)


def test_a_code_in_styles_follows_a_step_in_w(generator):
    """The styles were moved off their rows: the step still is what the affine layers make of it."""
    latents, (direction,) = some(generator), ganspace(generator, 1, samples=200)
    own = edited(generator, latents, [moved(generator)])
    found = edited(generator, own, [(direction, 1.0)])
    both = edited(generator, latents, [moved(generator), (direction, 1.0)])
    assert all(torch.allclose(found.styles[k], s, atol=1e-5) for k, s in both.styles.items())
    assert torch.allclose(found.ws, both.ws)


def test_no_edit_keeps_every_bit(generator):
    latents, (direction,) = some(generator), ganspace(generator, 1, samples=200)
    assert torch.equal(edited(generator, latents, []).ws, latents.ws)
    assert torch.equal(edited(generator, latents, [(direction, 0.0)]).ws, latents.ws)
    target = domain_of(generator, "affine-light+").merge(generator)
    code = edited_code(generator, latents, [], target)
    with torch.no_grad():
        assert torch.equal(draw(target, code), target(ws=latents.ws).image)


@pytest.mark.parametrize("space", ["stylespace", "affine-light+", "full", "affine+"])
def test_under_a_domain_a_channel_is_added_to_the_domains_styles(generator, space: str):
    latents = some(generator)
    target = domain_of(generator, space).merge(generator)
    styles = {name: s.clone() for name, s in target.synthesis.styles(latents.ws).items()}
    styles["b8.conv1"][:, 2] += 1.5
    for order in ("before", "after"):
        code = edited_code(generator, latents, [moved(generator)], target, order=order)
        assert torch.allclose(draw(target, code), target(styles=styles).image, atol=1e-4)


@pytest.mark.parametrize("space", ["stylespace", "affine-light+"])
def test_the_order_is_what_the_domain_sees(generator, space: str):
    """Before: t(w + d). After: s(w + d) + t(w) - s(w). Where t - s does not depend on w both are the same."""
    latents, (direction,) = some(generator), ganspace(generator, 1, samples=200)
    target = domain_of(generator, space).merge(generator)
    edits = [(direction, 1.0)]
    s, t = generator.synthesis.styles, target.synthesis.styles
    there = latents.ws + direction.ws
    before = draw(target, edited_code(generator, latents, edits, target, order="before"))
    after = edited_code(generator, latents, edits, target, order="after")["styles"]
    assert torch.allclose(before, target(ws=there).image, atol=1e-5)
    for name, style in after.items():
        assert torch.allclose(style, s(there)[name] + t(latents.ws)[name] - s(latents.ws)[name], atol=1e-5)
    same = torch.allclose(before, draw(target, {"styles": after}), atol=1e-4)
    assert same == (space == "stylespace")


def test_a_suppressed_domain_leaves_the_edited_channels_and_no_others(generator):
    latents = some(generator)
    target = domain_of(generator, "stylespace").merge(generator)
    edits = [moved(generator), moved(generator, "b8.conv0", 1, -1.0)]
    found = edited_code(generator, latents, edits, target, suppress=True)["styles"]
    own, theirs = generator.synthesis.styles(latents.ws), target.synthesis.styles(latents.ws)
    for name, style in found.items():
        wanted = theirs[name].clone()
        if name == "b8.conv1":
            wanted[:, 2] = own[name][:, 2] + 1.5
        if name == "b8.conv0":
            wanted[:, 1] = own[name][:, 1] - 1.0
        assert torch.allclose(style, wanted, atol=1e-6)


def test_a_suppression_of_nothing_is_refused(generator):
    latents, (direction,) = some(generator), ganspace(generator, 1, samples=200)
    target = domain_of(generator, "stylespace").merge(generator)
    with pytest.raises(StylegraftError, match="there are none"):
        edited_code(generator, latents, [(direction, 1.0)], target, suppress=True)
    with pytest.raises(StylegraftError, match="moves no style vectors"):
        edited_code(generator, latents, [moved(generator)], generator, suppress=True)


def test_codes_in_styles_get_what_a_domain_adds_to_styles(generator):
    """Styles alone would go past the domain's affine layers."""
    own = edited(generator, some(generator), [moved(generator)])
    target = domain_of(generator, "stylespace").merge(generator)
    found = edited_code(generator, own, [], target)["styles"]
    shift = target.synthesis.styles(own.ws)["b8.conv0"] - generator.synthesis.styles(own.ws)["b8.conv0"]
    assert bool(shift.any())
    assert torch.allclose(found["b8.conv0"], own.styles["b8.conv0"] + shift, atol=1e-6)


def test_edited_codes_survive_their_file(generator, tmp_path):
    found = edited(generator, some(generator), [moved(generator)])
    found.save(tmp_path / "codes.safetensors", generator)
    back = Latents.load(tmp_path / "codes.safetensors", generator)
    assert torch.equal(draw(generator, back.code()), draw(generator, found.code()))
    assert back.info["edits"] == [{"direction": "b8.conv1:2", "amount": 1.5}]


def test_pictures_do_not_depend_on_the_batch(generator):
    code = some(generator).code()
    assert torch.allclose(draw(generator, code, batch=2), draw(generator, code, batch=8), atol=1e-5)
