"""What `stylegraft inspect` says of small files that belong to one source: codes of faces, directions of edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stylegraft.cli.resolve import Found
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor


def show_codes(found: Found) -> None:
    """How many, of which space, how they were found, and a line for each."""
    from stylegraft.cli.console import counted, file_size, print_facts, print_table

    tensors, config = _read(found, "latents", (3, 2))
    told = config.get("names")
    names, info = list(map(str, told if isinstance(told, list) else ())), _object(config.get("info"))
    styles = [name for name in tensors if name.startswith("style|")]
    rows = " rows of W+ of ".join(map(str, tensors["ws"].shape[1:])) if "ws" in tensors else ""
    photos = _object(info.pop("photos", None))
    print_facts((
        ("codes", f"{found.path} ({file_size(found.path)}, {counted(len(names), 'code')})"),
        ("space", f"S, {counted(len(styles), 'layer')}" if styles else "W+"),
        ("each", f"{rows} numbers"),
        *_facts(_object(info.pop("settings", None)) | info),
        ("base sha256", config.get("base")),
        ("file digest", found.metadata.get("digest")),
    ))  # fmt: skip
    print()
    records = [_object(photos.get(name)) for name in names]
    if any(records):
        print_table(("code", ">LPIPS", ">RMSE", "inversion"), [_row(*each) for each in zip(names, records)])
    else:
        print_table(("code",), [(name,) for name in names])


def _row(name: str, record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    from stylegraft.applications.invert import verdict

    numbers = [record.get(key) for key in ("lpips", "rmse", "usual")]
    known = [float(number) for number in numbers if isinstance(number, int | float)]
    if len(known) < len(numbers):
        return name, "", "", ""
    lpips, rmse, usual = known
    return name, f"{lpips:.3f}", f"{rmse:.3f}", verdict(lpips, usual)


def show_edit(found: Found) -> None:
    """What one step of it is, what is known of it, and what it moves."""
    from stylegraft.cli.console import file_size, print_facts, print_table

    tensors, config = _read(found, "direction", (2, 1))
    info = _object(config.get("info"))
    info.pop("channels", None)  # the table has them
    print_facts((
        ("direction", f"{found.path} ({file_size(found.path)})"),
        ("name", config.get("name")),
        ("kind", config.get("kind")),
        ("a step of 1", "one standard deviation" if config.get("unit") == "std" else config.get("unit")),
        *_facts(info),
        ("base sha256", config.get("base")),
        ("file digest", found.metadata.get("digest")),
        ("use", f"stylegraft edit MODEL --direction {found.path}=2"),
    ))  # fmt: skip
    print()
    if "ws" in tensors:
        sizes = tensors["ws"].norm(dim=1).tolist()
        what = [f"row {row} of W+" for row in range(len(sizes))] if len(sizes) > 1 else ["every row of W+"]
        print_table(("moves", ">length"), [(w, f"{size:.3g}") for w, size in zip(what, sizes) if size])
    rows = [
        (f"{name.partition('|')[2]}:{i}", f"{step[i]:+.3g}")
        for name, step in tensors.items()
        if name.startswith("style|")
        for i in step.nonzero()[:, 0].tolist()
    ]
    if rows:
        print_table(("channel", ">step"), rows)


def _read(found: Found, kind: str, axes: tuple[int, int]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and config; axes: how many `ws` and styles have."""
    from stylegraft.applications import kept

    tensors, config = kept.read(found.path, kind, None)
    if not tensors or any(t.ndim != axes[name != "ws"] for name, t in tensors.items()):
        raise StylegraftError(f"{found.path}: damaged {found.kind}: numbers of another shape")
    return tensors, config


def _facts(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a config knows, in its own names."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
    return [(key.replace("_", " "), text) for key, text in texts.items()]


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
