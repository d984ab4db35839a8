"""Guides: encoders that read sentences too, one or several with weights, as text- and one-image adaptation ask for.

    clip        CLIP, from a folder, the hub or STYLEGRAFT_CLIP        `clip`
    siglip      SigLIP and SigLIP 2, likewise                          `siglip`
    sprig       our own small dual encoder, for 64 px and offline      `sprig`

A guide is frozen; gradients reach the image through its preprocessing, which is antialiased wherever it shrinks a
picture (so is Pillow; torchvision's tensors before 0.17 were not, and give other features). `sees` says so in words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from stylegraft.checkpoints import hub
from stylegraft.encoders import places
from stylegraft.encoders.protocol import TextEncoder
from stylegraft.encoders.table import DISTANCES, ENCODERS, GUIDES
from stylegraft.errors import StylegraftError, nearest


@runtime_checkable
class Guide(TextEncoder, Protocol):
    """A frozen network that looks at images and reads sentences; losses carry its `name`, records its `digest`."""

    sees: str  # the preprocessing in words: `bicubic to 224 px, antialiased`

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1], any size, to embeddings [B, dim], not normalised; differentiable."""
        ...


@runtime_checkable
class Patchwise(Guide, Protocol):
    """A guide that tells of places in the image too."""

    patches: str  # which map the tokens are: `block 3`

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] to tokens [B, T, C] row by row, not normalised; differentiable."""
        ...


def load_guide(name: str, device: torch.device | str = "cpu", half: bool | None = None) -> Guide:
    """A guide by name (`clip`, `siglip`, `sprig`), as `NAME:WHERE`, or the path of a folder or name of the hub alone.

    half: computes in half precision; None: on CUDA only. Features are float32 either way.
    Raises StylegraftError for an unknown name, an encoder that does not read, or missing weights, saying how to get
    them; never substitutes.
    """
    kind, where = guide_kind(name)
    module, function = GUIDES[kind].loader.split(":")
    guide = getattr(import_module(f"stylegraft.encoders.{module}"), function)(where=where, device=device)
    wanted = torch.device(device).type == "cuda" if half is None else half
    return guide.half() if wanted else guide


def load_guides(
    names: str, device: torch.device | str = "cpu", half: bool | None = None
) -> list[tuple[Guide, float]]:
    """Several guides with the weight of each one's loss: `clip:/b-32, clip:/b-16=0.5` (1 where none stands).

    Raises StylegraftError as `load_guide`, for no guide, a weight that is not positive, and the same guide twice.
    """
    found = [(load_guide(name, device, half), weight) for name, weight in weighted(names)]
    told = [(guide.name, guide.digest) for guide, _ in found]
    for one in told:
        if told.count(one) > 1:
            raise StylegraftError(f"guides {names!r}: {one[0]} is there twice; give it one weight")
    return found


def weighted(names: str) -> list[tuple[str, float]]:
    """`a, b=0.5` -> [(a, 1), (b, 0.5)]; raises StylegraftError for none and for a weight that is not positive."""
    out = []
    for part in filter(None, map(str.strip, names.split(","))):
        name, equals, weight = part.rpartition("=")
        try:
            out.append((name.strip(), float(weight)) if equals else (part, 1.0))
        except ValueError:
            raise StylegraftError(f"guide {part!r}: expected NAME=WEIGHT, {weight!r} is no number") from None
        if not 0 < out[-1][1] < float("inf"):
            raise StylegraftError(f"guide {part!r}: expected a positive weight")
    if not out:
        raise StylegraftError(f"no guide is named; expected one or several of {', '.join(GUIDES)}")
    return out


def guide_kind(name: str) -> tuple[str, str]:
    """(row of `GUIDES`, where) of a name, of `NAME:WHERE`, of a folder or hf://OWNER/REPO, whose config.json tells."""
    kind, _, where = name.partition(":")
    if kind in GUIDES:
        return kind, where
    if kind in ENCODERS or kind in DISTANCES:
        raise StylegraftError(f"{kind} looks at images and reads no sentences; guides: {', '.join(GUIDES)}")
    if not (hub.is_hub(name) or Path(name).expanduser().is_dir()):
        hint = nearest(kind, GUIDES)
        raise StylegraftError(
            f"guide {name!r}: there is no such guide or folder; expected a folder of CLIP or SigLIP, or one of "
            f"{', '.join(GUIDES)}{hint}"
        )
    from stylegraft.encoders.published import repository

    found = repository(name).settings("config.json").get("model_type")
    if found not in GUIDES:
        raise StylegraftError(
            f"{name}: a model of type {json.dumps(found)}; of these a guide can be: {', '.join(GUIDES)}"
        )
    return str(found), name


def guide_in_reach() -> str:
    """The first of `GUIDES` whose weights are here; raises StylegraftError with the line that gets one."""
    for name, row in GUIDES.items():
        if places.whereabouts(name, row)[0]:
            return name
    ways = "; or ".join(f"{name}: {places.how_to_get(row)}" for name, row in GUIDES.items())
    raise StylegraftError(f"no encoder that reads sentences is here. To get one of them: {ways}")


def tokens(guide: Guide, images: Tensor) -> Tensor:
    """Tokens [B, T, C] of images; raises StylegraftError for a guide that has none."""
    if not isinstance(guide, Patchwise):
        raise StylegraftError(f"{guide.name} tells nothing of places in an image (it has no tokens)")
    return guide.tokens(images)


def encode_texts(guide: TextEncoder, texts: Sequence[str], templates: str = "imagenet") -> Tensor:
    """Sentences through a table of templates (`prompts.TEMPLATES`): unit embeddings, averaged over templates [T, dim].

    The mean is not normalised again, as in StyleGAN-NADA (Gal et al., SIGGRAPH 2022).
    """
    from stylegraft.encoders.prompts import filled

    rows = [filled(text, templates) for text in texts]
    found = torch.nn.functional.normalize(guide.encode_text([text for row in rows for text in row]), dim=1)
    return found.unflatten(0, (len(rows), -1)).mean(1)
