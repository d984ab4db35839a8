"""Where an encoder's weights are, or the one line that says how to get them; nothing is downloaded to find out."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from stylegraft.checkpoints import assets, hub
from stylegraft.encoders.table import ENCODERS, INCEPTION_FILE, INCEPTION_SHA256, Row
from stylegraft.errors import StylegraftError


def how_to_get(row: Row) -> str:
    """The command or setting that brings a row's weights, after the one that brings its package if that is missing."""
    first = "pip install 'stylegraft[clip]', then " if row.extra and find_spec(row.extra) is None else ""
    return first + row.get.replace("{cache}", str(assets.cache_dir()))


def place(kind: str, where: str = "") -> Path | str:
    """Of an encoder that is no asset: what the user named after the colon, else in its variable, else the cache.

    A name of the hub stays as it is, for the loader to fetch. Raises StylegraftError when there is nothing.
    """
    row, variable = ENCODERS[kind], assets.variable(kind)
    if named := where or os.environ.get(variable, ""):
        if hub.is_hub(named):
            return named
        path = Path(named).expanduser()
        if not path.exists():
            raise StylegraftError(f"{f'{kind}:' if where else f'{variable}='}{named}: no such file or folder")
        return path
    path = assets.cache_dir() / row.cached
    if path.exists():
        return path
    raise StylegraftError(
        f"the {kind} weights ({row.about}) are not here. Looked at: {variable} (not set), {path}. "
        f"To get them: {how_to_get(row)}; or name a path: {kind}:PATH"
    )


def whereabouts(name: str, row: Row) -> tuple[str, str]:
    """(place, digest) of a row's weights as far as can be told without reading them; ("", "") when they are missing.

    The digest of what a user gave himself is "own": loading it computes it. It is "other" of a file that has the place
    of the published Inception and is not it: loading refuses it, and says why.
    """
    if row.extra and find_spec(row.extra) is None:
        return "", ""
    if not (row.asset or row.cached):
        return "built in", row.digest
    named = os.environ.get(assets.variable(row.asset or name), "")
    if hub.is_hub(named):
        return named, "own"
    try:
        found = assets.find(row.asset) if row.asset else Path(place(name))
        if row.second:
            assets.find(row.second)
    except StylegraftError:
        return "", ""
    if row.cached == INCEPTION_FILE:
        same = found.is_file() and _sha256(found) == INCEPTION_SHA256
        return str(found), INCEPTION_SHA256 if same else "other"
    own = not row.digest or (named and found.suffix == ".safetensors")
    return str(found), "own" if own else row.digest


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
