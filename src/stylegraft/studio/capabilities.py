"""What this installation can do, so that the page offers nothing that would be refused."""

from __future__ import annotations

import dataclasses
import os
from importlib.util import find_spec
from typing import Any

from stylegraft.checkpoints import assets
from stylegraft.data.targets import TARGETS
from stylegraft.errors import StylegraftError
from stylegraft.sources import SOURCES
from stylegraft.studio.workspace import Workspace


def hello(workspace: Workspace) -> dict[str, Any]:
    """What the page needs to know before it can show anything."""
    return {
        "workspace": workspace.root.name or "/",
        "sources": [
            {"name": name, "resolution": row.resolution, "summary": row.summary, "licence": row.licence}
            for name, row in SOURCES.items()
            if not row.asset or has_asset(row.asset)
        ],
        "targets": {
            name: {"description": row.description, "count": row.count} for name, row in TARGETS.items()
        },
        "can": {
            "text": takes_text(),
            "video": find_spec("imageio_ffmpeg") is not None,
            "onnx": find_spec("onnx") is not None and find_spec("onnxscript") is not None,
            "push": find_spec("huggingface_hub") is not None,
            "trace": has_asset("lpips") and has_asset("effnet"),
            "translate": has_asset("lpips"),
        },
        "cores": os.cpu_count() or 1,
    }


def has_asset(name: str) -> bool:
    """Whether weights that live in another package have been fetched."""
    try:
        return assets.find(name).is_file()
    except StylegraftError:
        return False


def takes_text() -> bool:
    """Whether `adapt` learns from a sentence (`--text`), by the parameters of the library's own function."""
    import inspect

    from stylegraft.adaptation import recipes
    from stylegraft.adaptation.run import adapt

    known = {field.name for field in dataclasses.fields(recipes.Recipe)} | set(
        inspect.signature(adapt).parameters
    )
    return "text" in known
