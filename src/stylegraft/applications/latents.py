"""Latents that are kept: codes of faces, by seed or from a file, that every application starts from.

A code is a set of rows of W+ [num_ws, w_dim], truncated already; one that was inverted in S has style vectors too,
which then take the place of its rows. The file is a safetensors with `ws` and `style|LAYER`, the names of the codes
and the base that they were found on, all checked when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.sampling import Draws, labels
from stylegraft.applications import kept
from stylegraft.domains.apply import Adapted
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, Noise

BATCH = 8  # codes that are drawn at once


@dataclass(frozen=True, eq=False)
class Latents:
    """ws [N, num_ws, w_dim]; names: one a code; styles: {layer: [N, channels]} of codes in S, empty for codes in W+;
    info: how they were found (JSON-able).
    """

    ws: Tensor
    names: tuple[str, ...]
    styles: Mapping[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ws)

    def __getitem__(self, chosen: slice) -> Latents:
        styles = {layer: s[chosen] for layer, s in self.styles.items()}
        return replace(self, ws=self.ws[chosen], names=self.names[chosen], styles=styles)

    def code(self) -> dict[str, Any]:
        """What a generator is called with: `generator(**latents.code())`."""
        return {"styles": self.styles} if self.styles else {"ws": self.ws}

    def to(self, device: torch.device | str) -> Latents:
        """The same codes on another device."""
        styles = {layer: s.to(device) for layer, s in self.styles.items()}
        return replace(self, ws=self.ws.to(device), styles=styles)

    def save(self, path: str | os.PathLike[str], generator: Generator) -> None:
        """Write the file atomically; `generator` is the base that the codes belong to."""
        tensors = {"ws": self.ws, **{f"style|{layer}": s for layer, s in self.styles.items()}}
        kept.write(path, "latents", tensors, {"names": list(self.names), "info": self.info}, generator)

    @classmethod
    def load(cls, path: str | os.PathLike[str], generator: Generator) -> Latents:
        """Read a file of codes of `generator`; raises StylegraftError naming the file and the fault, another base
        among them.
        """
        shown = os.fspath(path)
        tensors, config = kept.read(path, "latents", generator)
        ws = tensors.pop("ws", torch.zeros(0))
        styles = {name.partition("|")[2]: s for name, s in tensors.items()}
        names = config.get("names")
        if not isinstance(names, list) or ws.shape != (len(names), generator.num_ws, generator.w_dim):
            raise StylegraftError(
                f"{shown}: damaged file of codes: {list(ws.shape)} numbers, {names!r} names"
            )
        widths = {layer.name: layer.channels for layer in generator.layers}
        if styles and {k: list(s.shape) for k, s in styles.items()} != {
            k: [len(names), width] for k, width in widths.items()
        }:
            raise StylegraftError(f"{shown}: damaged file of codes: other layers than the generator's")
        return cls(ws, tuple(str(name) for name in names), styles, kept.info_of(config))


@torch.no_grad()
def of_seeds(generator: Generator, seeds: Sequence[int], psi: float = 0.7) -> Latents:
    """The codes of these seeds truncated by psi, the faces that `stylegraft sample` draws; of an unconditional
    generator, or of class seed % c_dim.
    """
    device = generator.get_buffer("mapping.w_avg").device
    z = Draws(list(seeds), device=device).normal(generator.z_dim)
    ws = generator.ws(generator.mapping(z, labels(generator, seeds)), psi).contiguous()
    return Latents(ws, tuple(f"seed {seed}" for seed in seeds), info={"psi": psi})


@torch.no_grad()
def draw_codes(network: Generator | Adapted, latents: Latents, noise: Noise | None = None) -> Tensor:
    """Images [N, C, R, R] of codes in a source, or in a domain on it (`Domain.on`).

    Rows of W+ go to the network as they are. Styles are the source's, and the domain adds to them what it adds to those
    of the code's rows: s + (t(ws) - s(ws)), with s and t the affine layers of the source and of the domain. A merged
    generator does not know its source: to it styles are its own. noise: maps [N or 1, 1, r, r], None the network's own.
    """
    given: Noise = network.noise("const") if noise is None else noise
    images = []
    for i in range(0, len(latents), BATCH):
        part = latents[i : i + BATCH]
        maps = {layer: n[i : i + BATCH] if len(n) > 1 else n for layer, n in given.items()}
        code = part.code()
        if part.styles and isinstance(network, Adapted):
            there, own = network.synthesis.styles(part.ws), network.generator.synthesis.styles(part.ws)
            code = {"styles": {layer: s + (there[layer] - own[layer]) for layer, s in part.styles.items()}}
        images.append(network(**code, noise=maps).image)
    return torch.cat(images)
