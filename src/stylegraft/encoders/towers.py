"""What the two-tower models of transformers share: tokens of an early block, half precision, sentences to numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft.encoders.protocol import Frozen
from stylegraft.encoders.published import Framing, Published, framing
from stylegraft.errors import StylegraftError

BLOCK = 3  # whose output are the tokens, counted from 0, as in DiFa (Zhang et al., NeurIPS 2022)
SCALE = 256.0  # of gradients inside a network in half precision, whose smallest step is 6e-8


class Towers(Frozen):
    """What `clip.CLIP` and `siglip.SigLIP` do alike: their towers' settings, and pictures through their own framing."""

    encode: Callable[[Tensor], Tensor]  # preprocessed images -> embeddings [B, dim]

    def __init__(self, files: Published, config: dict[str, Any]) -> None:
        super().__init__()
        self.files, self.config = files, config

    def tower(self, field: str) -> dict[str, Any]:
        """The settings of a tower; raises StylegraftError where config.json has none."""
        found = self.config.get(field)
        if not isinstance(found, dict):
            raise StylegraftError(f"{self.files.root}: config.json has no {field}")
        return found

    def frame(self, kind: str, vision: Mapping[str, Any], widths: Mapping[int, str], patch: int) -> None:
        """Set size, name, framing and what is told of them; patch: in pixels, where the settings say none."""
        width, self.size = vision.get("hidden_size", 768), vision.get("image_size", 224)
        self.name = f"{kind}-vit-{widths.get(width, width)}-{vision.get('patch_size', patch)}"
        if self.size != 224:
            self.name += f"@{self.size}"
        self.framing = framing(self.files.settings("preprocessor_config.json"), self.name)
        if self.framing.crop != self.size:
            raise StylegraftError(
                f"{self.name}: its preprocessing gives {self.framing.crop} px, its network takes {self.size}"
            )
        self.sees, self.patches = in_words(self.framing), f"block {BLOCK}"

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, size, size], normalised."""
        return self.framing(images)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> embeddings [B, dim]."""
        return self.encode(self.preprocess(images))

    def forward(self, images: Tensor) -> Tensor:
        """As `encode_image`."""
        return self.encode_image(images)


def in_its_precision(network: nn.Module, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
    """`run` on x in the precision of the network's weights; float32 comes out, and gradients do not underflow."""
    dtype = next(network.parameters()).dtype
    if dtype != torch.float16:
        return run(x)
    x = x.clone()
    out = run(x.to(dtype)).float()
    if out.requires_grad:
        out.register_hook(lambda gradient: gradient * SCALE)
        x.register_hook(lambda gradient: gradient / SCALE)
    return out


def block_tokens(vision: Any, x: Tensor, block: int = BLOCK) -> Tensor:
    """Output [B, T, C] of a block of a vision transformer (its last if it has fewer), the class token among them."""
    x = vision.embeddings(x)
    if hasattr(vision, "pre_layrnorm"):
        x = vision.pre_layrnorm(x)
    for layer in vision.encoder.layers[: block + 1]:
        x = layer(x, None)
    return x


def in_words(framing: Framing) -> str:
    """`bicubic to 224 px, antialiased`, and the crop if there is one."""
    cut = f", the middle {framing.crop} px of it" if framing.crop != framing.short else ""
    return f"{framing.mode} to {framing.short} px, antialiased{cut}"


def tokenizer_of(files: Published) -> Any:
    """The tokenizer of a folder, its padding and truncation off; raises StylegraftError for a damaged one."""
    from tokenizers import Tokenizer

    path = files.file("tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # its Rust raises bare Exceptions
        raise StylegraftError(f"{path}: not a tokenizer ({str(error)[:120]})") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def rows_of(tokenizer: Any, texts: Sequence[str], limit: int, name: str) -> list[list[int]]:
    """Numbers of each sentence; raises StylegraftError for one of more tokens than `limit`."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    for text, row in zip(texts, rows, strict=True):
        if len(row) > limit:
            raise StylegraftError(f"{text[:40]!r}...: {len(row)} tokens, {name} reads {limit}")
    return rows
