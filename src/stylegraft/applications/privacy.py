"""What leaves this machine says nothing of its folders: paths in texts become their last part."""

from __future__ import annotations

import re
from typing import Any

# /home/anna/x, ~/x, C:\Users\anna\x; not the slashes of an address, of a fraction or of `affine/torgb`
_FOLDERS = re.compile(
    r"(?<![\w.:/~\\-])(?:file://)?(?:\.\.?|~\w*|[A-Za-z]:|\\)?[\\/](?=\S)(?:[^\\/:\"'<>|,;]+[\\/])*"
)


def without_paths(value: Any) -> Any:
    """A JSON-able value whose texts have lost the folders of absolute paths (`/home/anna/sketches` -> `sketches`)."""
    if isinstance(value, str):
        return _FOLDERS.sub("", value)
    if isinstance(value, dict):
        return {without_paths(key): without_paths(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(one) for one in value]
    return value
