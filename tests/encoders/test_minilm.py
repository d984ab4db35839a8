"""MiniLM: transformers' own numbers and the tokenizer's own pieces."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylegraft.checkpoints import assets
from stylegraft.encoders.minilm import HEADS, HIDDEN, LAYERS, WIDTH, MiniLM, load_minilm, words_of
from stylegraft.errors import StylegraftError

TEXTS = [
    "a pencil drawing of a face",
    "Crème brûlée, déjà-vu!  (50 %)\t#hash",
    "unbelievably supercalifragilisticexpialidocious",
    "猫の絵 and a cat",
    "it's \N{FACE WITH TEARS OF JOY} ok\x00",
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "face", "un", "##do", "##ne", ",", "猫"]


@pytest.fixture(scope="module")
def toy() -> tuple[MiniLM, Any]:
    """Random weights of the published names, in ours and in transformers' BERT."""
    transformers: Any = pytest.importorskip("transformers", minversion="5")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=HIDDEN, max_position_embeddings=512,
    )  # fmt: skip
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    vocabulary = torch.frombuffer(bytearray("\n".join(WORDS).encode()), dtype=torch.uint8)
    return MiniLM({**theirs.state_dict(), "vocabulary": vocabulary}), theirs


def test_sentences_are_the_mean_of_berts_tokens(toy: tuple[MiniLM, Any]) -> None:
    ours, theirs = toy
    rows = {"a face": [2, 4, 5, 3], "undone, a undo zzz 猫": [2, 6, 7, 8, 9, 4, 6, 7, 1, 10, 3]}
    found = ours(list(rows))
    for one, (text, ids) in zip(found, rows.items(), strict=True):
        assert ours.read(text) == ids
        with torch.no_grad():
            expected = theirs(torch.tensor([ids])).last_hidden_state.mean(1)
        assert torch.allclose(one, torch.nn.functional.normalize(expected, dim=1)[0], atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_a_sentence_without_end_and_a_hole_in_the_weights_are_one_line(toy: tuple[MiniLM, Any]) -> None:
    with pytest.raises(StylegraftError, match="302 tokens, minilm-l6-v2 reads 256"):
        toy[0](["a " * 300])
    with pytest.raises(StylegraftError, match="no tensor 'vocabulary'"):
        MiniLM({})
    tensors = {**toy[1].state_dict(), "vocabulary": torch.tensor(list(b"a"), dtype=torch.uint8)}
    with pytest.raises(StylegraftError, match=r"'words\.weight' is \[11, 384\], expected \[1, 384\]"):
        MiniLM(tensors)


def test_words_are_cut_as_bert_cuts_them() -> None:
    normalizers: Any = pytest.importorskip("tokenizers.normalizers")
    cutting: Any = pytest.importorskip("tokenizers.pre_tokenizers")
    bert = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    for text in TEXTS:
        expected = cutting.BertPreTokenizer().pre_tokenize_str(bert.normalize_str(text))
        assert words_of(text) == [word for word, _ in expected]


def test_the_published_weights_know_what_sentences_mean() -> None:
    try:
        net = load_minilm()
    except StylegraftError as missing:
        pytest.skip(str(missing))
    assert net.digest == assets.ASSETS["minilm"].digest
    a, b, c = net(["a drawing made with a pencil", "pencil sketch", "a plate of noodles"])
    assert a @ b > 0.7 > 0.3 > a @ c
