"""A hypernetwork: from an embedding to a domain in one forward pass, and the file that keeps it.

Alanov, Titov, Vetrov, "HyperDomainNet: Universal Domain Adaptation for Generative Adversarial Networks", NeurIPS 2022
(arXiv 2210.08884). One trunk of residual blocks reads the embedding; a linear map gives all numbers of the space at
once. Departures: layer in place of batch normalisation, so that a domain does not depend on what else is asked for in
the same pass; no residual block of each layer's own before its numbers; the last map starts at zero, so that an
untrained one gives the source.

The file is a `.safetensors` of the parameters (`hypernet.*`) and of what the space starts from where that is not zero
(`start/...`), with `config` (JSON: space, guides, sentences, ...), `base` (as a domain's) and a digest over all of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from stylegraft.checkpoints import headers, tensorfile
from stylegraft.domains import spaces
from stylegraft.domains.apply import w_avg_shift
from stylegraft.domains.deltas import effective, leaves_of, refilled
from stylegraft.domains.domain import Domain, base_tensors
from stylegraft.domains.expression import find_space
from stylegraft.domains.pruning import prune
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

FORMAT = "stylegraft-hypernet"
VERSIONS = range(1, 2)
FILE = "hypernet.safetensors"  # in a run's folder
# what a file says at least
SAID = (
    *(("base", key, str) for key in ("fingerprint", "name", "licence", "sha256")),
    *(("config", key, str) for key in ("space", "from_text")),
    *(("config", key, list) for key in ("guides", "texts")),
    *(("config", key, int) for key in ("steps", "seed", "swap")),
    *(("config", key, str) for key in ("recipe", "preset")),
)
PREFIX, START = "hypernet.", "start/"


class Block(nn.Module):
    """x + W2 relu(W1 norm(x)), [N, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, width] -> [N, width]."""
        return x + self.second(F.relu(self.first(self.norm(x))))


class Hypernet(nn.Module):
    """Directions [N, inputs] of a guide, of any length, to the numbers of a domain [N, count]; fresh, all are zero."""

    def __init__(self, inputs: int, count: int, width: int, depth: int) -> None:
        super().__init__()
        self.inputs, self.count = inputs, count
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, count)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, directions: Tensor) -> Tensor:
        """[N, inputs] -> [N, count]."""
        x = F.normalize(directions, dim=1) * self.inputs**0.5  # of unit deviation
        return self.head(self.norm(self.blocks(self.first(x))))

    def named(self) -> dict[str, Tensor]:
        """Its parameters, by the names that a run and its file know them by."""
        return {f"{PREFIX}{name}": parameter for name, parameter in self.named_parameters()}

    def of(self, direction: Tensor, values: Mapping[str, Tensor] | None = None) -> Tensor:
        """One direction [inputs] -> [count], with these values, named as `named` does, or its own."""
        own = {name.removeprefix(PREFIX): tensor for name, tensor in (values or self.named()).items()}
        return functional_call(self, own, (direction[None],))[0]


def added(start: Mapping[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    """{name: start + its share of the numbers [count]}, in the order of `start`."""
    shares = numbers.split([leaf.numel() for leaf in start.values()])
    return {name: leaf + one.view_as(leaf) for (name, leaf), one in zip(start.items(), shares, strict=True)}


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """A trained one: tensors: its parameters, and starts that are not zero, by the names of the file; config: space,
    guides (of which it reads the first), texts, from_text, templates, recipe, steps, seed; base: as of a `Domain`.
    """

    tensors: Mapping[str, Tensor]
    config: dict[str, Any]
    base: dict[str, str]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Hypernetwork:
        """Read a file, or the one of a run's folder; raises StylegraftError naming the file and the fault."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        tensorfile.require_format(path, headers.read_metadata(path), FORMAT, VERSIONS)
        tensors, metadata = tensorfile.read(path)
        texts = {key: metadata.get(key, "") for key in ("config", "base")}
        tensorfile.require_digest(path, metadata.get("digest"), tensorfile.digest(tensors, texts))
        tensorfile.require_finite(path, tensors)
        found = cls(tensors, *(headers.from_json(texts[key], path, f"its {key}") for key in texts))
        try:
            found.network()
            for part, key, kind in SAID:
                if type(getattr(found, part)[key]) is not kind:
                    raise TypeError(f"no {key} in its {part}")
            find_space(found.config["space"])
            for text in (
                *found.config["texts"],
                *(found.config["guides"][0][key] for key in ("name", "digest")),
            ):
                if not isinstance(text, str):
                    raise TypeError(f"{text!r} is no text")
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise StylegraftError(f"{path}: damaged hypernetwork ({error})") from error
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it atomically; equal ones give equal bytes."""
        tensors = {name: tensor.detach().float().cpu() for name, tensor in self.tensors.items()}
        tensorfile.require_finite(path, tensors)
        texts = {
            "config": tensorfile.to_json(self.config, "the config"),
            "base": tensorfile.to_json(self.base, "the base"),
        }
        texts["digest"] = tensorfile.digest(tensors, texts)
        tensorfile.write(path, tensors, texts | tensorfile.stamp(FORMAT, VERSIONS))

    def network(self) -> Hypernet:
        """The network itself, its sizes by the shapes of its tensors."""
        own = {
            name.removeprefix(PREFIX): one for name, one in self.tensors.items() if name.startswith(PREFIX)
        }
        depth = len({name.split(".")[1] for name in own if name.startswith("blocks.")})
        (width, inputs), count = own["first.weight"].shape, len(own["head.weight"])
        with torch.random.fork_rng(devices=[]):
            net = Hypernet(inputs, count, width, depth)
        net.load_state_dict(own)
        return net.eval().requires_grad_(False)

    @torch.no_grad()
    def domain(self, direction: Tensor, generator: Generator, target: Mapping[str, Any]) -> Domain:
        """The domain of a direction [dim] of the guide, on its base; target: what is asked for, for the file.

        Raises StylegraftError for another base.
        """
        Domain({}, {}, dict(self.base)).check(generator)
        deltas = spaces.start(self.config["space"], generator)
        kept = {name.removeprefix(START): one for name, one in self.tensors.items() if name.startswith(START)}
        leaves = {name: kept.get(name, leaf) for name, leaf in leaves_of(deltas).items()}
        net = self.network()
        if (count := sum(leaf.numel() for leaf in leaves.values())) != net.count:
            raise StylegraftError(
                f"damaged hypernetwork: it gives {net.count:,} numbers, its space has {count:,}"
            )
        deltas = refilled(deltas, added(leaves, net.of(direction.to(net.head.weight))))
        told = {key: self.config[key] for key in ("space", "seed", "recipe", "preset", "steps", "guides")}
        domain = Domain(deltas, told | {"target": dict(target)}, dict(self.base))
        return finished(domain, generator, find_space(self.config["space"]).keep, self.config["swap"])


@torch.no_grad()
def finished(
    domain: Domain, generator: Generator, keep: float | None, swap: int, mean_w: Tensor | None = None
) -> Domain:
    """A domain as a run keeps it: of a sparse space the largest `keep` of the offsets, nothing below `swap` px, and the
    change of w_avg where the mapping moves. mean_w: that of the generator, where the caller has it.
    """
    if keep is not None:
        domain = prune(domain, keep)
    if swap:
        domain = domain.above(swap)
    if spaces.moves_mapping(domain.deltas):
        moved = effective(domain.deltas, base_tensors(generator))
        domain = domain.with_w_avg(w_avg_shift(generator, moved, source=mean_w))
    return domain
