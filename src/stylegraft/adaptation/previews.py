"""Pictures of a run: fixed latents, drawn by the source and by the domain so far."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stylegraft.adaptation.folder import Folder
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.state import State
from stylegraft.data.grids import paired_grid, save_grid
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain
from stylegraft.networks.generator import Generator

PSI = 0.7  # truncation
SENTENCES = 12  # of a hypernetwork, a row each


class Previews:
    """Images of fixed latents, the source's row above the adapted one's."""

    def __init__(self, state: State, folder: Folder | None) -> None:
        self.state, self.folder = state, folder
        seeds = [seed_of(state.seed, 0, "preview", i) for i in range(24)]
        self.z = Draws(seeds, state.device).normal(state.generator.z_dim)
        self.source: Tensor | None = None

    def write(self, domain: Domain) -> None:
        """Eight latents, into the previews folder."""
        if self.folder:
            if self.source is None:
                self.source = render(self.state.generator, self.z[:8])
            path = self.folder.preview(self.state.step)
            if self.state.hypernet is None:
                paired_grid(self.source, self._adapted(domain, self.z[:8]), path)
            else:
                self._sentences(path, self.source)

    def finish(self, domain: Domain) -> None:
        """All latents, as the run's picture."""
        if self.folder:
            source, target = render(self.state.generator, self.z), self._adapted(domain, self.z)
            path = self.folder.path / "grid.png"
            if self.state.hypernet is None:
                paired_grid(source, target, path)
            else:
                self._sentences(path, source[:8])

    def _sentences(self, path: Path, source: Tensor) -> None:
        """The source's row, and one of each of some of a hypernetwork's sentences, spread over the list."""
        state, texts = self.state, self.state.request.texts
        count = min(SENTENCES, len(texts))
        chosen = [i * len(texts) // count for i in range(count)]
        rows = [source, *(self._adapted(Domain(state.averaged(i)), self.z[:8]) for i in chosen)]
        labels = ["source", *(texts[i] for i in chosen)]
        save_grid(torch.cat(rows), path, len(source), labels=labels)

    def _adapted(self, domain: Domain, z: Tensor) -> Tensor:
        return render(Adapted(self.state.generator, effective(domain.deltas, self.state.base)), z)


@torch.no_grad()
def render(generator: Generator | Adapted, z: Tensor, psi: float = PSI) -> Tensor:
    """Images with the network's own noise, eight at a time."""
    return torch.cat([generator(part, psi=psi, noise="const").image for part in z.split(8)])
