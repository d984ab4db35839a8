"""StyleGAN2 and MobileStyleGAN once more, as plainly as possible: one kernel a sample, explicit zeros and loops, no
folded gain.

Written from the equations to check the package; it shares no code with it. `p` is a state dict, `k` its config.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


def lrelu(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def bound(x, k):
    """Each number not above, and not below, what a network trained in fp16 was held to; its gain comes after."""
    c = k.get("conv_clamp")
    return x if c is None else torch.where(x.abs() > c, c * x.sign(), x)


def upfirdn2d(x, f, up=1, down=1, pads=(0, 0, 0, 0), gain=1.0, flip=False):
    """Zeros, padding, one output sample at a time, decimation."""
    b, c, h, w = x.shape
    y = x.new_zeros(b, c, h, up, w, up)
    y[:, :, :, 0, :, 0] = x
    y = F.pad(y.reshape(b, c, h * up, w * up), pads)
    f = f.to(x) if flip else f.to(x).flip(0, 1)
    kh, kw = f.shape
    rows = range(0, y.shape[2] - kh + 1, down)
    columns = range(0, y.shape[3] - kw + 1, down)
    out = [
        torch.stack([(y[:, :, i : i + kh, j : j + kw] * f).sum((2, 3)) for j in columns], -1) for i in rows
    ]
    return torch.stack(out, -2) * gain


def fully_connected(p, name, x, lr_multiplier=1.0):
    weight = p[f"{name}.weight"] * lr_multiplier / math.sqrt(x.shape[1])
    return x @ weight.T + p[f"{name}.bias"] * lr_multiplier


def unit(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def mapping(p, name, z, c, layers, lr_multiplier=0.01):
    parts = [] if z is None else [unit(z)]
    if c is not None:
        parts.append(unit(fully_connected(p, f"{name}.embed", c)))
    x = torch.cat(parts, 1)
    for i in range(layers):
        x = lrelu(fully_connected(p, f"{name}.fc{i}", x, lr_multiplier))
    return x


def modulated(x, weight, s, demodulate=True, up=1, f=FIR):
    """Each sample by its own kernel."""
    out = []
    for sample, style in zip(x, s, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up == 1:
            out.append(F.conv2d(sample[None], kernel, padding=weight.shape[2] // 2))
        else:
            y = F.conv_transpose2d(sample[None], kernel.transpose(0, 1), stride=2)
            out.append(upfirdn2d(y, f, pads=(1, 1, 1, 1), gain=4))
    return torch.cat(out)


def up_image(x):
    return upfirdn2d(x, FIR, up=2, pads=(2, 1, 2, 1), gain=4)


def down_image(x):
    return upfirdn2d(x, FIR, down=2, pads=(1, 1, 1, 1))


def synthesis(p, k, ws, noise):
    """noise: {layer: map} with layers named as in the package. Returns (image, {tap: map})."""
    taps, row, image, x = {}, 0, None, p["synthesis.b4.const"][None].expand(len(ws), -1, -1, -1)
    r = 4
    while r <= k["resolution"]:
        b, straight = f"synthesis.b{r}", None
        if k["variant"] == "resnet" and r > 4:
            weight = p[f"{b}.skip.weight"]
            straight = up_image(F.conv2d(x, weight / math.sqrt(weight.shape[1]))) * math.sqrt(0.5)
        for conv in ("conv0", "conv1") if r > 4 else ("conv1",):
            layer = f"{b}.{conv}"
            s = fully_connected(p, f"{layer}.affine", ws[:, row])
            x = modulated(x, p[f"{layer}.weight"], s, up=2 if conv == "conv0" else 1)
            if f"b{r}.{conv}" in noise:
                x = x + noise[f"b{r}.{conv}"] * p[f"{layer}.noise_strength"]
            x = bound(lrelu(x + p[f"{layer}.bias"][:, None, None]), k)
            if conv == "conv1" and straight is not None:
                x = x * math.sqrt(0.5)
            taps[f"b{r}.{conv}"] = x
            row += 1
        if straight is not None:
            x = x + straight
        if k["variant"] == "skip" or r == k["resolution"]:
            s = fully_connected(p, f"{b}.torgb.affine", ws[:, row])
            weight = p[f"{b}.torgb.weight"]
            rgb = modulated(x, weight, s / math.sqrt(weight.shape[1]), demodulate=False)
            rgb = bound(rgb + p[f"{b}.torgb.bias"][:, None, None], k)
            image = rgb if image is None else up_image(image) + rgb
            taps[f"b{r}.rgb"] = image
        r *= 2
    return image, taps


HAAR = (((1, 1), (1, 1)), ((1, 1), (-1, -1)), ((1, -1), (1, -1)), ((1, -1), (-1, 1)))
"""Low-pass, vertical, horizontal and diagonal detail: what each band adds to the 2x2 pixels of its place, times 1/2."""


def inverse_haar(x):
    """The C low-pass bands, then the three details of channel 0, of channel 1, ..."""
    b, bands, h, w = x.shape
    c = bands // 4
    out = x.new_zeros(b, c, 2 * h, 2 * w)
    for channel in range(c):
        for band, patch in enumerate(HAAR):
            source = x[:, channel] if band == 0 else x[:, c + 3 * channel + band - 1]
            for i in range(2):
                for j in range(2):
                    out[:, channel, i::2, j::2] += source * patch[i][j] / 2
    return out


def mobile_synthesis(p, k, ws, noise):
    """As `synthesis`, of k["architecture"] "mobile": published tensor = stored tensor * k["gains"][its name]."""

    def published(name):
        return p[f"synthesis.{name}"] * k["gains"][name]

    def modulate(x, layer):
        """Each map times its style; every layer reads the next row of W+."""
        s = ws[:, len(read)] @ published(f"{layer}.affine.weight").T + published(f"{layer}.affine.bias")
        read.append(layer)
        return x * s[:, :, None, None]

    def finish(x, layer):
        if layer in noise:
            x = x + noise[layer] * p[f"synthesis.{layer}.noise_strength"]
        taps[layer] = F.leaky_relu(x + published(f"{layer}.bias")[:, None, None], 0.2)
        return taps[layer]

    read, taps = [], {}
    x = published("b4.const")[None].expand(len(ws), -1, -1, -1)
    x = F.conv2d(modulate(x, "b4.conv1"), published("b4.conv1.weight"), padding=1)
    x = finish(x, "b4.conv1")
    r = 4
    while r < max(map(int, k["channels"])):
        r *= 2
        x = inverse_haar(modulate(x, f"b{r}.up"))
        for layer in (f"b{r}.conv0", f"b{r}.conv1"):
            x = modulate(x, layer)
            kernels = published(f"{layer}.depthwise")
            maps = [F.conv2d(x[:, i : i + 1], kernels[i : i + 1], padding=1) for i in range(len(kernels))]
            x = finish(F.conv2d(torch.cat(maps, 1), published(f"{layer}.pointwise")), layer)
    x = F.conv2d(modulate(x, f"b{r}.torgb"), published(f"b{r}.torgb.weight"))
    x = x + published(f"b{r}.torgb.bias")[:, None, None]
    return (x if r == k["resolution"] else inverse_haar(x)), taps


SYNTHESIS = {"stylegan2": synthesis, "mobile": mobile_synthesis}


def conv(p, name, x, down=False, activate=True):
    weight = p[f"{name}.weight"]
    _, i, k, _ = weight.shape
    weight = weight / math.sqrt(i * k * k)
    if down and k == 3:
        x = F.conv2d(upfirdn2d(x, FIR, pads=(2, 2, 2, 2)), weight, stride=2)
    elif down:
        x = F.conv2d(down_image(x), weight)
    else:
        x = F.conv2d(x, weight, padding=k // 2)
    return lrelu(x + p[f"{name}.bias"][:, None, None]) if activate else x


def minibatch_std(x, group):
    """Sample by sample: the members of i's group are those equal to i modulo B / group."""
    b, _, h, w = x.shape
    n = b // min(group, b)
    out = []
    for i in range(b):
        members = x[i % n :: n]
        out.append((members.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(1, h, w))
    return torch.stack(out)


def discriminator(p, k, image, c=None):
    """Returns (logits [B, 1], {tap: map})."""
    taps, x, r = {}, None, k["resolution"]
    while r >= 4:
        b = f"b{r}"
        if k["architecture"] == "skip" or r == k["resolution"]:
            y = conv(p, f"{b}.fromrgb", image)
            y = y if r == 4 else bound(y, k)  # the last one is left free
            taps[f"{b}.fromrgb"] = y
            x = y if x is None else x + y
            if r > 4 and k["architecture"] == "skip":
                image = down_image(image)
        if r > 4:
            y = taps[f"{b}.conv0"] = bound(conv(p, f"{b}.conv0", x), k)
            y = bound(conv(p, f"{b}.conv1", y, down=True), k)
            if k["architecture"] == "resnet":
                y = y * math.sqrt(0.5)
                straight = conv(p, f"{b}.skip", x, down=True, activate=False) * math.sqrt(0.5)
            taps[f"{b}.conv1"] = y
            x = y + straight if k["architecture"] == "resnet" else y
        r //= 2
    if k["mbstd_group_size"] > 1:
        x = torch.cat((x, minibatch_std(x, k["mbstd_group_size"])), 1)
    x = bound(conv(p, "b4.conv", x), k)
    x = lrelu(fully_connected(p, "b4.fc", x.flatten(1)))
    x = fully_connected(p, "b4.out", x)
    if c is not None:
        label = mapping(p, "mapping", None, c, k["mapping_layers"], k.get("mapping_lr_multiplier", 0.01))
        x = (x * label).sum(1, keepdim=True) / math.sqrt(x.shape[1])
    return x, taps
