"""The networks of the two StyleGAN2 packages of PyPI, at the widths of a cell.

    pip install --no-deps --target PEERS \\
        stylegan2-torch==1.3.0 stylegan2-pytorch==1.9.0 torch-conv-gradfix==0.1.0 einops==0.8.2
    PYTHONPATH=PEERS python benchmarks/speed/run.py --cells all --only peers

Neither can be imported on a machine without a GPU. stylegan2-torch (P. Yuen) builds CUDA kernels at its import, and has
no FIR filter but one of them: the builder is replaced while it is imported, and the filter by the textbook's, which is
what its kernel computes. stylegan2-pytorch (P. Wang) asserts that there is a CUDA device and imports torchvision,
kornia, aim and more: while it is imported the first is said to be there and the rest are placeholders, but for
kornia's `filter2d`, a padded depthwise convolution, written here.

What they draw is not what we draw, so that nothing but time can be compared. stylegan2-torch is StyleGAN2 in one
colour channel. stylegan2-pytorch resamples bilinearly where StyleGAN2 has FIR filters, its layers have no gains, and
its D is one of its own (three kernels a block, twice our widths, no minibatch-std). All draw random noise.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import textbook
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stylegraft.checkpoints.source import Source

ABSENT = ("fire", "retry", "torchvision", "kornia", "kornia.filters", "vector_quantize_pytorch", "aim")


class Peer(NamedTuple):
    """draw: z [B, 512] -> images [B, C, R, R]; judge: images -> logits; channels: C."""

    draw: Callable[[Tensor], Tensor]
    judge: Callable[[Tensor], Tensor]
    learners: dict[str, list[nn.Parameter]]
    channels: int


def ours(source: Source) -> Peer:
    """The library's networks, everything trained, random noise as the others have."""
    generator, judge = source.generator, source.discriminator
    assert judge is not None

    def logits(images: Tensor) -> Tensor:
        found = judge(images).logits
        assert found is not None
        return found

    return Peer(lambda z: generator(z, noise="random").image, logits, _learners(generator, judge), 3)


def peers(config: dict, device: str) -> dict[str, Peer]:
    """{package: its networks}, with the widths of our `config`. ImportError where a package is not here."""
    return {"stylegan2-torch": _yuen(config, device), "stylegan2-pytorch": _wang(config, device)}


def _yuen(config: dict, device: str) -> Peer:
    with mock.patch("torch.utils.cpp_extension.load"):
        package = importlib.import_module("stylegan2_torch")
    for user in ("generator.rgb", "equalized_lr"):
        importlib.import_module(f"stylegan2_torch.{user}").upfirdn2d = _upfirdn2d
    generator = package.Generator(config["resolution"], channels=textbook.widths(config))
    judge = package.Discriminator(config["resolution"], channels=textbook.widths(config))
    generator.to(device)
    judge.to(device)
    return Peer(lambda z: generator([z]), judge, _learners(generator, judge), 1)


def _wang(config: dict, device: str) -> Peer:
    stubs = {name: mock.MagicMock() for name in ABSENT}
    stubs["kornia.filters"] = SimpleNamespace(filter2d=_filter2d)
    with mock.patch.dict(sys.modules, stubs), mock.patch("torch.cuda.is_available", return_value=True):
        package = importlib.import_module("stylegan2_pytorch.stylegan2_pytorch")
    size, most = config["resolution"], config["channel_max"]
    capacity = config["channel_base"] // (2 * size)
    mapping = package.StyleVectorizer(512, 8).to(device)
    generator = package.Generator(size, 512, network_capacity=capacity, fmap_max=most).to(device)
    judge = package.Discriminator(size, network_capacity=capacity, fmap_max=most).to(device)

    def draw(z: Tensor) -> Tensor:
        noise = torch.rand(len(z), size, size, 1, device=z.device)
        return generator(mapping(z)[:, None].expand(-1, generator.num_layers, -1), noise)

    return Peer(
        draw, lambda images: judge(images)[0], _learners(nn.ModuleList([mapping, generator]), judge), 3
    )


def _learners(generator: nn.Module, judge: nn.Module) -> dict[str, list[nn.Parameter]]:
    generator.requires_grad_()
    judge.requires_grad_()
    return {"G": list(generator.parameters()), "D": list(judge.parameters())}


def _upfirdn2d(
    x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> Tensor:
    return textbook.filtered(x, kernel / up**2, *pad, up, down)


def _filter2d(x: Tensor, kernel: Tensor, normalized: bool = False) -> Tensor:
    """What kornia's function does by default: kernel [1, k, k] on each channel, the border reflected."""
    if normalized:
        kernel = kernel / kernel.abs().sum()
    side = kernel.shape[-1] // 2
    x = F.pad(x, (side, side, side, side), mode="reflect")
    return F.conv2d(x, kernel[None].expand(x.shape[1], -1, -1, -1), groups=x.shape[1])


# A step of one's own, the same for all ----------------------------------------------------------------------


def phases(peer: Peer, batch: int, size: int, device: str) -> dict[str, Callable[[], object]]:
    """Inference of eight and of one, gradients of G's and D's loss (softplus, D on fakes and reals one by one)."""
    z = torch.randn(batch, 512, device=device)
    real = torch.rand(batch, peer.channels, size, size, device=device) * 2 - 1

    def gradients(loss: Tensor, owner: str) -> None:
        torch.autograd.grad(loss, peer.learners[owner], allow_unused=True)

    def d_loss() -> Tensor:
        with torch.no_grad():
            fake = peer.draw(z)
        return F.softplus(peer.judge(fake)).mean() + F.softplus(-peer.judge(real)).mean()

    return {
        "infer 8": lambda: torch.no_grad()(peer.draw)(torch.randn(8, 512, device=device)),
        "infer 1": lambda: torch.no_grad()(peer.draw)(torch.randn(1, 512, device=device)),
        "G": lambda: gradients(F.softplus(-peer.judge(peer.draw(z))).mean(), "G"),
        "D": lambda: gradients(d_loss(), "D"),
    }
