"""The spaces that a photo is inverted into, and the coordinates in which an optimiser walks through them.

Coordinates have zero mean and unit deviation over the source's own faces, so that one rate fits every space and every
source, and the pull towards the mean is the same small penalty in each. Rows of W+ are rotated to the principal
components of w and divided by their deviations, as Zhu et al., "Improved StyleGAN Embedding: Where are the Good
Latents?" (arXiv:2012.09036), do for their penalty. (They undo the mapping's last leaky ReLU first; that was slower.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.sampling import labels
from stylegraft.errors import StylegraftError, nearest
from stylegraft.networks.generator import Generator
from stylegraft.networks.mapping import FullyConnected

SPACES = {
    # space  what is looked for
    "z": "one latent, truncated by psi 0.7 as Fix the Noise and StyleDomain do; stays most like the source's faces",
    "w": "one w for all rows",
    "w+": "a w for each row",
    "s": "style vectors, one a layer; closest to the photo, and least like the source's faces",
}
PSI = 0.7  # of space z
SAMPLES = 8192  # of w, for means and deviations
FLOOR = 1e-3  # least deviation of a coordinate, over the largest
RIDGE = 1e-8  # of the pull to the mean of w, over the mean square of the affine layers' singular values


@dataclass(frozen=True)
class Coordinates:
    """code: x [B, rows, n] to what a generator is called with; of: the x of rows of W+ [B, num_ws, w_dim] (of z
    [B, z_dim] in space z)."""

    code: Callable[[Tensor], dict[str, Any]]
    of: Callable[[Tensor], Tensor]


def check_space(space: str, generator: Generator) -> None:
    """Raise StylegraftError for a space that is none, or that this generator does not have."""
    if space not in SPACES:
        raise StylegraftError(
            f"space {space!r} is unknown{nearest(space, SPACES)}; expected {', '.join(SPACES)}"
        )
    if space == "z" and generator.c_dim:
        raise StylegraftError("space z: of a source with classes, z alone gives no face; use w, w+ or s")


@torch.no_grad()
def sample_w(generator: Generator, count: int, seed: int = 0) -> Tensor:
    """w [count, w_dim] of seeded latents, the classes in turn where there are some."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z.to(generator.mapping.w_avg), labels(generator, range(count)))


def coordinates(space: str, generator: Generator) -> Coordinates:
    """Of a space of `SPACES` on this generator; raises StylegraftError for one that it does not have."""
    check_space(space, generator)
    return {"z": _of_z, "w": _of_w, "w+": _of_rows, "s": _of_styles}[space](generator)


def _of_z(generator: Generator) -> Coordinates:
    def code(x: Tensor) -> dict[str, Any]:
        return {"ws": generator.ws(generator.mapping(x[:, 0]), PSI)}

    return Coordinates(code, lambda z: z[:, None])


def _of_rows(generator: Generator) -> Coordinates:
    w = sample_w(generator, SAMPLES)
    v = w.cpu().double()  # mps has no float64
    variance, axes = torch.linalg.eigh(torch.cov(v.T))
    deviation = variance.clamp_min(0).sqrt().clamp_min(FLOOR * float(variance.max()) ** 0.5)
    mean, to_w, to_x = (t.to(w) for t in (v.mean(0), (axes * deviation).T, axes / deviation))
    return Coordinates(lambda x: {"ws": mean + x @ to_w}, lambda ws: (ws - mean) @ to_x)


def _of_w(generator: Generator) -> Coordinates:
    rows = _of_rows(generator)

    def code(x: Tensor) -> dict[str, Any]:
        return {"ws": rows.code(x)["ws"].expand(-1, generator.num_ws, -1)}

    return Coordinates(code, lambda ws: rows.of(ws).mean(1, keepdim=True))


@torch.no_grad()
def _of_styles(generator: Generator) -> Coordinates:
    styles = generator.synthesis.styles(generator.ws(sample_w(generator, SAMPLES // 8)))
    mean = torch.cat([s.mean(0) for s in styles.values()])
    deviation = torch.cat([s.std(0).clamp_min(FLOOR * float(s.std(0).max())) for s in styles.values()])
    widths = {layer: s.shape[1] for layer, s in styles.items()}

    def code(x: Tensor) -> dict[str, Any]:
        parts = (mean + x[:, 0] * deviation).split(list(widths.values()), dim=1)
        return {"styles": dict(zip(widths, parts))}

    def of(ws: Tensor) -> Tensor:
        flat = torch.cat(list(generator.synthesis.styles(ws).values()), 1)
        return ((flat - mean) / deviation)[:, None]

    return Coordinates(code, of)


@torch.no_grad()
def rows_of_styles(generator: Generator, styles: Mapping[str, Tensor]) -> Tensor:
    """Rows of W+ [N, num_ws, w_dim] whose styles are nearest to {layer: [N, channels]}.

    Each row w minimises sum |A w + b - s|^2 over the layers that read it, by least squares in float64, with a pull to
    the mean of w so weak that it decides only what the styles leave open.
    """
    mean = generator.mapping.w_avg
    ws = mean.expand(len(next(iter(styles.values()))), generator.num_ws, -1).clone()
    own = generator.synthesis.styles(ws)
    eye = torch.eye(generator.w_dim, dtype=torch.float64)
    for row in {layer.row for layer in generator.layers}:
        layers = [layer.name for layer in generator.layers if layer.row == row]
        parts = []
        for layer in layers:
            affine = generator.get_submodule(f"synthesis.{layer}.affine")
            assert isinstance(affine, FullyConnected)
            parts.append(affine.weight.cpu().double() * affine.weight_gain)
        a = torch.cat(parts)
        apart = torch.cat([styles[layer].cpu().double() - own[layer].cpu().double() for layer in layers], 1)
        pull = (RIDGE * a.square().sum() / len(eye)).sqrt()
        right = torch.cat([apart.T, apart.new_zeros(len(eye), len(apart))])
        ws[:, row] += torch.linalg.lstsq(torch.cat([a, pull * eye]), right).solution.T.to(ws)
    return ws
