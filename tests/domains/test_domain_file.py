"""The domain file, version 1: reproducible bytes, and every fault refused by name."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from stylegraft.checkpoints import tensorfile
from stylegraft.domains import Delta, Domain
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, build_generator

Make = Callable[..., Domain]


@pytest.fixture
def saved(stylegan2: Generator, make_domain: Make, tmp_path: Path) -> Path:
    path = tmp_path / "d.safetensors"
    make_domain(stylegan2, "affine-light+").save(path)
    return path


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())


def rewrite(
    path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any], *, sign: bool = True
) -> None:
    """Change tensors and metadata and write the file again, with a digest that is right if `sign`."""
    tensors, metadata = contents(path)
    change(tensors, metadata)
    if sign:
        texts = {key: metadata[key] for key in ("config", "base") if key in metadata}
        metadata["digest"] = tensorfile.digest(tensors, texts)
    tensorfile.write(path, tensors, metadata)


def refused(path: Path, message: str, generator: Generator | None = None) -> None:
    start = time.perf_counter()
    with pytest.raises(StylegraftError, match=message) as caught:
        Domain.load(path, generator)
    assert time.perf_counter() - start < 2
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_file_is_plain_safetensors_with_the_promised_names(saved: Path, stylegan2: Generator) -> None:
    tensors, metadata = contents(saved)
    assert "synthesis.b4.conv1.affine.weight|lowrank|U" in tensors
    assert "synthesis.b8.conv0.weight|box|D" in tensors
    assert set(metadata) == {"format", "format_version", "config", "base", "library_version", "digest"}
    assert (metadata["format"], metadata["format_version"]) == ("stylegraft-domain", "1")
    assert json.loads(metadata["config"]) == {"space": "affine-light+", "seed": 0}
    assert set(json.loads(metadata["base"])) == {"fingerprint", "name", "licence", "sha256"}
    assert not {name for name, _ in stylegan2.named_parameters()} & set(tensors)  # never the base's weights


def test_a_mix_numbers_its_terms_and_lists_their_coefficients_once(
    stylegan2: Generator, make_domain: Make, tmp_path: Path
) -> None:
    a, b = make_domain(stylegan2, "affine-light+", seed=1), make_domain(stylegan2, "affine-light+", seed=2)
    (a * 0.6 + b * 0.4).save(tmp_path / "mix.safetensors")
    tensors, metadata = contents(tmp_path / "mix.safetensors")
    name = "synthesis.b4.conv1.affine.weight"
    assert {
        f"{name}|lowrank.0|U",
        f"{name}|lowrank.0|V",
        f"{name}|lowrank.1|U",
        f"{name}|lowrank.1|V",
    } <= set(tensors)
    assert json.loads(metadata["config"])["coefficients"] == [0.6, 0.4]
    assert torch.equal(tensors[f"{name}|lowrank.1|U"], b.deltas[name][0].parts["U"])


SCRIPT = """
import sys, torch
from stylegraft.domains import Delta, Domain
parts = {name: {"D": torch.full((3,), float(i))} for i, name in enumerate(("a", "b", "c", "d"))}
config = {"space": "x", "steps": 3, "seed": 1, "target": {"n": 10, "name": "skizze \\u00e4"}}
base = {"fingerprint": "f", "name": "n", "licence": "l", "sha256": "0"}
Domain({name: (Delta(1.0, "dense", p),) for name, p in parts.items()}, config, base).save(sys.argv[1])
"""


def test_the_same_domain_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    files = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.safetensors"
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path)], env={**os.environ, "PYTHONHASHSEED": seed}, check=True
        )
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_the_order_of_parameters_does_not_change_the_bytes(
    stylegan2: Generator, make_domain: Make, tmp_path: Path
) -> None:
    domain = make_domain(stylegan2, "affine+")
    turned = Domain(
        dict(reversed([*domain.deltas.items()])), dict(reversed([*domain.config.items()])), domain.base
    )
    domain.save(tmp_path / "a.safetensors")
    turned.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_stylespace_domain_is_small(make_domain: Make, tmp_path: Path) -> None:
    """A few KB at 64 px, about 38 KB at 1024."""
    base = {
        "fingerprint": "stylegan2-64px-000000000000",
        "name": "x" * 20,
        "licence": "y" * 100,
        "sha256": "0" * 64,
    }
    for resolution, channel_base, channel_max, limit in ((64, 2048, 128, 9_000), (1024, 32768, 512, 42_000)):
        with torch.device("meta"):
            network = build_generator(
                {
                    "architecture": "stylegan2",
                    "resolution": resolution,
                    "channel_base": channel_base,
                    "channel_max": channel_max,
                }
            )
        offsets = {
            f"synthesis.{layer.name}.affine.bias": (Delta(1.0, "dense", {"D": torch.randn(layer.channels)}),)
            for layer in network.layers
        }
        Domain(offsets, {"space": "stylespace", "recipe": "dcl"}, base).save(tmp_path / "s.safetensors")
        assert (tmp_path / "s.safetensors").stat().st_size < limit


def test_half_precision_halves_the_file_and_loads_in_fp32(
    stylegan2: Generator, make_domain: Make, tmp_path: Path
) -> None:
    domain = make_domain(stylegan2, "full")
    domain.save(tmp_path / "full.safetensors")
    domain.save(tmp_path / "half.safetensors", torch.float16)
    saving = (tmp_path / "full.safetensors").stat().st_size - (tmp_path / "half.safetensors").stat().st_size
    assert saving == pytest.approx(2 * domain.count, rel=0.05)
    loaded = Domain.load(tmp_path / "half.safetensors", stylegan2)
    for name, terms in domain.deltas.items():
        part = loaded.deltas[name][0].parts["D"]
        assert part.dtype == torch.float32
        assert torch.equal(part, terms[0].parts["D"].half().float())


def test_a_symlink_and_a_run_folder_are_followed(saved: Path, stylegan2: Generator) -> None:
    run = saved.parent / "run"
    run.mkdir()
    (run / "domain.safetensors").symlink_to(saved)
    assert Domain.load(run / "domain.safetensors", stylegan2).count == Domain.load(run, stylegan2).count > 0


def test_saving_through_a_symlink_keeps_the_link(saved: Path) -> None:
    link = saved.parent / "link.safetensors"
    link.symlink_to(saved)
    Domain.load(saved).save(link)
    assert link.is_symlink()


# -- faults


def test_a_truncated_file_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[:-1])
    refused(saved, f"truncated: {len(data) - 1:,} bytes, its header announces {len(data):,}")
    saved.write_bytes(data[:100])
    refused(saved, "truncated: 100 bytes, its header alone")
    saved.write_bytes(data[:5])
    refused(saved, "not a safetensors file")


def test_an_extra_byte_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    refused(saved, "1 bytes too long")


def test_an_empty_file_a_folder_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.safetensors").touch()
    refused(tmp_path / "empty.safetensors", "the file is empty")
    refused(tmp_path / "none.safetensors", "no such file")
    refused(tmp_path, r"domain\.safetensors: no such file")


@pytest.mark.parametrize("where", [-1, -300])
def test_a_flipped_byte_in_a_tensor_is_refused(saved: Path, where: int) -> None:
    data = bytearray(saved.read_bytes())
    data[where] ^= 1
    saved.write_bytes(data)
    refused(saved, "digest mismatch")


def test_a_changed_config_or_base_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data.replace(b'\\"seed\\":0', b'\\"seed\\":1'))
    refused(saved, "digest mismatch")
    saved.write_bytes(data.replace(b'\\"name\\":\\"toy\\"', b'\\"name\\":\\"boy\\"'))
    refused(saved, "digest mismatch")


def test_every_single_flipped_byte_is_refused_or_harmless(saved: Path, stylegan2: Generator) -> None:
    """Flip each byte of the header and a sample of the body: an error of ours, or (library_version) the same domain."""
    data = saved.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    expected = Domain.load(saved).effective(stylegan2)
    survivors = 0
    for position in [*range(0, 8 + length, 7), *range(8 + length, len(data), 101)]:
        changed = bytearray(data)
        changed[position] ^= 0x04
        saved.write_bytes(changed)
        try:
            loaded = Domain.load(saved).effective(stylegan2)
        except StylegraftError:
            continue
        survivors += 1
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    assert survivors < 10


def test_nan_is_refused_by_name(saved: Path) -> None:
    name = "synthesis.b4.conv1.affine.weight|lowrank|U"
    rewrite(saved, lambda tensors, _: tensors[name].__setitem__((0, 0), float("nan")))
    refused(saved, re.escape(name) + " holds NaN or infinity")


def test_saving_nan_is_refused_and_leaves_the_old_file(saved: Path) -> None:
    domain, before = Domain.load(saved), saved.read_bytes()
    next(iter(domain.deltas.values()))[0].parts["V"][0, 0] = float("inf")
    with pytest.raises(StylegraftError, match="holds NaN or infinity"):
        domain.save(saved)
    assert saved.read_bytes() == before


def rename(old: str, new: str) -> Callable[[dict[str, Any], dict[str, str]], None]:
    return lambda tensors, _: tensors.__setitem__(new, tensors.pop(old))


COEFFICIENTS = "its coefficients should be a list of finite numbers"
U, V = "synthesis.b4.conv1.affine.weight|lowrank|U", "synthesis.b4.conv1.affine.weight|lowrank|V"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename(U, U.replace("|U", "|W")), "lowrank: part 'U' is missing"),
        (lambda t, _: t.update({U.replace("|U", "|W"): t[U]}), "part 'W' is unknown; lowrank has U, V"),
        (lambda t, _: t.pop(V), "part 'V' is missing"),
        (lambda t, _: t.update({U.replace("lowrank", "sparse"): t[U]}), "form 'sparse' is unknown; known forms: dense"),
        (rename(U, "U"), "'U' is not named <parameter>|<form>|<part>"),
        (rename(U, U + "|x"), "is not named"),
        (lambda t, _: t.update({U.replace("lowrank|U", "dense|D"): t[U]}), "has two deltas under one number"),
        (lambda t, _: t.update({U.replace("lowrank", "lowrank.0"): t[U]}), "there is no coefficient 0"),
        (lambda t, _: t.update({U.replace("lowrank", "lowrank.00"): t[U]}), "is not named"),
        (lambda t, _: t.clear(), "the file holds no delta"),
        (lambda _, m: m.update(format="stylegraft-source"), "a stylegraft-source file, expected a stylegraft-domain"),
        (lambda _, m: m.pop("format"), "without stylegraft metadata, expected a stylegraft-domain"),
        (lambda _, m: m.update(format_version="2"), "version 2 was written by a newer stylegraft .*upgrade stylegraft"),
        (lambda _, m: m.update(format_version="0"), "version 0 does not exist"),
        (lambda _, m: m.update(format_version="one"), "format_version is 'one'"),
        (lambda _, m: m.update(masks="{}"), "metadata 'masks' is unknown to this version"),
        (lambda _, m: m.update(config="[1]"), "its config should be a JSON object, found list"),
        (lambda _, m: m.update(config="{"), "its config is not valid JSON"),
        (lambda _, m: m.update(config='{"a":NaN}'), "its config is not valid JSON .NaN"),
        (lambda _, m: m.update(config='{"a":1,"a":2}'), "the name 'a' appears twice"),
        (lambda _, m: m.update(config="[" * 100_000), "its config is not valid JSON"),
        (lambda _, m: m.update(config='{"coefficients":["x"]}'), COEFFICIENTS),
        (lambda _, m: m.update(config='{"coefficients":[true]}'), COEFFICIENTS),
        (lambda _, m: m.update(config='{"coefficients":[1e999]}'), COEFFICIENTS),
        (lambda _, m: m.update(base="{}"), "its base has no 'fingerprint'"),
    ],
)  # fmt: skip
def test_wrong_names_and_metadata_are_refused(saved: Path, change: Any, message: str) -> None:
    rewrite(saved, change)
    refused(saved, message)


@pytest.mark.parametrize("key", ["config", "base", "digest", "library_version"])
def test_missing_metadata_is_refused(saved: Path, key: str) -> None:
    rewrite(saved, lambda _, metadata: metadata.pop(key), sign=False)
    refused(saved, f"metadata '{key}' is missing")


def test_a_parameter_that_the_base_lacks_is_refused(saved: Path, stylegan2: Generator) -> None:
    rewrite(saved, rename("synthesis.b8.conv0.weight|box|D", "synthesis.b8.conv7.weight|box|D"))
    refused(
        saved,
        r"the domain moves 'synthesis\.b8\.conv7\.weight', which stylegan2-16px-.* does not have",
        stylegan2,
    )


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("synthesis.b8.conv0.weight|box|D", (8, 8, 3, 3), "[8, 8, 1, 1]"),
        (U, (8, 4), "[8, 5]"),
        (U, (8,), "[8, 5]"),
        (V, (5, 9), "[5, 8]"),
    ],
)
def test_a_wrong_shape_is_refused(
    saved: Path, stylegan2: Generator, name: str, shape: tuple[int, ...], expected: str
) -> None:
    rewrite(saved, lambda tensors, _: tensors.__setitem__(name, torch.zeros(shape)))
    refused(saved, re.escape(f"{name} has shape {list(shape)}, expected {expected}"), stylegan2)


@pytest.mark.parametrize("shape", [(), (0, 8)])
def test_a_rank_of_nothing_is_refused(saved: Path, stylegan2: Generator, shape: tuple[int, ...]) -> None:
    rewrite(saved, lambda tensors, _: tensors.__setitem__(V, torch.zeros(shape)))
    refused(saved, "the form lowrank does not fit", stylegan2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
def test_another_dtype_is_refused(saved: Path, dtype: torch.dtype) -> None:
    tensors, metadata = contents(saved)
    tensors[U] = tensors[U].to(dtype)
    safetensors.torch.save_file(tensors, saved, metadata)
    refused(saved, "expected float16 or float32")


def header(path: Path, text: bytes, length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text)


@pytest.mark.parametrize(
    ("text", "length", "message"),
    [
        (b"{}", 2**40, "announces a header of 1,099,511,627,776 bytes, the limit is"),
        (b"{}", 2**63, "announces a header"),
        (b"not json", None, "not valid JSON"),
        (b"[1, 2]  ", None, "should be a JSON object"),
        (b"\xff\xfe\xff\xfe", None, "its header is not text"),
        (b'{"a":{"dtype":"F32","shape":[1]}}', None, "an entry without offsets"),
        (b'{"a":7}', None, "an entry without offsets"),
        (b'{"a":{"data_offsets":["x","y"]}}', None, "header"),
        (b'{"a":{"data_offsets":[0,' + b"9" * 5000 + b"]}}", None, "not valid JSON"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1099511627776]}}', None, "truncated"),
        (b'{"__metadata__":{"format":7}}', None, "metadata should map names to text"),
        (b'{"__metadata__":{"format":"stylegraft-domain","format_version":"1"},'
         b'"a":{"dtype":"F32","shape":[99999999],"data_offsets":[0,0]}}', None, "damaged safetensors"),
        (b'{"__metadata__":{},"__metadata__":{}}', None, "appears twice"),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused(tmp_path: Path, text: bytes, length: int | None, message: str) -> None:
    path = tmp_path / "hostile.safetensors"
    header(path, text, length)
    refused(path, message)


def test_other_kinds_of_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    for start, kind in (
        (b"PK\x03\x04", "a zip archive"),
        (b"\x80\x04\x95", "a Python pickle"),
        (b"\x89PNG", "an image"),
    ):
        path.write_bytes(start + b"\0" * 100)
        refused(path, kind)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "not a regular file")


def test_an_empty_domain_and_a_reserved_name_are_not_saved(tmp_path: Path) -> None:
    delta = {"a": (Delta(1.0, "dense", {"D": torch.zeros(1)}),)}
    with pytest.raises(StylegraftError, match="the domain has no delta"):
        Domain({}, {}, {}).save(tmp_path / "d.safetensors")
    with pytest.raises(StylegraftError, match="'coefficients' is reserved"):
        Domain(delta, {"coefficients": [1]}, {}).save(tmp_path / "d.safetensors")
    with pytest.raises(StylegraftError, match="the config cannot be written as JSON"):
        Domain(delta, {"target": Path("x")}, {}).save(tmp_path / "d.safetensors")
    assert not list(tmp_path.iterdir())
