"""LPIPS: equal to the paper's formula, a distance, and usable as a training loss."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from stylegraft.checkpoints import assets
from stylegraft.encoders import load_encoder
from stylegraft.encoders.lpips import LPIPS, distance, load_lpips
from stylegraft.errors import StylegraftError

VGG = [0, 2, "pool", 5, 7, "pool", 10, 12, 14, "pool", 17, 19, 21, "pool", 24, 26, 28]
VGG_TAPS = (2, 7, 14, 21, 28)
ALEX = ((0, 4, 2, 0), (3, 1, 2, 1), (6, 1, 1, 1), (8, 1, 1, 0), (10, 1, 1, 0))  # layer, stride, padding, pool


def naive(net: str, weights: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
    """The formula as the paper states it, in float64: ImageNet normalisation in 0..1, 1x1 heads, mean over
    pixels.
    """
    w = {k: v.double() for k, v in weights.items()}

    def maps(x: Tensor) -> list[Tensor]:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = ((x.double() + 1) / 2 - mean.double()[:, None, None]) / std.double()[:, None, None]
        out = []
        if net == "vgg":
            for layer in VGG:
                if layer == "pool":
                    x = F.max_pool2d(x, 2, 2)
                    continue
                x = F.conv2d(x, w[f"features.{layer}.weight"], w[f"features.{layer}.bias"], padding=1).relu()
                if layer in VGG_TAPS:
                    out.append(x)
            return out
        for layer, stride, padding, pool in ALEX:
            x = F.max_pool2d(x, 3, 2) if pool else x
            weight, bias = w[f"features.{layer}.weight"], w[f"features.{layer}.bias"]
            x = F.conv2d(x, weight, bias, stride=stride, padding=padding).relu()
            out.append(x)
        return out

    total = torch.zeros(len(a), dtype=torch.float64)
    for i, (x, y) in enumerate(zip(maps(a), maps(b), strict=True)):
        x, y = (v / (v.norm(dim=1, keepdim=True) + 1e-10) for v in (x, y))
        total += F.conv2d((x - y) ** 2, w[f"lin{i}"][None, :, None, None]).mean((1, 2, 3))
    return total


@pytest.fixture(params=["vgg", "alex"])
def net(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def weights(net: str, request: pytest.FixtureRequest) -> dict[str, Tensor]:
    return request.getfixturevalue(f"{net}_weights")


def test_equals_the_formula(net: str, weights: dict[str, Tensor], images: Tensor) -> None:
    other = images.flip(0) * 0.5
    found = LPIPS(net, weights)(images, other)
    assert torch.allclose(found.double(), naive(net, weights, images, other), rtol=1e-5)


def test_is_zero_on_equal_images_and_symmetric(net: str, weights: dict[str, Tensor], images: Tensor) -> None:
    model, other = LPIPS(net, weights), images.roll(1, 0)
    assert torch.equal(model(images, images), torch.zeros(3))
    assert torch.allclose(model(images, other), model(other, images), rtol=1e-6)
    assert (model(images, other) > 0).all()


def test_a_kept_embedding_gives_the_same_distance(vgg_weights: dict[str, Tensor], images: Tensor) -> None:
    model, other = LPIPS("vgg", vgg_weights), images.flip(3)
    kept = model.embed(other)
    assert torch.equal(model(images, kept), model(images, other))
    assert torch.equal(distance(model.embed(images), kept), model(images, other))


def test_each_image_is_on_its_own(net: str, weights: dict[str, Tensor], images: Tensor) -> None:
    model, other = LPIPS(net, weights), images.flip(2)
    single = torch.cat([model(images[i : i + 1], other[i : i + 1]) for i in range(3)])
    assert torch.allclose(model(images, other), single, rtol=1e-5)


def test_gradients_reach_images_and_not_weights(vgg_weights: dict[str, Tensor], images: Tensor) -> None:
    model, small = LPIPS("vgg", vgg_weights), images[:1, :, :16, :16]
    x = small.clone().requires_grad_()
    target = small.flip(3)
    model(x, target).sum().backward()
    y = small.double().requires_grad_()
    naive("vgg", vgg_weights, y, target).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert ((x.grad - y.grad).norm() / y.grad.norm()).item() < 1e-4
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_pixels_without_any_feature_give_finite_gradients(vgg_weights: dict[str, Tensor]) -> None:
    dead = {k: torch.full_like(v, -1) if k.endswith("bias") else v for k, v in vgg_weights.items()}
    model = LPIPS("vgg", dead)
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    found = model(x, torch.rand(1, 3, 16, 16))
    found.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(found).all()


def test_train_mode_changes_nothing(vgg_weights: dict[str, Tensor]) -> None:
    model = LPIPS("vgg", vgg_weights)
    assert torch.nn.Sequential(model).train() is not None
    assert not model.training
    assert not any(module.training for module in model.modules())


def test_grey_images_count_as_three_equal_channels(vgg_weights: dict[str, Tensor], images: Tensor) -> None:
    model, a, b = LPIPS("vgg", vgg_weights), images[:, :1], images[:, 1:2]
    assert torch.equal(model(a, b), model(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)))


def test_too_small_images_are_refused_with_the_limit(net: str, weights: dict[str, Tensor]) -> None:
    limit = {"vgg": 16, "alex": 35}[net]
    model = LPIPS(net, weights)
    x = torch.zeros(1, 3, limit, limit)
    assert model(x, x).shape == (1,)
    with pytest.raises(StylegraftError, match=str(limit)):
        model(x[..., 1:], x)


def test_other_weights_are_refused_by_name(vgg_weights: dict[str, Tensor]) -> None:
    lacking = {k: v for k, v in vgg_weights.items() if k != "lin2"}
    with pytest.raises(StylegraftError, match="lin2"):
        LPIPS("vgg", lacking)
    with pytest.raises(StylegraftError, match="extra"):
        LPIPS("vgg", {**vgg_weights, "extra": torch.zeros(1)})
    with pytest.raises(StylegraftError, match="negative"):
        LPIPS("vgg", {**vgg_weights, "lin0": -vgg_weights["lin0"]})
    with pytest.raises(StylegraftError, match="not finite"):
        LPIPS("vgg", {**vgg_weights, "lin0": vgg_weights["lin0"] * torch.inf})
    with pytest.raises(StylegraftError, match="squeeze"):
        LPIPS("squeeze", vgg_weights)


def picture(shift: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(64) / 64, torch.arange(64) / 64, indexing="ij")
    red, green = torch.sin(7 * x + 3 * y + shift), torch.cos(11 * y * x - 2 * shift)
    return torch.stack([red, green, torch.sin(23 * (x - y) ** 2 + shift * x)])[None]


@pytest.mark.parametrize(
    ("name", "near", "far"),
    # The authors' own code (PyPI lpips 0.1.4, heads of v0.1) with the same backbone weights gave these
    # numbers.
    [("alex", 0.11309037, 0.28629068), ("vgg", 0.24993935, 0.62505716)],
)
def test_real_weights_give_the_numbers_of_the_authors_code(name: str, near: float, far: float) -> None:
    try:
        assets.find("lpips")
    except StylegraftError as missing:
        pytest.skip(str(missing))
    model = load_lpips(name)
    with torch.no_grad():
        found = model(picture(0.0), picture(0.5)).item(), model(picture(0.0), picture(2.0)).item()
    assert found == pytest.approx((near, far), abs=2e-6)
    if name == "vgg":  # as torchvision's ImageNet weights are known to start
        first = model.trunk.features["0"]  # pyright: ignore
        assert first.weight[0, 0, 0].tolist() == pytest.approx([-0.5537, 0.1427, 0.5290], abs=5e-5)
        assert first.bias[0].item() == pytest.approx(0.4034, abs=5e-5)


def as_images(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1


def test_committed_pictures_keep_their_numbers() -> None:
    """PyPI lpips 0.1.4 gave these too, with its own heads and the same backbone weights."""
    try:
        assets.find("lpips")
    except StylegraftError as missing:
        pytest.skip(str(missing))
    stored = {
        ("pencil/008101", "pencil/008110"): (0.40803, 0.51448),  # alex, vgg
        ("lorelei/seed-001", "lorelei/seed-003"): (0.40763, 0.34867),
    }
    sets = files("stylegraft.data") / "sets"
    models = [load_lpips(net) for net in ("alex", "vgg")]
    for pair, expected in stored.items():
        a, b = (as_images(Path(str(sets / f"{name}.png"))) for name in pair)
        with torch.no_grad():
            found = tuple(model(a, b).item() for model in models)
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_published_numbers_on_the_authors_pictures() -> None:
    """`imgs/ex_ref.png`, `ex_p0.png`, `ex_p1.png` of the authors' repository, where somebody has them."""
    folder = os.environ.get("STYLEGRAFT_LPIPS_EXAMPLES")
    if not folder:
        pytest.skip(
            "STYLEGRAFT_LPIPS_EXAMPLES names no folder with the authors' ex_ref.png, ex_p0.png, ex_p1.png"
        )
    ref, p0, p1 = (as_images(Path(folder) / f"ex_{name}.png") for name in ("ref", "p0", "p1"))
    for net, expected in (("alex", (0.721881, 0.137566)), ("vgg", (0.568613, 0.421664))):
        with torch.no_grad():
            found = load_lpips(net)(ref, p0).item(), load_lpips(net)(ref, p1).item()
        assert found == pytest.approx(expected, abs=2e-6)


def test_weights_by_a_path_are_those_of_the_asset(
    vgg_weights: dict[str, Tensor], images: Tensor, tmp_path: Path
) -> None:
    save_file({f"vgg.{key}": value for key, value in vgg_weights.items()}, tmp_path / "mine.safetensors")
    mine, toy = load_lpips("vgg", where=str(tmp_path / "mine.safetensors")), LPIPS("vgg", vgg_weights)
    assert mine.digest == toy.digest
    assert torch.equal(mine(images, images.flip(0)), toy(images, images.flip(0)))
    assert load_encoder(f"vgg16:{tmp_path / 'mine.safetensors'}").name == "vgg16"
    with pytest.raises(StylegraftError, match=r"^.*none\.safetensors: no such file"):
        load_lpips("vgg", where=str(tmp_path / "none.safetensors"))
