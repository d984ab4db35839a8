"""An exported graph draws what its network draws, at any batch, in runtimes that know nothing of stylegraft."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.applications import export as exporting
from stylegraft.applications.export import BOUND, Graph, describe, difference, export_graph, page
from stylegraft.checkpoints import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator, build_generator

from ..toys import ARCHITECTURES, toy

LICENCE = {"licence": "CC0-1.0 (random numbers)"}
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
FOLDER = str(Path(exporting.__file__).parents[1]).encode()  # a path of this machine


@pytest.fixture(autouse=True)
def _no_traces(caplog: pytest.LogCaptureFixture):
    """torch writes thousands of records for a log that pytest keeps, which takes as long as the export."""
    caplog.set_level(logging.WARNING, "torch.__trace")


def small(architecture: str) -> Generator:
    """8 px: what an exporter records is seconds long."""
    torch.manual_seed(0)
    extra = {"channels": {"4": 8, "8": 8}} if architecture == "mobile" else {}
    generator = build_generator({**ARCHITECTURES[architecture], "resolution": 8, **extra})
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_()
    return generator.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_onnx_runs_in_onnxruntime_with_equal_pictures(architecture: str, tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    source = Source("toy", small(architecture), None, LICENCE)
    with torch.no_grad():  # what no ordinary generator holds, a graph does
        source.generator.mapping.miner.bias.normal_()
        for gain in source.generator.channel_gains().values():
            gain.normal_(std=0.3)
    path = tmp_path / "pencil.onnx"
    checks = export_graph(path, source, Graph(source.generator, psi=0.7))
    assert [check.batch for check in checks] == [1, 3]
    assert all(check.error < BOUND for check in checks)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("z", ["batch", 8])]
    for batch in (1, 5):
        z = np.random.default_rng(batch).standard_normal((batch, 8), dtype=np.float32)
        (found,) = session.run(["image"], {"z": z})
        with torch.no_grad():
            wanted = source.generator(torch.from_numpy(z), psi=0.7).image.numpy()
        assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()

    model = onnx.load(path)
    onnx.checker.check_model(model)
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert said["licence"] == LICENCE["licence"]
    assert said["inputs"] == "z [B, 8]"
    assert FOLDER not in path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pencil.onnx"]

    # the example of the docs page, where there is neither torch nor stylegraft
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code = "import sys; sys.modules['torch'] = sys.modules['stylegraft'] = None\n" + example.replace(
        "512", "8"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert Image.open(tmp_path / "faces.png").size == (8 * 8, 8)


def test_an_exported_program_is_loaded_by_torch_alone_at_any_batch(tmp_path: Path):
    source = Source("toy", small("mobile"), None, LICENCE)
    export_graph(tmp_path / "toy.pt2", source, Graph(source.generator, "w", None, "input"))
    extra = {"stylegraft.txt": ""}
    program = torch.export.load(tmp_path / "toy.pt2", extra_files=extra).module()
    assert f"licence: {LICENCE['licence']}" in extra["stylegraft.txt"]
    for batch, psi in ((1, 0.3), (4, 1.0)):
        w = torch.randn(batch, 8)
        noise = source.generator.noise("random", batch)
        found = program(w, torch.tensor(psi), *(noise[name] for name in source.generator.noise_shapes))
        wanted = source.generator(w=w, psi=psi, noise=noise).image
        assert torch.allclose(found, wanted, atol=1e-5)
    with zipfile.ZipFile(tmp_path / "toy.pt2") as file:
        assert not any(FOLDER in file.read(name) for name in file.namelist())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torchscript_runs_without_stylegraft_at_any_batch(architecture: str, tmp_path: Path):
    source = Source("toy", toy(architecture), None, LICENCE)
    export_graph(tmp_path / "toy.ts", source, Graph(source.generator, psi=0.5))
    script = torch.jit.load(tmp_path / "toy.ts")
    for batch in (1, 4):
        z = torch.randn(batch, 8)
        assert torch.allclose(script(z), source.generator(z, psi=0.5).image, atol=1e-5)
    with zipfile.ZipFile(tmp_path / "toy.ts") as file:
        assert not any(FOLDER in file.read(name) for name in file.namelist())
        (text,) = [file.read(name) for name in file.namelist() if name.endswith("stylegraft.txt")]
    assert f"licence: {LICENCE['licence']}" in text.decode()


def test_large_maps_do_not_fix_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The network computes its largest maps sample by sample; a graph must not."""
    source = Source("toy", toy("stylegan2"), None, LICENCE)
    monkeypatch.setattr(ops, "LARGE", 129)  # all but 4x4
    export_graph(tmp_path / "toy.ts", source, Graph(source.generator))
    assert torch.jit.load(tmp_path / "toy.ts")(torch.randn(5, 8)).shape == (5, 3, 16, 16)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("start", ["z", "w", "ws"])
def test_a_graph_is_its_generator(architecture: str, start: str):
    generator = toy(architecture)
    graph = Graph(generator, start, 1.0 if start == "ws" else 0.7, "none")
    (given,) = graph.example(3)
    psi = {} if start == "ws" else {"psi": 0.7}
    wanted = generator(**{start: given}, **psi, noise="none").image
    with torch.no_grad():
        assert torch.allclose(graph(given), wanted, atol=1e-5)


def test_a_conditional_generator_takes_its_labels(tmp_path: Path):
    torch.manual_seed(0)
    generator = build_generator({**ARCHITECTURES["stylegan2"], "resolution": 8, "c_dim": 3}).eval()
    graph = Graph(generator, psi=None)
    assert graph.names == ("z", "c", "psi")
    export_graph(tmp_path / "toy.ts", Source("toy", generator), graph)
    z, c = torch.randn(2, 8), torch.eye(3)[:2]
    found = torch.jit.load(tmp_path / "toy.ts")(z, c, torch.tensor(0.3))
    assert torch.allclose(found, generator(z, c, psi=0.3).image, atol=1e-5)


def test_a_file_that_draws_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = Source("toy", toy("stylegan2"), None, LICENCE)

    def wrong(path: Path, graph: Graph, metadata):
        path.write_bytes(b"x")
        return lambda inputs: graph(*inputs) + 0.01

    monkeypatch.setitem(exporting.FORMATS, ".ts", wrong)
    with pytest.raises(StylegraftError, match="not written: at a batch of 1 its images differ"):
        export_graph(tmp_path / "toy.ts", source, Graph(source.generator))
    assert not list(tmp_path.iterdir())
    assert difference(Graph(source.generator), lambda inputs: torch.zeros(1), 1) == float("inf")


def test_the_card_says_licence_inputs_and_checks():
    source = Source("toy", toy("stylegan2"), None, LICENCE)
    graph = Graph(source.generator)
    text = page("toy.onnx", describe(source, graph), [exporting.Check(1, 2e-6)])
    assert "Licence of the weights: CC0-1.0 (random numbers)" in text
    assert "| inputs | z [B, 8] |" in text
    assert "| 1 | 2.0e-06 |" in text


def test_truncation_of_rows_of_w_plus_is_refused():
    with pytest.raises(StylegraftError, match="psi acts on z or w"):
        Graph(toy("stylegan2"), "ws", 0.7)
