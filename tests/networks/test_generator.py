"""The generator's protocol: entry points, noise, taps, groups, gains, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from stylegraft.errors import StylegraftError
from stylegraft.networks import blend_noise, build_discriminator, build_generator

from .conftest import normal, toy_generator

CONFIG = {"architecture": "stylegan2", "mapping_layers": 8}
PUBLISHED = {  # resolution, channel_base: parameters of G, of D, W+ rows, numbers in StyleSpace (conv, all)
    (256, 16384): (24_767_458, 24_001_089, 14, 4928, 7424),
    (256, 32768): (30_034_338, 28_864_129, 14, 5760, 8704),
    (512, 32768): (30_276_583, 28_982_849, 16, 5952, 8960),
    (1024, 32768): (30_370_060, 29_012_513, 18, 6048, 9088),
}


@pytest.mark.parametrize(("size", "counts"), PUBLISHED.items())
def test_sizes_of_the_published_networks(size, counts):
    resolution, base = size
    with torch.device("meta"):
        g = build_generator({**CONFIG, "resolution": resolution, "channel_base": base})
        d = build_discriminator({"resolution": resolution, "channel_base": base})
    conv = sum(layer.channels for layer in g.layers if layer.kind == "conv")
    found = (
        sum(p.numel() for p in g.parameters()),
        sum(p.numel() for p in d.parameters()),
        g.num_ws,
        conv,
        sum(layer.channels for layer in g.layers),
    )
    assert found == counts


def test_z_w_rows_and_styles_agree():
    g = toy_generator()
    z = normal(3, g.z_dim)
    w = g.mapping(z)
    ws = g.ws(w)
    styles = g.synthesis.styles(ws)
    image = g(z).image
    assert torch.equal(image, g(w=w).image)
    assert torch.equal(image, g(ws=ws).image)
    assert torch.equal(image, g(styles=styles).image)
    assert {name: s.shape[1] for name, s in styles.items()} == {
        layer.name: layer.channels for layer in g.layers
    }


def test_styles_of_each_sample_are_its_own():
    g = toy_generator()
    styles = g.synthesis.styles(normal(3, g.num_ws, g.w_dim))
    batch = g(styles=styles).image
    for i in range(3):
        alone = g(styles={name: s[i : i + 1] for name, s in styles.items()}).image
        assert (batch[i] - alone[0]).abs().max() < 1e-9


def test_truncation():
    g = toy_generator()
    w = normal(2, g.w_dim)
    centre = g.mapping.w_avg
    assert torch.equal(g.ws(w, psi=0.0), centre.expand(2, g.num_ws, -1))
    half = g.ws(w, psi=0.5, cutoff=2)
    assert torch.allclose(half[:, :2], ((w + centre) / 2)[:, None].expand(-1, 2, -1))
    assert torch.equal(half[:, 2:], g.ws(w)[:, 2:])


def test_noise_modes():
    g = toy_generator()
    w = normal(2, g.w_dim)
    assert g.noise_shapes == {"b4.conv1": 4, "b8.conv0": 8, "b8.conv1": 8, "b16.conv0": 16, "b16.conv1": 16}
    draw = [g(w=w, noise="random", generator=torch.Generator().manual_seed(s)).image for s in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.allclose(draw[0], draw[2])
    assert torch.equal(g(w=w, noise="const").image, g(w=w, noise=g.noise("const")).image)
    silent = {name: torch.zeros(1, 1, r, r) for name, r in g.noise_shapes.items()}
    assert torch.allclose(g(w=w, noise="none").image, g(w=w, noise=silent).image)


@pytest.mark.parametrize("mode", ["linear", "vp", "slerp"])
def test_blended_noise(mode):
    g = toy_generator(resolution=64)
    anchor, other = g.noise("const"), g.noise("random", 2)
    anchor = {name: torch.randn_like(n) for name, n in anchor.items()}
    for a, end in ((0.0, anchor), (1.0, other)):
        for name, n in blend_noise(anchor, other, a, mode).items():
            assert torch.equal(n, end[name].expand_as(n))
    middle = blend_noise(anchor, other, 0.5, mode)["b64.conv1"]
    assert middle.std() == pytest.approx(0.5**0.5 if mode == "linear" else 1, rel=0.05)
    layered = blend_noise(anchor, other, {"b8.conv0": 1.0}, mode)
    assert torch.equal(layered["b8.conv0"], other["b8.conv0"])
    assert torch.equal(layered["b8.conv1"], anchor["b8.conv1"].expand_as(layered["b8.conv1"]))


def test_slerp_of_a_map_with_itself():
    n = {"x": torch.randn(1, 1, 8, 8)}
    assert torch.allclose(blend_noise(n, n, 0.3, "slerp")["x"], n["x"], atol=1e-5)


@pytest.mark.parametrize("variant", ["skip", "orig", "resnet"])
def test_every_parameter_is_in_exactly_one_top_group(variant):
    g = toy_generator(variant=variant, c_dim=3)
    top = [name for group, names in g.groups.items() if "/" not in group for name in names]
    assert sorted(top) == sorted(name for name, _ in g.named_parameters())
    for group, names in g.groups.items():
        if "/" in group:
            assert set(names) <= set(g.groups[group.split("/")[0]])
    assert set(g.gains) == set(top)


def test_groups_by_name():
    g = toy_generator()
    assert g.groups["const"] == ("synthesis.b4.const",)
    assert len(g.groups["noise"]) == 5
    assert set(g.groups["affine@16/torgb"]) == {
        "synthesis.b16.torgb.affine.weight",
        "synthesis.b16.torgb.affine.bias",
    }
    assert set(g.groups["conv@4"]) == {"synthesis.b4.conv1.weight", "synthesis.b4.conv1.bias"}
    assert set(g.groups["torgb@8"]) == {"synthesis.b8.torgb.weight", "synthesis.b8.torgb.bias"}


def test_gains_are_the_equalised_learning_rate():
    g = toy_generator(mapping_lr_multiplier=0.01)
    assert g.gains["mapping.fc1.weight"] == pytest.approx(0.01 / g.w_dim**0.5)
    assert g.gains["mapping.fc1.bias"] == 0.01
    assert g.gains["synthesis.b8.conv0.affine.weight"] == pytest.approx(g.w_dim**-0.5)
    assert g.gains["synthesis.b16.torgb.weight"] == pytest.approx(8**-0.5)
    assert g.gains["synthesis.b8.conv0.weight"] == 1.0


def test_fresh_network_is_at_unit_scale():
    torch.manual_seed(0)
    g = build_generator(
        {**CONFIG, "resolution": 16, "channel_base": 512, "channel_max": 32, "z_dim": 64, "w_dim": 64}
    )
    out = g(torch.randn(8, 64), taps=g.tap_names)
    assert all(0.3 < tap.std() < 3 for name, tap in out.taps.items() if "conv" in name)


def test_taps_only_what_is_asked():
    g = toy_generator()
    out = g(normal(1, g.z_dim), taps=["b8.conv1", "b16.rgb"])
    assert set(out.taps) == {"b8.conv1", "b16.rgb"}
    assert torch.equal(out.taps["b16.rgb"], out.image)


def test_functional_call_with_other_parameters():
    """Domains evaluate the base with changed parameters; the base stays as it is."""
    g = toy_generator()
    w = normal(1, g.w_dim)
    name = "synthesis.b8.conv1.affine.bias"
    shifted = {name: g.state_dict()[name] + 1}
    before = g(w=w).image
    moved = torch.func.functional_call(g, shifted, (), {"w": w}).image
    styles = g.synthesis.styles(g.ws(w))
    styles["b8.conv1"] = styles["b8.conv1"] + 1
    assert torch.allclose(moved, g(styles=styles).image)
    assert torch.equal(before, g(w=w).image)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g(), "exactly one of z, w, ws, styles is needed; found none"),
        (lambda g: g(torch.zeros(1, 16), w=torch.zeros(1, 24)), "found z, w"),
        (lambda g: g(torch.zeros(1, 17)), r"z: found shape \[1, 17\], expected \[B, 16\]"),
        (lambda g: g(ws=torch.zeros(1, 3, 24)), r"expected \[B, 6, 24\]"),
        (lambda g: g(ws=torch.zeros(1, 6, 24), psi=0.5), "truncation psi=0.5 acts on z or w"),
        (lambda g: g(styles={}), "styles of b4.conv1: found nothing"),
        (lambda g: g(w=normal(1, 24), noise="loud"), 'noise "loud" is unknown'),
        (lambda g: g(w=torch.zeros(1, 24), noise={"b4.torgb": torch.zeros(1, 1, 4, 4)}), "takes none"),
        (
            lambda g: g(w=torch.zeros(1, 24), taps=["b32.conv1"]),
            'tap "b32.conv1": this generator has b4.conv1',
        ),
        (lambda g: g.require("conv@4/depthwise", "recipe x"), "recipe x: this stylegan2 generator has no"),
        (lambda g: build_generator({**g.config, "architecture": "dcgan"}), '"dcgan" is unknown'),
        (lambda g: build_generator({**g.config, "resolution": 48}), "power of two"),
        (lambda g: build_generator({**g.config, "variant": "plain"}), 'variant "plain" is unknown'),
        (lambda g: toy_generator(c_dim=3)(normal(1, 16)), "label c: found nothing"),
        (lambda g: blend_noise(g.noise(), {}, 0.5), "on one side only"),
        (lambda g: blend_noise(g.noise(), g.noise(), 0.5, "cubic"), '"cubic" is unknown'),
    ],
)
def test_refusals(call, message):
    with pytest.raises(StylegraftError, match=message):
        call(toy_generator())
