"""A generator as a graph for other runtimes: ONNX, PyTorch's ExportedProgram, TorchScript.

Each file is run and compared with the network that it came from before it takes its place.

A graph holds what an ordinary generator cannot (gains after demodulation, a miner): it is arithmetic, and no layout of
parameters.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from stylegraft.applications.extras import require
from stylegraft.atomic import replacing
from stylegraft.checkpoints.identity import base_digest
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator
from stylegraft.version import __version__

BOUND = 1e-4  # max |a - b| / max |a| between a file and its network
BATCHES = (1, 3)  # neither is the batch that was recorded
RECORDED = 2
Run = Callable[[Sequence[Tensor]], Tensor]  # inputs in the order of Graph.names -> images


class Graph(nn.Module):
    """A copy of a generator as a function of tensors alone, frozen, on the CPU.

    start: "z" [B, z_dim], "w" [B, w_dim] or "ws" [B, num_ws, w_dim]. psi: truncation, or None to make it an input [].
    noise: "const" (the network's own maps), "none", or "input", a map [B, 1, r, r] for each layer that takes one.
    names: of the inputs, in order: start, `c` [B, c_dim] where there are labels, `psi`, `noise.LAYER`.
    Raises StylegraftError for psi with rows of W+, which are truncated already.
    """

    def __init__(
        self,
        generator: Generator,
        start: Literal["z", "w", "ws"] = "z",
        psi: float | None = 1.0,
        noise: Literal["const", "none", "input"] = "const",
    ) -> None:
        super().__init__()
        if start == "ws" and psi != 1.0:
            raise StylegraftError("truncation psi acts on z or w; rows of W+ are truncated already")
        self.generator = copy.deepcopy(generator).cpu().eval().requires_grad_(False)
        if not any(bool(b.any()) for name, b in generator.named_buffers() if ".miner." in name):
            self.generator.mapping.add_module("miner", nn.Identity())  # zeros that nobody need multiply
        self.start, self.psi, self.noise = start, psi, noise
        latent = {
            "z": (generator.z_dim,),
            "w": (generator.w_dim,),
            "ws": (generator.num_ws, generator.w_dim),
        }
        self.shapes: dict[str, tuple[int, ...]] = {start: latent[start]}  # without the batch
        if start == "z" and generator.c_dim:
            self.shapes["c"] = (generator.c_dim,)
        if psi is None:
            self.shapes["psi"] = ()
        if noise == "input":
            self.shapes |= {f"noise.{name}": (1, r, r) for name, r in generator.noise_shapes.items()}
        self.names = tuple(self.shapes)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Images [B, C, R, R] of the inputs in the order of `names`."""
        given, g = dict(zip(self.names, inputs, strict=True)), self.generator
        w = g.mapping(given["z"], given.get("c")) if self.start == "z" else given.get("w")
        psi = given.get("psi", self.psi)
        if w is not None and psi is not None and not (isinstance(psi, float) and psi == 1.0):
            w = torch.lerp(g.get_buffer("mapping.w_avg"), w, psi)
        ws = given["ws"] if w is None else w[:, None].expand(-1, g.num_ws, -1)
        maps = {name.removeprefix("noise."): n for name, n in given.items() if name.startswith("noise.")}
        noise = g.noise(self.noise) if self.noise in ("const", "none") else maps
        return g.synthesis(g.synthesis.styles(ws), noise).image

    def example(self, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of this batch, drawn with a seed: normal latents and noise, labels in turn, psi 0.7."""
        rng = torch.Generator().manual_seed(seed)
        made = {
            "psi": lambda shape: torch.tensor(0.7),
            "c": lambda shape: torch.eye(shape[0])[torch.arange(batch) % shape[0]],
        }
        return tuple(
            made[name](shape) if name in made else torch.randn(batch, *shape, generator=rng)
            for name, shape in self.shapes.items()
        )


@dataclass(frozen=True)
class Check:
    """batch: images at once; error: max |a - b| / max |a| of the file's images against the network's."""

    batch: int
    error: float


def export_graph(
    path: str | os.PathLike[str], source: Source, graph: Graph, told: Mapping[str, str] | None = None
) -> list[Check]:
    """Write `graph`, made of `source`, in the format of the path's end (`FORMATS`), atomically, after having run it.

    told: goes into the file's metadata beside what `describe` says. Returns the checks at the batches of BATCHES.
    Raises StylegraftError for another end, without the extra `onnx`, and when the images differ by more than BOUND.
    """
    shown, kind = os.fspath(path), Path(path).suffix.lower()
    if kind not in FORMATS:
        raise StylegraftError(f"{shown}: the end of the name says the format: {', '.join(FORMATS)}")
    if kind == ".onnx":
        require("onnx", shown)
    metadata = {**describe(source, graph), **(told or {})}
    with replacing(path) as temporary, torch.no_grad(), _quiet():
        run = FORMATS[kind](temporary, graph, metadata)
        checks = [Check(batch, difference(graph, run, batch)) for batch in BATCHES]
        if worst := next((check for check in checks if not check.error <= BOUND), None):
            raise StylegraftError(
                f"{shown}: not written: at a batch of {worst.batch} its images differ from the network's by"
                f" {worst.error:.1e} of the largest value, more than {BOUND:g}"
            )
    return checks


def difference(graph: Graph, run: Run, batch: int) -> float:
    """max |a - b| / max |a| over the images of `batch` seeded inputs."""
    inputs = graph.example(batch, seed=batch)
    wanted, found = graph(*inputs), run(inputs)
    if found.shape != wanted.shape:
        return float("inf")
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def describe(source: Source, graph: Graph) -> dict[str, str]:
    """What a file says of itself: source, licence, the digest of its weights, inputs and output."""
    g = graph.generator
    inputs = [f"{name} {_shape(name, shape)}" for name, shape in graph.shapes.items()]
    psi = "an input" if graph.psi is None else f"{graph.psi:g}"
    return {
        "source": source.name,
        "licence": str(source.info.get("licence", "not stated")),
        "weights sha256": base_digest(source.generator),
        "inputs": ", ".join(inputs),
        "output": f"image [B, {g.img_channels}, {g.resolution}, {g.resolution}], nominally in [-1, 1]",
        "psi": psi,
        "noise": graph.noise,
        "written by": f"stylegraft {__version__}",
    }


def page(name: str, metadata: Mapping[str, str], checks: Sequence[Check]) -> str:
    """The text of the Markdown page that lies beside an exported file."""
    facts = "".join(f"| {key} | {value} |\n" for key, value in metadata.items())
    measured = "".join(f"| {check.batch} | {check.error:.1e} |\n" for check in checks)
    return (
        f"# {name}\n\nA generator exported by stylegraft. **Licence of the weights: {metadata['licence']}**\n\n"
        f"| | |\n|---|---|\n{facts}\n"
        "The file's images against the network's, max |a - b| / max |a|:\n\n"
        f"| batch | difference |\n|---|---|\n{measured}"
    )


def _shape(name: str, shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, ((() if name == 'psi' else ('B',)) + tuple(shape))))}]"


# ---------------------------------------------------------------------------------------------------------------
# The formats: each writes the file and gives back what was written as a function.


def _program(graph: Graph) -> ExportedProgram:
    """The graph with any batch, without the paths of this machine that the recorder keeps."""
    batch = Dim("batch")
    shapes = tuple({} if name == "psi" else {0: batch} for name in graph.names)
    program = torch.export.export(
        graph, graph.example(RECORDED), dynamic_shapes={"inputs": shapes}, strict=False
    )
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(key, None)
    return program


def _write_program(path: Path, graph: Graph, metadata: Mapping[str, str]) -> Run:
    program = _program(graph)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"stylegraft.txt": _lines(metadata)})
    with path.open("rb") as file:
        read = torch.export.load(file).module()
    return lambda inputs: read(*inputs)


def _write_onnx(path: Path, graph: Graph, metadata: Mapping[str, str]) -> Run:
    import onnxruntime

    made: Any = torch.onnx.export(
        _program(graph),
        (),
        dynamo=True,
        input_names=list(graph.names),
        output_names=["image"],
        verbose=False,
    )
    with contextlib.suppress(AttributeError):  # an older torch calls the axis s0 or so
        made.rename_axes({made.model.graph.inputs[0].shape[0]: "batch"})
    for node in made.model.graph:
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    made.model.metadata_props.clear()
    made.model.metadata_props.update({key.replace(" ", "_"): text for key, text in metadata.items()})
    made.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> Tensor:
        given = {name: tensor.numpy() for name, tensor in zip(graph.names, inputs, strict=True)}
        return torch.from_numpy(np.asarray(session.run(["image"], given)[0]))

    return run


def _write_torchscript(path: Path, graph: Graph, metadata: Mapping[str, str]) -> Run:
    traced: Any = torch.jit.trace(graph, graph.example(RECORDED), check_trace=False)
    whole = io.BytesIO()
    torch.jit.save(traced, whole, _extra_files={"stylegraft.txt": _lines(metadata)})
    with zipfile.ZipFile(whole) as made, zipfile.ZipFile(path, "w") as kept:
        for entry in made.infolist():
            if not entry.filename.endswith(".debug_pkl"):  # line numbers, with the paths of this machine
                kept.writestr(entry, made.read(entry))
    read = torch.jit.load(path)
    return lambda inputs: read(*inputs)


def _lines(metadata: Mapping[str, str]) -> str:
    return "".join(f"{key}: {value}\n" for key, value in metadata.items())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of themselves: sizes that they take as fixed (the checks would show it), packages
    that they do without, and that TorchScript is deprecated, which the docs say.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


FORMATS: dict[str, Callable[[Path, Graph, Mapping[str, str]], Run]] = {
    ".onnx": _write_onnx,
    ".pt2": _write_program,
    ".ts": _write_torchscript,
}
