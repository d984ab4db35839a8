"""The FFHQ MobileStyleGAN inside PyPI's `random-face` 2021.7.21.1, read from its OpenVINO IR with the standard
library.

`teacher(folder)` returns our own Generator holding the published weights; nothing of OpenVINO is needed or
imported.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stylegraft.encoders import assets
from stylegraft.networks import build_generator
from stylegraft.networks.generator import Generator

HIDDEN = (4, 8, 16, 32, 64, 128, 256, 512)
DTYPES = {"f32": np.float32, "i64": np.int64, "i32": np.int32}
MAPPING_GAIN = (
    0.01 / 512**0.5
)  # lr multiplier 0.01, equalised over a fan-in of 512 (StyleGAN2's mapping, folded in the file)


class Graph:
    """Nodes of one IR: type, name and inputs by id, constants by id."""

    def __init__(self, stem: Path):
        root = ET.parse(stem.with_suffix(".xml")).getroot()
        blob = stem.with_suffix(".bin").read_bytes()
        self.type: dict[str, str] = {}
        self.id_of: dict[str, str] = {}
        self.inputs: dict[str, list[str]] = {}
        self.constants: dict[str, np.ndarray] = {}
        for node in root.iterfind("layers/layer"):
            key = node.attrib["id"]
            self.type[key], self.id_of[node.attrib["name"]], self.inputs[key] = node.attrib["type"], key, []
            if node.attrib["type"] == "Const":
                data = node.find("data").attrib
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
    strength = noise.std()
    return {
        f"{ours}.noise_const": (noise / strength).reshape(resolution, resolution),
        f"{ours}.noise_strength": strength.reshape(()),
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


def teacher(folder: Path, resolution: int = 1024, head: str = "wavelet") -> Generator:
    """The published generator, cut to `resolution` (64-1024 px); a cut one has a zero head that has yet to be fitted.

    folder: where SynthesisNetwork.{xml,bin} and MappingNetwork.{xml,bin} lie. head: "wavelet" cuts at the map of half
    the size, as published, "pixel" at the map of the image's own size.
    """
    published = {k: torch.tensor(v) for k, v in synthesis_tensors(Graph(folder / "SynthesisNetwork")).items()}
    hidden = [r for r in HIDDEN if r < resolution or (head == "pixel" and r == resolution)]
    widths = {r: published[f"b{r}.conv1.bias" if r > 4 else "b4.conv1.bias"].shape[0] for r in hidden}
    kept = {k: v for k, v in published.items() if int(k.split(".")[0][1:]) <= hidden[-1]}
    if resolution < 1024:
        kept |= _empty_head(hidden[-1], widths[hidden[-1]], 12 if head == "wavelet" else 3)
    gains = {k: _rms(v) for k, v in kept.items() if not k.endswith(("noise_strength", "noise_const"))}
    config = {
        "architecture": "mobile", "resolution": resolution, "img_channels": 3, "z_dim": 512, "w_dim": 512, "c_dim": 0,
        "mapping_layers": 8, "channels": {str(r): widths[r] for r in hidden}, "gains": gains,
    }  # fmt: skip
    generator = build_generator(config)
    generator.synthesis.load_state_dict({k: v / gains.get(k, 1.0) for k, v in kept.items()})
    mapping = {k: torch.tensor(v) for k, v in mapping_tensors(Graph(folder / "MappingNetwork")).items()}
    generator.mapping.load_state_dict({**mapping, "w_avg": torch.zeros(512)})
    generator.mapping.w_avg.copy_(mean_w(generator))
    return generator


def _empty_head(r: int, channels: int, outputs: int) -> dict[str, Tensor]:
    return {
        f"b{r}.torgb.affine.weight": torch.zeros(channels, 512),
        f"b{r}.torgb.affine.bias": torch.ones(channels),
        f"b{r}.torgb.weight": torch.zeros(outputs, channels, 1, 1),
        f"b{r}.torgb.bias": torch.zeros(outputs),
    }


def _rms(x: Tensor) -> float:
    rms = float(x.double().square().mean().sqrt())
    return round(rms, 9) if rms > 0 else 512**-0.5


@torch.no_grad()
def mean_w(generator: Generator, count: int = 65536, batch: int = 8192) -> Tensor:
    """Mean of w over `count` latents [w_dim]."""
    rng = torch.Generator().manual_seed(0)
    sums = [generator.mapping(torch.randn(batch, 512, generator=rng)).sum(0) for _ in range(count // batch)]
    return torch.stack(sums).sum(0) / count


def data_folder(text: str) -> Path:
    """A folder with the IR files; without one, that of `stylegraft assets get mobile` or the installed package."""
    return Path(text) if text else assets.find("mobile") / "data"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="")
    print(teacher(data_folder(parser.parse_args().folder)).synthesis)
