"""Packages that come with an extra, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from stylegraft.errors import StylegraftError

MODULES = {
    "hub": ("huggingface_hub",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "studio": ("starlette", "uvicorn"),
}


def require(extra: str, shown: str) -> None:
    """Raise StylegraftError about `shown`, naming the extra, where one of its packages is missing."""
    if lacks := [name for name in MODULES[extra] if not _installed(name)]:
        raise StylegraftError(
            f"{shown}: this needs an extra ({', '.join(lacks)} missing): pip install 'stylegraft[{extra}]'"
        )


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # an entry of None in sys.modules
        return False
