"""Pictures of a run: fixed latents, drawn by the source and by the domain so far."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.adaptation.folder import Folder
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.adaptation.state import State
from stylegraft.data.grids import paired_grid
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain
from stylegraft.networks.generator import Generator

PSI = 0.7  # truncation


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
            paired_grid(self.source, self._adapted(domain, self.z[:8]), self.folder.preview(self.state.step))

    def finish(self, domain: Domain) -> None:
        """All latents, as the run's picture."""
        if self.folder:
            source, target = render(self.state.generator, self.z), self._adapted(domain, self.z)
            paired_grid(source, target, self.folder.path / "grid.png")

    def _adapted(self, domain: Domain, z: Tensor) -> Tensor:
        return render(Adapted(self.state.generator, effective(domain.deltas, self.state.base)), z)


@torch.no_grad()
def render(generator: Generator | Adapted, z: Tensor, psi: float = PSI) -> Tensor:
    """Images with the network's own noise, eight at a time."""
    return torch.cat([generator(part, psi=psi, noise="const").image for part in z.split(8)])
