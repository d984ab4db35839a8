from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegraft.encoders.lpips import CHANNELS, AlexNetTrunk
from stylegraft.encoders.vgg16 import VGG16Trunk


def random_lpips(net: str) -> dict[str, Tensor]:
    """Random weights of LPIPS' names and shapes, scaled so that activations neither die nor explode."""
    generator = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        shapes = {
            k: v.shape for k, v in (VGG16Trunk() if net == "vgg" else AlexNetTrunk()).state_dict().items()
        }
    tensors = {}
    for name, shape in shapes.items():
        scale = 0.05 if name.endswith("bias") else (2 / shape[1:].numel()) ** 0.5
        tensors[name] = torch.randn(shape, generator=generator) * scale
    for i, channels in enumerate(CHANNELS[net]):
        tensors[f"lin{i}"] = torch.rand(channels, generator=generator) / channels**0.5
    return tensors


@pytest.fixture(scope="session")
def vgg_weights() -> dict[str, Tensor]:
    return random_lpips("vgg")


@pytest.fixture(scope="session")
def alex_weights() -> dict[str, Tensor]:
    return random_lpips("alex")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(2)) * 2 - 1
