"""z and label -> w: the mapping network, and the fully connected layer that all networks share."""

from __future__ import annotations

from collections import abc
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stylegraft.errors import StylegraftError
from stylegraft.networks import ops


class FullyConnected(nn.Module):
    """weight_gain * x weight^T + bias_gain * bias, then the activation (leaky ReLU has gain sqrt 2).

    Parameters are stored at unit scale, ~ N(0, 1) / lr_multiplier; the gains bring them to He's scale at run time
    (equalised learning rate, Karras et al. 2018, section 4.1). `weight_gain`, `bias_gain` override this.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Literal["linear", "lrelu"] = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        weight_gain: float | None = None,
        bias_gain: float | None = None,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init) / lr_multiplier))
        self.weight_gain = lr_multiplier / in_features**0.5 if weight_gain is None else weight_gain
        self.bias_gain = lr_multiplier if bias_gain is None else bias_gain
        self.lrelu = activation == "lrelu"

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_features] -> [B, out_features]."""
        gains = {"weight_gain": self.weight_gain, "bias_gain": self.bias_gain}
        return ops.linear(x, self.weight, self.bias, lrelu=self.lrelu, **gains)


class Miner(nn.Module):
    """z + A z + b: [B, z_dim] -> [B, z_dim]. Zero, and no part of any file, until a domain moves it.

    What MineGAN (Wang et al., CVPR 2020) puts before the mapping. Its miner has a hidden layer of ReLUs; this one is
    affine, so that it starts as the identity and a domain's strength and mixes stay linear in A and b.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, z_dim: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(z_dim, z_dim), persistent=False)
        self.register_buffer("bias", torch.zeros(z_dim), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return z + torch.addmm(self.bias, z, self.weight.t())


class Mapping(nn.Module):
    """z and label -> w: normalised z beside the normalised embedding of the label, through leaky-ReLU layers.

    z_dim = 0 maps labels alone, as the discriminator does. `w_avg` (if `average`) is the centre of truncation;
    whoever trains the mapping keeps it up to date. `gains` overrides the gains of the parameters named in it.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        c_dim: int = 0,
        *,
        layers: int = 8,
        lr_multiplier: float = 0.01,
        average: bool = True,
        gains: abc.Mapping[str, float] | None = None,
    ):
        super().__init__()
        gains = gains or {}
        self.z_dim, self.c_dim, self.num_layers = z_dim, c_dim, layers

        def fully_connected(name: str, in_features: int, **options: Any) -> None:
            own = {"weight_gain": gains.get(f"{name}.weight"), "bias_gain": gains.get(f"{name}.bias")}
            self.add_module(name, FullyConnected(in_features, w_dim, **own, **options))

        if c_dim:
            fully_connected("embed", c_dim)
        for i in range(layers):
            width = w_dim if i else z_dim + (w_dim if c_dim else 0)
            fully_connected(f"fc{i}", width, activation="lrelu", lr_multiplier=lr_multiplier)
        if average:
            self.register_buffer("w_avg", torch.zeros(w_dim))
        if z_dim:
            self.miner = Miner(z_dim)

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """z [B, z_dim] (None where z_dim = 0), label c [B, c_dim] (None where c_dim = 0) -> w [B, w_dim]."""
        parts = []
        if self.z_dim:
            parts.append(ops.normalise(self.miner(matrix(z, self.z_dim, "z"))))
        if self.c_dim:
            parts.append(ops.normalise(self.get_submodule("embed")(matrix(c, self.c_dim, "the label c"))))
        x = torch.cat(parts, 1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


def matrix(x: Tensor | None, width: int, name: str) -> Tensor:
    """x itself; raises StylegraftError, calling it `name`, unless it is [B, width]."""
    if x is None or x.ndim != 2 or x.shape[1] != width:
        found = "nothing" if x is None else f"shape {list(x.shape)}"
        raise StylegraftError(f"{name}: found {found}, expected [B, {width}]")
    return x
