"""What a run is made from: pictures at the generator's size, guides, and how its config names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation.guidance import Guides
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.rules import Rules
from stylegraft.checkpoints import tensorfile
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet
from stylegraft.data.pixels import to_uint8
from stylegraft.data.targets import open_target
from stylegraft.encoders.guides import guide_in_reach, load_guides
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator


def open_images(images: Any, generator: Generator, align: str | Path) -> ImageSet:
    """The training set at the generator's size, from whatever the user gave."""
    if isinstance(images, ImageSet):
        return images
    if images is None:  # a sentence says it
        none = torch.zeros(
            0, generator.img_channels, generator.resolution, generator.resolution, dtype=torch.uint8
        )
        return ImageSet(none, (), (), (), ())
    if isinstance(images, Tensor):
        images = images[None] if images.ndim == 3 else images
        if images.is_floating_point() and not bool((images.abs() <= 1.01).all()):
            raise StylegraftError(
                f"images: float values from {float(images.min()):g} to {float(images.max()):g};"
                " expected -1 to 1 (or uint8, 0 to 255)"
            )
        pixels = to_uint8(images)
        count = len(pixels)
        names = tuple(f"{i:03d}" for i in range(count))
        return ImageSet(pixels.cpu().contiguous(), names, ("as given",) * count, (), ())
    return open_target(images, generator.resolution, generator.img_channels, align)


def open_guides(row: Recipe, guides: str | Guides | None, device: str) -> Guides:
    """The guides of a run; raises StylegraftError, with the line that gets one, where a recipe needs one and none is
    here.
    """
    if not row.guided:
        return ()
    if guides is None or isinstance(guides, str):
        return tuple(load_guides(guide_in_reach() if guides is None else guides, device))
    return tuple(guides)


def target_of(images: Any, pictures: ImageSet, request: Request, rules: Rules) -> dict[str, Any]:
    """What a run is adapted to, as its config and its domain say it."""
    told = {
        "name": request.name if request.sentences else name_of(images),
        "count": len(pictures),
        "align": pictures.align,
        "sha256": pictures.digest,
        "held_out": rules.hold_out,
    }
    if request.texts:
        return told | {"texts": list(request.texts), "from_text": request.from_text}
    return told | ({"text": request.text, "from_text": request.from_text} if request.text else {})


def judge_of(source: Source) -> str:
    """Which discriminator a run starts from: the digest of its architecture and weights, or `none`."""
    judge = source.discriminator
    if judge is None:
        return "none"
    texts = {"config": tensorfile.to_json(judge.config, "the discriminator's config")}
    return tensorfile.digest(dict(judge.named_parameters()), texts)


def name_of(images: Any) -> str:
    """What to call a target set in the domain file; never a path of this machine."""
    if isinstance(images, (str, Path)):
        return Path(images).stem
    return "tensor" if isinstance(images, Tensor) else "images"
