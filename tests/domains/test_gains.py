"""One learning rate means the same on both architectures: deltas live in stored, unit-scale units."""

from __future__ import annotations

import functools

import pytest
import torch

from stylegraft.domains import Adapted, start
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import base_tensors
from stylegraft.networks.generator import build_generator

LR = 0.01
SIZES = {"z_dim": 16, "w_dim": 16, "img_channels": 3, "c_dim": 0, "resolution": 16, "mapping_layers": 2}
CONFIGS = {
    "stylegan2": {"architecture": "stylegan2", "channel_base": 256, "channel_max": 16, **SIZES},
    "mobile": {"architecture": "mobile", "channels": {"4": 16, "8": 16}, **SIZES},
}
CORRESPONDING = {  # what to compare -> (group, endings of its parameters in either architecture)
    "mapping weights": ("mapping", (".weight",)),
    "affine weights at 4": ("affine@4", (".weight",)),
    "affine weights at 8": ("affine@8", (".weight",)),
    "affine biases at 8": ("affine@8/conv", (".bias",)),
    "kernels at 4": ("conv@4", (".weight",)),
    "kernels at 8": ("conv@8", (".weight", ".depthwise", ".pointwise")),
    "toRGB kernel": ("torgb@8", (".weight",)),
    "constant": ("const", ("",)),
}


@functools.cache
def relative_steps(architecture: str) -> dict[str, float]:
    """Relative change of each group's effective weights after one Adam step of LR on dense deltas of everything."""
    torch.manual_seed(0)
    generator = build_generator(CONFIGS[architecture]).requires_grad_(False)
    for name, _ in generator.named_parameters():  # a trained affine bias is near one in both
        if name.endswith("affine.bias"):
            generator.get_parameter(name).fill_(1.0)
    deltas = start("full", generator)
    leaves = {name: terms[0].parts["D"].requires_grad_() for name, terms in deltas.items()}
    optimiser = torch.optim.Adam(leaves.values(), lr=LR, betas=(0.0, 0.99))
    adapted = Adapted(generator, effective(deltas, base_tensors(generator)))
    image = adapted(torch.randn(4, 16), noise="random").image
    (image * torch.randn_like(image)).sum().backward()
    optimiser.step()
    base = base_tensors(generator)

    def relative(group: str, endings: tuple[str, ...]) -> float:
        names = [name for name in generator.groups[group] if name.endswith(endings)]
        assert names
        moved = torch.cat(
            [(leaves[name].detach() * generator.gains[name]).flatten() / scale(name) for name in names]
        )
        return moved.square().mean().sqrt().item()

    def scale(name: str) -> torch.Tensor:
        """RMS of the published value, stored value times gain."""
        return (base[name] * generator.gains[name]).square().mean().sqrt()

    return {what: relative(*where) for what, where in CORRESPONDING.items()}


@pytest.mark.parametrize("what", CORRESPONDING)
def test_one_learning_rate_moves_both_architectures_by_the_same_relative_amount(what: str) -> None:
    stylegan2, mobile = (relative_steps(architecture)[what] for architecture in CONFIGS)
    assert 1 / 1.5 < mobile / stylegan2 < 1.5, f"{what}: stylegan2 {stylegan2:.4f}, mobile {mobile:.4f}"


def test_a_step_is_the_learning_rate_in_units_of_the_weight() -> None:
    for architecture in CONFIGS:
        steps = relative_steps(architecture)
        for what in set(CORRESPONDING) - {"mapping weights"}:
            assert steps[what] == pytest.approx(LR, rel=0.25), (architecture, what)
        # the mapping is slower by its learning-rate multiplier, as in StyleGAN
        assert steps["mapping weights"] == pytest.approx(LR * 0.01, rel=0.25)


def test_gains_fold_a_published_scale_away() -> None:
    """A weight that a file holds at RMS 0.02 is stored at RMS 1 with gain 0.02: the network's function is unchanged."""
    gains = {"b8.conv1.pointwise": 0.02}
    torch.manual_seed(0)
    plain = build_generator({**CONFIGS["mobile"], "gains": gains})
    name = "synthesis.b8.conv1.pointwise"
    assert plain.gains[name] == 0.02
    torch.manual_seed(0)
    folded = build_generator({**CONFIGS["mobile"], "gains": {"b8.conv1.pointwise": 1.0}})
    with torch.no_grad():
        folded.get_parameter(name).mul_(0.02)
        z = torch.randn(2, 16)
        torch.testing.assert_close(plain(z).image, folded(z).image)
