"""What `transplant.py` promises: a StyleGAN2 that draws what the MobileStyleGAN drew."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

from stylegraft.networks import build_generator, ops
from stylegraft.networks.generator import Generator
from stylegraft.networks.mobile import SeparableConv

TOOLS = Path(__file__).parents[2] / "tools" / "build_faces"
SMALL = {"img_channels": 3, "c_dim": 0, "z_dim": 16, "w_dim": 16, "mapping_layers": 2}


@pytest.fixture(scope="module")
def tool():
    """The script as a module; the plain names of the build's scripts are forgotten again afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(TOOLS))
    try:
        yield importlib.import_module("transplant")
    finally:
        sys.path.remove(str(TOOLS))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(TOOLS)):
                del sys.modules[name]


def mobile(resolution: int, width: int = 8) -> Generator:
    """A teacher whose styles vary with w as a trained one's do, with live noise and biases."""
    torch.manual_seed(3)
    sizes = {str(r): width for r in (4, 8, 16) if r <= resolution}
    teacher = build_generator(
        {**SMALL, "architecture": "mobile", "resolution": resolution, "channels": sizes}
    )
    for name, p in teacher.named_parameters():
        if name.endswith("noise_strength"):
            p.data.fill_(0.02)
        elif name.endswith("conv1.bias") or name.endswith("conv0.bias"):
            p.data.normal_(std=0.3)
        elif ".up.affine" in name:  # mostly smooth, as trained ones are: FIR up-sampling cannot follow noise
            p.data[width // 4 :] *= 0.1
    return teacher.requires_grad_(False)


def stylegan2(teacher: Generator, width: int) -> Generator:
    sizes = {"channel_base": width * teacher.resolution, "channel_max": width}
    student = build_generator(
        {**SMALL, "architecture": "stylegan2", "variant": "orig", "resolution": teacher.resolution, **sizes}
    )
    student.mapping.load_state_dict(teacher.mapping.state_dict())
    return student.requires_grad_(False)


def r2(student: Generator, teacher: Generator) -> float:
    z = torch.randn(64, 16, generator=torch.Generator().manual_seed(9))
    got, want = student(z, psi=0.8).image, teacher(z, psi=0.8).image
    return float(1 - (got - want).square().sum() / (want - want.mean(0)).square().sum())


def test_a_layer_without_up_sampling_is_reproduced(tool):
    """At 4 px nothing but demodulation differs, once the constant has no more channels than are kept."""
    teacher = mobile(4)
    teacher.get_parameter("synthesis.b4.const")[[2, 5]] = 0
    student = stylegan2(teacher, 8)
    tool.transplant(teacher, student)
    assert r2(student, teacher) > 0.98


def test_a_whole_network_is_carried_over_and_its_samples_keep_their_scale(tool):
    teacher = mobile(16)
    student = stylegan2(teacher, 8)
    tool.transplant(teacher, student)
    assert r2(student, teacher) > 0.5
    for r in (4, 8):  # the two constants
        tap = student(w=teacher.mapping(torch.randn(8, 16)), taps=(f"b{r}.conv1",)).taps[f"b{r}.conv1"][
            :, -2:
        ]
        torch.testing.assert_close(tap[:, 0], tap[:, 1])


def test_the_features_of_a_kernel_are_its_convolution(tool):
    x, f = torch.randn(2, 3, 4, 4), ops.setup_filter()
    kernel = torch.randn(5, 3, 3, 3)
    for up, want in ((1, ops.conv2d(x, kernel, padding=1)), (2, ops.upsampling_conv2d(x, kernel, f))):
        features = tool.kernel_features(x, up, f)
        got = torch.einsum("bfhw,of->bohw", features, kernel.flatten(1))
        torch.testing.assert_close(got, want)


def test_what_a_layer_has_of_each_channel_sums_to_what_it_computes(tool):
    teacher = mobile(8)
    w = teacher.mapping(torch.randn(4, 16))
    taps = teacher(w=w, taps=teacher.tap_names, noise="none").taps
    for name, before in (("b8.conv0", "b4.conv1"), ("b8.conv1", "b8.conv0")):
        conv = teacher.synthesis.get_submodule(name)
        assert isinstance(conv, SeparableConv)
        u, pointwise = tool.contributions(teacher, name, taps[before], w)
        # / 2: the wavelets' half
        gain = conv.depthwise_gain * conv.pointwise_gain / (2 if name.endswith("conv0") else 1)
        y = gain * torch.einsum("bihw,oi->bohw", u, pointwise) + (conv.bias * conv.bias_gain)[:, None, None]
        torch.testing.assert_close(torch.nn.functional.leaky_relu(y, 0.2), taps[name], atol=1e-5, rtol=1e-4)


def test_ballast_cancels_and_steadies_demodulation(tool):
    torch.manual_seed(0)
    kernel, styles = torch.randn(6, 4, 3, 3), torch.cat((torch.randn(256, 3) * 2, torch.ones(256, 2)), 1)
    heavy = tool.weighed_down(kernel, styles)
    x = torch.cat((torch.randn(1, 3, 8, 8), -torch.ones(1, 2, 8, 8)), 1)
    torch.testing.assert_close(
        ops.conv2d(x, heavy, padding=1), ops.conv2d(x[:, :-1], kernel, padding=1), atol=1e-4, rtol=1e-4
    )
    spread = [
        (d.std(0) / d.mean(0)).mean()
        for k, s in ((kernel, styles[:, :-1]), (heavy, styles))
        for d in [ops.demodulation(s, ops.kernel_energy(k))]
    ]
    assert spread[1] < spread[0] / 2.5
