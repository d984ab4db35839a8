"""all-MiniLM-L6-v2 (Wang et al., NeurIPS 2020, arXiv:2002.10957; fine-tuned for sentences by sentence-transformers),
frozen: sentences to 384 numbers.

BERT (Devlin et al., NAACL 2019, arXiv:1810.04805) of six layers, written out, so that the guide `sprig` needs no
package beside torch; the tests hold it against transformers.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegraft.checkpoints import assets
from stylegraft.encoders.protocol import Frozen, fill
from stylegraft.errors import StylegraftError

WIDTH, HEADS, LAYERS, HIDDEN = 384, 12, 6, 1536
LENGTH = 256  # tokens that sentence-transformers lets it read
EPSILON = 1e-12


class Layer(nn.Module):
    """Self-attention and a two-layer network, each with the sum before the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mixed = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=EPSILON) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [T, L, 384]; mask [T, 1, 1, L], true where there is a token."""
        q, k, v = (
            part(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.mixed(seen))
        return self.norm2(x + self.narrow(F.gelu(self.wide(x))))


class MiniLM(Frozen):
    """`minilm-l6-v2`: the mean of the last layer's tokens, at unit length as its authors use it."""

    name = "minilm-l6-v2"
    dim = WIDTH

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        weights = dict(tensors)
        if (vocabulary := weights.pop("vocabulary", None)) is None:
            raise StylegraftError("minilm-l6-v2 weights: no tensor 'vocabulary'")
        words = bytes(vocabulary.to(torch.uint8).numpy()).decode("utf-8").split("\n")
        self.number = {word: i for i, word in enumerate(words) if word}
        self.words = nn.Embedding(len(self.number), WIDTH)
        self.places = nn.Embedding(512, WIDTH)
        self.kinds = nn.Embedding(
            2, WIDTH
        )  # of the first and second sentence of a pair; here all are the first
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        fill(self, renamed(weights), self.name)
        self.digest = assets.digest(tensors)
        self.freeze()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> [T, 384] at unit length; raises StylegraftError for one of more than 256 tokens."""
        rows = [self.read(text) for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > LENGTH:
                raise StylegraftError(f"{text[:40]!r}...: {len(row)} tokens, {self.name} reads {LENGTH}")
        length = max(map(len, rows))
        device = self.words.weight.device
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=device)
        mask = torch.tensor([[i < len(row) for i in range(length)] for row in rows], device=device)
        x = self.norm(self.words(ids) + self.kinds.weight[0] + self.places.weight[:length])
        for layer in self.layers:
            x = layer(x, mask[:, None, None])
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(mean, dim=1)

    def read(self, text: str) -> list[int]:
        """Numbers of the pieces of a sentence, [CLS] and [SEP] around them."""
        pieces = ["[CLS]", *(piece for word in words_of(text) for piece in self._pieces(word)), "[SEP]"]
        return [self.number[piece] for piece in pieces]

    def _pieces(self, word: str) -> list[str]:
        """The longest known piece from the left, again and again (WordPiece)."""
        out, start = list[str](), 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.number:
                    break
            else:
                return ["[UNK]"]
            out.append(piece)
            start = end
        return out if len(word) <= 100 else ["[UNK]"]


def words_of(text: str) -> list[str]:
    """Lower case without accents; each mark of punctuation and each Chinese character is a word of its own."""
    out = list[str]()
    for c in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(c)
        if c.isspace():
            out.append(" ")
        elif kind == "Mn" or kind.startswith("C") or c == "\ufffd":
            continue
        elif kind.startswith("P") or (c.isascii() and not c.isalnum()) or _is_chinese(ord(c)):
            out.append(f" {c} ")
        else:
            out.append(c)
    return "".join(out).split()


def _is_chinese(code: int) -> bool:
    ranges = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
    return any(low <= code <= high for low, high in ranges)


# BERT's names -> ours
_OUTER = {
    "embeddings.word_embeddings.weight": "words.weight",
    "embeddings.position_embeddings.weight": "places.weight",
    "embeddings.token_type_embeddings.weight": "kinds.weight",
    "embeddings.LayerNorm": "norm",
}
_INNER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mixed",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "norm2",
}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the published names to ours; a name that is not among them stays, for `fill` to refuse."""
    names = dict(_OUTER)
    for i in range(LAYERS):
        names |= {f"encoder.layer.{i}.{theirs}": f"layers.{i}.{ours}" for theirs, ours in _INNER.items()}
    out = {}
    for key, value in tensors.items():
        stem, _, kind = key.rpartition(".")
        out[names.get(key) or (f"{names[stem]}.{kind}" if stem in names else key)] = value
    return out


def load_minilm(device: torch.device | str = "cpu", where: str = "") -> MiniLM:
    """The reader of the minilm asset or from `where`; raises StylegraftError when its weights are missing."""
    return MiniLM(assets.tensors("minilm", where=where)).to(device)
