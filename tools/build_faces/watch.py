"""The number beside each grid while a build runs: KID on VGG16 at 64 px, 512 samples against 512 held-out images.

Cheap on purpose; the figures of the model card come from `measure.py`.
"""

from __future__ import annotations

from torch import Tensor

from stylegraft.encoders.vgg16 import load_vgg16
from stylegraft.metrics import features, kid

COUNT = 512
SIZE = 64


class Watch:
    """KID against one set of images, whose features are computed when the first number is asked for."""

    def __init__(self, images: Tensor):
        self.images = images[:COUNT]
        self.encoder = None

    def __call__(self, images: Tensor) -> str:
        """Such as `kid-vgg16@64 0.0123 +- 0.0011` (mean, spread over subsets) of images [COUNT, 3, R, R]."""
        if self.encoder is None:
            self.device = images.device
            self.encoder = load_vgg16(size=SIZE).to(self.device)
            self.known = features(self.encoder, self.images, device=self.device)
        value = kid(features(self.encoder, images, device=self.device), self.known)
        return f"kid-{self.encoder.name} {value.mean:.5f} +- {value.spread:.5f}"


def due(step: int, every: int, last: int) -> bool:
    """Whether something is done after `step` steps: each `every`-th (0: never), and the last one."""
    return every > 0 and (step % every == 0 or step == last)
