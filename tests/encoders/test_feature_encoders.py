"""The FID/KID encoders: their stated input rule, the right architecture, one image at a time, frozen,
differentiable.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegraft.checkpoints import assets
from stylegraft.encoders import ENCODERS, Encoder, load_encoder
from stylegraft.encoders.efficientnet import EPSILON, STAGES, EfficientNetLite0
from stylegraft.encoders.protocol import resize
from stylegraft.encoders.vgg16 import VGG16
from stylegraft.errors import StylegraftError


def random_effnet() -> dict[str, Tensor]:
    """Random weights under the published names, batch normalisations included."""
    g = torch.Generator().manual_seed(3)
    out: dict[str, Tensor] = {}

    def unit(convolution: str, norm: str, o: int, i: int, k: int) -> None:
        out[f"{convolution}.weight"] = torch.randn(o, i, k, k, generator=g) * (2 / (i * k * k)) ** 0.5
        out[f"{norm}.weight"] = 0.5 + torch.rand(o, generator=g)
        out[f"{norm}.bias"] = torch.randn(o, generator=g) * 0.2
        out[f"{norm}.running_mean"] = torch.randn(o, generator=g) * 0.2
        out[f"{norm}.running_var"] = 0.5 + torch.rand(o, generator=g)

    unit("_conv_stem", "_bn0", 32, 3, 3)
    channels, index = 32, 0
    for expansion, kernel, _, outputs, repeats in STAGES:
        for _ in range(repeats):
            hidden = channels * expansion
            if expansion > 1:
                unit(f"_blocks.{index}._expand_conv", f"_blocks.{index}._bn0", hidden, channels, 1)
            unit(f"_blocks.{index}._depthwise_conv", f"_blocks.{index}._bn1", hidden, 1, kernel)
            unit(f"_blocks.{index}._project_conv", f"_blocks.{index}._bn2", outputs, hidden, 1)
            channels, index = outputs, index + 1
    unit("_conv_head", "_bn1", 1280, channels, 1)
    out["_fc.weight"], out["_fc.bias"] = torch.randn(1000, 1280, generator=g) * 0.03, torch.zeros(1000)
    return out


@pytest.fixture(scope="module")
def effnet_weights() -> dict[str, Tensor]:
    return random_effnet()


@pytest.fixture(scope="module", params=["vgg16", "effnet-lite0"])
def encoder(request: pytest.FixtureRequest, effnet_weights: dict[str, Tensor]) -> Encoder:
    if request.param == "effnet-lite0":
        return EfficientNetLite0(effnet_weights)
    weights: dict[str, Tensor] = request.getfixturevalue("vgg_weights")
    return VGG16({k: v for k, v in weights.items() if k.startswith("features.")}, size=32)


def naive_effnet(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Pooled features in float64 with the normalisation applied as such, strides and shapes from the paper's
    table.
    """
    w = {k: v.double() for k, v in w.items()}

    def unit(x: Tensor, convolution: str, norm: str, stride: int, groups: int = 1) -> Tensor:
        kernel = w[f"{convolution}.weight"]
        k = kernel.shape[-1]
        size = -(-x.shape[-1] // stride)
        pad = max((size - 1) * stride + k - x.shape[-1], 0)
        x = F.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        x = F.conv2d(x, kernel, stride=stride, groups=groups)
        mean, variance = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
        return F.batch_norm(x, mean, variance, w[f"{norm}.weight"], w[f"{norm}.bias"], eps=EPSILON)

    x = unit(x.double(), "_conv_stem", "_bn0", 2).clamp(0, 6)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the sixteen blocks
    for i, stride in enumerate(strides):
        name, y = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in w:
            y = unit(y, f"{name}._expand_conv", f"{name}._bn0", 1).clamp(0, 6)
        y = unit(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, groups=y.shape[1]).clamp(0, 6)
        y = unit(y, f"{name}._project_conv", f"{name}._bn2", 1)
        x = x + y if y.shape == x.shape else y
    return unit(x, "_conv_head", "_bn1", 1).clamp(0, 6).mean((2, 3))


@pytest.mark.parametrize("size", [64, 33])
def test_effnet_equals_a_plain_float64_network(effnet_weights: dict[str, Tensor], size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(4))
    found, expected = EfficientNetLite0(effnet_weights).encode(x), naive_effnet(effnet_weights, x)
    assert found.shape == (2, 1280)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-5


def test_vgg16_is_the_pixel_mean_of_relu5_3(vgg_weights: dict[str, Tensor]) -> None:
    weights = {k: v for k, v in vgg_weights.items() if k.startswith("features.")}
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    y = x.double()
    for layer in (0, 2, None, 5, 7, None, 10, 12, 14, None, 17, 19, 21, None, 24, 26, 28):
        if layer is None:
            y = F.max_pool2d(y, 2)
        else:
            w, b = weights[f"features.{layer}.weight"].double(), weights[f"features.{layer}.bias"].double()
            y = F.conv2d(y, w, b, padding=1).relu()
    expected = y.mean((2, 3))
    assert ((VGG16(weights).encode(x) - expected).norm() / expected.norm()).item() < 1e-5


def test_the_input_rules_are_as_stated(encoder: Encoder) -> None:
    black, white = torch.full((1, 3, 8, 8), -1.0), torch.ones(1, 3, 8, 8)
    if encoder.name.startswith("vgg16"):  # (value in 0..1 - mean) / deviation
        low = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
        high = [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]
    else:  # (value in 0..255 - 127) / 128
        low, high = [-127 / 128] * 3, [1.0] * 3
    for image, expected in ((black, low), (white, high)):
        assert encoder.preprocess(image)[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_images_of_the_networks_size_are_not_resampled() -> None:
    x = torch.rand(1, 3, 32, 32)
    assert resize(x, 32) is x
    assert torch.allclose(resize(torch.ones(1, 3, 40, 24), 32), torch.ones(1, 3, 32, 32), atol=1e-6)


def test_shrinking_averages_and_does_not_skip_pixels() -> None:
    checks = (torch.arange(256)[:, None] + torch.arange(256)[None]) % 2 * 2.0 - 1
    assert resize(checks.expand(1, 3, -1, -1), 32).abs().max() < 0.05


def test_each_image_is_on_its_own(encoder: Encoder, images: Tensor) -> None:
    whole = encoder.encode(encoder.preprocess(images))
    single = torch.cat([encoder.encode(encoder.preprocess(x[None])) for x in images])
    assert whole.shape == (3, encoder.dim)
    assert ((whole - single).norm() / whole.norm()).item() < 1e-5


def test_frozen_and_differentiable(encoder: Encoder, images: Tensor) -> None:
    assert isinstance(encoder, torch.nn.Module)
    assert isinstance(encoder, Encoder)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    x = images[:1].clone().requires_grad_()
    encoder.encode(encoder.preprocess(x)).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.parameters())


def test_the_digest_names_the_weights(vgg_weights: dict[str, Tensor]) -> None:
    weights = {k: v for k, v in vgg_weights.items() if k.startswith("features.")}
    changed = {**weights, "features.0.bias": weights["features.0.bias"] + 1e-3}
    assert VGG16(weights).digest == VGG16(dict(reversed(weights.items()))).digest
    assert VGG16(weights).digest != VGG16(changed).digest


def test_another_input_size_is_another_name(vgg_weights: dict[str, Tensor]) -> None:
    weights = {k: v for k, v in vgg_weights.items() if k.startswith("features.")}
    assert VGG16(weights).name == "vgg16"
    assert VGG16(weights, size=224).name == "vgg16@224"


def test_effnet_weights_with_a_hole_are_refused_by_name(effnet_weights: dict[str, Tensor]) -> None:
    lacking = {k: v for k, v in effnet_weights.items() if k != "_blocks.7._bn1.running_var"}
    with pytest.raises(StylegraftError, match=r"_blocks\.7\._bn1\.running_var"):
        EfficientNetLite0(lacking)
    with pytest.raises(StylegraftError, match="_surplus"):
        EfficientNetLite0({**effnet_weights, "_surplus": torch.zeros(1)})


def test_an_unknown_encoder_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StylegraftError, match="did you mean 'effnet-lite0'"):
        load_encoder("efnet-lite0")


def _real(name: str) -> None:
    try:
        assets.find(name)
    except StylegraftError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(("name", "asset"), [("vgg16", "lpips"), ("effnet-lite0", "effnet")])
def test_real_weights_load_under_the_metrics_name(name: str, asset: str) -> None:
    _real(asset)
    found = load_encoder(name)
    assert found.name == name in ENCODERS
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(6)) * 2 - 1
    value = found.encode(found.preprocess(x))
    assert value.shape == (1, found.dim)
    assert torch.isfinite(value).all()


def test_real_effnet_equals_the_plain_float64_network() -> None:
    _real("effnet")
    weights = assets.tensors("effnet")
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(6)) * 2 - 1
    found, expected = EfficientNetLite0(weights).encode(x), naive_effnet(weights, x)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-5
