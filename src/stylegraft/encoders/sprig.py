"""`sprig`: our own small dual encoder, images and sentences in one space of 256 numbers. It is no CLIP.

Frozen EfficientNet-Lite0 on one side, frozen MiniLM on the other, and a small trained network on each, pulled together
by the contrastive loss of CLIP (Radford et al., ICML 2021) on what `tools/build_sprig` draws: faces under classical
filters and tints, DiceBear's avatars and their attributes, emoji and their names. It knows these words and little else;
what it was measured to know stands in docs/encoders.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints import assets
from stylegraft.checkpoints.assets import digest
from stylegraft.checkpoints.tensorfile import read
from stylegraft.encoders.efficientnet import EfficientNetLite0
from stylegraft.encoders.minilm import MiniLM, load_minilm
from stylegraft.encoders.protocol import Frozen, fill, resize
from stylegraft.errors import StylegraftError

SIZE, DIM, HIDDEN = 128, 256, 320
# Maps of EfficientNet whose mean and deviation are looked at: number in `maps` -> channels (the stem, stages 2, 3, 5)
TAPS = {0: 32, 3: 24, 5: 40, 11: 112}
PATCHES = 5  # the map that tells of places: stage 3, 16 x 16
SEEN = 6 + 2 * sum(TAPS.values()) + EfficientNetLite0.dim
READ = MiniLM.dim
WEIGHTS = Path(__file__).with_name("sprig.safetensors")


class Projection(nn.Module):
    """Features, standardised, to the common space: a linear map plus a network of one hidden layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.hidden, self.out = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] -> [B, 256]."""
        return self.out(F.gelu(self.hidden((x - self.mean) * self.scale)))


class Sprig(Frozen):
    """`sprig`: looks at 128 px. `tokens` are places of EfficientNet's stage 3, standardised."""

    name = "sprig"
    dim = DIM
    size = SIZE
    sees = f"bilinear to {SIZE} px, antialiased"
    patches = "EfficientNet-Lite0 stage 3"

    def __init__(self, eye: EfficientNetLite0, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.eye = eye
        self.image, self.text = Projection(SEEN), Projection(READ)
        own = {key: value.float() for key, value in tensors.items()}
        fill(self.projections, own, self.name)
        self.digest = digest({**own, **{f"eye.{key}": value for key, value in eye.state_dict().items()}})
        self.freeze()
        self._reader: tuple[MiniLM] | None = None  # a tuple, so no part of the state

    @property
    def projections(self) -> nn.ModuleDict:
        """What is trained: `image` and `text`."""
        return nn.ModuleDict({"image": self.image, "text": self.text})

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, 128, 128], (value of 0..255 - 127) / 128."""
        return (resize(images.expand(-1, 3, -1, -1), SIZE) * 127.5 + 0.5) / 128

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> embeddings [B, 256], not normalised."""
        return self.image(seen(self.eye, x))

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> embeddings [B, 256]."""
        return self.encode(self.preprocess(images))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> embeddings [T, 256], not normalised; raises StylegraftError without MiniLM's weights."""
        if self._reader is None:
            self._reader = (load_minilm(self.image.out.weight.device),)
        with torch.no_grad():
            return self.text(self._reader[0](texts))

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> [B, 256, 40], row by row."""
        for number, x in enumerate(self.eye.maps(self.preprocess(images))):
            if number == PATCHES:
                start = 6 + 2 * sum(channels for tap, channels in TAPS.items() if tap < PATCHES)
                mean = self.image.mean[start : start + x.shape[1]]
                spread = self.image.mean[start + x.shape[1] : start + 2 * x.shape[1]]
                return ((x.flatten(2).transpose(1, 2) - mean) / spread).contiguous()
        raise AssertionError

    def half(self) -> Self:
        """No effect: small as it is, it stays in float32."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """As `encode_image`."""
        return self.encode_image(images)


def seen(eye: EfficientNetLite0, x: Tensor) -> Tensor:
    """What the projection of images takes, of preprocessed images: mean and deviation of the colours and of each tap,
    and the pooled head [B, `SEEN`].
    """
    out, last = [*moments(x)], x
    for number, last in enumerate(eye.maps(x)):
        if number in TAPS:
            out += moments(last)
    return torch.cat([*out, last.mean((2, 3))], 1)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over places, [B, C] each; of a flat map too there is a gradient."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    return mean, (variance + 1e-4).sqrt()


def load_sprig(where: str = "", device: torch.device | str = "cpu") -> Sprig:
    """The guide, its projections those of the package or of `where` (a .safetensors that `tools/build_sprig` wrote);
    raises StylegraftError when those, EfficientNet-Lite0 or MiniLM are missing.
    """
    missing = list[str]()
    for name in ("effnet", "minilm"):
        try:
            assets.find(name)
        except StylegraftError:
            missing.append(name)
    if missing:
        commands = "; ".join(f"stylegraft assets get {name}" for name in ("effnet", "minilm"))
        raise StylegraftError(
            f"sprig looks and reads through {' and '.join(missing)}, not here. To get them: {commands}"
        )
    path = Path(where).expanduser() if where else WEIGHTS
    if not path.is_file():
        raise StylegraftError(f"sprig: {path}: no such file")
    tensors, _ = read(path)
    return Sprig(EfficientNetLite0(assets.tensors("effnet")), tensors).to(device)
