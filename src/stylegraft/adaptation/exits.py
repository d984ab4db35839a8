"""Which part of the discriminator learns, and which of its exits a step uses.

CDC (Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence", CVPR 2021, section 3.2)
judges whole images only near a few anchor latents; images of free latents are judged by patches, so that
they need not be one of the few.

MaskedD (Zhu et al., "Few-shot Image Generation via Masked Discrimination", arXiv 2210.15194) hides random
features from the last layers of the image exit, so that what shares some features with a training image
passes for real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft.adaptation.judges import AdaptedJudge
from stylegraft.adaptation.projected import Judge
from stylegraft.networks import ops
from stylegraft.networks.discriminator import Head


class PatchHead(nn.Module):
    """3x3 convolution to one logit a place, on a feature map of D: [B, C, r, r] -> [B, 1, r, r]. No
    activation.
    """

    def __init__(self, channels: int, rng: torch.Generator | None = None):
        super().__init__()
        self.gain = (9 * channels) ** -0.5
        self.weight = nn.Parameter(torch.randn(1, channels, 3, 3, generator=rng))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, r, r] -> logits [B, 1, r, r]."""
        return ops.conv2d(x, self.weight * self.gain, padding=1) + self.bias[:, None, None]


def patch_tap(resolution: int) -> str:
    """The feature map under the patch head: the 32x32 output of a block; in networks below 128 px a quarter
    of the image.

    At 256 px this is CDC's tap (512 channels), each logit of which sees 66 of 256 px, 26 % of the image's
    side. At 64 px the 16x16 map is nearest to that among those that still see patches: 30 of 64 px (the 8x8
    map sees all 64).
    """
    side = min(32, max(resolution // 4, 4))
    return f"b{2 * side}.conv1"


def exit_of(turn: int, cdc: bool, period: int) -> str:
    """`image` or `patch`: with CDC one turn in `period` is an anchor turn and uses the image exit."""
    return "image" if not cdc or turn % period == 0 else "patch"


def image_logits(
    discriminator: Judge | AdaptedJudge,
    patch: PatchHead | None,
    images: Tensor,
    halves: int,
    mask: Tensor | None,
) -> Tensor:
    """Logits [B, 1] of whole images; `mask` [B, C * 16] multiplies the features before the last two layers."""
    if mask is None:
        return discriminator(images, halves=halves).logits
    # A hook, so that the network need not know of masks; the head is never computed again in a backward pass.
    hide = head_of(discriminator).conv.register_forward_hook(lambda _, __, y: _times(y, mask))
    try:
        return discriminator(images, halves=halves).logits
    finally:
        hide.remove()


def _times(y: Any, mask: Tensor) -> Tensor:
    return y * mask.view_as(y)


def patch_logits(
    discriminator: Judge | AdaptedJudge,
    patch: PatchHead | None,
    images: Tensor,
    halves: int,
    mask: Tensor | None,
) -> Tensor:
    """Logits [B, 1, r, r] of the patches of images [B, C, R, R]; nothing is hidden from them."""
    assert patch is not None
    tap = patch_tap(discriminator.resolution)
    return patch(discriminator(images, taps=(tap,), stop=tap).taps[tap])


EXITS: dict[str, Callable[[Judge | AdaptedJudge, PatchHead | None, Tensor, int, Tensor | None], Tensor]] = {
    "image": image_logits,
    "patch": patch_logits,
}


def head_features(discriminator: Judge | AdaptedJudge) -> int:
    """How many numbers the last two layers look at: C * 16."""
    return head_of(discriminator).fc.weight.shape[1]


def head_of(discriminator: Judge | AdaptedJudge) -> Head:
    """The last layers of a StyleGAN2 discriminator; `fields.check` refuses the other kind."""
    head = discriminator.b4
    assert isinstance(head, Head)
    return head
