"""The named groups of a network's parameters, and each parameter's gain: what spaces, freezing and reports speak of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

# Parameter name -> the groups it belongs to; the number is the resolution of the hidden map. Every parameter is in
# exactly one group without a slash. The first three are buffers that a domain may move.
GROUPS = (
    (r"synthesis\.b(\d+)\.(\w+)\.channel_gain", (r"gain@\1",)),
    (r"synthesis\.b(\d+)\.(\w+)\.w_offset", (r"offset@\1",)),
    (r"mapping\.miner\..*", ("miner",)),
    (r"mapping\..*", ("mapping",)),
    (r"synthesis\.b4\.const", ("const",)),
    (r"synthesis\..*\.noise_strength", ("noise",)),
    (r"synthesis\.b(\d+)\.conv\d\.affine\..*", (r"affine@\1", r"affine@\1/conv")),
    (r"synthesis\.b(\d+)\.(up|torgb)\.affine\..*", (r"affine@\1", r"affine@\1/\2")),
    (r"synthesis\.b(\d+)\.conv\d\.(depthwise|pointwise)", (r"conv@\1", r"conv@\1/\2")),
    (r"synthesis\.b(\d+)\.(?:conv\d|skip)\..*", (r"conv@\1",)),
    (r"synthesis\.b(\d+)\.torgb\..*", (r"torgb@\1",)),
)


def group_parameters(
    names: Iterable[str], table: Iterable[tuple[str, tuple[str, ...]]] = GROUPS
) -> dict[str, tuple[str, ...]]:
    """{group: parameter names}; the first row of `table` (pattern, groups) that matches a name decides."""
    groups: dict[str, list[str]] = {}
    for name in names:
        pattern, labels = next((p, labels) for p, labels in table if re.fullmatch(p, name))
        for label in labels:
            groups.setdefault(re.sub(pattern, label, name), []).append(name)
    return {group: tuple(members) for group, members in groups.items()}


def module_gains(module: nn.Module, prefix: str = "") -> dict[str, float]:
    """{parameter name: gain} of all submodules that keep the gain of a parameter `p` in an attribute `p_gain`."""
    owners = ((name.rpartition("."), name) for name, _ in module.named_parameters())
    gains = {name: getattr(module.get_submodule(owner), f"{p}_gain", 1.0) for (owner, _, p), name in owners}
    return {prefix + name: gain for name, gain in gains.items()}
