"""Write a MobileStyleGAN generator into a StyleGAN2 of fewer channels, layer by layer, by least squares.

A separable layer is a 3x3 kernel of rank one per input channel, and the networks have the same nonlinearities in the
same places; what differs is width, the up-sampling (wavelet bands there, FIR here) and demodulation.

- Width: each map of the student keeps those of the teacher's channels that tell most about the teacher's next layer.
  Its kernels are the least-squares solution from the student's own map before it (what that got wrong is seen and
  made up for) to the kept channels before activation.
- Demodulation, which the teacher lacks, would follow the styles, and over nine layers a sample's maps would fade or
  swell against biases and noise. So the last two channels of each map are one and the same constant, and what two
  kernels make of them cancels, +a and -a, with `BALLAST` times the energy of the rest: demodulation varies less then.
  The first of the two carries the biases as well.
- Scale: demodulation takes a kernel for one of independent channels, so where contributions cancel (the ballast's
  do) the map shrinks, layer by layer. The constant input starts as much larger as makes the last map one of unit RMS.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from distill import telling
from stylegraft.networks import ops
from stylegraft.networks.generator import Generator
from stylegraft.networks.haar import merge
from stylegraft.networks.mapping import FullyConnected
from stylegraft.networks.mobile import InputConv, MobileSynthesis, SeparableConv
from stylegraft.networks.stylegan2 import StyledConv, StyleGAN2Synthesis, ToRGB

PART = 16  # images at a time
LOOKED_AT = 32  # images by which channels are chosen
ROWS = 40_000  # places that a kernel is fitted to
RIDGE = 3e-3  # of a feature's mean square
BALLAST = 1.0
LARGEST = 3e4  # number in the constant input, which has to fit fp16


def bands(width: int) -> tuple[Tensor, Tensor]:
    """(merged channel, kind: low, vertical, horizontal or diagonal) of each of the 4 * width bands."""
    channels = torch.arange(width)
    channel = torch.cat((channels, channels.repeat_interleave(3)))
    return channel, torch.cat((torch.zeros_like(channels), torch.arange(1, 4).repeat(width)))


def taught_styles(teacher: Generator, name: str, w: Tensor) -> Tensor:
    """By what the teacher scales each channel of the map that the layer `name` reads, up to a constant: [N, I].

    A block's first convolution reads wavelet bands, which are scaled, merged and scaled again.
    """
    styles = teacher.synthesis.styles(teacher.ws(w))
    if not name.endswith("conv0"):
        return styles[name]
    channel, _ = bands(styles[name].shape[1])
    return styles[name.replace("conv0", "up")] * styles[name][:, channel]


def contributions(teacher: Generator, name: str, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer `name` has of each channel of x [B, I, r, r] before its 1x1, [B, I, R, R], and the 1x1 [O, I]."""
    conv = teacher.synthesis.get_submodule(name)
    assert isinstance(conv, SeparableConv)
    depthwise, pointwise = conv.depthwise, conv.pointwise.flatten(1)
    x = x * taught_styles(teacher, name, w)[:, :, None, None]
    if name.endswith("conv0"):
        channel, kind = bands(len(depthwise))
        signs = merge(torch.eye(4)[:, :, None, None])[kind, 0].repeat(1, *x.shape[2:])
        x = F.interpolate(x, scale_factor=2) * signs
        depthwise, pointwise = depthwise[channel], pointwise[:, channel]
    return F.conv2d(x, depthwise, padding=1, groups=len(depthwise)), pointwise


def most_telling(features: Tensor, products: Tensor, count: int) -> Tensor:
    """Indices of the `count` columns of features [N, I] that tell most about features @ products.T; products [K, I]."""
    rows = torch.cat((features, torch.ones(len(features), 1)), 1)
    gram = (rows.T @ rows).double()
    return telling(gram, gram[:, :-1] @ products.T.double(), count)


def images_for(r: int) -> int:
    """How many images a kernel that writes an r x r map is fitted to."""
    return min(512, 8192 // r)


def seen(x: Tensor, start: int) -> Tensor:
    """Rows [N, C] of maps [B, C, r, r] of the images from `start` on: some places, the same whatever the map."""
    r = x.shape[-1]
    order = torch.randperm(r * r, generator=torch.Generator().manual_seed(start))
    return x.flatten(2)[:, :, order[: ROWS // images_for(r)]].permute(0, 2, 1).flatten(0, 1)


def kernel_features(x: Tensor, up: int, f: Tensor) -> Tensor:
    """What each number of a kernel [O, I, 3, 3] multiplies: x [B, I, r, r] -> [B, 9 I, R, R]."""
    rows, taps = x.flatten(0, 1)[:, None], torch.eye(9).view(9, 1, 3, 3)
    y = ops.upsampling_conv2d(rows, taps, f) if up == 2 else ops.conv2d(rows, taps, padding=1)
    return y.unflatten(0, x.shape[:2]).flatten(1, 2)


def parts(x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, rows) of x, `PART` at a time."""
    for start in range(0, len(x), PART):
        yield start, x[start : start + PART]


def least_squares(pairs: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """The ridge solution [F, K] of pairs of (features [N, F], targets [N, K])."""
    gram = cross = torch.zeros(())
    for x, y in pairs:
        gram, cross = gram + x.T @ x, cross + x.T @ y
    gram, cross = gram.double(), cross.double()
    return torch.linalg.solve(gram + RIDGE * torch.diag(gram.diagonal()), cross).float()


def with_one(rows: Tensor) -> Tensor:
    """Rows with a last column of ones."""
    return torch.cat((rows, torch.ones(len(rows), 1)), 1)


def fit_styles(affine: FullyConnected, w: Tensor, wanted: Tensor) -> Tensor:
    """Make an affine layer give the styles `wanted` [N, I] of w; returns those that it gives."""
    solution = least_squares(iter([(with_one(w), wanted)]))
    affine.weight.copy_(solution[:-1].T / affine.weight_gain)
    affine.bias.copy_(solution[-1] / affine.bias_gain)
    return affine(w)


def kept_channels(teacher: Generator, names: list[str], counts: list[int], w: Tensor) -> list[Tensor]:
    """The teacher's channels that the student keeps of the map that each layer of `names` reads.

    names: the convolutions in forward order, then the last toRGB, which reads all.
    """
    first = teacher.synthesis.get_submodule(names[0])
    assert isinstance(first, InputConv) and isinstance(teacher.synthesis, MobileSynthesis)
    patches = F.unfold(teacher.synthesis.b4.const[:, None], 3, padding=1).unflatten(1, (3, 3))
    made = torch.einsum("oikl,iklp->opi", first.weight, patches).flatten(0, 1)
    kept = [most_telling(taught_styles(teacher, names[0], w), made, counts[0])]
    rows: dict[str, list[Tensor]] = {name: [] for name in names[1:-1]}
    products: dict[str, Tensor] = {}
    for start, part in parts(w[:LOOKED_AT]):
        taps = teacher(w=part, taps=names[:-1]).taps
        for before, name in pairwise(names[:-1]):
            x, products[name] = contributions(teacher, name, taps[before], part)
            rows[name].append(seen(x, start))
    kept += [most_telling(torch.cat(rows[n]), products[n], k) for n, k in zip(rows, counts[1:], strict=False)]
    return [*kept, torch.arange(counts[-1])]


def taught_maps(
    teacher: Generator, names: list[str], kept: list[Tensor], w: Tensor
) -> dict[str, list[Tensor]]:
    """{layer: a part's rows of what it has to write, kept channels, before noise and activation}; toRGB: the image."""
    rows: dict[str, list[Tensor]] = {name: [] for name in names}
    for start, part in parts(w):
        image, taps = teacher(w=part, taps=names[:-1])
        maps = {}
        for name, channels in zip(names[:-1], kept[1:], strict=True):
            conv, x = teacher.synthesis.get_submodule(name), taps[name][:, channels]
            assert isinstance(conv, InputConv | SeparableConv)
            maps[name] = torch.where(x < 0, x / ops.SLOPE, x) - conv.noise_const * conv.noise_strength
        for name, x in {**maps, names[-1]: image}.items():
            if start < images_for(x.shape[-1]):
                rows[name].append(seen(x, start))
    return rows


def weighed_down(kernel: Tensor, styles: Tensor) -> Tensor:
    """A kernel [O, I - 1, 3, 3] of all channels but the last, with the ballast on the two constant ones."""
    kernel = F.pad(kernel, (0, 0, 0, 0, 0, 1))
    energy = (styles.square() @ ops.kernel_energy(kernel).T).mean(0)
    ballast = (BALLAST / 2 * energy).sqrt()
    kernel[:, -2, 1, 1] += ballast
    kernel[:, -1, 1, 1] -= ballast
    return kernel


@torch.no_grad()
def transplant(teacher: Generator, student: Generator, latents: int = 8192) -> None:
    """Overwrite the student's synthesis network by what of the teacher's fits into it, at w of psi 0.5 to 1.

    The student has one toRGB ("variant": "orig"): toRGB is not demodulated, and maps as large as those of 4 px (see
    Scale, above) would throw the colours about at the first steps of Adam.
    """
    old, new = teacher.synthesis, student.synthesis
    assert isinstance(old, MobileSynthesis) and isinstance(new, StyleGAN2Synthesis) and new.variant == "orig"
    layers = [layer for layer in student.layers if layer.kind == "conv"] + [student.layers[-1]]
    names, head = [layer.name for layer in layers], new.get_submodule(layers[-1].name)
    rng = torch.Generator().manual_seed(0)
    w = teacher.mapping(torch.randn(latents, teacher.z_dim, generator=rng))
    w = teacher.mapping.w_avg.lerp(w, 0.5 + 0.5 * torch.rand(latents, 1, generator=rng))
    counts = [layer.channels - 2 for layer in layers[:-1]] + [layers[-1].channels]
    kept = kept_channels(teacher, names, counts, w)
    targets = taught_maps(teacher, names, kept, w[: images_for(4)])

    two = torch.ones(latents, 2)
    const = new.get_parameter("b4.const")
    const.copy_(torch.cat((old.b4.const[kept[0]], torch.ones(2, 4, 4))))
    x, gain = const[None].expand(images_for(4), -1, -1, -1), torch.ones(latents, len(kept[0]))
    for name, channels in zip(names[:-1], kept, strict=False):
        conv, taught = new.get_submodule(name), old.get_submodule(name)
        assert isinstance(conv, StyledConv) and isinstance(taught, InputConv | SeparableConv)
        x = x[: images_for(len(conv.noise_const))]
        wanted = taught_styles(teacher, name, w)[:, channels] / gain
        wanted = torch.cat((wanted / wanted.square().mean().sqrt(), two), 1)
        styles = fit_styles(conv.affine, w, wanted)

        def rows(conv=conv, x=x, styles=styles, name=name) -> Iterator[tuple[Tensor, Tensor]]:
            for (start, part), target in zip(parts(x), targets[name], strict=True):
                scaled = part * styles[start : start + len(part), :, None, None]
                yield seen(kernel_features(scaled[:, :-1], conv.up, new.f), start), target

        kernel = weighed_down(least_squares(rows()).T.unflatten(1, (-1, 3, 3)), styles)
        # The student's map over the teacher's, [N, O].
        gain = ops.demodulation(styles, ops.kernel_energy(kernel), ops.SQRT2)
        count = len(kernel)
        conv.weight[:count] = kernel / kernel.square().mean((1, 2, 3), keepdim=True).sqrt()
        conv.bias.zero_()
        conv.noise_const.copy_(taught.noise_const)
        conv.noise_strength.copy_(taught.noise_strength / (gain.square().reciprocal().mean() * 2).sqrt())
        if count < len(conv.weight):  # the constants: kernels that cancel, a bias
            conv.weight[count:] = 0
            conv.weight[count:, -2, 1, 1] = (conv.weight[0].numel() / 2) ** 0.5
            conv.weight[count:, -1, 1, 1] = -conv.weight[-1, -2, 1, 1]
        noise = conv.noise_const[None, None]
        x = torch.cat([conv(part, styles[i : i + len(part)], noise, new.f) for i, part in parts(x)])
        level = x[:, :count].square().mean().sqrt()
        x[:, count:] = level + noise * (conv.noise_strength * ops.SQRT2)
        conv.bias[count:] = level / ops.SQRT2
        r2, spread = explained(x[:, :count], gain, targets[name]), float((gain.std(0) / gain.mean(0)).mean())
        print(f"{name}: R2 {r2:.3f}, RMS {float(level):.2g}, gain varies by {spread:.3f}", flush=True)

    assert isinstance(head, ToRGB)
    styles = fit_styles(head.affine, w, taught_styles(teacher, names[-1], w) / gain * gain.mean())
    scaled = x * styles[: len(x), :, None, None]
    solution = least_squares(
        (with_one(seen(part, start)), target)
        for (start, part), target in zip(parts(scaled), targets[names[-1]], strict=True)
    )
    head.weight.copy_(solution[:-1].T[:, :, None, None] / head.weight_gain)
    head.bias.copy_(solution[-1])
    larger = min(1 / float(level), LARGEST / float(const.abs().max()))
    print(f"the constant input is {larger:.3g} times as large", flush=True)
    head.weight.div_(larger)
    for name, tensor in new.named_parameters():
        if name.endswith(("const", "conv0.bias", "conv1.bias", "noise_strength")):
            tensor.mul_(larger)


def explained(x: Tensor, gain: Tensor, targets: list[Tensor]) -> float:
    """R^2 of maps, brought to the teacher's scale, after activation."""
    x = x / gain[: len(x), :, None, None]
    got = torch.cat([seen(part, start) for start, part in parts(x)])
    want = F.leaky_relu(torch.cat(targets), ops.SLOPE)
    return float(1 - (got - want).square().sum() / (want - want.mean(0)).square().sum())
