"""A set of pictures as the network sees it: square, of one size, uint8, in the order of the files' names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegraft.data.align import COLUMNS, FRAMED, RULE, Points, frame, read_points
from stylegraft.data.files import Paths, Picture, few, read_pictures
from stylegraft.data.grids import save_sheet
from stylegraft.errors import StylegraftError, nearest

SHEET_TILES = 120  # a contact sheet shows at most so many, missed faces first


@dataclass(frozen=True)
class ImageSet:
    """Pictures ready for training.

    images: uint8 [N, C, R, R]. names: file names. framed: how each was framed. missed: indices of those whose
    face or points were not found, which were centre-cropped. notes: what a user should be told, one line each.
    align: the rule of framing, `off`, `auto` or `points`; None where the pixels came as they are. origin: SHA-256
    of what the images were made from.
    """

    images: Tensor
    names: tuple[str, ...]
    framed: tuple[str, ...]
    missed: tuple[int, ...]
    notes: tuple[str, ...]
    align: str | None = None
    origin: str | None = None

    @property
    def digest(self) -> str:
        """A training set's identity, whatever its files are called: `origin`, or SHA-256 of shape and pixels.

        The pixels of an aligned picture are no identity: the face detector's sums depend on the number of threads
        and on the CPU, and with them the frame.
        """
        shape = ",".join(map(str, self.images.shape)).encode()
        return self.origin or hashlib.sha256(shape + b"\n" + self.images.numpy().tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.names)


def load_images(path: Paths, resolution: int, channels: int = 3, align: str | Path = "off") -> ImageSet:
    """Read, frame and reduce every picture of a folder, a zip, one file or a list of files.

    resolution: side R in pixels. channels: 3 (RGB) or 1 (grey). align: `off` crops the largest centred square,
    `auto` looks for the face and frames it as FFHQ, anything else names a CSV of eye points
    (`align.read_points`). Raises StylegraftError naming the first file that is broken, tiny, huge or not a
    picture; nothing is skipped.
    """
    how: str | Points = str(align) if str(align) in ("off", "auto") else read_points(align)
    rule = how if isinstance(how, str) else "points"
    origin = hashlib.sha256(f"{rule} {resolution} {channels}\n".encode())
    notes: list[str] = []
    names: list[str] = []
    framed, tensors, missed, enlarged = [], [], [], []
    for picture in read_pictures(path, channels, notes):
        result = frame(picture.image, resolution, how, picture.name)
        pixels = np.array(result.image, np.uint8)
        tensors.append(torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1))
        names.append(picture.name)
        origin.update(picture_bytes(picture, how))
        framed.append(result.how)
        notes += picture.notes
        if not result.ok:
            missed.append(len(names) - 1)
        if min(picture.image.size) < resolution:
            enlarged.append(picture.name)
    if not tensors:
        raise StylegraftError("no picture was given; expected at least one file")
    if not isinstance(how, str):
        _check_points(how, names, align)
    images = torch.stack(tensors).contiguous()
    notes.insert(0, f"each picture is {RULE.format(framed=FRAMED[rule])} to {resolution}x{resolution}")
    if enlarged:
        notes.append(f"smaller than {resolution} px and enlarged: {few(enlarged)}")
    notes += [f"the same picture: {few(group)}" for group in _twins(images, names)]
    if missed:
        notes.append(
            f"warning: {framed[missed[0]]} in {few([names[i] for i in missed])}; give eye points with --align"
            f" points.csv ({','.join(COLUMNS)}), or see in targets.png that it does"
        )
    return ImageSet(
        images, tuple(names), tuple(framed), tuple(missed), tuple(notes), rule, origin.hexdigest()
    )


def picture_bytes(picture: Picture, align: str | Points) -> bytes:
    """What the framing of a picture is made from: its size and pixels as read, and its eye points if given."""
    image = picture.image
    points = b"" if isinstance(align, str) or picture.name not in align else align[picture.name].tobytes()
    return f"{image.width}x{image.height} {len(points)}\n".encode() + image.tobytes() + points


def contact_sheet(images: ImageSet, path: str | Path) -> None:
    """Write the set as the network will see it, each with its name and how it was framed, missed ones in red."""
    missed = set(images.missed)
    shown = sorted(range(len(images)), key=lambda i: i not in missed)[:SHEET_TILES]
    save_sheet(
        images.images[shown],
        path,
        captions=[(images.names[i], images.framed[i]) for i in shown],
        marked=[i in missed for i in shown],
    )


def unlike(images: Tensor, others: Tensor) -> Tensor:
    """Which of the images [N, C, R, R] equal none of `others`, pixel by pixel: [N], bool."""
    known = {other.cpu().numpy().tobytes() for other in others}
    return torch.tensor([image.cpu().numpy().tobytes() not in known for image in images], dtype=torch.bool)


def _check_points(points: Points, names: Sequence[str], path: str | Path) -> None:
    for name in points:
        if name not in names:
            raise StylegraftError(f"--align {path}: {name} is not among the pictures{nearest(name, names)}")


def _twins(images: Tensor, names: Sequence[str]) -> list[list[str]]:
    groups: dict[bytes, list[str]] = {}
    for image, name in zip(images, names):
        groups.setdefault(hashlib.sha256(image.numpy().tobytes()).digest(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
