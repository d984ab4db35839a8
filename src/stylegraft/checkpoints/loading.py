"""One call for every file of weights: `load(path) -> Source`. The format is told by the first bytes."""

from __future__ import annotations

import os

import numpy as np

from stylegraft.checkpoints import architecture, foreign, native
from stylegraft.checkpoints.building import build
from stylegraft.checkpoints.foreign import Foreign, Network
from stylegraft.checkpoints.pickles import DAMAGED, Refused, printable
from stylegraft.checkpoints.source import Source
from stylegraft.errors import StylegraftError
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import Generator, build_generator, mean_w
from stylegraft.networks.stylegan2 import resolutions

MAX_ESTIMATE = (
    1 << 22
)  # numbers of a mapping network whose mean is estimated, in a second; the published have 2 million
MAX_INPUTS = 4096  # of z or of labels, for the same
UNSTATED = "not stated in the file: ask whoever published the weights"


def load(path: str | os.PathLike[str]) -> Source:
    """Read a source into fp32 networks on the CPU, frozen and in eval mode: a file of `save_source`, an NVIDIA .pkl
    (PyTorch or TensorFlow), a rosinality .pt.

    The generator is the averaged one where the file has it. `info` says what the file was; `info["notes"]` what the
    user should know. Raises StylegraftError for anything else, damaged or unsafe; never loads half, runs nothing.
    """
    return from_foreign(path, foreign.read(path)) if foreign.is_foreign(path) else native.load(path)


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
                discriminator = build(shown, build_discriminator, config, _arrays(found.discriminator), "D")
            except Refused as refusal:
                lost = (f"its discriminator is left out: {refusal}",)
    except Refused as refusal:
        raise StylegraftError(f"{shown}: refused: {found.format} with {refusal}") from None
    except DAMAGED as broken:
        raise StylegraftError(f"{shown}: damaged: {type(broken).__name__}: {str(broken)[:120]}") from None
    notes = [*found.notes, *lost]
    if found.discriminator is None:
        notes.append(
            "no discriminator in it: `adapt` trains one from the start, with more steps before G moves"
        )
    info = {**found.info, "licence": UNSTATED, "notes": notes}
    return Source(foreign.stem(path), generator, discriminator, info)


def _generator(shown: str, network: Network) -> Generator:
    config = architecture.generator_config(network.shapes, network.extra)
    arrays = _arrays(network)
    _complete_noise(arrays, config["resolution"])
    if "mapping.w_avg" in arrays:
        return build(shown, build_generator, config, arrays, "G")
    # a small layer takes as long as one of 8,192 numbers
    numbers = sum(max(array.size, 8192) for name, array in arrays.items() if name.startswith("mapping."))
    if numbers > MAX_ESTIMATE or max(config["z_dim"], config["c_dim"]) > MAX_INPUTS:
        raise Refused(
            f"no mean of w (w_avg), and a mapping network of {numbers:,} numbers, too large to estimate it"
        )
    arrays["mapping.w_avg"] = np.zeros(config["w_dim"], np.float32)
    generator = build(shown, build_generator, config, arrays, "G")
    mean = mean_w(generator).float()
    if not bool(mean.isfinite().all()):
        raise Refused("no mean of w (w_avg), and a mapping network that overflows")
    generator.get_buffer("mapping.w_avg").copy_(mean)
    return generator


def _complete_noise(arrays: dict[str, np.ndarray], resolution: int) -> None:
    """Layers without noise get a strength of 0; those whose maps the file left out get fixed normal ones."""
    rng = np.random.default_rng(0)
    for r in resolutions(resolution):
        for layer in (f"synthesis.b{r}.conv0", f"synthesis.b{r}.conv1"):
            if f"{layer}.weight" in arrays:
                drawn = rng.standard_normal((r, r), np.float32)
                arrays.setdefault(f"{layer}.noise_const", drawn)
                arrays.setdefault(f"{layer}.noise_strength", np.zeros([], np.float32))


def _arrays(network: Network) -> dict[str, np.ndarray]:
    """Every tensor, views of the file where it holds fp32, so that filling the network is the only copy."""
    arrays = {name: numbers.array() for name, numbers in network.tensors.items()}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            raise Refused(f"a tensor {printable(name)} of {array.dtype}, expected real numbers")
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32, copy=False)
        if not np.isfinite(narrow).all():
            raise Refused(f"NaN or infinity in {printable(name)}: the run that wrote it diverged")
    return arrays
