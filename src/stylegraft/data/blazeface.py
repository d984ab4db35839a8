"""BlazeFace: a 0.1 M parameter face detector, small enough to ship (Bazarevsky et al., arXiv:1907.05047).

The weights are MediaPipe's short-range model (Apache-2.0), converted by `tools/build_detector.py`. Drawings
do not stop it: of 100 teacher samples and 100 CUFSF sketches it found every face, and the ten sketches and nine
Van Gogh portraits of the few-shot literature too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load
from torch import Tensor

SIZE = 128  # px, the network's input
THRESHOLD = 0.5  # MediaPipe's default confidence
_STRIDED = {2, 5, 11}  # blocks that halve the map
_HEADS = {10: ("8", 2), 15: ("16", 6)}  # block -> (name of the head that reads its output, anchors a cell)


@dataclass(frozen=True)
class Face:
    """Eyes [2, 2] (the left one in the picture first), mouth and centre (x, y) and side, in pixels; confidence."""

    eyes: np.ndarray
    mouth: np.ndarray
    centre: np.ndarray
    side: float
    score: float


def find_face(picture: Image.Image) -> Face | None:
    """The most prominent upright face of a picture, or None.

    Two looks: at the whole picture, then at the neighbourhood of what was found, where the points are more
    exact; a face that the second look does not confirm is none.
    """
    first = _look(picture, np.array(picture.size) / 2, 1.25 * max(picture.size))
    return first and _look(picture, first.centre, 2.0 * first.side)


@torch.no_grad()
def _look(picture: Image.Image, centre: np.ndarray, side: float) -> Face | None:
    x, y = centre - side / 2
    box = (int(np.floor(x)), int(np.floor(y)), int(np.floor(x + side)) + 1, int(np.floor(y + side)) + 1)
    seen = _window(picture, box)
    pixels = torch.from_numpy(np.asarray(seen, np.float32) / 127.5 - 1)
    scores, boxes = network(pixels.permute(2, 0, 1)[None])
    scores, boxes = scores[0].numpy(), boxes[0].numpy()
    best = int(np.argmax(scores * np.where(scores >= THRESHOLD, boxes[:, 2], 1e-3)))
    if scores[best] < THRESHOLD:
        return None
    scale, origin = box[2] - box[0], np.array(box[:2])
    points = boxes[best][[0, 1, 4, 5, 6, 7, 10, 11]].reshape(4, 2) * scale + origin
    eyes = points[1:3]
    if np.hypot(*(eyes[1] - eyes[0])) < 2 or eyes[0][0] >= eyes[1][0]:
        return None
    return Face(eyes, points[3], points[0], float(boxes[best][2]) * scale, float(scores[best]))


def _window(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The box of `picture`, black outside it, reduced to the network's input."""
    side = box[2] - box[0]
    inside = (max(0, box[0]), max(0, box[1]), min(picture.width, box[2]), min(picture.height, box[3]))
    k = SIZE / side
    out = Image.new("RGB", (SIZE, SIZE))
    if inside[0] < inside[2] and inside[1] < inside[3]:
        size = (max(1, round((inside[2] - inside[0]) * k)), max(1, round((inside[3] - inside[1]) * k)))
        part = picture.resize(size, Image.Resampling.BILINEAR, box=inside, reducing_gap=3.0).convert("RGB")
        out.paste(part, (round((inside[0] - box[0]) * k), round((inside[1] - box[1]) * k)))
    return out


def network(x: Tensor) -> tuple[Tensor, Tensor]:
    """Confidences [B, 896] and boxes [B, 896, 16], in fractions of the side, of x [B, 3, 128, 128] in [-1, 1].

    A box is its centre (x, y), width and height, then six points: the eyes, nose, mouth, ears. SAME padding as
    in TensorFlow: the odd pixel goes to the right and the bottom.
    """
    w = _weights()
    x = F.relu(F.conv2d(F.pad(x, (1, 2, 1, 2)), w["conv2d.weight"], w["conv2d.bias"], stride=2))
    scores, boxes = [], []
    for i in range(16):
        stride = 2 if i in _STRIDED else 1
        suffix = f"_{i}" if i else ""
        padded = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        kernel = w[f"depthwise_conv2d{suffix}.weight"]
        y = F.conv2d(padded, kernel, w[f"depthwise_conv2d{suffix}.bias"], stride=stride, groups=len(kernel))
        y = F.conv2d(y, w[f"conv2d_{i + 1}.weight"], w[f"conv2d_{i + 1}.bias"])
        skip = F.max_pool2d(x, 2) if stride == 2 else x
        x = F.relu(y + F.pad(skip, (0, 0, 0, 0, 0, y.shape[1] - skip.shape[1])))
        if i in _HEADS:
            name, anchors = _HEADS[i]
            logits = F.conv2d(x, w[f"classificator_{name}.weight"], w[f"classificator_{name}.bias"])
            offsets = F.conv2d(x, w[f"regressor_{name}.weight"], w[f"regressor_{name}.bias"])
            scores.append(logits.permute(0, 2, 3, 1).flatten(1).sigmoid())
            offsets = offsets.permute(0, 2, 3, 1).unflatten(3, (anchors, 16)) / SIZE
            cells = (torch.arange(x.shape[2]) + 0.5) / x.shape[2]
            cell = torch.stack(torch.meshgrid(cells, cells, indexing="xy"), -1)
            anchor = torch.cat([cell, torch.zeros_like(cell), cell.repeat(1, 1, 6)], -1)
            boxes.append((offsets + anchor[None, :, :, None]).flatten(1, 3))
    return torch.cat(scores, 1), torch.cat(boxes, 1)


@cache
def _weights() -> dict[str, Tensor]:
    data = files("stylegraft.data").joinpath("blazeface.safetensors").read_bytes()
    return {name: tensor.float() for name, tensor in load(data).items()}
