"""Toy networks and golden files for the tests of this folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from stylegraft.networks import Discriminator, Generator, build_discriminator, build_generator

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SIZES = {"img_channels": 3, "z_dim": 16, "w_dim": 24, "c_dim": 0, "mapping_layers": 2}
WIDTHS = {"channel_base": 128, "channel_max": 12}


@dataclass(frozen=True)
class Golden:
    """Networks of the official implementation with random weights; what it computes from them."""

    generator: Generator
    discriminator: Discriminator
    tensors: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def gradients(self, name: str) -> dict[str, Tensor]:
        prefix = f"grad.{name}."
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def read(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


@pytest.fixture(params=["stylegan2_16px", "stylegan2_32px"])
def golden(request: pytest.FixtureRequest) -> Golden:
    tensors, metadata = read(request.param)
    published = json.loads(metadata["config"])
    shared = {name: published[name] for name in ("img_channels", "c_dim", "channel_base", "channel_max")}
    shared["resolution"] = published["img_resolution"]
    own = {name: published[name] for name in ("z_dim", "w_dim", "mapping_layers")}
    generator = build_generator({"architecture": "stylegan2", **shared, **own})
    discriminator = build_discriminator({**shared, "mbstd_group_size": published["mbstd_group_size"]})
    for prefix, network in (("G.", generator), ("D.", discriminator)):
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        network.load_state_dict({k: v for k, v in state.items() if not k.endswith("resample_filter")})
    return Golden(generator, discriminator, tensors)


def toy_generator(**changes) -> Generator:
    """Float64, every parameter away from its initial value, so that nothing is tested at zero."""
    return disturbed(
        build_generator({"architecture": "stylegan2", "resolution": 16, **SIZES, **WIDTHS, **changes})
    )


def toy_mobile(**changes) -> Generator:
    """As `toy_generator`; every published tensor has a gain of its own, so that none can be left out or swapped."""
    config = {
        "architecture": "mobile",
        "resolution": 32,
        "channels": {"4": 8, "8": 12, "16": 4},
        **SIZES,
        **changes,
    }
    names = [name for name, _ in build_generator(config).synthesis.named_parameters()]
    scaled = [name for name in names if not name.endswith("noise_strength")]
    gains = {name: 0.2 + 0.3 * math.sin(i) ** 2 for i, name in enumerate(scaled)}
    return disturbed(build_generator({**config, "gains": gains}))


def toy_discriminator(**changes) -> Discriminator:
    config = {"resolution": 16, "img_channels": 3, "c_dim": 0, "mapping_layers": 2, "mbstd_group_size": 2}
    return disturbed(build_discriminator({"architecture": "resnet", **config, **WIDTHS, **changes}))


def disturbed(network):
    network = network.double()
    draw = torch.Generator().manual_seed(1)
    for name, tensor in sorted((*network.named_parameters(), *network.named_buffers())):
        if name != "f" and ".miner." not in name and not name.endswith((".f", ".channel_gain", ".w_offset")):
            tensor.data = torch.randn(tensor.shape, generator=draw).double() * tensor.abs().mean().clamp(
                min=0.3
            )
    return network


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
