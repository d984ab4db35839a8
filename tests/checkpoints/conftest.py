"""A toy source with every parameter alive."""

from __future__ import annotations

import pytest
import torch

from stylegraft.checkpoints import Source
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SIZES = {"resolution": 16, "img_channels": 3, "c_dim": 0, "channel_base": 128, "channel_max": 8}
GENERATORS = {
    "stylegan2": {"architecture": "stylegan2", "z_dim": 8, "w_dim": 8, "mapping_layers": 2, **SIZES},
    "mobile": {
        "architecture": "mobile",
        "resolution": 16,
        "img_channels": 3,
        "z_dim": 8,
        "w_dim": 8,
        "c_dim": 0,
        "channels": {"4": 8, "8": 8},
        "mapping_layers": 2,
        "gains": {"b4.conv1.weight": 0.125},
    },
}


@pytest.fixture(params=GENERATORS)
def source(request: pytest.FixtureRequest) -> Source:
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[request.param])
    discriminator = build_discriminator({"architecture": "resnet", "mbstd_group_size": 4, **SIZES})
    with torch.no_grad():
        for parameter in [*generator.parameters(), *discriminator.parameters()]:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_()
    return Source("toy", generator.eval(), discriminator.eval(), {"licence": "none", "card": {"images": 3}})
