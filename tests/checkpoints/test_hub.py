"""Names of the hub lead to the local cache without a network, pinned to the commit they came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stylegraft.errors import StylegraftError
from stylegraft.sources import load_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, toy_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as huggingface_hub keeps it, with one file, and no way out."""
    repo = tmp_path / "hub" / "models--someone--faces"
    for folder in ("refs", "blobs", f"snapshots/{COMMIT}/nets"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "blobs" / "abc").write_bytes(toy_file.read_bytes())
    (repo / "snapshots" / COMMIT / "nets" / "toy.safetensors").symlink_to(repo / "blobs" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return repo


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_cached_file_is_found_offline_and_pinned(cache: Path, revision: str):
    source = load_source(f"hf://someone/faces/nets/toy.safetensors{revision}")
    assert source.generator.resolution == 16
    assert source.info["origin"] == f"hf://someone/faces/nets/toy.safetensors@{COMMIT}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf://someone/faces/other.pkl", "not in the local cache, and the hub cannot be reached"),
        ("hf://someone/faces/nets/toy.safetensors@v9", "not in the local cache"),
        ("hf://someone", "expected hf://OWNER/REPO/FILE@REVISION"),
        ("hf://someone/faces/../../etc/passwd", "expected hf://OWNER/REPO/FILE@REVISION"),
    ],
)
def test_what_is_not_there_is_one_line_that_says_so(cache: Path, name: str, message: str):
    with pytest.raises(StylegraftError, match=message) as caught:
        load_source(name)
    assert str(caught.value).startswith(name) and "\n" not in str(caught.value)


def test_without_the_extra_the_line_names_it():
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from stylegraft.cli.main import main\n"
        "sys.exit(main(['inspect', 'hf://someone/faces/a.pkl']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert (
        ran.stderr
        == "error: hf://someone/faces/a.pkl: names of the hub need an extra: pip install 'stylegraft[hub]'\n"
    )
