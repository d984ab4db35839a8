"""Pencil drawings from photographs by a classical filter, so that a target domain of any size can be made.

What a draughtsman does is imitated in four layers, all of them old image processing:
contours by an extended difference of Gaussians (Winnemoeller, Kyprianidis & Olsen, "XDoG", C&G 2012),
soft shading by colour dodge (the grey image divided by its own blur), strokes by line integral
convolution of noise along the smoothed edge tangents (Cabral & Leedom, SIGGRAPH 1993), and slanted
hatching whose layers set in as the tone falls. Graphite is then laid on grained, off-white paper.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PAPER = np.array([0.972, 0.957, 0.925], np.float32)  # sRGB of the paper and of the graphite on it
GRAPHITE = np.array([0.185, 0.180, 0.190], np.float32)
WORKING_SIZE = 256  # pixels: strokes are drawn at this size and reduced with the picture


def pencil(images: Tensor, *, seed: int = 0) -> Tensor:
    """Pencil drawings of face photographs; picture, place in the batch and seed fix the drawing.

    images: uint8 [N, 1 or 3, R, R], framed as FFHQ (the paper is left white around the head).
    seed: chooses grain and strokes; picture i uses stream (seed, i).
    Returns uint8 [N, 3, R, R].
    """
    pictures = enumerate(images.cpu().numpy())
    drawings = [_draw(image, np.random.default_rng([seed, i])) for i, image in pictures]
    return torch.from_numpy(np.stack(drawings)) if drawings else images.new_zeros(0, 3, *images.shape[2:])


def _draw(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[-1]
    work = max(WORKING_SIZE, size)
    grey = _resize(np.tensordot(_LUMA[: len(image)] / _LUMA[: len(image)].sum(), image, 1) / 255.0, work)
    unit = work / 256.0  # lengths below are in pixels of a 256 px drawing

    # The light of the scene does not belong to the drawing: flatten it, then stretch what is left.
    light = _blur(grey, 28 * unit)
    tone = grey / (0.45 + 0.9 * light)
    low, high = np.quantile(tone[_oval(work) > 0.5], [0.02, 0.88])
    tone = np.clip((tone - low) / max(high - low, 1e-3), 0, 1)

    lines = 1.0 - _xdog(tone, 1.1 * unit, sharpness=22.0, threshold=0.03)
    dodge = np.clip(tone / np.maximum(_blur(tone, 5 * unit), 0.05), 0, 1) ** 1.6
    soft = _blur(tone, 1.2 * unit)
    strokes = _strokes(soft, rng, unit)
    hatching = _hatching(soft, rng, unit)

    shade = 0.62 * np.clip(0.92 - soft, 0, 1) * (0.45 + 0.75 * strokes) + hatching
    dark = 1.0 - (1.0 - np.clip(shade, 0, 0.93)) * (1.0 - 0.85 * lines) * (0.35 + 0.65 * dodge)
    tooth = 0.80 + 0.40 * _blur(rng.random((work, work), np.float32), 0.6)  # graphite catches on paper grain
    dark = np.clip(dark * tooth * _fade(work, rng), 0, 1)
    paper = PAPER[:, None, None] * (1 - 0.02 * rng.standard_normal((1, work, work)).astype(np.float32))
    drawing = paper * (1 - dark) + GRAPHITE[:, None, None] * dark
    return np.stack([np.clip(_resize(c, size) * 255 + 0.5, 0, 255).astype(np.uint8) for c in drawing])


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _xdog(tone: np.ndarray, sigma: float, *, sharpness: float, threshold: float) -> np.ndarray:
    """XDoG lines: 1 on paper, falling to 0 on a contour (eq. 7 with p folded into `sharpness`)."""
    fine, coarse = _blur(tone, sigma), _blur(tone, 1.6 * sigma)
    edge = fine - coarse + threshold
    return np.where(edge >= 0, 1.0, 1.0 + np.tanh(sharpness * edge))


def _strokes(tone: np.ndarray, rng: np.random.Generator, unit: float) -> np.ndarray:
    """Line integral convolution of noise along the edge tangents: about 1 on a stroke and 0 beside it."""
    gy, gx = np.gradient(_blur(tone, 1.5 * unit))
    xx, yy, xy = (_blur(t, 5 * unit) for t in (gx * gx, gy * gy, gx * gy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    noise = _blur(rng.random(tone.shape, np.float32), 0.7 * unit)
    total = noise.copy()
    for sign in (1.0, -1.0):
        y, x = np.mgrid[: tone.shape[0], : tone.shape[1]].astype(np.float32)
        vx, vy = sign * np.cos(angle), sign * np.sin(angle)
        for _ in range(max(1, round(9 * unit))):
            iy, ix = _inside(y, tone.shape[0]), _inside(x, tone.shape[1])
            nx, ny = np.cos(angle[iy, ix]), np.sin(angle[iy, ix])
            flip = np.where(nx * vx + ny * vy < 0, -1.0, 1.0)  # a tangent has no sign: keep walking forwards
            vx, vy = flip * nx, flip * ny
            x, y = x + vx, y + vy
            total += noise[_inside(y, tone.shape[0]), _inside(x, tone.shape[1])]
    return _stretch(total)


def _hatching(tone: np.ndarray, rng: np.random.Generator, unit: float) -> np.ndarray:
    """Slanted strokes in three layers, each setting in at a darker tone than the one before."""
    dark = np.zeros_like(tone)
    y, x = np.mgrid[: tone.shape[0], : tone.shape[1]].astype(np.float32) / unit
    for degrees, onset, weight in ((52.0, 0.72, 0.22), (38.0, 0.48, 0.26), (-35.0, 0.26, 0.30)):
        a = np.deg2rad(degrees)
        across = x * np.sin(a) + y * np.cos(a)
        along = x * np.cos(a) - y * np.sin(a)
        wobble = _blur(rng.standard_normal(tone.shape).astype(np.float32), 9 * unit)
        wave = 0.5 + 0.5 * np.cos(2 * np.pi * (across / 4.2 + 0.9 * wobble / (wobble.std() + 1e-6) * 0.35))
        gaps = _blur(rng.random(tone.shape, np.float32), 4 * unit)
        pressure = 0.75 + 0.25 * (gaps - 0.5) / (gaps.std() + 1e-6) + 0.1 * np.sin(along / 7)
        dark += weight * np.clip((onset - tone) / 0.22, 0, 1) * wave**1.5 * np.clip(pressure, 0.2, 1.2)
    return dark


def _oval(size: int) -> np.ndarray:
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    return 1.0 - np.sqrt(((x - 0.5) / 0.50) ** 2 + ((y - 0.50) / 0.56) ** 2)


def _fade(size: int, rng: np.random.Generator) -> np.ndarray:
    """The unfinished edge of a portrait study: 1 over the head, 0 in the corners, with an irregular rim."""
    ragged = _blur(rng.standard_normal((size, size)).astype(np.float32), 7 * size / 256)
    rim = (_oval(size) + 0.02 + 0.06 * ragged / (ragged.std() + 1e-6)) / 0.30
    return np.clip(rim, 0, 1)


def _stretch(x: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + (x - x.mean()) / (3 * x.std() + 1e-6), 0, 1)


def _inside(v: np.ndarray, size: int) -> np.ndarray:
    return np.clip(np.rint(v), 0, size - 1).astype(np.intp)


def _blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H, W] with reflected borders, separable, cut at three standard deviations."""
    radius = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = np.zeros((2, 2), int)
        pad[axis] = radius
        wide = np.pad(x, pad, mode="symmetric")
        x = np.lib.stride_tricks.sliding_window_view(wide, len(taps), axis) @ taps
    return x


def _resize(x: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bicubic resize of a float [H, W] plane."""
    if x.shape == (size, size):
        return x.astype(np.float32)
    plane = torch.from_numpy(np.ascontiguousarray(x, np.float32))[None, None]
    return torch.nn.functional.interpolate(plane, (size, size), mode="bicubic", antialias=True)[0, 0].numpy()
