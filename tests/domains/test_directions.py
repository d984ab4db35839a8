"""StyleDomain's and HyperDomainNet's direction files become domains that do what those code bases do."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from stylegraft.checkpoints import Source, base_digest, save_source
from stylegraft.checkpoints.exporting import save_rosinality
from stylegraft.domains import Domain
from stylegraft.domains.directions import load_domain, read_direction
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator, build_generator

TOY = {"architecture": "stylegan2", "resolution": 32, "z_dim": 16, "w_dim": 16, "mapping_layers": 2,
       "channel_base": 256, "channel_max": 16}  # fmt: skip


@pytest.fixture(scope="module")
def source() -> Source:
    torch.manual_seed(3)
    generator = build_generator(TOY)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return Source("ros", generator.eval().requires_grad_(False))


def convolutions(generator: Generator) -> list:
    return [layer for layer in generator.layers if layer.kind == "conv"]


def write(path: Path, source: Source, key: str, legacy: bool = False, **more) -> list[torch.Tensor]:
    """A `models_STEP.pt` as those trainers write it; returns the vectors."""
    torch.manual_seed(7)
    vectors = [torch.randn(layer.channels) * 0.5 for layer in convolutions(source.generator)]
    shape = (1, -1) if key == "s_delta" else (1, 1, -1, 1, 1)
    state = OrderedDict((f"heads.conv_{k}.params_in", vector.view(shape)) for k, vector in enumerate(vectors))
    value = {
        "model_type": "parametrization", "patch_key": key, "state_dict": state, "da_type": "td",
        "sg2_params": {"img_size": source.generator.resolution, "latent_size": 512, "device": torch.device("cpu")},
        "config": argparse.Namespace(lr=0.05), **more,
    }  # fmt: skip
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return vectors


def images(generator, **options) -> torch.Tensor:
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    return generator(z, psi=0.7, **options).image


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
@pytest.mark.parametrize("power", [1.0, 0.6, -0.5])
def test_s_delta_adds_to_the_style_of_each_convolution(
    source: Source, tmp_path: Path, power: float, legacy: bool
):
    vectors = write(tmp_path / "models_300.pt", source, "s_delta", legacy)
    domain = load_domain(tmp_path / "models_300.pt", source)
    assert domain.config["space"] == "stylespace" and domain.config["patch_key"] == "s_delta"
    assert domain.count == sum(len(vector) for vector in vectors)

    g = source.generator
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    styles = g.synthesis.styles(g.ws(g.mapping(z), 0.7))
    for layer, vector in zip(convolutions(g), vectors, strict=True):
        styles[layer.name] = styles[layer.name] + power * vector
    torch.testing.assert_close(images((domain * power).on(g)), g(styles=styles).image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("power", [1.0, 0.6])
def test_cin_mult_scales_kernels_after_demodulation(
    source: Source, tmp_path: Path, power: float, monkeypatch
):
    vectors = write(tmp_path / "models_300.pt", source, "cin_mult")
    domain = read_direction(tmp_path / "models_300.pt", source) * power
    found = images(domain.on(source.generator))

    # The formula, kernel by kernel: W'' = g theta s / |.| over (in, taps), then W'' (1 + p d).
    gains = {id(source.generator.synthesis.get_parameter(f"{layer.name}.weight")): vector
             for layer, vector in zip(convolutions(source.generator), vectors, strict=True)}  # fmt: skip

    def explicit(x, w, s, *, demodulate=True, up=1, f=None, gain=1.0, add=None, after=None):
        kernels = w * s[:, None, :, None, None]
        kernels = kernels / (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        kernels = kernels * (1 + power * gains[id(w)])[None, None, :, None, None] * gain
        one = [
            ops.upsampling_conv2d(a, k, f) if up == 2 else ops.conv2d(a, k, padding=k.shape[2] // 2)
            for a, k in zip(x.expand(len(s), -1, -1, -1).split(1), kernels, strict=True)
        ]
        return torch.cat(one) + add

    monkeypatch.setattr("stylegraft.networks.ops.modulated_conv2d", explicit)
    torch.testing.assert_close(found, images(source.generator), atol=1e-4, rtol=1e-4)


def test_a_direction_leaves_its_base_untouched_and_becomes_a_small_file(source: Source, tmp_path: Path):
    before = base_digest(source.generator)
    for key in ("s_delta", "cin_mult"):
        write(tmp_path / f"{key}.pt", source, key)
        domain = read_direction(tmp_path / f"{key}.pt", source)
        domain.save(tmp_path / f"{key}.safetensors")
        again = Domain.load(tmp_path / f"{key}.safetensors", source.generator)
        assert torch.equal(images(again.on(source.generator)), images(domain.on(source.generator)))
        assert not torch.equal(images(domain.on(source.generator)), images(source.generator))
    assert base_digest(source.generator) == before


def test_what_no_ordinary_generator_holds_is_refused_by_name(source: Source, tmp_path: Path):
    write(tmp_path / "hdn.pt", source, "cin_mult")
    merged = source.with_domain(read_direction(tmp_path / "hdn.pt", source))
    for save, name in ((save_source, "merged.safetensors"), (save_rosinality, "merged.pt")):
        with pytest.raises(StylegraftError, match=r"merged.*cin_mult.*keep it as a domain file"):
            save(tmp_path / name, merged)
        assert not (tmp_path / name).exists()
    assert base_digest(merged.generator) != base_digest(source.generator), "or it would pass for its own base"


def test_a_direction_of_another_size_or_kind_is_refused(source: Source, tmp_path: Path):
    small = Source("small", build_generator({**TOY, "resolution": 16}))
    write(tmp_path / "a.pt", source, "s_delta")
    with pytest.raises(
        StylegraftError, match=r"a\.pt: a direction of 7 convolutions \(32 px\), the source 'small' has 5"
    ):
        read_direction(tmp_path / "a.pt", small)
    narrow = Source("narrow", build_generator({**TOY, "channel_max": 8}))
    with pytest.raises(
        StylegraftError, match=r"heads\.conv_0\.params_in has 16 numbers, expected params_in with 8"
    ):
        read_direction(tmp_path / "a.pt", narrow)
    write(tmp_path / "b.pt", source, "csep_mult")
    with pytest.raises(
        StylegraftError, match=r"b\.pt: a direction of the kind 'csep_mult'; stylegraft reads s_delta and"
    ):
        read_direction(tmp_path / "b.pt", source)
    save_rosinality(tmp_path / "c.pt", source)
    with pytest.raises(StylegraftError, match="a source and not a domain"):
        read_direction(tmp_path / "c.pt", source)


def test_a_direction_with_a_missing_vector_is_refused(source: Source, tmp_path: Path):
    write(tmp_path / "a.pt", source, "s_delta")
    value = torch.load(tmp_path / "a.pt", weights_only=False)
    del value["state_dict"]["heads.conv_3.params_in"]
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(StylegraftError, match="a direction with 6 vectors for 7 convolutions"):
        read_direction(tmp_path / "a.pt", source)


def test_mind_the_gap_directions_say_that_rows_were_replaced(source: Source, tmp_path: Path):
    write(tmp_path / "mtg.pt", source, "s_delta", style_latents=torch.zeros(1, 11, 16))
    assert "rows of W+ from 7 on" in read_direction(tmp_path / "mtg.pt", source).config["note"]
