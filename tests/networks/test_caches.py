"""What is remembered about a frozen weight is never stale and never keeps a tensor alive."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from stylegraft.networks import ops

from .conftest import normal, toy_generator


@pytest.fixture(autouse=True)
def empty():
    ops.clear_caches()
    yield
    ops.clear_caches()


def energy(w):
    return w.detach().square().sum((2, 3))


def test_remembered_while_frozen_only():
    w = normal(3, 2, 3, 3)
    assert ops.kernel_energy(w) is ops.kernel_energy(w)
    w.requires_grad_()
    assert ops.kernel_energy(w) is not ops.kernel_energy(w)
    assert ops.kernel_energy(w).requires_grad


def test_written_in_place():
    w = normal(3, 2, 3, 3)
    ops.kernel_energy(w)
    w.mul_(2)
    assert torch.equal(ops.kernel_energy(w), energy(w))


def test_storage_replaced():
    w = normal(3, 2, 3, 3)
    ops.kernel_energy(w)
    w.data = normal(3, 2, 3, 3, seed=1)
    assert torch.equal(ops.kernel_energy(w), energy(w))


def test_fused_adam_step():
    """A fused step writes the parameter and leaves its version as it was."""
    w = nn.Parameter(normal(3, 2, 3, 3))
    adam = torch.optim.Adam([w], lr=0.1, fused=True)
    for _ in range(2):
        w.requires_grad_(False)  # as the discriminator is in the generator's phase
        assert torch.equal(ops.kernel_energy(w), energy(w))
        w.requires_grad_(True)
        w.grad = torch.ones_like(w)
        before = w.detach().clone()
        adam.step()
        assert not torch.equal(before, w)
    w.requires_grad_(False)
    assert torch.equal(ops.kernel_energy(w), energy(w))


def test_step_of_one_optimiser_spares_the_weights_of_others():
    frozen, trained = normal(3, 2, 3, 3), nn.Parameter(normal(2))
    remembered = ops.kernel_energy(frozen)
    trained.grad = torch.ones(2).double()
    torch.optim.Adam([trained], fused=True).step()
    assert ops.kernel_energy(frozen) is remembered


def test_clear_caches():
    w = normal(3, 2, 3, 3)
    remembered = ops.kernel_energy(w)
    ops.clear_caches()
    assert ops.kernel_energy(w) is not remembered


def test_dead_weights_leave_nothing():
    w = normal(3, 2, 3, 3)
    alive = weakref.ref(w)
    remembered = weakref.ref(ops.kernel_energy(w))
    ops.scaled(w, 2.0)
    del w
    gc.collect()
    assert alive() is None
    assert remembered() is None
    assert not ops._derived


def test_remembered_under_inference_mode_serves_training():
    w, x = normal(3, 3, 3, 3), normal(1, 3, 4, 4)
    s = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        ops.modulated_conv2d(x, w, s)
    ops.modulated_conv2d(x, w, s).sum().backward()
    assert s.grad is not None


def test_generator_follows_its_weights():
    """The same image whether or not anything was remembered before the weights moved."""
    g = toy_generator().requires_grad_(False)
    z = normal(2, g.z_dim)
    g(z)
    with torch.no_grad():
        for p in g.parameters():
            p.add_(0.1)
    moved = g(z).image
    ops.clear_caches()
    assert torch.equal(moved, g(z).image)
