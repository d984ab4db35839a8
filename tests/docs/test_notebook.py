"""The notebook runs from its first cell to its last, on few steps, and is kept without its outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stylegraft import sources
from stylegraft.adaptation import previews
from stylegraft.checkpoints import assets
from stylegraft.errors import StylegraftError

from ..encoders.conftest import random_lpips

NOTEBOOK = json.loads((Path(__file__).parents[2] / "docs" / "first_domain.ipynb").read_text(encoding="utf-8"))
FEW = "STEPS, FACES = 1, 3"


def cells(kind: str = "code", tag: str = "") -> list[dict[str, Any]]:
    told = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == kind]
    return [cell for cell in told if not tag or tag in cell["metadata"].get("tags", [])]


def test_it_is_a_notebook_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in cells():
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert [cells(tag=tag) for tag in ("install", "parameters")] == [cells()[:1], cells()[1:2]]


def test_all_that_it_needs_is_installed_by_its_first_cell():
    text = "".join(cells()[0]["source"])
    assert "%pip install" in text
    assert "stylegraft assets get lpips" in text
    assert not any(line.startswith(("%", "!")) for cell in cells()[1:] for line in cell["source"])


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """With LPIPS where it is installed, else with random weights of its shapes: the shares are meaningless then.

    Previews are of two faces: most of the time would be theirs.
    """
    try:
        sources.source_path("faces-64")
    except StylegraftError:
        pytest.skip("faces-64 is not in this installation")
    try:
        assets.find("lpips")
    except StylegraftError:
        save_file(
            {f"vgg.{name}": one for name, one in random_lpips("vgg").items()}, tmp_path / "lpips.safetensors"
        )
        monkeypatch.setenv("STYLEGRAFT_LPIPS", str(tmp_path / "lpips.safetensors"))
    draws = previews.Draws
    monkeypatch.setattr(previews, "Draws", lambda seeds, device: draws(seeds[:2], device))
    monkeypatch.chdir(tmp_path)
    shown: list[tuple[int, int]] = []
    names: dict[str, Any] = {"display": lambda image: shown.append(image.size), "Image": Image}
    few = {id(cells(tag="install")[0]): "", id(cells(tag="parameters")[0]): FEW}
    torch.manual_seed(0)
    for number, cell in enumerate(cells()):
        text = few.get(id(cell), "".join(cell["source"]))
        text = text.replace("steps=STEPS", "steps=STEPS, warmup=0, batch=2")
        exec(compile(text, f"cell {number}", "exec"), names)
    assert len(shown) == 5
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()[-4:]] == [*names["mixes"], "pencil.safetensors:"]
    assert all(0.5 < share < 1.5 for share in names["kept"].values())
    assert Path("pencil.safetensors").stat().st_size < 2e6
