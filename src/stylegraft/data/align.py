"""Framing pictures as the source's training pictures were framed.

FFHQ's crop (Karras et al., "A Style-Based Generator Architecture", CVPR 2019, with the set's published
alignment) is a square built from the eyes and the mouth: with e the vector between the eyes and m from their
middle to the mouth, the half side is max(2 |e|, 1.8 |m|), along e - rot90(m), and the centre lies 0.1 m below
the eyes. The eyes of a frontal face are then a quarter of the side apart, a little above the middle.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stylegraft.data.blazeface import Face, find_face
from stylegraft.errors import StylegraftError

# All in fractions of the side.
FFHQ_EYES = ((0.375, 0.47), (0.625, 0.47))  # the formula and the average of 2,048 teacher faces agree
OVERHANG = 0.06  # how far `auto` lets a frame reach beyond the picture: more would mirror cheeks and hair
NEAR = 0.06  # a square picture with its eyes this close to FFHQ_EYES is framed well and stays untouched

RULE = (
    "turned upright by EXIF, transparency laid on white, {framed}, "
    "then reduced (box average for exact integer factors, Lanczos otherwise)"
)
FRAMED = {
    "off": "cropped to its largest centred square",
    "auto": "framed by its face as FFHQ is",
    "points": "framed by its eye points as FFHQ is",
}
COLUMNS = ("name", "left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y")

Points = Mapping[str, np.ndarray]  # file name -> [2, 2]: (x, y) of the left and the right eye, in pixels


@dataclass(frozen=True)
class Framed:
    """One picture as the network will see it: `image` [R, R], `how` in words, `ok` unless a face was missed."""

    image: Image.Image
    how: str
    ok: bool = True


def frame(picture: Image.Image, resolution: int, align: str | Points, name: str = "") -> Framed:
    """Frame an upright RGB or grey picture: `"off"`, `"auto"` (face detector) or eye points by file name.

    A picture whose face or points are missing is centre-cropped and says so in `how`, with `ok` False. Raises
    StylegraftError for an eye outside the picture.
    """
    if isinstance(align, Mapping):
        if name not in align:
            return Framed(centre_crop(picture, resolution), "no points: centre crop", ok=False)
        for x, y in align[name]:
            if not (0 <= x <= picture.width and 0 <= y <= picture.height):
                raise StylegraftError(
                    f"--align: {name}: the eye ({x:g}, {y:g}) lies outside the picture, which is"
                    f" {picture.width}x{picture.height} px; expected pixels from its top left"
                )
        return Framed(cut(picture, *ffhq_square(align[name]), resolution), "eye points")
    if align == "off":
        return Framed(centre_crop(picture, resolution), "centre crop")
    face = find_face(picture)
    if face is None:
        return Framed(centre_crop(picture, resolution), "no face: centre crop", ok=False)
    if _well_framed(picture, face):
        return Framed(centre_crop(picture, resolution), "framed already")
    square = ffhq_square(face.eyes, face.mouth)
    fitted = _fit(picture, *square)
    moved = max(float(np.abs(a - b).max()) for a, b in zip(square, fitted)) > 1
    return Framed(cut(picture, *fitted, resolution), "aligned, kept inside" if moved else "aligned")


def ffhq_square(eyes: np.ndarray, mouth: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """FFHQ's square from eyes [2, 2] and mouth [2] in pixels: its centre, and half its side along its x axis.

    Without a mouth the face is taken as frontal, which puts the eyes on `FFHQ_EYES` exactly.
    """
    left, right = eyes
    middle, across = (left + right) / 2, right - left
    if mouth is None:
        down = _rot90(across)
        return middle + (0.5 - FFHQ_EYES[0][1]) * 4 * down, 2 * across
    drop = mouth - middle
    axis = across - _rot90(drop)
    axis = axis / max(float(np.hypot(*axis)), 1e-6)
    half = max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*drop)))
    return middle + 0.1 * drop, axis * half


def cut(picture: Image.Image, centre: np.ndarray, half: np.ndarray, resolution: int) -> Image.Image:
    """Cut the turned square out of `picture` (similarity transform), mirrored beyond its borders."""
    reach = float(np.abs(half).sum()) + 2
    low = np.floor(np.clip(centre - reach, 0, np.array(picture.size) - 1)).astype(int)
    high = np.ceil(np.clip(centre + reach, low + 1, picture.size)).astype(int)
    part = picture.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    centre = centre - low
    shrink = min(1.0, 2 * resolution / float(np.hypot(*half)))  # bounds the work, whatever the picture's size
    if shrink < 1:
        size = (max(1, round(part.width * shrink)), max(1, round(part.height * shrink)))
        scale = np.array(size) / np.array(part.size)
        part = part.resize(size, Image.Resampling.LANCZOS)
        centre, half, reach = centre * scale, half * float(scale.mean()), reach * shrink + 1
    missing = np.concatenate([reach - centre, centre + reach - part.size])
    pad = np.maximum(0, np.ceil(missing)).astype(int)
    pixels = np.asarray(part)
    width = np.array([(pad[1], pad[3]), (pad[0], pad[2])] + [(0, 0)] * (pixels.ndim - 2))
    part = Image.fromarray(np.pad(pixels, width, mode="symmetric"))
    centre = centre + pad[:2]
    side = max(resolution, math.ceil(2 * float(np.hypot(*half))))
    x, y = 2 * half / side, 2 * _rot90(half) / side  # what one pixel right, and down, is in the input
    start = centre - side / 2 * (x + y)
    square = part.transform(
        (side, side),
        Image.Transform.AFFINE,
        (x[0], y[0], start[0], x[1], y[1], start[1]),
        Image.Resampling.BICUBIC,
    )
    return resize(square, resolution)


def centre_crop(picture: Image.Image, resolution: int) -> Image.Image:
    """The largest centred square, at `resolution`."""
    side = min(picture.size)
    x, y = (picture.width - side) // 2, (picture.height - side) // 2
    return resize(picture.crop((x, y, x + side, y + side)), resolution)


def resize(square: Image.Image, resolution: int) -> Image.Image:
    """Box average for exact integer reductions (as FFHQ's smaller sets are made), Lanczos otherwise."""
    factor, rest = divmod(square.width, resolution)
    if rest == 0:
        return square.reduce(factor) if factor > 1 else square
    return square.resize((resolution, resolution), Image.Resampling.LANCZOS)


def read_points(path: str | Path) -> Points:
    """Eye points by file name from a CSV: `name,left_eye_x,left_eye_y,right_eye_x,right_eye_y`.

    In pixels of the picture as a viewer shows it (after EXIF rotation) from its top left; which eye is called
    left does not matter. Raises StylegraftError naming the line.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise StylegraftError(
                f"--align {path}: not a file; expected auto, off or a CSV of {','.join(COLUMNS)}"
            )
        if path.stat().st_size > 16_000_000:
            raise StylegraftError(f"--align {path}: larger than 16 MB; expected a table of eye points")
        rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"not a readable CSV ({error})"
        expected = f"expected auto, off or a CSV of {','.join(COLUMNS)}"
        raise StylegraftError(f"--align {path}: {reason}; {expected}") from None
    if not rows or tuple(c.strip().lower() for c in rows[0]) != COLUMNS:
        found = ",".join(rows[0])[:80] if rows else "an empty file"
        raise StylegraftError(f"--align {path}: line 1 is {found!r}; expected the header {','.join(COLUMNS)}")
    points: dict[str, np.ndarray] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(c.strip() for c in row):
            continue
        try:
            eyes = np.array([float(v) for v in row[1:]]).reshape(2, 2)
        except ValueError:
            raise StylegraftError(
                f"--align {path}: line {number} is {','.join(row)[:80]!r}; expected a name and four numbers"
            ) from None
        name = row[0].strip()
        if not np.isfinite(eyes).all() or np.hypot(*(eyes[1] - eyes[0])) < 1:
            raise StylegraftError(f"--align {path}: line {number} ({name}): both eyes are at the same place")
        if name in points:
            raise StylegraftError(f"--align {path}: line {number}: {name} is listed twice")
        points[name] = eyes[np.argsort(eyes[:, 0])]
    if not points:
        raise StylegraftError(f"--align {path}: holds no points; expected one line for each picture")
    return points


def _fit(picture: Image.Image, centre: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square made smaller, then moved, until it reaches no more than OVERHANG beyond the picture."""
    size = np.array(picture.size, float)
    reach = float(np.abs(half).sum() - 2 * OVERHANG * np.hypot(*half))  # half the box that must be inside
    share = min(1.0, float(size.min()) / 2 / reach)
    return np.clip(centre, share * reach, size - share * reach), share * half


def _well_framed(picture: Image.Image, face: Face) -> bool:
    if picture.width != picture.height:
        return False
    return bool(np.abs(face.eyes / picture.width - np.array(FFHQ_EYES)).max() <= NEAR)


def _rot90(v: np.ndarray) -> np.ndarray:
    """A quarter turn clockwise on the screen (y grows downwards): from 'right' to 'down'."""
    return np.array([-v[1], v[0]])
