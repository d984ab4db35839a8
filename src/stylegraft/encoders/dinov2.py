"""DINOv2 (Oquab et al., TMLR 2024, arXiv:2304.07193), frozen: features learnt without labels or sentences.

A folder or a repository of the hub in the layout of transformers (`published`), extra `[clip]`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stylegraft.checkpoints.assets import digest
from stylegraft.encoders.protocol import Frozen
from stylegraft.encoders.published import Published, build, find_published, framing
from stylegraft.errors import StylegraftError

WIDTHS = {384: "small", 768: "base", 1024: "large", 1536: "giant"}
FIELDS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio", "hidden_act", "layer_norm_eps",
    "image_size", "patch_size", "num_channels", "qkv_bias", "layerscale_value", "use_swiglu_ffn", "use_mask_token",
)  # fmt: skip


class DINOv2(Frozen):
    """`dinov2-small` and its like (`@448` behind it for another input than 224 px): the class token, normed.

    `preprocess` is the model's own, differentiable (`published.Framing`); Meta's shrinks to 256 px and keeps the
    middle 224.
    """

    def __init__(self, files: Published, config: dict) -> None:
        super().__init__()
        weights = files.tensors(("embeddings.", "encoder.", "layernorm."))
        self.dim: int = config.get("hidden_size", 768)
        self.name = f"dinov2-{WIDTHS.get(self.dim, self.dim)}"
        self.framing = framing(files.settings("preprocessor_config.json"), self.name)
        self.size, patch = self.framing.crop, config.get("patch_size", 14)
        if self.size != 224:
            self.name += f"@{self.size}"
        if self.size % patch:
            raise StylegraftError(
                f"{self.name}: its preprocessing gives {self.size} px, no multiple of {patch}"
            )
        self.network = build(self.name, "Dinov2Model", "Dinov2Config", FIELDS, config, weights)
        self.digest = digest(weights)
        self.freeze()

    def preprocess(self, images: Tensor) -> Tensor:
        """[B, 1 or 3, H, W] in [-1, 1] -> [B, 3, size, size], normalised."""
        return self.framing(images)

    def encode(self, x: Tensor) -> Tensor:
        """Preprocessed images -> class tokens [B, dim]."""
        return self.network(pixel_values=x).pooler_output

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 1 or 3, H, W] in [-1, 1] -> class tokens [B, dim]."""
        return self.encode(self.preprocess(images))


def load_dinov2(where: str = "", device: torch.device | str = "cpu") -> DINOv2:
    """The encoder from `where` (a folder, or hf://OWNER/REPO@REVISION), `STYLEGRAFT_DINOV2`, or the cache; raises
    StylegraftError when there is none or when it is no DINOv2.
    """
    return DINOv2(*find_published("dinov2", where)).to(device)
