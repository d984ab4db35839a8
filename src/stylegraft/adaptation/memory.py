"""How much memory a step will take, found without taking it: one step on PyTorch's meta device, with a meter."""

from __future__ import annotations

import copy
import weakref
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stylegraft.adaptation.guidance import blank
from stylegraft.adaptation.loop import backward, dealt, phases
from stylegraft.adaptation.objectives import objectives
from stylegraft.adaptation.stages import thaw
from stylegraft.adaptation.state import Deltas, State
from stylegraft.adaptation.timing import costliest_step
from stylegraft.domains.deltas import Delta
from stylegraft.networks import products, winograd

M = TypeVar("M", bound=nn.Module)
META = torch.device("meta")
MOMENTS = 2  # Adam's, which the first step makes


class Meter(TorchDispatchMode):
    """Bytes in the tensors made inside it: `now`, and the most there were at once, `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count the storages that are new: no views of what came from outside."""
        self.known.update(storages((args, kwargs)))
        out = func(*args, **(kwargs or {}))
        for storage in storages(out):
            if storage not in self.known:
                self.known.add(storage)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return out

    def _freed(self, size: int) -> None:
        self.now -= size


def storages(tree: Any) -> list[torch.UntypedStorage]:
    """Those of all tensors in an operation's arguments or results."""
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def step_memory(state: State) -> int:
    """Bytes that the costliest phase of a step will take on top of what the process holds now."""
    ghost = on_meta(state)
    ghost.found = blank(ghost)
    ghost.step = costliest_step(state.recipe)
    peak = 0
    terms = objectives(state.recipe)
    owners = {term.owner for term in terms}
    ways = products.now() if state.device.type == "cpu" else products.THEIRS
    for acting in phases(terms).values():
        if acting:
            thaw(ghost, acting[0].owner)
            parts, _, share = dealt(state, acting)
            with products.going(ways), winograd.anew(), Meter() as meter:
                backward(ghost, acting, (0, parts), share)
            peak = max(peak, meter.peak)
            for learner in ghost.learners[acting[0].owner].values():
                learner.grad = None
    kept = state.frozen.nbytes if state.frozen else 0
    trained = sum(leaf.nbytes for owner in owners for leaf in state.learners[owner].values())
    return peak + MOMENTS * trained + kept


def on_meta(state: State) -> State:
    """The same state, its tensors without values. ADA's transforms ask for values, so it goes without them."""
    leaves: dict[int, Tensor] = {}

    def bare(tensor: Tensor) -> Tensor:
        """One meta tensor for each tensor, so that shared leaves stay shared."""
        return leaves.setdefault(
            id(tensor), torch.empty_like(tensor, device=META, requires_grad=tensor.requires_grad)
        )

    discriminator = module_on_meta(state.discriminator)
    patch = None if state.patch is None else module_on_meta(state.patch)
    hypernet = None if state.hypernet is None else module_on_meta(state.hypernet)
    own = {f"D.{name}": p for name, p in discriminator.named_parameters()}
    own |= {f"patch.{name}": p for name, p in patch.named_parameters()} if patch is not None else {}

    def bared(deltas: Deltas) -> Deltas:
        return {
            name: tuple(
                Delta(t.coefficient, t.form, {part: bare(leaf) for part, leaf in t.parts.items()})
                for t in terms
            )
            for name, terms in deltas.items()
        }

    return replace(
        state,
        generator=module_on_meta(state.generator),
        base={name: torch.empty_like(tensor, device=META) for name, tensor in state.base.items()},
        deltas=bared(state.deltas),
        judge_deltas=bared(state.judge_deltas),
        judge_base={name: torch.empty_like(tensor, device=META) for name, tensor in state.judge_base.items()},
        images=torch.empty_like(state.images, device=META),
        device=META,
        leaves={name: bare(leaf) for name, leaf in state.leaves.items()},
        hypernet=hypernet,
        learners={
            "G": {name: bare(leaf) for name, leaf in state.learners["G"].items()}
            if hypernet is None
            else hypernet.named(),
            "D": {name: own.get(name, bare(leaf)) for name, leaf in state.learners["D"].items()},
        },
        anchors=None if state.anchors is None else torch.empty_like(state.anchors, device=META),
        latents=None if state.latents is None else bare(state.latents),
        source_discriminator=None
        if state.source_discriminator is None
        else module_on_meta(state.source_discriminator),
        eye=None if state.eye is None else module_on_meta(state.eye),
        guides=tuple((module_on_meta(guide), weight) for guide, weight in state.guides),  # pyright: ignore
        coder=None if state.coder is None else module_on_meta(state.coder),
        perceptual=None if state.perceptual is None else module_on_meta(state.perceptual),
        embedded=None,
        ema={},
        discriminator=discriminator,
        patch=patch,
        optimizers={},
        ada=None,
        path_mean=torch.empty((), device=META),
        fisher={name: torch.empty_like(state.base[name], device=META) for name in state.deltas},
        filters={},
        found={},
        recall={},
    )


def module_on_meta(module: M) -> M:
    """A copy without values, made without copying any."""
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    memo = {
        key: nn.Parameter(torch.empty_like(t, device=META), requires_grad=t.requires_grad)
        if isinstance(t, nn.Parameter)
        else torch.empty_like(t, device=META)
        for key, t in tensors.items()
    }
    return copy.deepcopy(module, memo)
