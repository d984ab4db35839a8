"""Photos of a folder with their codes: inverted batch by batch, kept in one file, and not inverted twice.

The file is one of `Latents` whose names are the photos' file names. It says of each photo how far its inversion is from
it, from which pixels and with which settings it was made: what agrees is taken over, and other photos' codes stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from stylegraft.adaptation.inversion import descent
from stylegraft.applications.invert import RECIPES, Start, default_start, invert_images, verdict
from stylegraft.applications.latents import Latents
from stylegraft.checkpoints.source import Source
from stylegraft.data.images import ImageSet
from stylegraft.data.pixels import to_float
from stylegraft.encoders.lpips import load_lpips
from stylegraft.errors import StylegraftError

BATCH = {128: 8, 256: 4}  # photos at once up to so many px; above them one


@dataclass(frozen=True)
class Photo:
    """One photo's inversion: `how` it was framed, whether its face was missed, its distances, and `kept`, whether the
    code was in the file already.
    """

    name: str
    how: str
    missed: bool
    lpips: float
    rmse: float
    usual: float
    kept: bool

    @property
    def verdict(self) -> str:
        """`good`, `fair` or `failed`."""
        return verdict(self.lpips, self.usual)


def invert_photos(
    source: Source,
    photos: ImageSet,
    path: str | Path,
    *,
    space: str = "w+",
    recipe: str = "fast",
    start: Start | None = None,
    seed: int = 0,
    optimise_noise: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Latents, list[Photo]]:
    """Codes of all photos, in their order, and what is to be said of each; `path` is written after each batch.

    A file that is there is read first, and must be one of this source and of these settings; codes of other photos stay
    in it. Raises StylegraftError for two photos of one name, for a file of other settings, and for what `invert`
    refuses.
    """
    if twice := sorted({name for name in photos.names if photos.names.count(name) > 1}):
        raise StylegraftError(f"{twice[0]}: two photos of that name; codes go by name, so rename one")
    generator, path = source.generator, Path(path)
    settings = {
        "space": space,
        "start": start or default_start(generator, space),
        "seed": seed,
        "optimise_noise": optimise_noise,
        "pull": descent.PULL,
        "seen": [descent.SEEN_LEAST, descent.SEEN_MOST],
    }
    if recipe in RECIPES:
        settings |= asdict(RECIPES[recipe])
    marks = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in photos.images]
    known = _known(path, source, settings)
    wanted = [i for i, name in enumerate(photos.names) if known.get(name, {}).get("pixels") != marks[i]]
    new = {photos.names[i] for i in wanted}
    found = {name: record for name, record in known.items() if name not in new}
    perceptual = load_lpips("vgg", generator.get_buffer("mapping.w_avg").device) if wanted else None
    size = next((batch for side, batch in BATCH.items() if generator.resolution <= side), 1)
    for first in range(0, len(wanted), size):
        part = wanted[first : first + size]
        what = f"images inverted, {first + 1} to {first + len(part)} of {len(wanted)}, step"
        result = invert_images(
            source,
            to_float(photos.images[part]),
            [photos.names[i] for i in part],
            space=space,
            recipe=recipe,
            start=start,
            seed=seed,
            optimise_noise=optimise_noise,
            perceptual=perceptual,
            progress=progress and (lambda done, total, what=what: progress(what, done, total)),
        )
        codes = result.latents.to("cpu")
        for k, i in enumerate(part):
            found[photos.names[i]] = {
                "code": codes[k : k + 1],
                "pixels": marks[i],
                "lpips": round(float(result.lpips[k]), 5),
                "rmse": round(float(result.rmse[k]), 5),
                "usual": round(result.usual, 5),
            }
        _join(tuple(found), found, settings).save(path, generator)
    rows = [
        Photo(
            name,
            photos.framed[i],
            i in photos.missed,
            *(found[name][key] for key in ("lpips", "rmse", "usual")),
            kept=name not in new,
        )
        for i, name in enumerate(photos.names)
    ]
    return _join(photos.names, found, settings), rows


def _known(path: Path, source: Source, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{photo: its code and record} of a file; raises StylegraftError for one that was made with other settings."""
    if not path.exists():
        return {}
    there = Latents.load(path, source.generator)
    before = there.info.get("settings") or {}
    if other := [key for key in settings if before.get(key) != settings[key]]:
        told = ", ".join(f"{key} {before.get(key, 'unknown')} (now {settings[key]})" for key in other)
        raise StylegraftError(
            f"{path}: its codes were found with other settings: {told}; choose another --out"
        )
    records = there.info.get("photos", {})
    return {
        name: {"code": replace(there[i : i + 1], info={}), **records[name]}
        for i, name in enumerate(there.names)
        if name in records
    }


def _join(names: Sequence[str], found: dict[str, dict[str, Any]], settings: dict[str, Any]) -> Latents:
    codes = [found[name]["code"] for name in names]
    records = {name: {k: v for k, v in found[name].items() if k != "code"} for name in names}
    styles = {layer: torch.cat([code.styles[layer] for code in codes]) for layer in codes[0].styles}
    info = {"settings": settings, "photos": records}
    return Latents(torch.cat([code.ws for code in codes]), tuple(names), styles, info)
