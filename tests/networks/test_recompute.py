"""Gradient checkpointing changes memory, never numbers: not to the second order, not under replaced parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from stylegraft.networks import recompute
from stylegraft.networks.discriminator import Discriminator, build_discriminator
from stylegraft.networks.generator import Generator, build_generator
from stylegraft.networks.precision import computing

SIZES = {"resolution": 16, "img_channels": 3, "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
CONFIGS = {
    "stylegan2": {"architecture": "stylegan2", "channel_base": 128, "channel_max": 8, **SIZES},
    "mobile": {"architecture": "mobile", "channels": {"4": 8, "8": 8}, **SIZES},
}


def generator(name: str) -> Generator:
    torch.manual_seed(0)
    return build_generator(CONFIGS[name])


def path_length_gradients(g: Generator, on: bool) -> tuple[float, list[Tensor | None]]:
    """Loss and gradients of a path-length penalty, which needs a derivative of a derivative, for moved parameters."""
    leaves = {name: torch.full_like(p, 0.01).requires_grad_() for name, p in g.named_parameters()}
    moved = {name: p.detach() + leaves[name] for name, p in g.named_parameters()}
    ws = torch.randn(2, g.num_ws, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with recompute.recomputing(on):
        image = functional_call(g, moved, (), {"ws": ws, "noise": "const"}).image
        (jacobian,) = torch.autograd.grad((image * y).sum(), ws, create_graph=True)
        loss = image.square().mean() + jacobian.square().mean()
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return float(loss.detach()), list(found)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_replaced_parameters_are_the_same_to_the_second_order(name: str):
    g = generator(name)
    loss, kept = path_length_gradients(g, on=False)
    again, recomputed = path_length_gradients(g, on=True)
    assert again == loss
    assert sum(gradient is not None for gradient in kept) > 10
    for a, b in zip(kept, recomputed, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_r1_through_a_recomputed_discriminator_is_the_same():
    torch.manual_seed(0)
    d = build_discriminator({"resolution": 16, "channel_base": 128, "channel_max": 8})

    def r1(on: bool) -> list[Tensor]:
        x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with recompute.recomputing(on):
            (gradient,) = torch.autograd.grad(d(x).logits.sum(), x, create_graph=True)
            return list(torch.autograd.grad(gradient.square().sum(), list(d.b8.parameters())[:2]))

    for a, b in zip(r1(False), r1(True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_layer_is_computed_again_in_the_type_that_it_had(precision: str):
    """On a GPU autograd calls it from a thread that knows of no precision; here it is called outside of it."""
    g, slopes = generator("stylegan2"), []
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    for on in (False, True):
        with computing(precision), recompute.recomputing(on):
            loss = g(z).image.square().mean()
        slopes += torch.autograd.grad(loss, g.get_parameter("synthesis.b16.conv0.weight"))
    assert torch.equal(*slopes)


def kept_bytes(forward: Callable[[], Tensor], on: bool) -> int:
    """What autograd keeps of a forward pass, each storage once."""
    storages: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), recompute.recomputing(on):
        out = forward()
    assert out.requires_grad
    return sum(storages.values())


def test_it_keeps_less():
    g, d = generator("stylegan2"), Discriminator({"resolution": 16, "channel_base": 128, "channel_max": 8})
    z, x = torch.randn(8, 8), torch.randn(8, 3, 16, 16)
    for forward in (lambda: g(z).image.sum(), lambda: d(x).logits.sum()):
        assert kept_bytes(forward, True) < 0.7 * kept_bytes(forward, False)
