"""SigLIP (Zhai et al., ICCV 2023, arXiv:2303.15343) and SigLIP 2 (Tschannen et al., 2025, arXiv:2502.14786), frozen.

A folder or a repository of the hub in the layout of transformers (`published`), extra `[clip]`. Of SigLIP 2 those of a
fixed input size, whose model type is `siglip` too; the NaFlex kind takes pictures apart in another way and is refused.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stylegraft.checkpoints.assets import digest
from stylegraft.encoders.published import Published, build, find_published
from stylegraft.encoders.towers import Towers, block_tokens, in_its_precision, rows_of, tokenizer_of
from stylegraft.errors import StylegraftError

WIDTHS = {768: "b", 1024: "l", 1152: "so400m", 1536: "g"}  # of the image tower
FIRST_VOCABULARY = 32000  # SigLIP's; SigLIP 2 has Gemma's
_BOTH = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
)  # fmt: skip
VISION = (*_BOTH, "image_size", "patch_size", "num_channels", "vision_use_head")
WORDS = "text_model."  # tensors of the text tower
TEXT = (*_BOTH, "vocab_size", "max_position_embeddings", "projection_size")


class SigLIP(Towers):
    """`siglip-vit-b-16` or `siglip2-vit-b-16` and their like (`@384` behind it for another input than 224 px).

    Features are the pooled head, not normalised. `preprocess`, the digest and `half` are as `clip.CLIP` has them.
    """

    def __init__(self, files: Published, config: dict) -> None:
        super().__init__(files, config)
        found = files.tensors(("vision_model.", WORDS))
        weights = {key: value for key, value in found.items() if not key.startswith(WORDS)}
        vision, self.text = self.tower("vision_config"), self.tower("text_config")
        kind = "siglip" if self.text.get("vocab_size", FIRST_VOCABULARY) == FIRST_VOCABULARY else "siglip2"
        self.frame(kind, vision, WIDTHS, patch=16)
        self.network = build(self.name, "SiglipVisionModel", "SiglipVisionConfig", VISION, vision, weights)
        self.dim: int = vision.get("hidden_size", 768)
        self.digest = digest(found)
        self.freeze()
        self._reader: tuple[nn.Module, Any, int] | None = None  # a tuple, so no part of the state

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> embeddings [B, dim]."""
        return in_its_precision(self.network, x, lambda x: self.network(pixel_values=x).pooler_output)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> tokens after `BLOCK` [B, T, width]; there is no class token."""
        vision = getattr(self.network, "vision_model", self.network)
        return in_its_precision(self.network, self.preprocess(images), lambda x: block_tokens(vision, x))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> embeddings [T, dim], not normalised; raises StylegraftError for one that is too long.

        As both were trained: lower case, SigLIP's without punctuation, and filled up to the whole length.
        """
        network, tokenizer, filler = self._read()
        texts = [text.lower() for text in texts]
        if self.name.startswith("siglip-"):
            texts = [text.translate(str.maketrans("", "", string.punctuation)) for text in texts]
        length = self.text.get("max_position_embeddings", 64)
        rows = rows_of(tokenizer, texts, length, self.name)
        ids = torch.tensor([row + [filler] * (length - len(row)) for row in rows])
        with torch.no_grad():
            return network(input_ids=ids.to(network.device)).pooler_output  # pyright: ignore

    def _read(self) -> tuple[nn.Module, Any, int]:
        if self._reader is None:
            weights = self.files.tensors((WORDS,))
            network = build(self.name, "SiglipTextModel", "SiglipTextConfig", TEXT, self.text, weights)
            network.requires_grad_(False).to(self.network.device).eval()  # pyright: ignore
            tokenizer = tokenizer_of(self.files)
            pad = self.files.settings("tokenizer_config.json").get("pad_token")
            word = pad.get("content") if isinstance(pad, dict) else pad
            filler = tokenizer.token_to_id(str(word))
            if filler is None:
                raise StylegraftError(
                    f"{self.files.root}: pad_token {word!r} of tokenizer_config.json is not known to tokenizer.json"
                )
            self._reader = network, tokenizer, filler
        return self._reader


def load_siglip(where: str = "", device: torch.device | str = "cpu") -> SigLIP:
    """The encoder from `where` (a folder, or hf://OWNER/REPO@REVISION), `STYLEGRAFT_SIGLIP`, or the cache; raises
    StylegraftError when there is none or when it is no SigLIP.
    """
    return SigLIP(*find_published("siglip", where)).to(device)
