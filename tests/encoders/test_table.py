"""The list of encoders: says what is here without torch, and for what is missing the one thing to do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylegraft.checkpoints import assets
from stylegraft.cli.main import main
from stylegraft.encoders import ENCODERS, Encoder, load_encoder, places
from stylegraft.encoders.lpips import load_lpips
from stylegraft.encoders.table import DISTANCES
from stylegraft.errors import StylegraftError
from stylegraft.lab.measures import METRICS


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no weights at all."""
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    for name in ("lpips", "effnet", "inception", "clip", "siglip", "dinov2", "minilm"):
        monkeypatch.delenv(assets.variable(name), raising=False)
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    return tmp_path


def test_the_random_encoder_is_the_same_everywhere_and_says_what_it_is(images: Tensor) -> None:
    encoder = load_encoder("random-tiny")
    assert isinstance(encoder, Encoder)
    assert encoder.name == "random-tiny"
    assert encoder.digest == ENCODERS["random-tiny"].digest
    found = encoder.encode(encoder.preprocess(images))
    assert found.shape == (3, encoder.dim) == (3, int(ENCODERS["random-tiny"].dim))
    assert torch.allclose(found[:1], encoder.encode(encoder.preprocess(images[:1])), atol=1e-6)
    assert (found[0] - found[1]).abs().max() > 1e-3
    x = images[:1].clone().requires_grad_()
    encoder.encode(encoder.preprocess(x)).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    with pytest.raises(StylegraftError, match="come from a seed"):
        load_encoder("random-tiny:weights.pt")


@pytest.mark.parametrize("name", ["vgg16", "effnet-lite0", "sprig", *DISTANCES])
def test_the_pinned_digest_is_the_one_that_the_weights_have(name: str) -> None:
    row = {**ENCODERS, **DISTANCES}[name]
    try:
        assets.find(row.asset)
        assets.find(row.second or row.asset)
    except StylegraftError as missing:
        pytest.skip(str(missing))
    net = load_lpips(name.removeprefix("lpips-")) if name in DISTANCES else load_encoder(name)
    assert net.digest == row.digest
    assert str(getattr(net, "dim", "-")) == row.dim
    assert str(getattr(net, "size", "any")) == row.size


def test_the_list_needs_no_torch_and_no_network() -> None:
    code = """
import socket, sys
socket.socket.connect = None
from stylegraft.cli.main import main
assert main(["encoders"]) == 0
assert not {"torch", "transformers", "huggingface_hub"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in (*ENCODERS, *DISTANCES):
        assert f"\n{name} " in f"\n{done.stdout}"
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith(" ")) <= 80


def test_what_is_missing_is_listed_with_what_gets_it_and_loading_it_says_the_same(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encoders"]) == 0
    listed, _, missing = capsys.readouterr().out.partition("To get what is missing:")
    for name in ENCODERS.keys() - {"random-tiny"}:
        assert f"\n{name:<12}  no " in listed
        with pytest.raises(StylegraftError, match="not here") as caught:
            load_encoder(name)
        way = ENCODERS[name].get.replace("{cache}", str(bare))
        assert way in missing
        assert way in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "vgg16, lpips-vgg, lpips-alex:\n    stylegraft assets get lpips" in missing


def test_weights_of_ones_own_are_listed_as_such(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bare / "mine.safetensors").touch()
    (bare / "inception-2015-12-05.pt").write_bytes(b"x")
    monkeypatch.setenv("STYLEGRAFT_EFFNET", str(bare / "mine.safetensors"))
    monkeypatch.setenv("STYLEGRAFT_DINOV2", "hf://someone/model")
    assert main(["encoders"]) == 0
    out = capsys.readouterr().out
    assert f"\n{'effnet-lite0':<12}  own " in out
    assert f"\n{'inception':<12}  other " in out
    assert "inception:\n    curl -f " in out.partition("To get what is missing:")[2]
    assert main(["encoders", "inception"]) == 2  # says why it is not loaded
    assert "expected f58cb9b6" in capsys.readouterr().err
    monkeypatch.setattr(places, "INCEPTION_SHA256", hashlib.sha256(b"x").hexdigest())
    assert places.whereabouts("inception", ENCODERS["inception"])[1] == hashlib.sha256(b"x").hexdigest()
    extras = sum(bool(row.extra) for row in ENCODERS.values())
    assert extras and " ".join(out.split()).count("Needs the extra stylegraft[clip]") == extras
    if "pip install 'stylegraft[clip]'" not in out:
        assert f"\n{'dinov2':<12}  own " in out


def test_one_in_full(capsys: pytest.CaptureFixture[str], bare: Path) -> None:
    assert main(["encoders", "random-tiny"]) == 0
    assert ENCODERS["random-tiny"].digest in capsys.readouterr().out
    assert main(["encoders", "inception"]) == 0
    out = capsys.readouterr().out
    assert "not here" in out and "curl" in out
    assert main(["encoders", "lpips-vgg"]) == 0
    assert "stylegraft assets get lpips" in capsys.readouterr().out
    assert main(["encoders", "dino"]) == 2
    assert "did you mean 'dinov2'" in capsys.readouterr().err
    for name in ("lpips", "lpips-vg"):
        assert main(["encoders", name]) == 2
        error = capsys.readouterr().err
        assert "did you mean 'lpips-vgg'" in error and "random-tiny, lpips-vgg, lpips-alex" in error


def test_a_distance_is_not_taken_for_an_encoder() -> None:
    with pytest.raises(StylegraftError, match="lpips-vgg is a distance"):
        load_encoder("lpips-vgg")


def test_the_list_says_which_metrics_look_through_what() -> None:
    each = {name for name, metric in METRICS.items() if metric.each}
    for row in ENCODERS.values():
        assert set(row.serves.split()) == each
    by_lpips = {name for name, metric in METRICS.items() if "lpips" in metric.needs}
    assert set(DISTANCES["lpips-vgg"].serves.split()) == by_lpips == METRICS.keys() - each
    assert DISTANCES["lpips-alex"].serves == "-"  # `evaluate` and the panel take vgg
