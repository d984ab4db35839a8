"""The FFHQ MobileStyleGAN inside PyPI's `random-face` 2021.7.21.1, read from its OpenVINO IR (XML and numbers) with the
standard library.

The IR has been through an optimiser: gains and noise strengths are folded into constants, and what belongs together is
found along the edges of the graph. Nothing of OpenVINO is needed or imported.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np

HIDDEN = (4, 8, 16, 32, 64, 128, 256, 512)  # resolutions of the hidden maps
DTYPES = {"f32": np.float32, "i64": np.int64, "i32": np.int32}
MAPPING_GAIN = (
    0.01 / 512**0.5
)  # lr multiplier 0.01, equalised over a fan-in of 512 (StyleGAN2's mapping, folded in the file)


class Graph:
    """Nodes of one IR: type, name and inputs by id, constants by id."""

    def __init__(self, xml: bytes, blob: bytes):
        root = ET.fromstring(xml)
        self.type: dict[str, str] = {}
        self.id_of: dict[str, str] = {}
        self.inputs: dict[str, list[str]] = {}
        self.constants: dict[str, np.ndarray] = {}
        for node in root.iterfind("layers/layer"):
            key = node.attrib["id"]
            self.type[key], self.id_of[node.attrib["name"]], self.inputs[key] = node.attrib["type"], key, []
            if node.attrib["type"] == "Const":
                data = dict(node.find("data").attrib)  # type: ignore[union-attr]
                dtype = np.dtype(DTYPES[data["element_type"]])
                shape = [int(d) for d in data["shape"].split(",")] if data["shape"] else []
                count = int(data["size"]) // dtype.itemsize
                self.constants[key] = np.frombuffer(blob, dtype, count, int(data["offset"])).reshape(shape)
        edges = sorted(root.iterfind("edges/edge"), key=lambda e: int(e.attrib["to-port"]))
        for edge in edges:
            self.inputs[edge.attrib["to-layer"]].append(edge.attrib["from-layer"])
        self.users: dict[str, list[str]] = {}
        for key, sources in self.inputs.items():
            for source in sources:
                self.users.setdefault(source, []).append(key)

    def named(self, name: str) -> np.ndarray:
        return self.constants[self.id_of[name]]

    def constant_into(self, key: str) -> np.ndarray:
        """The floating-point constant among a node's inputs."""
        (found,) = [self.constants[i] for i in self.inputs[key] if i in self.constants]
        return found

    def user(self, key: str, kind: str) -> str:
        (found,) = [u for u in self.users[key] if self.type[u] == kind]
        return found


def _scale_after_affine(graph: Graph, bias_name: str) -> float:
    """Product of the scalar constants between a style's bias and the feature map it multiplies."""
    key, scale = graph.user(graph.id_of[bias_name], "Add"), 1.0
    while True:
        reshapes = [u for u in graph.users[key] if graph.type[u] in ("Reshape", "Unsqueeze")]
        multiplies = [u for u in graph.users[key] if graph.type[u] == "Multiply"]
        if reshapes:
            key = reshapes[0]
            continue
        scalars = [
            i for i in graph.inputs[multiplies[0]] if i in graph.constants and graph.constants[i].size == 1
        ]
        if not scalars:
            return scale
        scale *= float(graph.constants[scalars[0]].ravel()[0])
        key = multiplies[0]


def _affine(graph: Graph, ir: str, ours: str) -> dict[str, np.ndarray]:
    return {
        f"{ours}.affine.weight": graph.named(f"{ir}.modulation.weight"),
        f"{ours}.affine.bias": graph.named(f"{ir}.modulation.bias").reshape(-1),
    }


def _noise_and_bias(graph: Graph, conv: str, ours: str) -> dict[str, np.ndarray]:
    """After a convolution: + noise map, + bias."""
    add_noise = graph.user(conv, "Add")
    noise = graph.constant_into(add_noise)
    bias = graph.constant_into(graph.user(add_noise, "Add"))
    resolution = noise.shape[-1]
    exact = noise.astype(np.float64)  # sums in fp32 depend on the machine
    strength = exact.std()
    return {
        f"{ours}.noise_const": (exact / strength).reshape(resolution, resolution),
        f"{ours}.noise_strength": np.array(strength),
        f"{ours}.bias": bias.reshape(-1),
    }


def synthesis_tensors(graph: Graph) -> dict[str, np.ndarray]:
    """Published tensors of the whole 1024 px network under our names, style gains folded into the kernels."""
    tensors = {"b4.const": graph.named("m.input.input")[0], **_affine(graph, "m.conv1.conv", "b4.conv1")}
    modulated = graph.user(graph.user(graph.id_of["m.input.input"], "Broadcast"), "Tile")
    conv = graph.user(graph.user(modulated, "Multiply"), "Convolution")
    scale = _scale_after_affine(graph, "m.conv1.conv.modulation.bias")
    tensors["b4.conv1.weight"] = graph.constant_into(conv) * scale
    tensors |= _noise_and_bias(graph, conv, "b4.conv1")
    for i, r in enumerate(HIDDEN[1:]):
        tensors |= _affine(graph, f"m.layers.{i}.up", f"b{r}.up")
        for ir, ours in (("conv1", "conv0"), ("conv2", "conv1")):
            ir, ours = f"m.layers.{i}.{ir}.conv", f"b{r}.{ours}"
            depthwise = graph.id_of[f"{ir}.weight_dw"]
            pointwise = graph.user(graph.user(depthwise, "GroupConvolution"), "Convolution")
            scale = _scale_after_affine(graph, f"{ir}.modulation.bias")
            tensors |= _affine(graph, ir, ours)
            tensors[f"{ours}.depthwise"] = graph.constants[depthwise][:, 0] * scale
            tensors[f"{ours}.pointwise"] = graph.constant_into(pointwise)
            tensors |= _noise_and_bias(graph, pointwise, ours)
    tensors |= _affine(graph, "m.layers.6.to_img.conv", "b512.torgb")
    scale = _scale_after_affine(graph, "m.layers.6.to_img.conv.modulation.bias")
    tensors["b512.torgb.weight"] = graph.named("m.layers.6.to_img.conv.weight") * scale
    tensors["b512.torgb.bias"] = graph.named("m.layers.6.to_img.bias").reshape(-1)
    return tensors


def mapping_tensors(graph: Graph) -> dict[str, np.ndarray]:
    """The 8 x FC 512 mapping network in stored units (lr multiplier 0.01)."""
    weights = [k for k in graph.constants if graph.constants[k].shape == (512, 512)]
    biases = [
        k
        for k in graph.constants
        if graph.constants[k].shape == (512,) and graph.constants[k].dtype == np.float32
    ]
    tensors = {}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors[f"fc{i}.weight"] = graph.constants[weight] / MAPPING_GAIN
        tensors[f"fc{i}.bias"] = graph.constants[bias] / 0.01
    return tensors


def published(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """All tensors under our names, `mapping.` in stored units, `synthesis.` as published; files: {path: content}."""
    mapping, synthesis = (
        Graph(files[f"data/{name}.xml"], files[f"data/{name}.bin"])
        for name in ("MappingNetwork", "SynthesisNetwork")
    )
    tensors = {f"mapping.{name}": value for name, value in mapping_tensors(mapping).items()}
    return tensors | {f"synthesis.{name}": value for name, value in synthesis_tensors(synthesis).items()}
