"""Our own source file: round trip, identity, and every other file refused with its cause."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from stylegraft import sources
from stylegraft.checkpoints import (
    Source,
    base_digest,
    describe_base,
    fingerprint,
    headers,
    load,
    save_source,
    tensorfile,
)
from stylegraft.domains import Domain, start
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import build_generator

TEXTS = {"base", "config", "info"}  # what the digest covers beside the tensors


def refused(path: Path, message: str) -> None:
    started = time.perf_counter()
    with pytest.raises(StylegraftError, match=message) as caught:
        load(path)
    assert time.perf_counter() - started < 2
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> None:
    """Change tensors and metadata and write the file again with a right digest."""
    tensors, metadata = tensorfile.read(path)
    change(tensors, metadata)
    metadata["digest"] = tensorfile.digest(tensors, {key: metadata[key] for key in TEXTS & metadata.keys()})
    tensorfile.write(path, tensors, metadata)


@pytest.fixture
def saved(source: Source, tmp_path: Path) -> Path:
    save_source(tmp_path / "source.safetensors", source, torch.float32)
    return tmp_path / "source.safetensors"


def test_a_source_survives_the_file_bit_for_bit_in_fp32(source: Source, saved: Path) -> None:
    loaded = load(saved)
    assert (loaded.name, loaded.info) == ("toy", {**source.info, "name": "toy"})
    for network in ("generator", "discriminator"):
        old, new = getattr(source, network), getattr(loaded, network)
        assert new.config == old.config
        assert not new.training
        assert not any(parameter.requires_grad for parameter in new.parameters())
        expected = old.state_dict()
        assert expected.keys() == new.state_dict().keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in new.state_dict().items())
    z = torch.randn(2, 8)
    assert torch.equal(loaded.generator(z, psi=0.5).image, source.generator(z, psi=0.5).image)
    assert base_digest(loaded.generator) == base_digest(source.generator)
    save_source(saved.with_name("again.safetensors"), loaded, torch.float32)
    assert saved.with_name("again.safetensors").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_the_header_alone_tells_which_base_a_source_is(
    source: Source, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "source.safetensors"
    save_source(path, source, dtype)
    assert headers.read_metadata(path)["base"] == base_digest(load(path).generator)


def test_a_source_without_that_line_in_its_header_loads_all_the_same(source: Source, saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: metadata.pop("base"))
    assert base_digest(load(saved).generator) == base_digest(source.generator)


def test_fp16_on_disk_is_fp32_in_memory(source: Source, tmp_path: Path) -> None:
    save_source(tmp_path / "half.safetensors", source)
    with safe_open(tmp_path / "half.safetensors", "pt") as file:
        names = set(file.keys())
        assert all(file.get_slice(name).get_dtype() == "F16" for name in names)
    assert "G.mapping.w_avg" in names
    assert any(name.endswith("noise_const") for name in names)
    loaded = load(tmp_path / "half.safetensors")
    for name, tensor in loaded.generator.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, source.generator.state_dict()[name].half().float())
    save_source(tmp_path / "again.safetensors", loaded)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "half.safetensors").read_bytes()


def test_a_value_too_large_for_fp16_is_refused_on_saving(source: Source, tmp_path: Path) -> None:
    name = "mapping.fc0.weight"
    source.generator.get_parameter(name).data[0, 0] = 1e5
    with pytest.raises(StylegraftError, match=rf"G\.{name} does not fit torch\.float16"):
        save_source(tmp_path / "x.safetensors", source)
    assert not list(tmp_path.iterdir())


def test_a_source_may_lack_a_discriminator(source: Source, tmp_path: Path) -> None:
    save_source(tmp_path / "g.safetensors", Source("g", source.generator, None, {}))
    assert load(tmp_path / "g.safetensors").discriminator is None


# -- identity


def test_the_base_digest_sees_weights_and_gains_not_layout_or_requires_grad(source: Source) -> None:
    generator = source.generator
    before = base_digest(generator)
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert base_digest(generator.requires_grad_(True)) == before
    assert base_digest(generator.to(memory_format=torch.channels_last)) == before  # pyright: ignore[reportCallIssue]
    assert base_digest(generator.double()) == before
    generator.float()
    generator.gains["mapping.fc0.weight"] *= 2
    assert base_digest(generator) != before
    generator.gains["mapping.fc0.weight"] /= 2
    with torch.no_grad():
        generator.get_parameter("mapping.fc0.bias")[0] += 1e-3
    assert base_digest(generator) != before


def test_the_description_of_a_base_is_what_a_domain_file_records(source: Source) -> None:
    base = describe_base(source)
    architecture = source.generator.config["architecture"]
    assert base["fingerprint"].startswith(f"{architecture}-16px-")
    assert (base["name"], base["licence"], base["sha256"]) == ("toy", "none", base_digest(source.generator))


def test_equal_configs_have_equal_fingerprints(source: Source) -> None:
    config = source.generator.config
    assert fingerprint(dict(reversed(config.items()))) == fingerprint(config)
    assert fingerprint({**config, "w_dim": 9}) != fingerprint(config)


# -- everything that is not a source


def test_a_domain_given_as_a_source_is_recognised(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    Domain(start("stylespace", source.generator), {}, describe_base(source)).save(path)
    refused(path, "a domain file, not a source")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64)
    refused(tmp_path / "a.png", "an image, not a source")
    (tmp_path / "a.txt").write_text("hello, this is no source at all")
    refused(tmp_path / "a.txt", "a text file, not a source")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "the file is empty")
    refused(tmp_path / "missing.safetensors", "no such file")
    refused(tmp_path, "a folder, expected|not a regular file")
    tensorfile.write(tmp_path / "plain.safetensors", {"a": torch.zeros(1)}, {})
    refused(tmp_path / "plain.safetensors", "a safetensors file without stylegraft metadata")


def set_config(**changes: Any) -> Callable[[dict[str, torch.Tensor], dict[str, str]], None]:
    def change(_: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
        config = json.loads(metadata["config"])
        config["generator"] = {**config["generator"], **changes}
        metadata["config"] = json.dumps(config)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, _: t.pop("G.mapping.w_avg"), "tensor G.mapping.w_avg is missing"),
        (
            lambda t, _: t.update({"G.extra": torch.zeros(1)}),
            "tensor G.extra is unknown to this architecture",
        ),
        (lambda t, _: t.update({"X.extra": torch.zeros(1)}), "unknown tensor 'X.extra'"),
        (
            lambda t, _: t.update({"G.mapping.w_avg": torch.zeros(9)}),
            r"G.mapping.w_avg is \[9\], expected \[8\]",
        ),
        (lambda t, _: t["G.mapping.w_avg"].fill_(float("nan")), "G.mapping.w_avg holds NaN"),
        (lambda t, _: t.pop("D.b4.fc.weight"), "tensor D.b4.fc.weight is missing"),
        (lambda _, m: m.update(format_version="7"), "version 7 was written by a newer stylegraft"),
        (lambda _, m: m.update(config="{}"), "no usable config of the network G"),
        (lambda _, m: m.update(info="[]"), "its info should be a JSON object"),
        (lambda _, m: m.update(extra="x"), "metadata 'extra'"),
        (set_config(architecture="stylegan9"), "stylegan9"),
        (set_config(resolution="large"), "does not describe a network"),
        (set_config(mapping_layers=10**12), "does not describe a network"),
        (set_config(w_dim=2**40), "expected|does not describe"),
        (set_config(w_dim=-1), "expected|does not describe"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(saved: Path, change: Any, message: str) -> None:
    rewrite(saved, change)
    refused(saved, message)


def test_a_flipped_byte_and_a_truncated_file_are_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    saved.write_bytes(data[:-1])
    refused(saved, "truncated")
    data[-100] ^= 1
    saved.write_bytes(data)
    refused(saved, "digest mismatch")


# -- by name


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(StylegraftError, match=r"source 'face-64' is unknown \(did you mean 'faces-64'\?\)"):
        sources.load_source("face-64")
    with pytest.raises(
        StylegraftError, match="nowhere.safetensors: no such file; a source is a file or one of faces-64"
    ):
        sources.load_source("nowhere.safetensors")


def test_a_path_is_a_source_too(source: Source, saved: Path) -> None:
    assert base_digest(sources.load_source(saved).generator) == base_digest(source.generator)
    assert base_digest(sources.load_source(str(saved), "cpu").generator) == base_digest(source.generator)


@pytest.mark.parametrize("name", [name for name, row in sources.SOURCES.items() if row.file])
def test_a_shipped_source_loads_within_a_second_and_states_its_licence(name: str) -> None:
    try:
        path = sources.source_path(name)
    except StylegraftError as error:
        pytest.skip(str(error))
    assert path.stat().st_size <= 25e6
    sources.load_source(name)  # imports and caches
    started = time.perf_counter()
    source = sources.load_source(name)
    assert time.perf_counter() - started < 1
    assert source.discriminator is not None
    assert "non-commercial" in sources.SOURCES[name].licence
    assert source.info["licence"]


def test_a_source_on_meta_costs_nothing_to_describe() -> None:
    """The digest of an architecture needs weights, its fingerprint does not."""
    with torch.device("meta"):
        generator = build_generator({"architecture": "stylegan2", "resolution": 1024})
    assert fingerprint(generator.config).startswith("stylegan2-1024px-")


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_whose_length_begins_like_a_pickle_is_still_ours(
    saved: Path, tmp_path: Path, length: int
) -> None:
    from stylegraft.checkpoints.foreign import is_foreign

    data = saved.read_bytes()
    size = int.from_bytes(data[:8], "little")
    length += -(-(size - length) // 0x10000) * 0x10000 if length < size else 0
    padded = data[8 : 8 + size] + b" " * (length - size)
    path = tmp_path / "padded.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + padded + data[8 + size :])
    assert path.read_bytes()[:1] == b"\x80"
    assert not is_foreign(path)
    assert base_digest(load(path).generator) == base_digest(load(saved).generator)
