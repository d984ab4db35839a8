"""CLIP (Radford et al., ICML 2021, arXiv:2103.00020), frozen: images and sentences in one space.

A folder or a repository of the hub in the layout of transformers (`published`), extra `[clip]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylegraft.checkpoints.assets import digest
from stylegraft.encoders.protocol import Frozen
from stylegraft.encoders.published import Published, build, find_published, framing
from stylegraft.encoders.towers import BLOCK, block_tokens, in_its_precision, in_words, rows_of, tokenizer_of
from stylegraft.errors import StylegraftError

WIDTHS = {384: "s", 512: "m", 768: "b", 1024: "l", 1280: "h", 1408: "g", 1664: "bigg"}  # of the image tower
_BOTH = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
    "projection_dim",
)  # fmt: skip
VISION = (*_BOTH, "image_size", "patch_size", "num_channels")
TEXT = (*_BOTH, "vocab_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")


class CLIP(Frozen):
    """`clip-vit-b-16` and its like (`@336` behind it for another input than 224 px): the projected image embedding.

    Features are not normalised. `preprocess` is the model's own, differentiable (`published.Framing`). The digest is
    of the image tower; `encode_text` reads the text tower when it is first called. After `half()` the image tower
    computes in float16; what goes in and comes out stays float32.
    """

    def __init__(self, files: Published, config: dict) -> None:
        super().__init__()
        self.files, self.config = files, config
        weights = files.tensors(("vision_model.", "visual_projection."))
        vision = self._tower("vision_config")
        width, self.size = vision.get("hidden_size", 768), vision.get("image_size", 224)
        self.name = f"clip-vit-{WIDTHS.get(width, width)}-{vision.get('patch_size', 32)}"
        if self.size != 224:
            self.name += f"@{self.size}"
        self.framing = framing(files.settings("preprocessor_config.json"), self.name)
        if self.framing.crop != self.size:
            raise StylegraftError(
                f"{self.name}: its preprocessing gives {self.framing.crop} px, its network takes {self.size}"
            )
        self.network = build(
            self.name, "CLIPVisionModelWithProjection", "CLIPVisionConfig", VISION, vision, weights
        )
        self.dim: int = vision["projection_dim"]
        self.sees, self.patches = in_words(self.framing), f"block {BLOCK}"
        self.digest = digest(weights)
        self.freeze()
        self._reader: tuple[nn.Module, object] | None = None  # a tuple, so no part of the state

    def _tower(self, field: str) -> dict:
        tower = self.config.get(field)
        if not isinstance(tower, dict):
            raise StylegraftError(f"{self.files.root}: config.json has no {field}")
        return {**tower, "projection_dim": self.config.get("projection_dim", 512)}

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, size, size], normalised."""
        return self.framing(images)

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> embeddings [B, dim]."""
        return in_its_precision(self.network, x, lambda x: self.network(pixel_values=x).image_embeds)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> embeddings [B, dim]."""
        return self.encode(self.preprocess(images))

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
            weights = self.files.tensors(("text_model.", "text_projection."))
            tower = self._tower("text_config")
            network = build(self.name, "CLIPTextModelWithProjection", "CLIPTextConfig", TEXT, tower, weights)
            network.requires_grad_(False).to(self.network.device).eval()  # pyright: ignore
            self._reader = network, tokenizer_of(self.files)
        return self._reader

    def forward(self, images: Tensor) -> Tensor:
        """As `encode_image`."""
        return self.encode_image(images)


def load_clip(where: str = "", device: torch.device | str = "cpu") -> CLIP:
    """The encoder from `where` (a folder, or hf://OWNER/REPO@REVISION), `STYLEGRAFT_CLIP`, or the cache; raises
    StylegraftError when there is none or when it is no CLIP.
    """
    return CLIP(*find_published("clip", where)).to(device)
