"""What is written for other tools is what they expect, and comes back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylegraft.checkpoints import Source, base_digest, load, save_rosinality, save_source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SIZES = {"resolution": 32, "channel_base": 256, "channel_max": 16}
TOY = {"architecture": "stylegan2", "z_dim": 16, "w_dim": 16, "mapping_layers": 3, **SIZES}


def toy(d: dict | None = None, **changes) -> Source:
    torch.manual_seed(0)
    generator = build_generator({**TOY, **changes})
    discriminator = build_discriminator({**SIZES, **(d or {})})
    with torch.no_grad():
        for tensor in [*generator.parameters(), *discriminator.parameters(), generator.mapping.w_avg]:
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return Source("toy", generator.eval(), discriminator.eval())


def test_there_and_back_again_is_bit_equal(tmp_path: Path):
    source = toy()
    notes = save_rosinality(tmp_path / "toy.pt", source)
    assert notes == (
        "its layers are not those of channel_multiplier 1 or 2: older tools need their table of widths changed",
    )
    back = load(tmp_path / "toy.pt")
    save_source(tmp_path / "back.safetensors", back, torch.float32)
    again = load(tmp_path / "back.safetensors")
    save_rosinality(tmp_path / "again.pt", again)
    for other in (back, again, load(tmp_path / "again.pt")):
        assert base_digest(other.generator) == base_digest(source.generator)
        assert other.discriminator is not None and source.discriminator is not None
        for own, theirs in ((source.generator, other.generator), (source.discriminator, other.discriminator)):
            state = theirs.state_dict()
            assert own.state_dict().keys() == state.keys()
            assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())


def test_the_file_has_every_key_that_a_strict_load_asks_for(tmp_path: Path):
    save_rosinality(tmp_path / "toy.pt", toy())
    value = torch.load(tmp_path / "toy.pt", weights_only=True)
    assert value.keys() == {"g_ema", "latent_avg", "d"}
    g, d = value["g_ema"], value["d"]
    layers = ["conv1", *(f"convs.{i}" for i in range(6))]
    expected = {f"style.{i}.{p}" for i in (1, 2, 3) for p in ("weight", "bias")} | {"input.input"}
    for layer in layers:
        expected |= {f"{layer}.conv.weight", f"{layer}.conv.modulation.weight", f"{layer}.conv.modulation.bias",
                     f"{layer}.noise.weight", f"{layer}.activate.bias"}  # fmt: skip
    for rgb in ("to_rgb1", "to_rgbs.0", "to_rgbs.1", "to_rgbs.2"):
        expected |= {
            f"{rgb}.conv.weight",
            f"{rgb}.conv.modulation.weight",
            f"{rgb}.conv.modulation.bias",
            f"{rgb}.bias",
        }
    expected |= {f"noises.noise_{k}" for k in range(7)}
    expected |= {f"convs.{i}.conv.blur.kernel" for i in (0, 2, 4)} | {
        f"to_rgbs.{i}.upsample.kernel" for i in range(3)
    }
    assert g.keys() == expected
    assert g["conv1.conv.weight"].shape == (1, 16, 16, 3, 3)
    assert g["to_rgb1.bias"].shape == (1, 3, 1, 1)
    assert g["noises.noise_6"].shape == (1, 1, 32, 32)
    assert g["convs.0.conv.blur.kernel"].sum() == pytest.approx(4)
    assert d["convs.1.conv2.0.kernel"].sum() == pytest.approx(1)
    assert d["final_conv.0.weight"].shape == (16, 17, 3, 3)


def test_what_the_layout_leaves_out_is_said(tmp_path: Path):
    notes = save_rosinality(tmp_path / "a.pt", toy({"mbstd_group_size": 8}, conv_clamp=256))
    assert any("clamp of fp16 layers at 256" in note for note in notes)
    assert any("minibatch-std groups of 8" in note for note in notes)
    full = toy({"channel_base": 16384, "channel_max": 512}, channel_base=16384, channel_max=512)
    assert save_rosinality(tmp_path / "b.pt", full) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c_dim": 4}, "no class labels"),
        ({"img_channels": 1}, "no grey images"),
        ({"variant": "resnet"}, "no generator of the variant 'resnet'"),
        ({"z_dim": 8}, "no place for z and w of different sizes"),
        ({"mapping_lr_multiplier": 0.1}, "no place for a rate of the mapping"),
        ({"resample_filter": [1, 2, 1]}, "no place for another filter"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused_by_name(changes, message, tmp_path: Path):
    source = toy(None, **changes)
    with pytest.raises(StylegraftError, match=message) as caught:
        save_rosinality(tmp_path / "a.pt", Source("a", source.generator))
    assert str(caught.value).startswith(str(tmp_path / "a.pt"))
    assert not (tmp_path / "a.pt").exists()


def test_a_mobile_generator_is_refused_by_name(tmp_path: Path):
    from stylegraft.sources import load_source

    with pytest.raises(StylegraftError, match=r"no mobile generator; write a \.safetensors"):
        save_rosinality(tmp_path / "a.pt", load_source("faces-64"))


def test_the_licence_travels_and_a_discriminator_that_does_not_fit_is_left_out(tmp_path: Path):
    source = toy({"architecture": "skip"})
    notes = save_rosinality(
        tmp_path / "a.pt", Source("a", source.generator, source.discriminator, {"licence": "CC0-1.0"})
    )
    assert any(
        "the discriminator is left out: the layout has no discriminator of the architecture 'skip'" in n
        for n in notes
    )
    back = load(tmp_path / "a.pt")
    assert back.discriminator is None and back.info["licence"] == "CC0-1.0"
    assert base_digest(back.generator) == base_digest(source.generator)


def test_a_fork_with_another_discriminator_still_gives_its_generator(tmp_path: Path):
    source = toy()
    save_rosinality(tmp_path / "a.pt", source)
    value = torch.load(tmp_path / "a.pt", weights_only=True)
    value["d"]["extra.weight"] = torch.zeros(3)
    torch.save(value, tmp_path / "fork.pt")
    back = load(tmp_path / "fork.pt")
    assert back.discriminator is None
    assert any(
        "its discriminator is left out" in note and "extra.weight" in note for note in back.info["notes"]
    )


def test_noise_is_never_invented(tmp_path: Path):
    save_rosinality(tmp_path / "a.pt", toy())
    value = torch.load(tmp_path / "a.pt", weights_only=True)
    kept = dict(value["g_ema"])
    del value["g_ema"]["noises.noise_2"]
    torch.save(value, tmp_path / "one.pt")
    with pytest.raises(
        StylegraftError, match="layers with and without noise_const: it is missing in synthesis.b8.conv1"
    ):
        load(tmp_path / "one.pt")
    value["g_ema"] = {name: tensor for name, tensor in kept.items() if not name.startswith("noises.")}
    torch.save(value, tmp_path / "none.pt")
    back = load(tmp_path / "none.pt")
    assert not back.generator.synthesis.get_buffer("b8.conv1.noise_const").any()
    assert any("no noise maps in it" in note for note in back.info["notes"])


def test_half_precision_costs_no_more_memory_than_its_network(tmp_path: Path):
    """Widened numbers live one tensor at a time: no list of them is ever complete."""
    import tracemalloc

    save_rosinality(tmp_path / "a.pt", toy(None, channel_base=8192, channel_max=256))
    value = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.save(
        {"g_ema": {k: v.half() for k, v in value["g_ema"].items()}, "latent_avg": value["latent_avg"]},
        tmp_path / "h.pt",
    )
    load(tmp_path / "h.pt")
    tracemalloc.start()
    load(tmp_path / "h.pt")
    peak = tracemalloc.get_traced_memory()[1]  # numpy's share; the network is torch's
    tracemalloc.stop()
    assert peak < 0.5 * (tmp_path / "h.pt").stat().st_size
