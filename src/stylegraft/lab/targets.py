"""The targets of a study, made once into its folder: a pool that shots are drawn from, and a reference to measure by.

    targets/made-pencil-64-1f0c.../   pool/000000.png ...  reference/000000.png ...  made.json

The folder's name holds a digest of what the pictures are made from, so that other pictures are another folder; a
making that was interrupted goes on where it was; `made.json` is written last. No image of the pool is in the reference.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.folder import make_folder
from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sampling import Draws, seed_of
from stylegraft.atomic import write_bytes, write_json
from stylegraft.checkpoints.identity import describe_base
from stylegraft.checkpoints.source import Source
from stylegraft.data.files import read_pictures
from stylegraft.data.filters import FILTERS, apply
from stylegraft.data.images import ImageSet, load_images, unlike
from stylegraft.data.pixels import to_float, to_uint8
from stylegraft.data.targets import TARGETS, open_target
from stylegraft.errors import StylegraftError
from stylegraft.lab.study import StudyTarget
from stylegraft.sources import load_source

MADE = "made.json"
CHUNK = 40  # pictures of a made target between two looks at what is there
DRAWN = 256  # px at which a filter works at most, where the source of the pictures is larger than the network


@dataclass(frozen=True)
class Prepared:
    """A target at a network's size. pool, reference: how many images; notes: what the user should be told."""

    folder: Path
    pool: int
    reference: int
    notes: tuple[str, ...] = ()

    def shots(self, count: int, draw: int, channels: int = 3) -> ImageSet:
        """Draw number `draw` of so many images of the pool (0: all), in the order of their names.

        A draw of fewer images is part of the same draw of more, so that a curve over shots changes one thing alone.
        """
        names = sorted((self.folder / "pool").glob("*.png"))
        rng = torch.Generator().manual_seed(seed_of(draw, 0, "lab.shots", 0))
        order = torch.randperm(len(names), generator=rng).tolist()
        chosen: list[str | Path] = [names[i] for i in sorted(order[: count or None])]
        return load_images(chosen, Image.open(names[0]).width, channels)

    def references(self, channels: int = 3) -> Tensor | None:
        """The reference, uint8 [N, C, R, R]; None where the target has none."""
        if not self.reference:
            return None
        folder = self.folder / "reference"
        size = Image.open(next(folder.glob("*.png"))).width
        return load_images(folder, size, channels).images


def refusal(shots: int, draw: int, pool: int) -> str | None:
    """Why a cell with so many shots makes no sense on a pool of this size; None if it does."""
    if shots > pool:
        return f"{shots} shots of a pool of {pool} images"
    if draw and (shots or pool) == pool:
        return f"draw {draw} of all {pool} images is draw 0 again"
    return None


def pool_size(target: StudyTarget) -> int:
    """How many images the pool will have, without making anything."""
    if target.filter:
        return target.pool
    if target.images in TARGETS:
        count = TARGETS[target.images].count
    else:
        count = sum(1 for _ in read_pictures(target.images, 3, [], coarse=True))
    return min(target.pool or count, count)


def prepare(
    target: StudyTarget, source: Source, out: Path, say: Callable[[str], None] = lambda line: None
) -> Prepared:
    """Make a target at the source's size below `out`, or find it there.

    Raises StylegraftError for pictures that cannot be read, and where too few are left on either side.
    """
    g = source.generator
    origin = _made_from(target) if target.filter else _given(target)
    told = {"target": target.label, "resolution": g.resolution, "channels": g.img_channels, **origin}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    folder = out / f"{target.label}-{g.resolution}-{digest[:16]}"
    if (folder / MADE).is_file():
        return opened(folder)
    for part in ("pool", "reference"):
        make_folder(folder / part)
    counts, notes = (_make if target.filter else _copy)(target, source, folder, say)
    write_json(folder / MADE, {**told, **counts, "notes": notes})
    return opened(folder)


def opened(folder: Path) -> Prepared:
    """A target that was made before."""
    told = json.loads((folder / MADE).read_text(encoding="utf-8"))
    return Prepared(folder, told["pool"], told["reference"], tuple(told["notes"]))


# A filter on images of a source
# --------------------------------------------------------------------------------------------


def _made_from(target: StudyTarget) -> dict[str, Any]:
    base = describe_base(load_source(target.of))
    return {
        "filter": target.filter,
        "version": FILTERS[target.filter].version,
        "of": {key: base[key] for key in ("fingerprint", "sha256")},
        "counts": [target.pool, target.count],
    }


def _make(
    target: StudyTarget, source: Source, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, int], list[str]]:
    total, size = target.pool + target.count, source.generator.resolution
    places = iter([i for i in range(total) if not _place(folder, target, i).is_file()])
    drawn = load_source(target.of).generator if target.of != source.name else source.generator
    while chunk := list(islice(places, CHUNK)):
        say(f"making {target.label}: {chunk[0]} of {total} pictures")
        for i, picture in zip(chunk, _filtered(target.filter, drawn, chunk, size), strict=True):
            _save(picture, _place(folder, target, i), source.generator.img_channels)
    note = f"{target.label}: {FILTERS[target.filter].about}, made of {total} images of {Path(target.of).name}"
    return {"pool": target.pool, "reference": target.count}, [note]


def _place(folder: Path, target: StudyTarget, i: int) -> Path:
    part = "pool" if i < target.pool else "reference"
    return folder / part / f"{i:06d}.png"


def _filtered(name: str, generator: Any, places: list[int], size: int) -> Iterator[Tensor]:
    """Pictures [C, size, size] at these places of the list, each of a latent that nothing else draws: its stream is
    named.
    """
    seeds = [seed_of(0, 0, "lab.target", i) for i in places]
    images = to_uint8(render(generator, Draws(seeds).normal(generator.z_dim), psi=1.0))
    work = min(images.shape[-1], max(size, DRAWN))
    for i, image in zip(places, _sized(images, work), strict=True):
        yield _sized(apply(name, image[None], seed=i), size)[0]


def _sized(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    return to_uint8(
        F.interpolate(to_float(images), (size, size), mode="bicubic", antialias=True, align_corners=False)
    )


# Pictures that are there
# --------------------------------------------------------------------------------------------


def _given(target: StudyTarget) -> dict[str, Any]:
    return {
        "images": _digest(target.images),
        "reference of": _digest(target.reference) if target.reference else None,
        "pooled": target.pool,
        "align": _digest(target.align) if target.align not in ("auto", "off") else target.align,
    }


def _digest(path: str) -> str:
    """SHA-256 of a packaged set, a file, or of a folder's files with their names."""
    sha = hashlib.sha256()
    with as_file(files("stylegraft.data") / "sets") as sets:
        place = sets / path if path in TARGETS else Path(path)
        for file in sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]:
            sha.update(f"{file.name}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return sha.hexdigest()


def _copy(
    target: StudyTarget, source: Source, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, int], list[str]]:
    g = source.generator
    pool = open_target(target.images, g.resolution, g.img_channels, target.align)
    images, rest, notes = pool.images, pool.images[:0], [f"{target.label}: {note}" for note in pool.notes]
    if target.pool:
        if target.pool >= len(images):
            raise StylegraftError(
                f"target {target.label}: pool = {target.pool} of {len(images)} images leaves none to measure by; "
                "expected a smaller pool"
            )
        rng = torch.Generator().manual_seed(seed_of(0, 0, "lab.pool", 0))
        order = torch.randperm(len(images), generator=rng)
        rows, others = order[: target.pool].sort().values, order[target.pool :].sort().values
        images, rest = images[rows], images[others]
    elif target.reference:
        rest = load_images(target.reference, g.resolution, g.img_channels, target.align).images
    count, rest = len(rest), rest[unlike(rest, images)]
    if same := count - len(rest):
        notes.append(
            f"{target.label}: {same} images of the reference are also in the pool, and left out of it"
        )
    if target.reference and len(rest) < 2:
        raise StylegraftError(
            f"target {target.label}: its reference has {len(rest)} images beside those of the pool; expected at least 2"
        )
    for part, pictures in (("pool", images), ("reference", rest)):
        for i, picture in enumerate(pictures):
            _save(picture, folder / part / f"{i:06d}.png", g.img_channels)
    return {"pool": len(images), "reference": len(rest)}, notes


def _save(picture: Tensor, path: Path, channels: int) -> None:
    """[3 or 1, R, R] uint8 as PNG, of 3 channels or 1."""
    pixels = picture.permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    buffer = io.BytesIO()
    image.convert("RGB" if channels == 3 else "L").save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())
