"""Pictures of pictures: grids, pairs of rows, and captioned contact sheets, written atomically as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylegraft.atomic import write_bytes
from stylegraft.data.pixels import to_uint8
from stylegraft.errors import StylegraftError

VIEWABLE = 128  # px: tiles smaller than this are enlarged by whole factors: a pixel stays a square
GAP = 2
INK, PAPER, RED = (40, 40, 40), (255, 255, 255), (214, 40, 40)


def save_grid(
    images: Tensor,
    path: str | Path,
    columns: int | None = None,
    *,
    labels: Sequence[str] | None = None,
    scale: int | None = None,
) -> None:
    """Write images [N, C, H, W] (float in [-1, 1] or uint8, C 1 or 3) row by row.

    columns: None makes the grid about square. labels: one for each row, written on its left. scale: whole factor
    of nearest enlargement, None brings small tiles near 128 px. Raises StylegraftError when the disk refuses.
    """
    tiles = _tiles(images, scale)
    columns = columns or max(1, round(len(tiles) ** 0.5))
    rows = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    margin = _text_width(labels) + 3 * GAP if labels else 0
    sheet = Image.new("RGB", (margin + columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    for i, tile in enumerate(tiles):
        at = (margin + i % columns * (width + GAP), i // columns * (height + GAP))
        sheet.paste(Image.fromarray(tile), at)
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate((labels or ())[:rows]):
        at = (margin - 2 * GAP, row * (height + GAP) + height // 2)
        draw.text(at, label, fill=INK, font=_font(), anchor="rm")
    _save(sheet, path)


def paired_grid(
    above: Tensor,
    below: Tensor,
    path: str | Path,
    columns: int | None = None,
    *,
    labels: tuple[str, str] | None = ("source", "target"),
    scale: int | None = None,
) -> None:
    """Write each row of `above` directly over the same row of `below`, so that correspondence can be seen.

    Both [N, C, H, W]; columns: None puts up to eight in a row; otherwise as `save_grid`.
    """
    if above.shape != below.shape:
        found = f"{tuple(above.shape)} over {tuple(below.shape)}"
        raise StylegraftError(f"{path}: {found}; expected the same shape twice")
    columns = min(len(above), columns or 8)
    pieces: list[Tensor] = []
    for start in range(0, len(above), columns):
        for row in (above, below):
            part = to_uint8(row[start : start + columns]).cpu()
            filler = part.new_full((columns - len(part), *part.shape[1:]), 255)
            pieces += [part, filler]
    repeated = list(labels) * -(-len(above) // columns) if labels else None
    save_grid(torch.cat(pieces), path, columns, labels=repeated, scale=scale)


def save_sheet(
    images: Tensor,
    path: str | Path,
    *,
    captions: Sequence[Sequence[str]],
    marked: Sequence[bool],
    columns: int | None = None,
    scale: int | None = None,
) -> None:
    """Write a contact sheet: `captions[i]` are the lines under tile i, `marked[i]` frames it in red."""
    tiles = _tiles(images, scale)
    height, width = tiles.shape[1:3]
    columns = columns or max(1, min(len(tiles), max(5, round(len(tiles) ** 0.5))))
    line = round(_font().getbbox("Ág")[3]) + 2
    step = (width + 5 * GAP, height + 5 * GAP + line * max(len(c) for c in captions))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * step[0], rows * step[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        x, y = i % columns * step[0] + 2 * GAP, i // columns * step[1] + 2 * GAP
        if marked[i]:
            draw.rectangle((x - 4, y - 4, x + width + 3, y + height + 3), fill=RED)
        sheet.paste(Image.fromarray(tile), (x, y))
        for k, text in enumerate(captions[i]):
            at = (x, y + height + 2 * GAP + k * line)
            draw.text(at, _shorten(text, width), fill=RED if marked[i] and k else INK, font=_font())
    _save(sheet, path)


def _tiles(images: Tensor, scale: int | None) -> np.ndarray:
    """[N, C, H, W] to uint8 [N, H', W', 3], enlarged."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise StylegraftError(f"a grid needs images [N, 1 or 3, H, W], found {tuple(images.shape)}")
    factor = scale or max(1, VIEWABLE // images.shape[3])
    tiles = to_uint8(images).cpu().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    return tiles.repeat(factor, 1).repeat(factor, 2)


def _save(sheet: Image.Image, path: str | Path) -> None:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


def _text_width(texts: Sequence[str]) -> int:
    return max((round(_font().getlength(t)) for t in texts), default=0)


def _shorten(text: str, width: int) -> str:
    """Cut the middle out of a text that is wider than `width` pixels."""
    keep = len(text)
    short = text
    while keep > 4 and _font().getlength(short) > width:
        keep -= 1
        short = f"{text[: keep - keep // 2]}…{text[-(keep // 2) :]}"
    return short
