"""Edits of faces: steps along directions added to their codes, on the source or under a domain.

With w the rows of W+ of a face, d the steps in W+, e the steps in styles, s and t the affine layers of the source and
of the adapted generator, the edited face has the style vectors

    s(w + d) + e + m * (t(v) - s(v)),    v = w + d before the domain, v = w after it.

t - s is what the domain adds to styles. Where that does not depend on w (StyleSpace offsets, affine biases) the order
makes no difference, nor does it ever for e, which is only added. m is 1, or 0 at the edited channels where the domain
is suppressed (StyleDomain, Alanov et al., ICCV 2023). Everything else of the domain (kernels, gains) acts as always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from stylegraft.applications.directions import Direction
from stylegraft.applications.latents import Latents
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

Edits = Sequence[tuple[Direction, float]]
"""Directions with their amounts, in units of each direction."""


@torch.no_grad()
def edited(generator: Generator, latents: Latents, edits: Edits) -> Latents:
    """The codes after the edits: in W+ if codes and edits are, else in styles, whose rows of W+ keep the steps in W+.

    generator: the source that codes and directions belong to. An amount of 0 keeps a code's bits.
    """
    d, e = _sum(edits)
    ws = latents.ws if d is None else latents.ws + d.to(latents.ws)
    styles = dict(latents.styles)
    if styles and d is not None:
        before, after = generator.synthesis.styles(latents.ws), generator.synthesis.styles(ws)
        styles = {layer: s + (after[layer] - before[layer]) for layer, s in styles.items()}
    if e:
        styles = styles or generator.synthesis.styles(ws)
        styles |= {layer: styles[layer] + step.to(ws) for layer, step in e.items()}
    told = [{"direction": direction.name, "amount": amount} for direction, amount in edits]
    return replace(latents, ws=ws, styles=styles, info={**latents.info, "edits": told})


@torch.no_grad()
def edited_code(
    source: Generator,
    latents: Latents,
    edits: Edits,
    target: Generator | None = None,
    *,
    order: Literal["before", "after"] = "before",
    suppress: bool = False,
) -> dict[str, Any]:
    """What `target` (None: the source) is called with to draw the edited faces, by the formula above.

    target: the source with a domain merged into it. suppress: take the domain's offsets off the edited channels.
    Raises StylegraftError for a suppression without edited channels, or under a domain that moves no styles.
    """
    found = edited(source, latents, edits)
    if target is None:
        return found.code()
    if not found.styles and order == "before" and not suppress:
        return {"ws": found.ws}
    styles = found.styles or source.synthesis.styles(found.ws)
    seen = found.ws if order == "before" else latents.ws
    adapted, own = target.synthesis.styles(seen), source.synthesis.styles(seen)
    shift = {layer: adapted[layer] - own[layer] for layer in styles}
    if suppress:
        moved = [(layer, step != 0) for direction, _ in edits for layer, step in direction.styles.items()]
        if not moved:
            raise StylegraftError("only edits of channels can suppress the domain, and there are none")
        if not any(bool(delta.any()) for delta in shift.values()):
            raise StylegraftError(
                "the domain moves no style vectors: there is nothing to suppress at the edit"
            )
        for layer, at in moved:
            shift[layer] = shift[layer].masked_fill(at.to(shift[layer].device), 0)
    return {"styles": {layer: s + shift[layer] for layer, s in styles.items()}}


def draw(
    generator: Generator,
    code: Mapping[str, Any],
    noise: Literal["const", "random", "none"] = "const",
    batch: int = 16,
) -> Tensor:
    """Images [N, C, R, R] on the CPU of a code as `edited_code` and `Latents.code` give it, in batches."""
    pieces = []
    (kind, whole), *_ = code.items()
    count = len(whole) if kind == "ws" else len(next(iter(whole.values())))
    with torch.inference_mode():
        for i in range(0, count, batch):
            part = whole[i : i + batch] if kind == "ws" else {k: s[i : i + batch] for k, s in whole.items()}
            rng = torch.Generator().manual_seed(i)
            pieces.append(generator(**{kind: part}, noise=noise, generator=rng).image.cpu())
    return torch.cat(pieces)


def _sum(edits: Edits) -> tuple[Tensor | None, dict[str, Tensor]]:
    """All steps in W+, and those in styles {layer: [channels]}."""
    d: Tensor | None = None
    e: dict[str, Tensor] = {}
    for direction, amount in edits:
        if direction.ws is not None:
            d = amount * direction.ws if d is None else d + amount * direction.ws
        for layer, step in direction.styles.items():
            e[layer] = e[layer] + amount * step if layer in e else amount * step
    return d, e
