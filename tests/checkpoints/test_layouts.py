"""A generator in the names of others is what a strict load there asks for, and comes back bit for bit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from stylegraft.checkpoints import Source, base_digest, load
from stylegraft.checkpoints.layouts import save_layout
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, build_generator

sys.path.insert(0, str(Path(__file__).parent))
import foreign_files as files

TOY = {"architecture": "stylegan2", "resolution": 16, "z_dim": 16, "w_dim": 16, "mapping_layers": 3,
       "channel_base": 128, "channel_max": 16}  # fmt: skip


def toy(**changes) -> Generator:
    torch.manual_seed(0)
    generator = build_generator({**TOY, **changes})
    with torch.no_grad():
        for tensor in [*generator.parameters(), generator.mapping.w_avg]:
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return generator.eval()


def header(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    ("layout", "changes"),
    [
        ("rosinality", {}),
        ("nvidia", {}),
        ("nvidia", {"variant": "resnet", "conv_clamp": 256, "resample_filter": [1, 2, 1]}),
        (
            "nvidia",
            {"variant": "orig", "c_dim": 3, "img_channels": 1, "z_dim": 8, "mapping_lr_multiplier": 0.1},
        ),
    ],
)
def test_there_and_back_again_is_bit_equal(layout: str, changes: dict, tmp_path: Path):
    source = Source("toy", toy(**changes), None, {"licence": "CC0-1.0"})
    save_layout(tmp_path / "a.safetensors", source, layout)
    back = load(tmp_path / "a.safetensors")
    assert back.name == "toy" and back.info["licence"] == "CC0-1.0" and back.discriminator is None
    assert back.generator.config == source.generator.config
    state = back.generator.state_dict()
    assert source.generator.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in source.generator.state_dict().items())
    assert header(tmp_path / "a.safetensors")["base"] == base_digest(source.generator)
    again = tmp_path / "b.safetensors"
    save_layout(again, source, layout)
    assert again.read_bytes() == (tmp_path / "a.safetensors").read_bytes()


@pytest.mark.parametrize("changes", [{}, {"variant": "resnet", "resample_filter": [1, 2, 1]}, {"c_dim": 3}])
def test_nvidia_s_names_are_those_of_its_state_dict(changes: dict, tmp_path: Path):
    """Against the second spelling of that code base's modules in `foreign_files`."""
    generator = toy(**changes)
    save_layout(tmp_path / "a.safetensors", Source("toy", generator), "nvidia")
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    wanted = files.nvidia_networks(generator)["G_ema"].state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_rosinality_s_names_are_those_of_its_state_dict(tmp_path: Path):
    generator = toy()
    notes = save_layout(tmp_path / "a.safetensors", Source("toy", generator), "rosinality")
    assert any("table of widths" in note for note in notes)
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert torch.equal(found.pop("latent_avg"), generator.mapping.w_avg)
    wanted = files.rosinality_state(generator)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_the_file_says_how_to_load_it_and_under_which_licence(tmp_path: Path):
    source = Source("toy", toy(conv_clamp=256), None, {"licence": "CC0-1.0"})
    save_layout(tmp_path / "a.safetensors", source, "nvidia")
    said = header(tmp_path / "a.safetensors")
    assert "Generator(16, 0, 16, 16, 3, mapping_kwargs={'num_layers': 3" in said["load"]
    assert "'conv_clamp': 256" in said["load"] and "load_state_dict" in said["load"]
    assert json.loads(said["info"])["licence"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("layout", "changes", "message"),
    [
        ("rosinality", {"c_dim": 4}, "rosinality layout has no class labels"),
        ("rosinality", {"variant": "orig"}, "no generator of the variant 'orig'"),
        ("rosinality", {"architecture": "mobile", "channels": {"4": 8, "8": 8}}, "no mobile generator"),
        ("nvidia", {"architecture": "mobile", "channels": {"4": 8, "8": 8}}, "NVIDIA's layout has no mobile"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_by_name(layout, changes, message, tmp_path: Path):
    with pytest.raises(StylegraftError, match=message) as caught:
        save_layout(tmp_path / "a.safetensors", Source("a", toy(**changes)), layout)
    assert str(caught.value).startswith(str(tmp_path / "a.safetensors"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["nvidia", "rosinality"])
def test_what_no_ordinary_generator_holds_is_refused_by_name(layout: str, tmp_path: Path):
    generator = toy()
    generator.synthesis.get_buffer("b8.conv0.channel_gain").fill_(0.1)
    with pytest.raises(StylegraftError, match="gains after demodulation"):
        save_layout(tmp_path / "a.safetensors", Source("a", generator), layout)


def test_a_damaged_file_is_refused(tmp_path: Path):
    save_layout(tmp_path / "a.safetensors", Source("a", toy()), "rosinality")
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(StylegraftError, match="digest mismatch"):
        load(tmp_path / "a.safetensors")
