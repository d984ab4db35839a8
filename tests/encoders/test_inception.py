"""The Inception of StyleGAN's metrics: a program that is run only if published, or if its user says so."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.encoders import Encoder, load_encoder
from stylegraft.encoders.table import INCEPTION_SHA256
from stylegraft.errors import StylegraftError


class Toy(nn.Module):
    """NVIDIA's signature on one convolution; a batch normalisation tells training mode from evaluation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, features, 4, stride=4)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = F.interpolate(img.to(torch.float32), [16, 16], mode="bilinear") / 128 - 1
        x = self.norm(self.conv(x)).mean([2, 3])
        return x if return_features else x[:, :10].softmax(1)


class Writer(nn.Module):
    """A program that writes a file as soon as it is loaded, with nothing but what TorchScript offers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return (self.a, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        torch.save(state[0], "written")
        self.a = state[0]
        self.training = state[1]

    def forward(self, img: Tensor) -> Tensor:
        return img


def program(network: nn.Module) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(network), buffer)
    return buffer.getvalue()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def network() -> Toy:
    torch.manual_seed(0)
    network = Toy(2048)
    network.norm.running_mean.normal_()  # pyright: ignore
    return network


@pytest.fixture(scope="module")
def path(network: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "toy.pt"
    path.write_bytes(program(network))
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable, an empty cache."""
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STYLEGRAFT_INCEPTION", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def toy(path: Path) -> Encoder:
    return load_encoder(f"inception:{path}@{sha256(path)}")


def test_features_are_the_programs_on_uint8_in_evaluation_mode(toy: Encoder, network: Toy) -> None:
    pixels = torch.randint(0, 256, (3, 3, 20, 24), generator=torch.Generator().manual_seed(1))
    found = toy.encode(toy.preprocess(pixels / 127.5 - 1))
    network.eval()
    with torch.no_grad():
        expected = network(pixels.to(torch.uint8), return_features=True)
    assert isinstance(toy, Encoder)
    assert found.shape == (3, toy.dim)
    assert torch.allclose(found, expected, atol=1e-5)


def test_each_image_is_on_its_own_and_grey_is_three_equal_channels(toy: Encoder, images: Tensor) -> None:
    whole = toy.encode(toy.preprocess(images))
    assert torch.allclose(whole[1:2], toy.encode(toy.preprocess(images[1:2])), atol=1e-5)
    grey = images[:, :1]
    assert torch.equal(toy.preprocess(grey), toy.preprocess(grey.expand(-1, 3, -1, -1)))


def test_images_that_want_a_gradient_are_not_rounded(toy: Encoder, network: Toy, images: Tensor) -> None:
    x, y = (images[:1].clone().requires_grad_() for _ in range(2))
    toy.encode(toy.preprocess(x)).square().sum().backward()
    network.eval()(y * 127.5 + 127.5, return_features=True).square().sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert torch.allclose(x.grad, y.grad, rtol=1e-4, atol=1e-6)
    assert x.grad.abs().sum() > 0


def test_another_program_carries_another_name(toy: Encoder, path: Path) -> None:
    assert toy.digest == sha256(path)
    assert toy.name == f"inception-{sha256(path)[:8]}"


def test_a_program_that_nobody_vouched_for_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "writer.pt"
    path.write_bytes(program(Writer()))
    (tmp_path / "written").unlink(missing_ok=True)
    for named in (str(path), f"{path}@{'0' * 64}"):
        with pytest.raises(StylegraftError, match=f"SHA-256 {sha256(path)}, expected .*a program") as caught:
            load_encoder(f"inception:{named}")
        assert f"inception:{path}@{sha256(path)}" in str(caught.value)
    assert not (tmp_path / "written").exists()
    with pytest.raises(StylegraftError, match="return_features"):  # vouched for: it is run, and writes
        load_encoder(f"inception:{path}@{sha256(path)}")
    assert (tmp_path / "written").exists()


def test_what_is_no_such_program_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    for data, message in ((b"PK no zip", "not a TorchScript file"), (program(Toy(64)), r"\[1, 64\]")):
        path.write_bytes(data)
        with pytest.raises(StylegraftError, match=message) as caught:
            load_encoder(f"inception:{path}@{sha256(path)}")
        assert "\n" not in str(caught.value)


def test_the_variable_and_the_cache_are_looked_at_in_turn(
    nowhere: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StylegraftError, match=r"STYLEGRAFT_INCEPTION \(not set\).*curl .*inception-2015"):
        load_encoder("inception")
    nowhere.mkdir()
    (nowhere / "inception-2015-12-05.pt").write_bytes(b"damaged")
    with pytest.raises(StylegraftError, match=f"inception-2015-12-05.pt: SHA-256 .*{INCEPTION_SHA256}"):
        load_encoder("inception")
    monkeypatch.setenv("STYLEGRAFT_INCEPTION", f"{path}.not")
    with pytest.raises(StylegraftError, match=r"STYLEGRAFT_INCEPTION=.*no such file"):
        load_encoder("inception")


def test_the_published_file_if_it_is_here() -> None:
    try:
        encoder = load_encoder("inception")
    except StylegraftError as missing:
        pytest.skip(str(missing))
    assert (encoder.name, encoder.digest) == ("inception", INCEPTION_SHA256)
    features = encoder.encode(encoder.preprocess(torch.rand(2, 3, 64, 64) * 2 - 1))
    assert features.shape == (2, 2048)
    assert (features >= 0).all()  # behind a ReLU and a mean
