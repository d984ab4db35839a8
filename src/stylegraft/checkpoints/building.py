"""Build a network and fill it with what a file holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from stylegraft.checkpoints.foreign import Numbers
from stylegraft.checkpoints.pickles import Refused, printable
from stylegraft.errors import StylegraftError

LARGE = 1e9  # of a gain, a tap of a filter, a clamp
MAX_TAPS = 16
MAX_LAYERS = 1000  # of a mapping network; the published have 8
MAX_Z = 2048  # the published have 512
_CREATORS = {torch.randn, torch.zeros, torch.ones, torch.full, torch.empty}

Network = TypeVar("Network", bound=nn.Module)


def build(
    shown: str,
    builder: Callable[[dict[str, Any]], Network],
    config: Any,
    mine: Mapping[str, Numbers],
    letter: str,
) -> Network:
    """The network `builder(config)` filled with the numbers, frozen and in eval mode.

    Raises StylegraftError, naming the file `shown` and the network's letter, when config and numbers contradict each
    other; before that costs memory.
    """
    if not isinstance(config, dict):
        raise StylegraftError(f"{shown}: no usable config of the network {letter} in its metadata")
    resolution, depth = config.get("resolution"), config.get("mapping_layers", 0)
    if type(resolution) is not int or type(depth) is not int or depth > min(len(mine), MAX_LAYERS):
        raise StylegraftError(
            f"{shown}: its {letter} config does not describe a network of {len(mine)} tensors"
            f" (resolution {printable(repr(resolution), 20)}, mapping_layers {printable(repr(depth), 20)})"
        )
    try:
        _check_settings(config)
        z_dim = config.get("z_dim", 512)
        unkept = 65_536 + min(z_dim, MAX_Z) ** 2  # buffers that no file keeps; the largest is the miner's
        with _Budget(sum(math.prod(numbers.shape) for numbers in mine.values()) + unkept):
            network = builder(config)
        if not all(abs(gain) < LARGE for gain in getattr(network, "gains", {}).values()):
            raise ValueError("a gain that is not finite")
    except StylegraftError as error:
        raise StylegraftError(f"{shown}: {printable(str(error), 200)}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        what = f"its {letter} config does not describe a network ({printable(repr(error), 200)})"
        raise StylegraftError(f"{shown}: {what}") from error
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ mine.keys()):
        what = "is missing" if name in expected else "is unknown to this architecture"
        raise StylegraftError(f"{shown}: tensor {letter}.{printable(name)} {what}")
    for name, numbers in mine.items():
        if tuple(numbers.shape) != tuple(expected[name].shape):
            found, wanted = list(numbers.shape), list(expected[name].shape)
            raise StylegraftError(f"{shown}: tensor {letter}.{name} is {found}, expected {wanted}")
    # One after the other: widened numbers live no longer than their copy takes.
    for name, numbers in mine.items():
        array, target = numbers.array(), expected[name].numpy()
        if array.dtype.kind != "f":
            raise Refused(f"a tensor {name} of {array.dtype}, expected real numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            np.copyto(target, array, casting="same_kind")
        if not np.isfinite(target).all():
            raise Refused(f"NaN or infinity in {name}: the run that wrote it diverged")
    return network.eval().requires_grad_(False)


def _check_settings(config: dict[str, Any]) -> None:
    """Raise ValueError for settings with which a network can be built but not run."""
    taps, clamp = config.get("resample_filter", [1]), config.get("conv_clamp")
    if not isinstance(taps, list | tuple) or not 0 < len(taps) <= MAX_TAPS:
        raise ValueError("a resample_filter that is no short list")
    if not all(abs(tap) < LARGE for tap in taps) or not abs(sum(taps)) > 1e-6:
        raise ValueError("a resample_filter without a finite sum")
    if clamp is not None and not 0 < clamp < LARGE:
        raise ValueError("a conv_clamp that is no number above 0")


class _Budget(TorchFunctionMode):
    """Refuse to create more numbers than the file holds: a hostile config must not fill the memory.

    (Building on the meta device first would do, but imports the compiler: 2 s.) Nothing is drawn that the file
    overwrites: random numbers for a 1024-px generator take 0.3 s.
    """

    def __init__(self, numbers: int):
        super().__init__()
        self.left = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _CREATORS:
            sizes = args[0] if func is torch.full or not isinstance(args[0], int) else args
            self.left -= math.prod(sizes)
            if self.left < 0:
                raise ValueError("it is larger than the file")
        if func is torch.randn:
            func = torch.empty
        return func(*args, **(kwargs or {}))
