"""The protocol that every generator speaks: z -> w -> rows of W+ -> style vectors -> image.

Mapping and protocol are here; the synthesis networks are in `stylegan2` and `mobile`.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from stylegraft.errors import StylegraftError
from stylegraft.networks.groups import group_parameters, module_gains
from stylegraft.networks.mapping import FullyConnected, Mapping, matrix

Noise = abc.Mapping[str, Tensor]
"""Layer name -> unscaled noise map [B or 1, 1, r, r]; a layer that is missing gets no noise."""


@dataclass(frozen=True)
class Layer:
    """One modulated layer.

    name: "b64.conv0"; kind: "conv", "up" or "torgb"; resolution: of the hidden map that it writes (toRGB: reads);
    channels: length of its style vector; row: the row of W+ that it reads; noise: whether it takes a noise map.
    """

    name: str
    kind: Literal["conv", "up", "torgb"]
    resolution: int
    channels: int
    row: int
    noise: bool


class Output(NamedTuple):
    """image: [B, C, R, R], nominally in [-1, 1]; taps: {tap name: feature map} for the taps that were asked for."""

    image: Tensor
    taps: dict[str, Tensor]


class Synthesis(nn.Module):
    """What a synthesis network has to offer; the base class of all.

    layers: in forward order, each a submodule of its name with an `affine` layer and a zero buffer `w_offset` [w_dim],
    and with `noise_const` where it takes noise; num_ws: rows of W+; tap_names: the maps that `forward` can hand out;
    gains: {parameter name: equalised-lr scale}, 1 where missing; half_blocks: the resolutions that may compute in
    16 bits (`precision`), none unless a network says so.
    """

    half_blocks: tuple[int, ...] = ()
    layers: tuple[Layer, ...]
    num_ws: int
    tap_names: tuple[str, ...]
    gains: dict[str, float]

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """Style vectors {layer name: [B, channels]} of W+ rows [B, num_ws, w_dim]."""

        def style(layer: Layer) -> Tensor:
            row = ws[:, layer.row] + self.get_buffer(f"{layer.name}.w_offset")
            return self.get_submodule(f"{layer.name}.affine")(row)

        return {layer.name: style(layer) for layer in self.layers}

    def forward(
        self, styles: abc.Mapping[str, Tensor], noise: Noise, taps: abc.Collection[str] = ()
    ) -> Output:
        """Image [B, img_channels, R, R] and the maps named in `taps`, from styles and unscaled noise maps."""
        raise NotImplementedError


class Generator(nn.Module):
    """A mapping and a synthesis network behind the one protocol. Built by `build_generator`.

    config: the JSON-able description from which the network can be built again; layers, num_ws, tap_names, half_blocks:
    as in `Synthesis`; groups: {group: parameter names}; gains: {parameter name: equalised-lr scale}; noise_shapes:
    {layer: r} of the layers that take noise.
    """

    def __init__(self, config: dict[str, Any], synthesis: Synthesis):
        super().__init__()
        self.config = config
        self.resolution: int = config["resolution"]
        self.img_channels: int = config.get("img_channels", 3)
        self.z_dim: int = config.get("z_dim", 512)
        self.w_dim: int = config.get("w_dim", 512)
        self.c_dim: int = config.get("c_dim", 0)
        self.mapping = Mapping(
            self.z_dim,
            self.w_dim,
            self.c_dim,
            layers=config.get("mapping_layers", 8),
            lr_multiplier=config.get("mapping_lr_multiplier", 0.01),
            gains=config.get("mapping_gains"),
        )
        self.synthesis = synthesis
        self.layers = synthesis.layers
        self.num_ws = synthesis.num_ws
        self.tap_names = synthesis.tap_names
        self.half_blocks = synthesis.half_blocks
        self.noise_shapes = {layer.name: layer.resolution for layer in self.layers if layer.noise}
        names = [name for name, _ in self.named_parameters()]
        self.groups = group_parameters(names)
        self.gains = {name: 1.0 for name in names} | module_gains(self.mapping, "mapping.")
        self.gains |= {f"synthesis.{name}": gain for name, gain in synthesis.gains.items()}

    def ws(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Rows of W+ [B, num_ws, w_dim] from w [B, w_dim]; the first `cutoff` (None: all) truncated to w_avg by psi."""
        w = matrix(w, self.w_dim, "w")
        ws = w[:, None].expand(-1, self.num_ws, -1)
        if psi == 1 or cutoff == 0:
            return ws
        truncated = torch.lerp(self.mapping.w_avg, w, psi)[:, None]
        if cutoff is None or cutoff >= self.num_ws:
            return truncated.expand(-1, self.num_ws, -1)
        return torch.cat((truncated.expand(-1, cutoff, -1), ws[:, cutoff:]), 1)

    def noise(
        self,
        mode: Literal["const", "random", "none"] = "const",
        batch: int = 1,
        generator: torch.Generator | None = None,
    ) -> Noise:
        """Noise maps: "const", the network's own (the anchor); "random", normal, drawn for each sample; "none"."""
        if mode == "none":
            return {}
        if mode == "const":
            own = {name: self.synthesis.get_buffer(f"{name}.noise_const") for name in self.noise_shapes}
            return {name: noise[None, None] for name, noise in own.items()}
        if mode == "random":
            like = self.mapping.w_avg
            device = like.device if generator is None else generator.device
            maps = (
                (name, torch.randn(batch, 1, r, r, generator=generator, device=device))
                for name, r in self.noise_shapes.items()
            )
            return {name: n.to(like) for name, n in maps}
        raise StylegraftError(f'noise "{mode}" is unknown; use "const", "random", "none" or a dict of maps')

    def forward(
        self,
        z: Tensor | None = None,
        c: Tensor | None = None,
        *,
        w: Tensor | None = None,
        ws: Tensor | None = None,
        styles: abc.Mapping[str, Tensor] | None = None,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: Literal["const", "random", "none"] | Noise = "const",
        generator: torch.Generator | None = None,
        taps: Iterable[str] = (),
    ) -> Output:
        """The image of exactly one of z [B, z_dim], w [B, w_dim], ws [B, num_ws, w_dim], styles {layer: [B, channels]}.

        c [B, c_dim] goes with z; psi and cutoff with z or w. Raises StylegraftError for other combinations,
        wrong shapes and unknown names.
        """
        given = [name for name, x in (("z", z), ("w", w), ("ws", ws), ("styles", styles)) if x is not None]
        if len(given) != 1:
            raise StylegraftError(
                f"exactly one of z, w, ws, styles is needed; found {', '.join(given) or 'none'}"
            )
        if psi != 1 and given[0] in ("ws", "styles"):
            raise StylegraftError(f"truncation psi={psi} acts on z or w; found {given[0]}")
        taps = tuple(taps)
        for tap in taps:
            if tap not in self.tap_names:
                raise StylegraftError(f'tap "{tap}": this generator has {", ".join(self.tap_names)}')
        for name in () if isinstance(noise, str) else noise:
            if name not in self.noise_shapes:
                known = ", ".join(self.noise_shapes)
                raise StylegraftError(f'noise for "{name}": this layer takes none; those that do: {known}')
        if z is not None:
            w = self.mapping(z, c)
        if w is not None:
            ws = self.ws(w, psi, cutoff)
        if ws is not None:
            if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
                raise StylegraftError(
                    f"ws has shape {list(ws.shape)}; expected [B, {self.num_ws}, {self.w_dim}]"
                )
            styles = self.synthesis.styles(ws)
        assert styles is not None
        self._check_styles(styles)
        if isinstance(noise, str):
            noise = self.noise(noise, next(iter(styles.values())).shape[0], generator)
        return self.synthesis(styles, noise, taps)

    def channel_gains(self) -> dict[str, Tensor]:
        """{name: [channels]} of the gains after demodulation, minus 1."""
        return {name: b for name, b in self.named_buffers() if name.endswith(".channel_gain")}

    def movable_buffers(self) -> dict[str, Tensor]:
        """What domains may move beside parameters, all zero: `channel_gains`, a layer's offset of its row of W+, and
        the miner before the mapping.
        """
        others = {
            name: b for name, b in self.named_buffers() if name.endswith(".w_offset") or ".miner." in name
        }
        return self.channel_gains() | others

    @torch.no_grad()
    def fold_w_offsets(self) -> None:
        """Make offsets d of rows of W+ part of the affine biases, A (w + d) + b = A w + (A d + b), then zero."""
        for layer in self.layers:
            offset = self.synthesis.get_buffer(f"{layer.name}.w_offset")
            affine = self.synthesis.get_submodule(f"{layer.name}.affine")
            assert isinstance(affine, FullyConnected)
            if bool(offset.any()):
                shift = affine.weight.cpu().double() @ offset.cpu().double()
                shift *= affine.weight_gain / affine.bias_gain
                affine.bias.copy_(affine.bias.cpu().double() + shift)
                offset.zero_()

    def require_ordinary(self, why: str) -> None:
        """Raise StylegraftError, with the reason `why`, where a domain has left what no generator file holds."""
        held = [name for name, tensor in self.movable_buffers().items() if bool(tensor.any())]
        kinds = {
            "channel_gain": "gains after demodulation (HyperDomainNet's cin_mult)",
            "w_offset": "offsets of rows of W+",
            "miner": "a miner before the mapping (MineGAN)",
        }
        if held:
            kind = next(words for part, words in kinds.items() if part in held[0])
            raise StylegraftError(
                f"{why}: {kind} in {len(held)} tensors, {held[0]} for one, which no ordinary generator holds; keep it"
                " as a domain file"
            )

    def require(self, name: str, why: str) -> None:
        """Raise StylegraftError, with the reason `why`, unless this network has a tap or parameter group `name`."""
        if name not in self.tap_names and name not in self.groups:
            kind = self.config["architecture"]
            have = ", ".join((*self.tap_names, *self.groups))
            raise StylegraftError(f'{why}: this {kind} generator has no "{name}"; it has {have}')

    def _check_styles(self, styles: abc.Mapping[str, Tensor]) -> None:
        for layer in self.layers:
            s = styles.get(layer.name)
            if s is None or s.ndim != 2 or s.shape[1] != layer.channels:
                found = "nothing" if s is None else f"shape {list(s.shape)}"
                raise StylegraftError(
                    f"styles of {layer.name}: found {found}, expected [B, {layer.channels}]"
                )


@torch.no_grad()
def mean_w(network: Any, samples: int = 10_000, seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """Mean of w over seeded latents (and labels): [w_dim], float64 on the CPU.

    network: a `Generator` on `device`, or a view of one with the same mapping and sizes.
    """
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(network.w_dim, dtype=torch.float64)
    most = min(1000, max(1, 10_000_000 // max(1, network.c_dim)))  # one-hot labels must fit
    for first in range(0, samples, most):
        size = min(most, samples - first)
        z = torch.randn(size, network.z_dim, generator=rng).to(device)
        c = None
        if network.c_dim:
            label = torch.randint(network.c_dim, (size,), generator=rng)
            c = nn.functional.one_hot(label, network.c_dim).float().to(device)
        # on the CPU before it is widened: mps has no float64
        total += network.mapping(z, c).cpu().double().sum(0)
    return total / samples


def build_generator(config: dict[str, Any]) -> Generator:
    """A freshly initialised generator of config["architecture"]: "stylegan2" or "mobile"."""
    if config["architecture"] == "stylegan2":
        from stylegraft.networks.stylegan2 import StyleGAN2Synthesis

        return Generator(config, StyleGAN2Synthesis(config))
    if config["architecture"] == "mobile":
        from stylegraft.networks.mobile import MobileSynthesis

        return Generator(config, MobileSynthesis(config))
    raise StylegraftError(
        f'generator architecture "{config["architecture"]}" is unknown; expected "stylegan2" or "mobile"'
    )


def blend_noise(
    anchor: Noise,
    other: Noise,
    amount: float | abc.Mapping[str, float],
    mode: Literal["linear", "vp", "slerp"] = "linear",
) -> Noise:
    """Noise maps from `anchor` (amount 0) to `other` (amount 1); `amount` may be given
    per layer; those it leaves out stay at the anchor.

    "linear" is Fix the Noise (Lee et al. 2023): its variance dips to 1/2 half way. Ours: "vp", the same divided by
    sqrt((1-a)^2 + a^2), which preserves variance; "slerp", along the great circle of each layer's flattened map.
    """
    if anchor.keys() != other.keys():
        odd = sorted(anchor.keys() ^ other.keys())
        raise StylegraftError(f"noise to blend: {', '.join(odd)} on one side only")
    amounts = amount if isinstance(amount, abc.Mapping) else dict.fromkeys(anchor, amount)
    return {name: _blend(anchor[name], other[name], amounts.get(name, 0.0), mode) for name in anchor}


def _blend(n: Tensor, m: Tensor, a: float, mode: str) -> Tensor:
    if mode == "linear":
        return torch.lerp(n, m, a)
    if mode == "vp":
        return torch.lerp(n, m, a) / ((1 - a) ** 2 + a**2) ** 0.5
    if mode == "slerp":
        cosine = nn.functional.cosine_similarity(n.flatten(1), m.flatten(1))
        angle = cosine.clamp(-1, 1).acos()[:, None, None, None]
        arc = ((1 - a) * angle).sin() / angle.sin() * n + (a * angle).sin() / angle.sin() * m
        return torch.where(angle.sin() > 1e-4, arc, torch.lerp(n, m, a))
    raise StylegraftError(f'noise blend "{mode}" is unknown; expected "linear", "vp" or "slerp"')
