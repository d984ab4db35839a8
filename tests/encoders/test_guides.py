"""Guides: named, weighted, refused in one line; sentences go through their templates; the small one leads somewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegraft.checkpoints import assets
from stylegraft.encoders import guides
from stylegraft.encoders.guides import Guide, encode_texts, guide_kind, load_guide, weighted
from stylegraft.encoders.prompts import TEMPLATES, filled
from stylegraft.encoders.table import ENCODERS, GUIDES
from stylegraft.errors import StylegraftError


class Letters:
    """A guide whose embedding of a sentence counts its letters."""

    name, digest, dim, sees = "letters", "0", 26, "no image"

    def preprocess(self, images: Tensor) -> Tensor:
        return images

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :26]

    def encode_image(self, images: Tensor) -> Tensor:
        return self.encode(self.preprocess(images))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[float(t.lower().count(chr(97 + i))) for i in range(26)] for t in texts])


def test_a_sentence_is_the_mean_of_its_templates_units() -> None:
    guide = Letters()
    assert isinstance(guide, Guide)
    found = encode_texts(guide, ["zebra", "a queen"])
    assert found.shape == (2, 26)
    for one, text in zip(found, ("zebra", "a queen"), strict=True):
        rows = [guide.encode_text([template.format(text)])[0] for template in TEMPLATES["imagenet"]]
        expected = torch.stack([row / row.norm() for row in rows]).mean(0)
        assert torch.allclose(one, expected, atol=1e-6)
    assert torch.allclose(
        encode_texts(guide, ["zebra"], "plain")[0], F.normalize(guide.encode_text(["zebra"]))[0]
    )


def test_the_imagenet_templates_are_eighty_and_each_has_one_place() -> None:
    assert len(TEMPLATES["imagenet"]) == len(set(TEMPLATES["imagenet"])) == 80
    for table in TEMPLATES.values():
        assert all(template.count("{}") == 1 and "*" not in template for template in table)
    assert filled(" cat ", "a") == ["a cat"]
    with pytest.raises(StylegraftError, match="did you mean 'imagenet'"):
        filled("cat", "image-net")
    with pytest.raises(StylegraftError, match="empty sentence"):
        filled("  ", "plain")


def test_several_guides_are_named_with_their_weights() -> None:
    assert weighted("clip") == [("clip", 1.0)]
    assert weighted("clip:/b-32, siglip:hf://a/b@main=0.5,") == [
        ("clip:/b-32", 1.0),
        ("siglip:hf://a/b@main", 0.5),
    ]
    for names, message in (
        ("", "no guide is named"),
        ("clip=much", "expected NAME=WEIGHT, 'much' is no number"),
        ("clip=0", "positive weight"),
        ("clip=nan", "positive weight"),
    ):
        with pytest.raises(StylegraftError, match=message):
            weighted(names)


def test_what_is_no_guide_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    assert guide_kind(str(tmp_path)) == ("siglip", str(tmp_path))
    assert guide_kind("clip:/b-32") == ("clip", "/b-32")
    (tmp_path / "config.json").write_text('{"model_type": "siglip2"}')
    for name, message in (
        (str(tmp_path), 'a model of type "siglip2"; of these a guide can be: clip, siglip'),
        (
            str(tmp_path / "none"),
            "there is no such guide or folder; expected a folder of CLIP or SigLIP, or one of",
        ),
        ("vgg16", "reads no sentences; guides: clip, siglip, sprig"),
        ("clipp", "did you mean 'clip'"),
        ("sprigg", "or one of clip, siglip, sprig \\(did you mean 'sprig'"),
    ):
        with pytest.raises(StylegraftError, match=message) as caught:
            load_guide(name)
        assert "\n" not in str(caught.value)


def test_without_any_guide_one_line_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    for name in ("effnet", "minilm", "clip", "siglip"):
        monkeypatch.delenv(assets.variable(name), raising=False)
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    with pytest.raises(StylegraftError, match="no encoder that reads sentences is here") as caught:
        guides.guide_in_reach()
    assert "\n" not in str(caught.value)
    for name, row in GUIDES.items():
        assert row.get in str(caught.value)
        with pytest.raises(StylegraftError, match="not here"):
            load_guide(name)
    assert set(GUIDES) == {name for name, row in ENCODERS.items() if row.reads}


def test_a_guide_without_tokens_says_so() -> None:
    with pytest.raises(StylegraftError, match="letters tells nothing of places"):
        guides.tokens(Letters(), torch.zeros(1, 3, 8, 8))
