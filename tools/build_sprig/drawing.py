"""SVG to pixels."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def drawn(svg: str, size: int, ground: str = "ffffff") -> Tensor:
    """uint8 [3, size, size] on a ground of one colour."""
    import resvg_py

    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", picture.size, f"#{ground}"), picture)
    return torch.from_numpy(np.array(page.convert("RGB").resize((size, size)))).permute(2, 0, 1)
