"""The published MobileStyleGAN computes what OpenVINO computes from it (stored numbers; see their metadata)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from stylegraft.checkpoints import assets
from stylegraft.checkpoints.openvino import Graph
from stylegraft.errors import StylegraftError
from stylegraft.sources import load_source

REFERENCE = Path(__file__).parents[1] / "data" / "teacher_reference.safetensors"


def here() -> bool:
    try:
        assets.find("mobile")
    except StylegraftError:
        return False
    return True


@pytest.mark.skipif(not here(), reason="needs `stylegraft assets get mobile`")
def test_the_published_generator_is_the_one_that_openvino_runs() -> None:
    """Means of 32 px boxes over all 1024 px, and pixel for pixel in a window (no pixel is off by more than 1.4e-4)."""
    with safe_open(REFERENCE, "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}
        top, left = map(int, file.metadata()["crop"].strip("[]").split(","))
    generator = load_source("mobile-faces-1024").generator
    with torch.inference_mode():
        w = generator.mapping(stored["z"])
        image = generator(w=stored["w"], noise="const").image
    torch.testing.assert_close(w, stored["w"], rtol=0, atol=5e-5)
    assert image.shape == (1, 3, 1024, 1024)
    torch.testing.assert_close(F.avg_pool2d(image, 32), stored["image.boxed32"], rtol=0, atol=5e-5)
    crop = image[:, :, top : top + 64, left : left + 64]
    torch.testing.assert_close(crop, stored["image.crop64"], rtol=0, atol=1e-4)


IR = """<net><layers>
<layer id="0" name="big" type="Const"><data element_type="f32" shape="2,1" offset="8" size="8"/></layer>
<layer id="1" name="x" type="Parameter"><data element_type="f32" shape="2,1"/></layer>
<layer id="2" name="axes" type="Const"><data element_type="i64" shape="" offset="0" size="8"/></layer>
<layer id="3" name="minus" type="Subtract"/>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="3" to-port="1"/>
<edge from-layer="1" from-port="0" to-layer="3" to-port="0"/>
</edges></net>"""


def test_an_ir_is_read_by_name_shape_and_port() -> None:
    blob = torch.tensor([7]).numpy().tobytes() + torch.tensor([1.5, -2.0]).numpy().tobytes()
    graph = Graph(IR.encode(), blob)
    assert graph.named("big").tolist() == [[1.5], [-2.0]]
    assert graph.named("axes").item() == 7
    assert graph.inputs["3"] == ["1", "0"]  # in the order of the ports, not of the file
    assert graph.constant_into("3") is graph.named("big")
    assert graph.user("1", "Subtract") == "3"


def test_without_the_asset_the_line_names_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    with pytest.raises(StylegraftError, match="run: stylegraft assets get mobile"):
        load_source("mobile-faces-1024")
