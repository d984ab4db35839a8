"""Emoji of four hands with their names, from npm's iconify packages (unpacked below --icons; no node is needed).

    npm pack @iconify-json/twemoji@1.2.5 @iconify-json/noto@1.2.9 @iconify-json/openmoji@1.2.29 \
        @iconify-json/fluent-emoji-flat@1.2.6

Licences: Twemoji CC BY 4.0, Noto Apache-2.0, OpenMoji CC BY-SA 4.0, Fluent MIT; their pictures are not shipped.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import torch
from torch import Tensor

from drawing import drawn

SETS = {
    "twemoji": "iconify-json-twemoji-1.2.5.tgz",
    "noto": "iconify-json-noto-1.2.9.tgz",
    "openmoji": "iconify-json-openmoji-1.2.29.tgz",
    "fluent": "iconify-json-fluent-emoji-flat-1.2.6.tgz",
}
_SKIP = re.compile(
    r"skin-tone|^flag|^[\d-]+$|keycap|-(light|medium|dark|medium-light|medium-dark)(-|$)|-low$|^\w$"
)
PATTERNS = ("{}", "an emoji of {}", "a flat icon: {}")


def names(folder: Path) -> dict[str, dict[str, dict]]:
    """{name in words: {set: its icon and the sheet's size}} of the names that three sets or more have."""
    found: dict[str, dict[str, dict]] = {}
    for kind, file in SETS.items():
        with tarfile.open(folder / file) as tar:
            sheet = json.load(tar.extractfile("package/icons.json"))  # pyright: ignore
        for name, icon in sheet["icons"].items():
            if not _SKIP.search(name):
                whole = {"width": sheet.get("width", 16), "height": sheet.get("height", 16), **icon}
                found.setdefault(name.replace("-", " "), {})[kind] = whole
    return {name: sets for name, sets in sorted(found.items()) if len(sets) >= 3}


def picture(icon: dict, size: int) -> Tensor:
    """uint8 [3, size, size] on white."""
    box = " ".join(str(icon.get(key, 0)) for key in ("left", "top", "width", "height"))
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return drawn(f'<svg {spaces} width="{size}" height="{size}" viewBox="{box}">{icon["body"]}</svg>', size)


def captions(name: str, random: torch.Generator, count: int) -> list[str]:
    return [
        PATTERNS[int(torch.randint(len(PATTERNS), (1,), generator=random))].format(name) for _ in range(count)
    ]
