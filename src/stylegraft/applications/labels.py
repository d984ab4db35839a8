"""A direction from labels: the normal of the plane in W that parts the faces with an attribute from those without.

Shen et al., "InterFaceGAN" (TPAMI 2020): codes are labelled by a classifier, the most confident ones kept, a linear
classifier fitted; its normal is the direction. The classifier here is learnt from a user's two folders of pictures, as
a probe on frozen features (`metrics.realism`), or the labels are given; the plane is logistic too. The channels of
StyleSpace that differ most follow Wu et al., "StyleSpace Analysis" (CVPR 2021), section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stylegraft.applications.directions import SAMPLES, Direction, channel_spread, w_of_seeds
from stylegraft.applications.latents import of_seeds
from stylegraft.encoders.protocol import Encoder
from stylegraft.errors import StylegraftError
from stylegraft.metrics.features import features
from stylegraft.metrics.realism import Probe, fit_probe
from stylegraft.networks.generator import Generator

LEAST = 5  # pictures or codes on each side
EXTREME = 1 / 3  # of the codes with the highest scores and of those with the lowest, a boundary is fitted on
SURE = 0.6  # a held-out accuracy below is called a guess


def tell_apart(
    encoder: Encoder, with_it: Tensor, without: Tensor, device: torch.device | str = "cpu"
) -> Probe:
    """A probe on images [N, C, H, W] with and without the attribute.

    Raises StylegraftError for fewer than five of a kind, and where held-out pictures are not told apart better than by
    guessing.
    """
    for images, which in ((with_it, "with"), (without, "without")):
        if len(images) < LEAST:
            raise StylegraftError(f"{len(images)} pictures {which} the attribute; expected at least {LEAST}")
    seen, unseen = (features(encoder, images, device=device) for images in (with_it, without))
    probe = fit_probe(unseen, seen, encoder=encoder.name)
    least = chance(len(seen), len(unseen))
    if probe.accuracy < least:
        raise StylegraftError(
            f"the two folders cannot be told apart: {encoder.name} puts {probe.accuracy:.0%} of held-out pictures on"
            f" the right side, where guessing may reach {least:.0%}; give more pictures, or folders that differ in one"
            " thing"
        )
    return probe


def chance(first: int, second: int) -> float:
    """The accuracy that guessing may reach on so many of each class: two standard errors above a half, 0.6 at least."""
    return max(SURE, 0.5 + 2 * ((1 / first + 1 / second) / 16) ** 0.5)


def score(
    generator: Generator,
    encoder: Encoder,
    probe: Probe,
    samples: int = 1000,
    psi: float = 0.7,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """w [samples, w_dim] of the faces of seeds 0 .. samples - 1, truncated by psi, and what the probe says of each
    [samples]: the log odds of the attribute.
    """
    ws, scores, device = [], [], generator.get_buffer("mapping.w_avg").device
    with torch.inference_mode():
        for first in range(0, samples, 32):
            latents = of_seeds(generator, range(first, min(first + 32, samples)), psi)
            found = features(encoder, generator(ws=latents.ws).image, device=device)
            scores.append(torch.logit(probe.p(found), eps=1e-12))
            ws.append(latents.ws[:, 0].cpu())
            progress(min(first + 32, samples), samples)
    return torch.cat(ws), torch.cat(scores)


def boundary(generator: Generator, codes: Tensor, scores: Tensor, name: str = "boundary") -> Direction:
    """The normal of the plane between codes of high and of low scores, pointing to the high ones.

    codes: w [N, w_dim], or rows of W+ [N, num_ws, w_dim], which give a step of its own to each row; scores [N]: two
    values are two classes, of more the third at each end is taken. info: held-out `accuracy`, `codes` it was fitted
    on, `std`.
    Raises StylegraftError for fewer than five codes a side, and where held-out codes are only guessed.
    """
    low, high = ends(scores)
    rows = codes.flatten(1).cpu().double()
    probe = fit_probe(rows[low], rows[high], encoder="w")
    least = chance(len(low), len(high))
    if probe.accuracy < least:
        raise StylegraftError(
            f"no plane parts the codes: {probe.accuracy:.0%} of held-out ones are on the right side, where guessing may"
            f" reach {least:.0%}; give more of them, or an attribute that the source shows"
        )
    normal = probe.head.weight / probe.head.weight.norm()
    spread = (w_of_seeds(generator, SAMPLES) if codes.ndim == 2 else rows) @ normal
    step = (normal * spread.std()).view(-1, generator.w_dim).to(generator.get_buffer("mapping.w_avg"))
    info = {"accuracy": probe.accuracy, "codes": len(low) + len(high), "std": float(spread.std())}
    return Direction(name, "boundary", step, info=info)


@dataclass(frozen=True)
class Attribute:
    """A channel of StyleSpace and how far its mean with the attribute is from that without, in standard deviations."""

    layer: str
    index: int
    difference: float


@torch.no_grad()
def attribute_channels(
    generator: Generator, codes: Tensor, scores: Tensor, count: int = 8
) -> list[Attribute]:
    """The channels whose means differ most between codes of high and of low scores; arguments as of `boundary`."""
    low, high = ends(scores)
    ws = codes if codes.ndim == 3 else codes[:, None].expand(-1, generator.num_ws, -1)
    styles = generator.synthesis.styles(ws.to(generator.get_buffer("mapping.w_avg")))
    spread = channel_spread(generator)
    apart = {
        name: (s[high].mean(0) - s[low].mean(0)) / spread[name].clamp_min(1e-12) for name, s in styles.items()
    }
    ranked = sorted(
        (
            Attribute(name, i, d)
            for name, differences in apart.items()
            for i, d in enumerate(differences.tolist())
        ),
        key=lambda each: -abs(each.difference),
    )
    return ranked[:count]


def channels_direction(generator: Generator, found: Sequence[Attribute], name: str = "channels") -> Direction:
    """One step in these channels: a standard deviation in the one that differs most, in the others in proportion."""
    spread = channel_spread(generator)
    most = max(abs(each.difference) for each in found)
    styles = {each.layer: torch.zeros_like(spread[each.layer]) for each in found}
    for each in found:
        styles[each.layer][each.index] = spread[each.layer][each.index] * (each.difference / most)
    info: dict[str, Any] = {"channels": [f"{each.layer}:{each.index}" for each in found]}
    return Direction(name, "channels", styles=styles, info=info)


def ends(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the low and of the high scores; raises StylegraftError where there are fewer than five of either."""
    order, values = scores.argsort(stable=True), scores.unique()
    if len(values) > 2:
        few = int(len(scores) * EXTREME)
        low, high = order[:few], order[len(order) - few :]
    else:
        low, high = (torch.nonzero(scores == v)[:, 0] for v in (values[0], values[-1]))
    if len(values) < 2 or min(len(low), len(high)) < LEAST:
        sizes = "all of one value" if len(values) < 2 else f"{len(low)} low and {len(high)} high"
        raise StylegraftError(f"labels of {len(scores)} codes: {sizes}; expected at least {LEAST} of each")
    return low, high
