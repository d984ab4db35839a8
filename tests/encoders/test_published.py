"""CLIP, SigLIP and DINOv2 from a folder: transformers' own features on the same pixels, Pillow's preprocessing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from stylegraft.encoders import TextEncoder, load_encoder
from stylegraft.encoders.guides import Patchwise, load_guide, load_guides
from stylegraft.encoders.published import Framing, framing
from stylegraft.errors import StylegraftError

transformers: Any = pytest.importorskip("transformers", minversion="5")

MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
WORDS = ["<end>", "<start>", "a", "pencil", "sketch", "of", "face"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tower = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=2)
    config = transformers.CLIPConfig(
        vision_config=tower | dict(image_size=32, patch_size=8),
        text_config=tower
        | dict(vocab_size=7, max_position_embeddings=6, bos_token_id=1, eos_token_id=0, pad_token_id=0),
        projection_dim=16,
    )
    model = transformers.CLIPModel(config)
    with torch.no_grad():
        for parameter in model.parameters():  # its own initial weights barely depend on the input
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return folder


@pytest.fixture(scope="module")
def dinov2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    write(folder, size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    return folder


def write(folder: Path, **changed: Any) -> None:
    settings = dict(resample=3, do_center_crop=True, image_mean=MEAN, image_std=STD) | changed
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    tower = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=2)
    config = transformers.SiglipConfig(
        vision_config=tower | dict(image_size=32, patch_size=8),
        text_config=tower | dict(vocab_size=7, max_position_embeddings=6),
    )
    model = transformers.SiglipModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<start>"}}))
    square = {"height": 32, "width": 32}
    settings = dict(resample=3, size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(params=["clip", "siglip", "dinov2"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{kind}_folder")


def test_features_are_those_of_transformers(kind: str, folder: Path, images: Tensor) -> None:
    encoder = load_encoder(f"{kind}:{folder}")
    pixels = encoder.preprocess(images)
    with torch.no_grad():
        if kind == "clip":
            expected = transformers.CLIPModel.from_pretrained(folder).get_image_features(pixel_values=pixels)
            expected = getattr(expected, "pooler_output", expected)
        elif kind == "siglip":
            expected = transformers.SiglipModel.from_pretrained(folder).get_image_features(
                pixel_values=pixels
            )
            expected = getattr(expected, "pooler_output", expected)
        else:
            expected = transformers.Dinov2Model.from_pretrained(folder)(pixels).pooler_output
    found = encoder.encode(pixels)
    assert found.shape == (3, encoder.dim)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert torch.allclose(encoder.encode(pixels[:1]), found[:1], atol=1e-5)


def test_the_name_says_the_model(clip_folder: Path, siglip_folder: Path, dinov2_folder: Path) -> None:
    assert load_encoder(f"siglip:{siglip_folder}").name == "siglip2-vit-32-8@32"
    assert load_encoder(f"clip:{clip_folder}").name == "clip-vit-32-8@32"
    assert load_encoder(f"dinov2:{dinov2_folder}").name == "dinov2-32@28"


def test_sentences_land_in_the_space_of_images(clip_folder: Path) -> None:
    encoder = load_encoder(f"clip:{clip_folder}")
    assert isinstance(encoder, TextEncoder)
    found = encoder.encode_text(["a pencil sketch", "a face"])
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    for row, ids in zip(found, ([1, 2, 3, 4, 0], [1, 2, 6, 0]), strict=True):
        with torch.no_grad():
            expected = model.get_text_features(input_ids=torch.tensor([ids]))
        assert torch.allclose(row[None], getattr(expected, "pooler_output", expected), atol=1e-5)
    assert found.shape == (2, encoder.dim)
    with pytest.raises(StylegraftError, match="7 tokens, clip-vit-32-8@32 reads 6"):
        encoder.encode_text(["a sketch of a face"])


@pytest.mark.parametrize("shape", [(48, 48), (20, 20), (32, 47), (36, 50)])
@pytest.mark.parametrize("changed", [{}, {"resample": 2}, {"size": {"height": 30, "width": 30}}])
def test_preprocessing_is_pillows_but_for_its_rounding(shape: tuple[int, int], changed: dict) -> None:
    pil = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    settings = dict(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, resample=3,
        image_mean=MEAN, image_std=STD,
    )  # fmt: skip
    settings |= changed
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8))
    expected = pil.CLIPImageProcessorPil(**settings)(picture, return_tensors="pt")["pixel_values"]
    images = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    found = framing(settings, "toy")(images)
    assert found.shape == expected.shape == (1, 3, 28, 28)
    steps = (found - expected).abs() * torch.tensor(STD)[:, None, None] * 255
    assert steps.max() < 1.6  # Pillow rounds after each direction


def test_images_of_the_networks_size_are_not_resampled() -> None:
    same = Framing(32, False, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(same(x), x)


def test_frozen_and_differentiable(kind: str, folder: Path, images: Tensor) -> None:
    encoder = load_encoder(f"{kind}:{folder}")
    assert isinstance(encoder, torch.nn.Module)
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    x = images[:1].clone().requires_grad_()
    encoder.encode(encoder.preprocess(x)).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in encoder.parameters())


def test_a_torch_file_of_the_same_weights_has_the_same_digest(
    kind: str, folder: Path, tmp_path: Path, images: Tensor
) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    old = {"vision_model.embeddings.position_ids": torch.arange(17)} if kind == "clip" else {}
    torch.save({**tensors, **old}, tmp_path / "pytorch_model.bin")
    ours, theirs = load_encoder(f"{kind}:{tmp_path}"), load_encoder(f"{kind}:{folder}")
    assert ours.digest == theirs.digest
    pixels = ours.preprocess(images)
    assert torch.equal(ours.encode(pixels), theirs.encode(pixels))
    keys = [key for key in tensors if key.endswith("fc1.bias")]
    towers = {
        key.partition(".")[0]: key for key in keys
    }  # in each tower one, of those that read the text's too
    assert len(towers) == (1 if kind == "dinov2" else 2)
    for key in towers.values():
        torch.save({**tensors, key: tensors[key] + 1}, tmp_path / "pytorch_model.bin")
        assert load_encoder(f"{kind}:{tmp_path}").digest != theirs.digest


def test_what_does_not_fit_is_one_line(kind: str, folder: Path, tmp_path: Path) -> None:
    def expect(message: str, name: str = f"{kind}:{tmp_path}") -> None:
        with pytest.raises(StylegraftError, match=message) as caught:
            load_encoder(name)
        assert "\n" not in str(caught.value)

    expect("no config.json in this folder")
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, tmp_path)
    expect("no model.safetensors or pytorch_model.bin")
    tensors = load_file(folder / "model.safetensors")
    prefix = "vision_model.encoder." if kind != "dinov2" else "encoder."
    key = next(key for key in tensors if key.startswith(prefix) and key.endswith("bias"))
    save_file({k: v for k, v in tensors.items() if k != key}, tmp_path / "model.safetensors")
    expect("missing tensor")
    save_file({**tensors, f"{prefix}more": torch.zeros(1)}, tmp_path / "model.safetensors")
    expect("unexpected tensor '(vision_model.)?encoder.more'")
    save_file({**tensors, key: torch.zeros(3)}, tmp_path / "model.safetensors")
    expect("do not fit each other")
    save_file({**tensors, key: tensors[key] * torch.nan}, tmp_path / "model.safetensors")
    expect("not finite")
    save_file(tensors, tmp_path / "model.safetensors")
    write(tmp_path, size=32, crop_size=40)
    expect("crop 40")
    write(tmp_path, size=32, crop_size=32, resample=1)
    expect("resample 1")
    write(tmp_path, size=32, crop_size=27)
    expect("27 px")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    expect(f"type 'vit', expected '{kind}'")


def test_only_the_numbers_of_the_architecture_are_taken_from_a_configuration(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    """A configuration can ask for foreign code (`auto_map`), kernels, or quantisation: none is passed on."""
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    asked = {
        "auto_map": {"AutoModel": "evil.Model"},
        "_attn_implementation": "someone/kernels",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    }
    for part in (config, config.get("vision_config", {})):
        part.update(asked)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_encoder(f"{kind}:{tmp_path}").digest == load_encoder(f"{kind}:{folder}").digest


def test_without_the_extra_the_line_names_it(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(StylegraftError, match=r"pip install 'stylegraft\[clip\]'"):
        load_encoder(f"{kind}:{folder}")


def test_a_repository_of_the_hub_is_read_from_its_cache_at_one_commit(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--someone--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repo / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv(f"STYLEGRAFT_{kind.upper()}", "hf://someone/model")
    assert load_encoder(kind).digest == load_encoder(f"{kind}:{folder}").digest
    assert load_encoder(f"{kind}:hf://someone/model@{commit}").digest == load_encoder(kind).digest
    with pytest.raises(StylegraftError, match="not in the local cache"):
        load_encoder(f"{kind}:hf://someone/other")
    with pytest.raises(StylegraftError, match="expected hf://OWNER/REPO@REVISION"):
        load_encoder(f"{kind}:hf://someone")


# As guides
# -----------------------------------------------------------------------------------------


@pytest.fixture(params=["clip", "siglip"])
def guide_folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_folder")


def test_a_folder_alone_is_a_guide_of_its_kind(
    clip_folder: Path, siglip_folder: Path, dinov2_folder: Path
) -> None:
    found = load_guides(f"{clip_folder}, {siglip_folder}=0.5")
    assert [(guide.name, weight) for guide, weight in found] == [
        ("clip-vit-32-8@32", 1),
        ("siglip2-vit-32-8@32", 0.5),
    ]
    for guide, _ in found:
        assert isinstance(guide, Patchwise)
        assert guide.sees == "bicubic to 32 px, antialiased"
        assert guide.patches == "block 3"
    with pytest.raises(StylegraftError, match="clip-vit-32-8@32 is there twice"):
        load_guides(f"clip:{clip_folder}, {clip_folder}=2")
    with pytest.raises(StylegraftError, match='a model of type "dinov2"'):
        load_guide(str(dinov2_folder))


def test_images_and_the_tokens_of_the_fourth_block_are_those_of_transformers(
    guide_folder: Path, images: Tensor
) -> None:
    guide = load_guide(str(guide_folder))
    assert isinstance(guide, Patchwise)
    pixels = guide.preprocess(images)
    assert torch.equal(guide.encode_image(images), guide.encode(pixels))
    model = transformers.AutoModel.from_pretrained(guide_folder)
    with torch.no_grad():
        states = model.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states
    expected = states[4][:, -16:]  # 0 is the input; the class token, where there is one, stands first
    found = guide.tokens(images)
    assert found.shape == (3, 16, 32)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-2


def test_siglip_reads_lower_case_filled_up_to_its_length(siglip_folder: Path) -> None:
    guide = load_guide(f"siglip:{siglip_folder}")
    model = transformers.SiglipModel.from_pretrained(siglip_folder)
    for text, ids in (("a Pencil sketch", [2, 3, 4, 0, 1, 1]), ("face", [6, 0, 1, 1, 1, 1])):
        with torch.no_grad():
            expected = model.get_text_features(input_ids=torch.tensor([ids]))
        assert torch.allclose(
            guide.encode_text([text]), getattr(expected, "pooler_output", expected), atol=1e-5
        )
    with pytest.raises(StylegraftError, match="7 tokens, siglip2-vit-32-8@32 reads 6"):
        guide.encode_text(["a sketch of a face face"])


def test_half_precision_gives_the_same_features_and_loses_no_small_gradient(
    guide_folder: Path, images: Tensor
) -> None:
    whole, half = load_guide(str(guide_folder)), load_guide(str(guide_folder), half=True)
    grads = []
    for guide in (whole, half):
        x = images.clone().requires_grad_()
        found = guide.encode_image(x)
        assert found.dtype == torch.float32
        (found.square().sum() * 1e-7).backward()
        assert x.grad is not None
        grads.append(x.grad)
    assert torch.allclose(half.encode_image(images), whole.encode_image(images), atol=0.02)
    assert ((grads[1] - grads[0]).norm() / grads[0].norm()).item() < 0.05
    assert half.digest == whole.digest
    assert torch.equal(half.encode_text(["a face"]), whole.encode_text(["a face"]))
