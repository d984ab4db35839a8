"""What `benchmarks/fuzz.py` found once stays refused, in one line of our own."""

from __future__ import annotations

import json
import lzma
import os
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from stylegraft.adaptation.folder import read_stats
from stylegraft.applications.keyfile import line_of, parse_keys
from stylegraft.applications.latents import Latents, of_seeds
from stylegraft.data.files import decode, read_pictures
from stylegraft.data.texts import from_toml, read_text, values_of
from stylegraft.domains import Domain
from stylegraft.errors import StylegraftError
from stylegraft.lab.study import cells
from stylegraft.lab.studyfile import parse
from stylegraft.lab.trace import read_trace

from .toys import random_domain, toy

STUDY = 'source = "faces-64"\ntargets = "pencil"\nrecipes = "tgan"\n'


def refused(words: str, call, *args) -> None:
    with pytest.raises(StylegraftError, match=words):
        call(*args)


@pytest.mark.parametrize(("text", "words"), [("a = " + "[" * 3000, "nested too deeply"), ("a = " + "9" * 5000, "4300"),
                                             ("a = ", "Invalid value")])  # fmt: skip
def test_toml_that_python_cannot_hold_is_refused_with_the_name_of_its_file(
    text: str, words: str, tmp_path: Path
):
    refused(f"x.toml: not TOML: .*{words}", from_toml, text, "x.toml")
    refused(words, parse, text, tmp_path / "study.toml")
    refused(words, parse_keys, text, tmp_path / "keys.toml")


def test_numbers_that_would_fill_memory_are_refused(tmp_path: Path):
    refused(
        "draws is 1000000000; expected at most 10,000",
        parse,
        STUDY + "draws = 1000000000",
        tmp_path / "s.toml",
    )
    large = parse(STUDY + "draws = 900\nseeds = 900", tmp_path / "s.toml")
    refused("wave 1 is 810,000 runs; expected at most 20,000", cells, large, lambda source: 64)


def test_a_name_longer_than_names_may_be_is_no_file(tmp_path: Path):
    refused(
        "source is 'xxx.*expected a file", parse, STUDY.replace("faces-64", "x" * 5000), tmp_path / "s.toml"
    )


def test_a_device_and_a_pipe_are_no_text(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe", tmp_path):
        refused("not a file.; expected a text", read_text, path, "a text")
    (tmp_path / "long").write_bytes(b"a" * 2000)
    refused("larger than 0 MB", read_text, tmp_path / "long", "a text", 1000)


def test_the_place_of_an_error_in_a_long_file_is_found_at_once():
    text = "".join(f"[[keys]]\nat = {i}\n" for i in range(600))
    begun = time.process_time()
    assert line_of(text, ("keys", 599, "at")) == 1200
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_of_a_rare_method_is_refused_before_anything_is_unpacked(
    method: int, tmp_path: Path, monkeypatch
):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", b"x" * 5000)
    monkeypatch.setattr(lzma, "LZMADecompressor", None)
    refused("a.png is compressed in a rare way", list, read_pictures(tmp_path / "a.zip", 3, []))


def test_an_entry_of_a_zip_without_a_name_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "\0.png"
        archive.writestr(info, b"x")
    refused("an entry has no name", list, read_pictures(tmp_path / "a.zip", 3, []))


def test_strips_change_no_pixel():
    """Transparency and 16 bits are changed some rows at a time: the result is that of the whole picture."""
    import io

    import numpy as np

    size = (20, 600)  # more than two strips
    clear = Image.effect_noise(size, 80).convert("RGB")
    clear.putalpha(Image.linear_gradient("L").resize(size))
    deep = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size[::-1]) * 5
    found = []
    for image in (clear, Image.fromarray(deep)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        found.append(np.asarray(decode(buffer.getvalue(), "x", "x", 3).image))
    white = Image.alpha_composite(Image.new("RGBA", size, "white"), clear).convert("RGB")
    assert (found[0] == np.asarray(white)).all()
    assert (found[1] == np.rint(deep * (255 / 65535)).astype(np.uint8)[..., None]).all()


def test_what_is_known_of_codes_may_be_anything(tmp_path: Path):
    generator = toy("stylegan2")
    odd = of_seeds(generator, [0])
    object.__setattr__(odd, "info", ["x"])
    odd.save(tmp_path / "codes.safetensors", generator)
    assert Latents.load(tmp_path / "codes.safetensors", generator).info == {}


def test_a_mix_in_a_config_may_be_anything():
    domain = random_domain(toy("stylegan2"))
    odd = Domain(domain.deltas, {"mix": ["x"]}, domain.base)
    assert (odd * 0.5).config == {"mix": [{"coefficient": 0.5, "config": {"mix": ["x"]}}]}


def test_lines_of_a_run_that_are_no_objects_or_no_steps_are_left_out(tmp_path: Path):
    (tmp_path / "stats.jsonl").write_text(
        '{"step": 0}\n3\n{"step": []}\n' + "[" * 100_000 + '\n{"step": 1}\n'
    )
    assert [one["step"] for one in read_stats(tmp_path / "stats.jsonl")] == [0, 1]
    (tmp_path / "trace.jsonl").write_text("3\n")
    refused("trace.jsonl: damaged", read_trace, tmp_path)


def test_an_odd_value_of_a_file_is_the_files_fault_and_a_refusal_stays_what_it_is():
    with pytest.raises(StylegraftError, match=r"a.json: damaged or edited.*no 'x'"), values_of("a.json"):
        {}["x"]
    with pytest.raises(StylegraftError, match="^no$"), values_of("a.json"):
        raise StylegraftError("no")


def test_the_studio_answers_numbers_and_letters_that_json_has_not():
    pytest.importorskip("starlette")
    from stylegraft.studio.app import Told

    body = Told({"a": float("nan"), "b": "\ud800"}).body
    assert json.loads(body) == {"a": None, "b": "\ud800"}


def test_an_origin_and_a_length_that_are_none_are_refused():
    pytest.importorskip("starlette")
    from stylegraft.studio.security import refusal

    good = {"host": "127.0.0.1:1", "x-studio": "1"}
    assert "another site" in refusal("POST", good | {"origin": "http://["}, None)
    assert "MB in one request" in refusal("POST", good | {"content-length": "9" * 5000}, None)


def test_a_header_of_a_stranger_does_not_take_the_library_of_the_studio_away(tmp_path: Path):
    from stylegraft.checkpoints import tensorfile
    from stylegraft.studio.workspace import Workspace

    for name, config in (("list", "[]"), ("text", '{"generator": "x"}'), ("deep", "[" * 50_000)):
        metadata = {"config": config, **tensorfile.stamp("stylegraft-domain", range(1, 2))}
        tensorfile.write(tmp_path / f"{name}.safetensors", {"x": torch.zeros(1)}, metadata)
    found = {entry.path: entry.facts for entry in Workspace(tmp_path).entries()}
    assert list(found) == ["text.safetensors"]  # a damaged one is none of the things that a list shows
    assert found["text.safetensors"]["resolution"] is None
    refused("not a name that a file can have", Workspace(tmp_path).path, "x" * 5000)
    refused("not a name that a file can have", Workspace(tmp_path).path, "\ud800")


def test_a_verb_of_the_page_that_is_no_text_is_refused():
    pytest.importorskip("starlette")
    from stylegraft.studio import working

    refused("verb", working.submit, SimpleNamespace(), {"verb": []})
