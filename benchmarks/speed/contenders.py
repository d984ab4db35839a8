"""Both sides of a comparison: the library's own step as `adapt` takes it, and the same step with the textbook networks.

Each side has the phases D, R1, G, PL (with their optimiser steps) and EMA. The textbook side follows the code of
StyleGAN2-ADA in what it does: fakes and reals pass D one after the other, Adam and EMA as PyTorch has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import textbook
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from stylegraft.adaptation import loop, sampling
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.rates import ema_beta
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.stages import thaw
from stylegraft.adaptation.state import State, begin
from stylegraft.adaptation.views import Views
from stylegraft.checkpoints.source import Source
from stylegraft.domains.deltas import Delta, effective
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator
from stylegraft.sources import SOURCES, load_source

PHASES = ("D", "R1", "G", "PL", "EMA")
SHOTS = 10


def random_source(name: str) -> Source:
    """A StyleGAN2 of random weights, "resolution/channel_base/channel_max", or a shipped source by its name."""
    if name in SOURCES:
        return load_source(name)
    resolution, base, most = (int(part) for part in name.split("/"))
    sizes = {"resolution": resolution, "channel_base": base, "channel_max": most}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = build_generator({"architecture": "stylegan2", "z_dim": 512, "w_dim": 512, **sizes})
        for key, parameter in generator.named_parameters():
            if key.endswith("noise_strength"):  # zero in a fresh network: noise would be free of charge
                torch.nn.init.constant_(parameter, 0.1)
        return Source(name, generator, build_discriminator({"architecture": "resnet", **sizes}))


class Ours:
    """The library's step: `loop.teach` for each phase, as `adapt` calls it. Style mixing always."""

    def __init__(self, source: Source, space: str, batch: int, device: str, name: str = "tgan"):
        size = source.generator.resolution
        shots = torch.rand(SHOTS, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        row = recipe(name, warmup=0, batch=batch, mixing=1.0)
        self.state: State = begin(source, shots, row, space, device=device)
        self.plan = loop.phases(objectives(self.state.recipe))
        if frozen := self.state.frozen:  # kept from the first steps of a run on: not to be timed
            shown = [(i, mirrored) for i in range(SHOTS) for mirrored in (False, True)]
            with torch.no_grad():
                frozen.maps(self.state.images[:1], self.state.images, shown)

    def run(self, phase: str) -> None:
        """One phase of the step at hand."""
        if phase == "EMA":
            loop.average(self.state)
        else:
            loop.teach(self.state, self.plan[phase], {})


@dataclass
class Draw:
    """What a phase draws; None: the network draws it."""

    z: Tensor
    other: Tensor | None
    cutoff: int
    noise: Mapping[str, Tensor] | None
    real: Tensor
    y: Tensor | None = None
    path_mean: Tensor | None = None


class Textbook:
    """The same step with the textbook networks, from the weights, trained set and rates of `ours`."""

    def __init__(self, source: Source, ours: Ours, grouped: bool):
        state = ours.state
        self.state, self.recipe, self.device = state, state.recipe, state.device
        config = _config(source)
        self.generator = textbook.Generator(config, grouped).to(state.device)
        self.generator.load_state_dict(source.generator.state_dict())
        judge = state.discriminator
        self.discriminator = textbook.Discriminator(config, judge.group_size).to(state.device)
        self.discriminator.load_state_dict(judge.state_dict())
        self.generator.requires_grad_(False)
        own = dict(self.generator.named_parameters())
        self.deltas: dict[str, tuple[Delta, ...]] | None = None
        forms = {term.form for terms in state.deltas.values() for term in terms}
        if forms == {"dense"} and state.deltas.keys() <= own.keys():  # theta + D is one parameter
            self.leaves = {name: own[name].requires_grad_() for name in state.deltas}
        else:
            self.deltas = {
                name: tuple(
                    Delta(t.coefficient, t.form, {k: v.detach().clone() for k, v in t.parts.items()})
                    for t in terms
                )
                for name, terms in state.deltas.items()
            }
            self.leaves = {
                f"{name}|{t.form}|{k}": v.requires_grad_()
                for name, terms in self.deltas.items()
                for t in terms
                for k, v in t.parts.items()
            }
        self.base = {name: parameter.detach() for name, parameter in own.items()}
        self.average = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        self.discriminator.requires_grad_(False)
        judged = {f"D.{name}": p for name, p in self.discriminator.named_parameters()}
        self.judged = {name: p for name, p in judged.items() if name in state.learners["D"]}
        self.learners = {"G": list(self.leaves.values()), "D": list(self.judged.values())}
        self.optimizers = {owner: self._adam(owner) for owner in self.learners}
        self.path_mean = torch.tensor(-1.0, device=state.device)

    def _adam(self, owner: str) -> torch.optim.Adam:
        group = self.state.optimizers[owner].param_groups[0]
        return torch.optim.Adam(self.learners[owner], lr=group["lr"], betas=group["betas"], eps=1e-8)

    def run(self, phase: str) -> None:
        if phase == "EMA":
            with torch.no_grad():
                for name, leaf in self.leaves.items():
                    self.average[name].copy_(leaf.lerp(self.average[name], ema_beta(self.recipe)))
            return
        owner = "D" if phase in ("D", "R1") else "G"
        self.thaw(owner)
        optimizer = self.optimizers[owner]
        optimizer.zero_grad(set_to_none=True)
        self.backward(phase, self.draw(phase))
        optimizer.step()

    def thaw(self, owner: str) -> None:
        """D's learners take gradients in D's phases only."""
        for p in self.learners["D"]:
            p.requires_grad_(owner == "D")

    def draw(self, phase: str) -> Draw:
        """Fresh numbers, made on the device."""
        b = max(1, self.recipe.batch // 2) if phase == "PL" else self.recipe.batch
        z, other = (torch.randn(b, 512, device=self.device) for _ in range(2))
        picked = torch.randint(len(self.state.images), (b,), device=self.device)
        cutoff = int(torch.randint(1, self.generator.synthesis.num_ws, ()))
        return Draw(z, other, cutoff, None, self.state.images[picked])

    def images(self, d: Draw, learns: bool, paths: bool = False) -> tuple[Tensor, Tensor]:
        with torch.set_grad_enabled(learns):
            args = (d.z, d.other, d.cutoff, d.noise, paths)
            if self.deltas is None:
                return self.generator(*args)
            moved = effective(self.deltas, {name: self.base[name] for name in self.deltas})
            return functional_call(self.generator, moved, args)

    def backward(self, phase: str, d: Draw) -> Tensor:
        """Loss of a phase, its gradient added to the learners."""
        r = self.recipe
        if phase == "D":
            fake = F.softplus(self.discriminator(self.images(d, False)[0])).mean()
            fake.backward()
            real = F.softplus(-self.discriminator(d.real)).mean()
            real.backward()
            return fake.detach() + real.detach()
        if phase == "R1":
            x = d.real.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
            loss = gradient.square().sum((1, 2, 3)).mean() / 2
            (loss * (r.r1_gamma * r.r1_every)).backward()
            return loss.detach()
        if phase == "G":
            loss = F.softplus(-self.discriminator(self.images(d, True)[0])).mean()
            (loss * r.adv).backward()
            return loss.detach()
        image, ws = self.images(d, True, paths=True)
        y = d.y if d.y is not None else torch.randn_like(image) / (image.shape[2] * image.shape[3]) ** 0.5
        (jacobian,) = torch.autograd.grad((image * y).sum(), ws, create_graph=True)
        lengths = jacobian.square().sum(2).mean(1).sqrt()
        mean = d.path_mean if d.path_mean is not None else self.path_mean
        mean = torch.where(mean < 0, lengths.mean().detach(), mean).lerp(lengths.mean(), r.pl_decay)
        self.path_mean = mean.detach()
        loss = (lengths - mean).square().mean()
        (loss * (r.pl_weight * r.pl_every)).backward()
        return loss.detach()


def _config(source: Source) -> dict[str, Any]:
    return {"z_dim": 512, "w_dim": 512, **source.generator.config}


# Equality ---------------------------------------------------------------------------------------------------


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


@torch.no_grad()
def output_errors(source: Source, ours: Ours, theirs: Textbook, batch: int) -> dict[str, float]:
    """How far G's images and D's logits are from the library's, at the same latents and noise."""
    rng = torch.Generator().manual_seed(2)
    z = torch.randn(batch, 512, generator=rng).to(ours.state.device)
    expected = source.generator(z).image
    image, _ = theirs.generator(z, noise=theirs.generator.constants())
    errors = {"G": relative(image, expected)}
    logits = ours.state.discriminator(expected).logits
    assert logits is not None
    return errors | {"D": relative(theirs.discriminator(expected), logits)}


def phase_errors(ours: Ours, theirs: Textbook) -> dict[str, list[float]]:
    """{phase: [relative difference of the loss, relative L2 difference of the gradient]}, with the same draws.

    To be asked before the first step, while both sides have the same weights. Nothing moves but the path means, which
    are put back.
    """
    state, found = ours.state, {}
    for phase, acting in ours.plan.items():
        before = state.path_mean
        state.path_mean = torch.zeros_like(before)  # far from the lengths: their difference does not cancel
        draw = same_draw(state, acting, phase)
        owner = acting[0].owner
        thaw(state, owner)
        own = state.learners[owner]
        losses, _ = loop.backward(state, acting, (0, 1))
        (expected,) = losses.values()
        gradients = {
            name.partition("|")[0] if theirs.deltas is None or owner == "D" else name: p.grad
            for name, p in own.items()
        }
        state.path_mean = before
        theirs.thaw(owner)
        loss = theirs.backward(phase, draw)
        if owner == "D":
            mine = {name: p.grad for name, p in theirs.judged.items()}
        else:
            mine = {name: p.grad for name, p in theirs.leaves.items()}
        names = [name for name in mine if mine[name] is not None and gradients[name] is not None]
        assert len(names) > len(mine) // 2, f"{phase}: gradients of {len(names)} of {len(mine)} tensors"
        a, b = (torch.cat([g[n].flatten() for n in names]) for g in (mine, gradients))
        found[phase] = [relative(loss, expected), float((a - b).norm() / b.norm())]
        theirs.path_mean = torch.full_like(theirs.path_mean, -1.0)
        for p in (*own.values(), *theirs.learners[owner]):
            p.grad = None
    return found


def same_draw(state: State, acting: list[Any], phase: str) -> Draw:
    """What the library draws for a phase of this step."""
    views = Views(state, acting)
    count = views.half if phase == "PL" else None
    latents = sampling.mixed(views.keyed, "z", state.generator, state.recipe.mixing, count)
    noise = sampling.random_noise(views.keyed, "noise", state.generator.noise_shapes, count)
    size = state.generator.resolution
    y = views.keyed.samples("y", views.half).normal(3, size, size) / size if phase == "PL" else None
    real = views.real if "real" in views.needs else state.images
    return Draw(latents.z, latents.other, latents.cutoff, noise, real, y, state.path_mean)


# Draws on the device ----------------------------------------------------------------------------------------


class DeviceDraws:
    """`sampling.Draws` without its promise: normal numbers made on the device by its own generator."""

    def __init__(self, seeds: Any, device: Any = "cpu", dtype: torch.dtype = torch.float32):
        self.count, self.device, self.dtype = len(seeds), device, dtype

    def __len__(self) -> int:
        return self.count

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, device=self.device, dtype=self.dtype)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, device=self.device, dtype=self.dtype)


@contextmanager
def device_draws() -> Iterator[None]:
    """Inside, the library's step draws on its device: what the promise of equal draws everywhere costs."""
    draws, fed = sampling.Draws, sampling.Keyed.fed
    sampling.Draws = DeviceDraws  # pyright: ignore
    sampling.Keyed.fed = lambda self, make: tree_map(lambda t: t.to(self.device), make(self))  # pyright: ignore
    try:
        yield
    finally:
        sampling.Draws, sampling.Keyed.fed = draws, fed  # pyright: ignore


def drawn_on_device(task: Callable[[], None]) -> Callable[[], None]:
    """`task` inside `device_draws`."""

    def run() -> None:
        with device_draws():
            task()

    return run
