"""Adaptive discriminator augmentation (ADA): the 16 transforms; `controller` steers their probability.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", arXiv 2006.06676,
appendix B (transforms, order, distributions). The transforms of DiffAugment follow them where they are in use.

Each transform fires per sample with probability p; either rotation fires with 1 - sqrt(1 - p), so that p is
the probability of any rotation. Draws are consumed in the order of this table, for the transforms in use only,
fired or not, so they do not depend on p (u: uniform in [0, 1), the gate first; n: standard normal):

    name        draws           when fired
    xflip       u, u            mirror if i = 1, i in {0, 1}
    rotate90    u, u            i quarter turns, i in {0, 1, 2, 3}
    xint        u, u, u         shift by round(t * size), t ~ U(-1/8, 1/8) for x, y
    scale       u, n            2^(0.2 n) in x and y
    rotate      u, u            by U(-pi, pi), before aniso
    aniso       u, n            s = 2^(0.2 n): s in x, 1/s in y
    rotate      u, u            by U(-pi, pi), after aniso
    xfrac       u, n, n         shift by t * size, t ~ N(0, 1/8^2) for x, y
    brightness  u, n            add 0.2 n
    contrast    u, n            times 2^(0.5 n)
    lumaflip    u, u            reflect the luma axis if i = 1, i in {0, 1}
    hue         u, u            turn about the luma axis by U(-pi, pi)
    saturation  u, n            chroma times 2^n
    imgfilter   4 u, 4 n        amplify each of 4 frequency bands by 2^n (one gate a band), power normalised
    noise       u, n, CHW n     add white noise of standard deviation |0.1 n|
    cutout      u, u, u         zero a square of half the size at a uniform centre x, y
    diff-...                    `diffaugment`
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation import diffaugment
from stylegraft.adaptation.controller import AdaController
from stylegraft.adaptation.resampling import filter_bank, resample, theta_of, warp
from stylegraft.adaptation.sampling import Keyed
from stylegraft.adaptation.transforms import Randomness, parse_transforms
from stylegraft.errors import StylegraftError
from stylegraft.networks import ops

__all__ = ["Randomness", "augment", "augmented"]

Plan = dict[str, Tensor]  # what the transforms in use do to each sample


def augment(images: Tensor, p: float, draws: Randomness, transforms: str = "bgc") -> Tensor:
    """Apply randomly chosen transforms, each with probability p per sample.

    images: `[B, 1 or 3, H, W]` in [-1, 1], float32 or float64 (call it outside autocast); the result has the
    same shape and may leave the range. draws: B samples; on the CPU they cost no device sync.
    transforms: see `parse_transforms`. p = 0 returns the images themselves.
    Hue and saturation do nothing to grey images. Raises StylegraftError for a p outside [0, 1], other shapes
    and unknown transforms.
    """
    if not 0 <= p <= 1:
        raise StylegraftError(f"augmentation probability p = {p}, expected a number from 0 to 1")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise StylegraftError(f"augment got images of shape {list(images.shape)}, expected [B, 1 or 3, H, W]")
    names = parse_transforms(transforms)
    if p == 0:
        return images
    return applied(images, decided(p, draws, names, images.shape[1:]))


def augmented(
    images: Tensor, ada: AdaController | None, keyed: Keyed, stream: str, transforms: str
) -> Tensor:
    """The same with ADA's probability and the draws of this stream; images themselves where there is none."""
    if ada is None or not keyed.told("augmented", lambda _: ada.p > 0):
        return images
    stream = f"augment.{stream}"
    if keyed.tape is None:
        return augment(images, ada.p, keyed.host.samples(stream), transforms)
    names, shape = parse_transforms(transforms), images.shape[1:]
    return applied(
        images,
        keyed.fed(lambda draws: of_one_shape(decided(ada.p, draws.samples(stream), names, shape), shape)),
    )


def decided(p: float, draws: Randomness, names: frozenset[str], shape: torch.Size) -> Plan:
    """What happens to images of `shape` [C, H, W], in the order in which it does; made where the draws are.

    Matrices [B, n, n], factors and shifts [B], masks [B, 1, H, W], as the functions below say.
    """
    _, height, width = shape
    plan = {
        "inverse": inverse_affine(p, draws, names, height, width),
        "color": color_matrix(p, draws, names),
    }
    if "imgfilter" in names:
        plan["gains"] = band_gains(p, draws)
    if "noise" in names:
        plan["noise"] = white_noise(p, draws, shape)
    if "cutout" in names:
        plan["kept"] = uncut(p, draws, height, width)
    plan |= diffaugment.decided(p, draws, names, height, width)
    return {name: one for name, one in plan.items() if one is not None}


def applied(images: Tensor, plan: Plan) -> Tensor:
    """The images after what was decided. A plan `of_one_shape` moves all samples, another only those that it moves."""
    x = images
    if "theta" in plan:
        x = resample(x, plan["theta"], widest(x.shape[1:]))
    if (inverse := plan.get("inverse")) is not None:
        moved = (inverse != torch.eye(3).to(inverse)).any(2).any(1).nonzero()[:, 0]
        if len(moved):  # the costly step: at small p most samples are spared it
            index = moved.to(x.device)
            x = x.index_copy(0, index, warp(x[index], inverse[moved]))
    if "color" in plan:
        x = recolor(x, plan["color"])
    if "gains" in plan:
        x = filter_bands(x, plan["gains"])
    if "noise" in plan:
        x = x + plan["noise"].to(x)
    if "kept" in plan:
        x = x * plan["kept"].to(x)
    return diffaugment.applied(x, plan)


def of_one_shape(plan: Plan, shape: torch.Size) -> Plan:
    """The plan with the warp of the largest margin, so that nothing hangs on its numbers but numbers."""
    _, height, width = shape
    inverse = plan.pop("inverse", None)
    return plan if inverse is None else plan | {"theta": theta_of(inverse, height, width, widest(shape))}


def widest(shape: torch.Size) -> tuple[int, int]:
    """The largest margin of `warp`, for images [C, H, W]."""
    return shape[2] - 1, shape[1] - 1


def fired(p: float, gate: Tensor, value: Tensor) -> Tensor:
    """`value` where its transform fires (gate < p), else zero, the value that changes nothing."""
    return torch.where(gate < p, value, torch.zeros_like(value))


# Transforms 1-8: one affine map -----------------------------------------------------------------------------


def inverse_affine(
    p: float, draws: Randomness, names: frozenset[str], height: int, width: int
) -> Tensor | None:
    """Inverse of the composed blits and geometric transforms, `[B, 3, 3]` for `warp`; None if none is in use.

    The map is G = G_n ... G_1, so its inverse is the product of the inverses in the order of application.
    """
    p_rotate = 1 - math.sqrt(1 - p)
    inverses = []
    if "xflip" in names:
        gate, u = draws.uniform(2).unbind(1)
        inverses.append(scaling(1 - 2 * fired(p, gate, (2 * u).floor()), torch.ones_like(u)))
    if "rotate90" in names:
        gate, u = draws.uniform(2).unbind(1)
        inverses.append(rotation(math.pi / 2 * fired(p, gate, (4 * u).floor())))
    if "xint" in names:
        gate, *u = draws.uniform(3).unbind(1)
        x, y = (fired(p, gate, (2 * t - 1) / 8) for t in u)
        inverses.append(translation(-(x * width).round(), -(y * height).round()))
    if "scale" in names:
        s = 2 ** (0.2 * fired(p, draws.uniform(), draws.normal()))
        inverses.append(scaling(1 / s, 1 / s))
    if "rotate" in names:
        inverses.append(rotation(random_angle(p_rotate, draws)))
    if "aniso" in names:
        s = 2 ** (0.2 * fired(p, draws.uniform(), draws.normal()))
        inverses.append(scaling(1 / s, s))
    if "rotate" in names:
        inverses.append(rotation(random_angle(p_rotate, draws)))
    if "xfrac" in names:
        gate, n = draws.uniform(), draws.normal(2)
        x, y = (fired(p, gate, t / 8) for t in n.unbind(1))
        inverses.append(translation(-x * width, -y * height))
    return reduce(torch.matmul, inverses) if inverses else None


def random_angle(p: float, draws: Randomness) -> Tensor:
    """Angle in [-pi, pi), `[B]`, zero where the rotation does not fire."""
    gate, u = draws.uniform(2).unbind(1)
    return fired(p, gate, (2 * u - 1) * math.pi)


def matrix(*rows: tuple[Tensor, ...]) -> Tensor:
    """Stack entries of shape `[B]` into matrices `[B, n, m]`."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Scale by x and y, `[B]` each -> `[B, 3, 3]`."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return matrix((x, zero, zero), (zero, y, zero), (zero, zero, one))


def rotation(angle: Tensor) -> Tensor:
    """Turn x towards y, by radians `[B]` -> `[B, 3, 3]`."""
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return matrix((c, -s, zero), (s, c, zero), (zero, zero, one))


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Move by x and y pixels, `[B]` each -> `[B, 3, 3]`."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return matrix((one, zero, x), (zero, one, y), (zero, zero, one))


# Transforms 9-13: one colour matrix -------------------------------------------------------------------------


def color_matrix(p: float, draws: Randomness, names: frozenset[str]) -> Tensor | None:
    """Composed colour transforms on homogeneous RGB columns, `[B, 4, 4]`; None if none is in use."""
    steps = []
    if "brightness" in names:
        steps.append(color_step(shift=0.2 * fired(p, draws.uniform(), draws.normal())))
    if "contrast" in names:
        c = 2 ** (0.5 * fired(p, draws.uniform(), draws.normal()))
        steps.append(color_step(luma=c, chroma=c))
    if "lumaflip" in names:
        gate, u = draws.uniform(2).unbind(1)
        steps.append(color_step(luma=1 - 2 * fired(p, gate, (2 * u).floor())))
    if "hue" in names:
        steps.append(color_step(angle=random_angle(p, draws)))
    if "saturation" in names:
        steps.append(color_step(chroma=2 ** fired(p, draws.uniform(), draws.normal())))
    return reduce(lambda done, step: step @ done, steps) if steps else None


def color_step(
    shift: Tensor | None = None,
    luma: Tensor | None = None,
    chroma: Tensor | None = None,
    angle: Tensor | None = None,
) -> Tensor:
    """x -> luma vv'x + chroma R (I - vv')x + shift, `[B, 4, 4]`, with R the turn about v by angle.

    v = (1, 1, 1) / sqrt(3), the luma axis. Arguments are `[B]`, None leaves its part alone. Each of the paper's
    five colour matrices is one case.
    """
    like = next(t for t in (shift, luma, chroma, angle) if t is not None)
    one, zero = torch.ones_like(like), torch.zeros_like(like)
    shift, luma, chroma, angle = (
        zero if shift is None else shift,
        one if luma is None else luma,
        one if chroma is None else chroma,
        zero if angle is None else angle,
    )
    vv = like.new_full((3, 3), 1 / 3)
    cross = like.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with v
    turned = angle.cos()[:, None, None] * (torch.eye(3).to(vv) - vv) + angle.sin()[:, None, None] * cross
    linear = luma[:, None, None] * vv + chroma[:, None, None] * turned
    affine = torch.cat((linear, shift[:, None, None].expand(-1, 3, 1)), dim=2)
    return torch.cat((affine, like.new_tensor([0, 0, 0, 1]).expand(len(like), 1, 4)), dim=1)


def recolor(images: Tensor, color: Tensor) -> Tensor:
    """Apply colour matrices `[B, 4, 4]` to `[B, 3, H, W]`, the mean of their rows to grey `[B, 1, H, W]`."""
    color = color.to(images.device, images.dtype)
    linear, shift = color[:, :3, :3], color[:, :3, 3:]
    if images.shape[1] == 1:
        linear, shift = linear.sum(2, keepdim=True).mean(1, keepdim=True), shift.mean(1, keepdim=True)
    return (linear @ images.flatten(2) + shift).reshape(images.shape)


# Transforms 14-16: corruptions ------------------------------------------------------------------------------


def band_gains(p: float, draws: Randomness) -> Tensor:
    """Gains of the four frequency bands, `[B, 4]`.

    Each band in turn is amplified by t, and all four are divided by the root of the power that this leaves in
    a natural image, whose power falls off as (10, 1, 1, 1) / 13.
    """
    t = 2 ** fired(p, draws.uniform(4), draws.normal(4))
    power = t.new_tensor([10, 1, 1, 1]) / 13
    # amplifying band i alone gives the power 1 + power_i (t_i^2 - 1)
    return t / (1 + power * (t.square() - 1)).sqrt().prod(dim=1, keepdim=True)


def filter_bands(images: Tensor, gains: Tensor) -> Tensor:
    """Scale the four frequency bands of `[B, C, H, W]` by gains `[B, 4]`, along both axes, mirrored edges."""
    b, c = images.shape[:2]
    bank = filter_bank(images.device, images.dtype)
    kernels = (gains.to(bank) @ bank).repeat_interleave(c, dim=0)
    reach = bank.shape[1] // 2
    x = images
    mx, my = reach, reach
    while mx or my:  # images smaller than the filter are mirrored more than once
        dx, dy = min(mx, x.shape[3] - 1), min(my, x.shape[2] - 1)
        x = F.pad(x, (dx, dx, dy, dy), mode="reflect")
        mx, my = mx - dx, my - dy
    x = x.reshape(1, b * c, *x.shape[2:])
    x = ops.conv2d(x, kernels[:, None, None, :], groups=b * c)
    x = ops.conv2d(x, kernels[:, None, :, None], groups=b * c)
    return x.reshape(images.shape)


def white_noise(p: float, draws: Randomness, shape: torch.Size) -> Tensor:
    """Noise [B, C, H, W] whose standard deviation is itself random, the same for all pixels of a sample."""
    sigma = fired(p, draws.uniform(), draws.normal().abs() / 10)
    return draws.normal(*shape) * sigma[:, None, None, None]


def uncut(p: float, draws: Randomness, height: int, width: int) -> Tensor:
    """False [B, 1, H, W] in a square of half the image's size, which becomes mid grey; it may reach over the edge."""
    gate, x, y = draws.uniform(3).unbind(1)
    half = fired(p, gate, torch.full_like(x, 0.25))
    far_x = (((torch.arange(width).to(x) + 0.5) / width)[None] - x[:, None]).abs() >= half[:, None]
    far_y = (((torch.arange(height).to(y) + 0.5) / height)[None] - y[:, None]).abs() >= half[:, None]
    return far_x[:, None, None, :] | far_y[:, None, :, None]
