"""One call for every file of weights: `load(path) -> Source`. The format is told by the first bytes."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np

from stylegraft.checkpoints import architecture, foreign, layouts, native
from stylegraft.checkpoints.building import build
from stylegraft.checkpoints.foreign import Foreign, Network, Values
from stylegraft.checkpoints.pickles import DAMAGED, Refused
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import Generator, build_generator, mean_w

NOISY = r"synthesis\.b\d{1,4}\.conv[01]\.weight"  # the kernels of layers that take noise
# Numbers of a mapping network whose mean is estimated, in a second; the published have 2 million.
MAX_ESTIMATE = 1 << 22
MAX_INPUTS = 4096  # of z or of labels, for the same
UNSTATED = "not stated in the file: ask whoever published the weights"


def load(path: str | os.PathLike[str]) -> Source:
    """Read a source into fp32 networks on the CPU, frozen and in eval mode: a file of `save_source` or
    `save_layout`, an NVIDIA .pkl (PyTorch or TensorFlow), a rosinality .pt.

    The generator is the averaged one where the file has it. `info` says what the file was; `info["notes"]` what the
    user should know. Raises StylegraftError for anything else, damaged or unsafe; never loads half, runs nothing.
    """
    if foreign.is_foreign(path):
        return from_foreign(path, foreign.read(path))
    return layouts.load_layout(path) if layouts.is_layout(path) else native.load(path)


def from_foreign(path: str | os.PathLike[str], found: Foreign) -> Source:
    """The networks of a foreign file, built and filled."""
    shown = os.fspath(path)
    if found.generator is None:
        raise StylegraftError(
            f"{shown}: a {found.format}, which is a domain and not a source: give it to"
            " `stylegraft sample` or `stylegraft convert` with its --source"
        )
    try:
        generator = _generator(shown, found.generator)
        discriminator, lost = None, ()
        if found.discriminator is not None:
            try:
                shapes = found.discriminator.shapes
                config = architecture.discriminator_config(shapes, found.discriminator.extra)
                discriminator = build(shown, build_discriminator, config, found.discriminator.tensors, "D")
            except (Refused, StylegraftError) as refusal:
                lost = (f"its discriminator is left out: {str(refusal).removeprefix(f'{shown}: ')}",)
    except Refused as refusal:
        raise StylegraftError(f"{shown}: refused: {found.format} with {refusal}") from None
    except DAMAGED as broken:
        raise StylegraftError(f"{shown}: damaged: {type(broken).__name__}: {str(broken)[:120]}") from None
    notes = [*found.notes, *lost]
    for part, what in (("noise_strength", "no noise strengths"), ("noise_const", "no noise maps")):
        if not any(name.endswith(part) for name in found.generator.tensors):
            notes.append(f"{what} in it: they are 0 here, so Fix the Noise has no anchor")
    if found.discriminator is None:
        notes.append(
            "no discriminator in it: `adapt` trains one from the start, with more steps before G moves"
        )
    info = {"licence": UNSTATED, **found.info, "notes": notes}
    return Source(Path(path).stem, generator, discriminator, info)


def _generator(shown: str, network: Network) -> Generator:
    config = architecture.generator_config(network.shapes, network.extra)
    tensors = {**network.tensors, **_no_noise(network.shapes)}
    if "mapping.w_avg" in tensors:
        return build(shown, build_generator, config, tensors, "G")
    # a small layer takes as long as one of 8,192 numbers
    mapping = [shape for name, shape in network.shapes.items() if name.startswith("mapping.")]
    numbers = sum(max(math.prod(shape), 8192) for shape in mapping)
    if numbers > MAX_ESTIMATE or max(config["z_dim"], config["c_dim"]) > MAX_INPUTS:
        raise Refused(
            f"no mean of w (w_avg), and a mapping network of {numbers:,} numbers, too large to estimate it"
        )
    tensors["mapping.w_avg"] = Values(np.zeros(config["w_dim"], np.float32))
    generator = build(shown, build_generator, config, tensors, "G")
    mean = mean_w(generator).float()
    if not bool(mean.isfinite().all()):
        raise Refused("no mean of w (w_avg), and a mapping network that overflows")
    generator.get_buffer("mapping.w_avg").copy_(mean)
    return generator


def _no_noise(shapes: architecture.Shapes) -> dict[str, Values]:
    """Strengths and maps of 0 for the layers of a network that has none; raises Refused where some have them."""
    layers = [name.removesuffix(".weight") for name in shapes if re.fullmatch(NOISY, name)]
    made: dict[str, Values] = {}
    for part in ("noise_strength", "noise_const"):
        missing = [layer for layer in layers if f"{layer}.{part}" not in shapes]
        if missing and len(missing) < len(layers):
            raise Refused(f"layers with and without {part}: it is missing in {missing[0]}")
        for layer in missing:
            r = int(layer.split(".")[1][1:])
            size = (r, r) if part == "noise_const" else ()
            made[f"{layer}.{part}"] = Values(np.zeros(size, np.float32))
    return made
