"""CLIP (Radford et al., ICML 2021, arXiv:2103.00020), frozen: images and sentences in one space.

A folder or a repository of the hub in the layout of transformers (`published`), extra `[clip]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft.checkpoints.assets import digest
from stylegraft.encoders.published import Published, build, find_published
from stylegraft.encoders.towers import Towers, block_tokens, in_its_precision, rows_of, tokenizer_of

WIDTHS = {384: "s", 512: "m", 768: "b", 1024: "l", 1280: "h", 1408: "g", 1664: "bigg"}  # of the image tower
_BOTH = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "projection_dim",
)  # fmt: skip
VISION = (*_BOTH, "image_size", "patch_size", "num_channels")
WORDS = ("text_model.", "text_projection.")  # tensors of the text tower
TEXT = (*_BOTH, "vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")


class CLIP(Towers):
    """`clip-vit-b-16` and its like (`@336` behind it for another input than 224 px): the projected image embedding.

    Features are not normalised. `preprocess` is the model's own, differentiable (`published.Framing`). The digest is
    of both towers' weights, as far as they are there; `encode_text` builds the text tower when it is first called.
    After `half()` the image tower computes in float16; what goes in and comes out stays float32.
    """

    def __init__(self, files: Published, config: dict) -> None:
        super().__init__(files, config)
        found = files.tensors(("vision_model.", "visual_projection.", *WORDS))
        weights = {key: value for key, value in found.items() if not key.startswith(WORDS)}
        vision = self._tower("vision_config")
        self.frame("clip", vision, WIDTHS, patch=32)
        self.network = build(
            self.name, "CLIPVisionModelWithProjection", "CLIPVisionConfig", VISION, vision, weights
        )
        self.dim: int = vision["projection_dim"]
        self.digest = digest(found)
        self.freeze()
        self._reader: tuple[nn.Module, object] | None = None  # a tuple, so no part of the state

    def _tower(self, field: str) -> dict[str, Any]:
        return {**self.tower(field), "projection_dim": self.config.get("projection_dim", 512)}

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> embeddings [B, dim]."""
        return in_its_precision(self.network, x, lambda x: self.network(pixel_values=x).image_embeds)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> tokens after `BLOCK` without the class token [B, T, width]."""
        vision = self.network.vision_model
        return in_its_precision(
            self.network, self.preprocess(images), lambda x: block_tokens(vision, x)[:, 1:]
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> embeddings [T, dim], not normalised; raises StylegraftError for one that is too long."""
        network, tokenizer = self._read()
        limit = self._tower("text_config").get("max_position_embeddings", 77)
        rows = rows_of(tokenizer, texts, limit, self.name)
        length = max(map(len, rows))
        # What stands behind the end is not looked at: the tower reads from left to right up to its first end.
        ids = torch.tensor([row + row[-1:] * (length - len(row)) for row in rows])
        with torch.no_grad():
            return network(input_ids=ids.to(network.device)).text_embeds  # pyright: ignore

    def _read(self) -> tuple[nn.Module, object]:
        if self._reader is None:
            weights = self.files.tensors(WORDS)
            tower = self._tower("text_config")
            network = build(self.name, "CLIPTextModelWithProjection", "CLIPTextConfig", TEXT, tower, weights)
            network.requires_grad_(False).to(self.network.device).eval()  # pyright: ignore
            self._reader = network, tokenizer_of(self.files)
        return self._reader


def load_clip(where: str = "", device: torch.device | str = "cpu") -> CLIP:
    """The encoder from `where` (a folder, or hf://OWNER/REPO@REVISION), `STYLEGRAFT_CLIP`, or the cache; raises
    StylegraftError when there is none or when it is no CLIP.
    """
    return CLIP(*find_published("clip", where)).to(device)
