"""Stylegraft: adapt a pretrained StyleGAN to a new domain from a few images, kept as a small domain file.

    import stylegraft as sg
    source = sg.load_source("faces-64")
    run = sg.adapt(source, "my_sketches", recipe="dcl", space="affine-light+", out="runs/my_sketches")
    images = source.with_domain(run.domain * 0.5).generator(z, psi=0.7).image

Names are looked up when first used, so that `import stylegraft` and `stylegraft --help` do not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegraft.errors import StylegraftError
from stylegraft.lazy import lookup
from stylegraft.version import __version__

if TYPE_CHECKING:
    from stylegraft.adaptation.run import Run, adapt
    from stylegraft.checkpoints.native import save_source
    from stylegraft.checkpoints.source import Source
    from stylegraft.domains.domain import Domain
    from stylegraft.sources import load_source

__all__ = ["Domain", "Run", "Source", "StylegraftError", "__version__", "adapt", "load_source", "save_source"]

__getattr__ = lookup(
    __name__,
    {
        "adaptation.run": ("Run", "adapt"),
        "checkpoints.native": ("save_source",),
        "checkpoints.source": ("Source",),
        "domains.domain": ("Domain",),
        "sources": ("load_source",),
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
