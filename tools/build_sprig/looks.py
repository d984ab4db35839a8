"""Looks of a face: what sprig learns words for, and what the probe judges. A style is a classical filter, a tint a
duotone over it; some pairs of both are never trained on (`HELD_OUT`), so that they can be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.data import filters
from stylegraft.data.painterly import kuwahara
from stylegraft.data.pixels import to_float, to_uint8

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Style:
    """words: its names, the first is the plainest; draw: uint8 [N, 3, R, R] and a seed to the same; tinted: whether it
    may wear a tint."""

    words: tuple[str, ...]
    draw: Callable[[Tensor, int], Tensor]
    tinted: bool = True


def house(name: str) -> Callable[[Tensor, int], Tensor]:
    return lambda images, seed: filters.apply(name, images, seed)


def floats(
    draw: Callable[[Tensor, torch.Generator], Tensor], size: int = 0
) -> Callable[[Tensor, int], Tensor]:
    """A filter of images in [0, 1], on pictures enlarged to `size` px if it draws finer than the picture."""

    def run(images: Tensor, seed: int) -> Tensor:
        x = to_float(images) / 2 + 0.5
        if size:
            x = F.interpolate(x, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
        x = draw(x, torch.Generator().manual_seed(seed)).clamp(0, 1)
        if x.shape[-2:] != images.shape[-2:]:
            x = F.interpolate(x, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return to_uint8(x.expand(-1, 3, -1, -1) * 2 - 1)

    return run


def grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blurred(x: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    at = torch.arange(-radius, radius + 1.0)
    taps = torch.exp(-0.5 * (at / sigma) ** 2)
    taps = (taps / taps.sum()).repeat(x.shape[1], 1)
    for shape, pad in (
        ((-1, 1, 1, 2 * radius + 1), (radius, radius, 0, 0)),
        ((-1, 1, 2 * radius + 1, 1), (0, 0, radius, radius)),
    ):
        x = F.conv2d(F.pad(x, pad, mode="reflect"), taps.view(shape), groups=x.shape[1])
    return x


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


def lines(x: Tensor, _: torch.Generator) -> Tensor:
    tone = grey(x)
    edge = blurred(tone, 1.2) - 0.98 * blurred(tone, 2.2)
    return torch.sigmoid(180 * (edge + 0.004))


def monochrome(x: Tensor, _: torch.Generator) -> Tensor:
    return grey(x)


def neon(x: Tensor, _: torch.Generator) -> Tensor:
    across, down = slopes(blurred(x, 0.7))
    glow = (across.square() + down.square()).sqrt() * 5
    return glow + 0.3 * blurred(glow, 1.5)


def relief(x: Tensor, _: torch.Generator) -> Tensor:
    across, down = slopes(blurred(grey(x), 0.7))
    return 0.55 + 2.2 * (across + down)


def pixels(x: Tensor, _: torch.Generator) -> Tensor:
    return F.interpolate(F.avg_pool2d(x, x.shape[-1] // 16), x.shape[-2:], mode="nearest")


def poster(x: Tensor, _: torch.Generator) -> Tensor:
    return (kuwahara(x, 2) * 2).round() / 2


def watercolour(x: Tensor, random: torch.Generator) -> Tensor:
    flat = kuwahara(x, 5)
    across, down = slopes(blurred(grey(flat), 1.0))
    paper = F.interpolate(torch.randn(len(x), 1, 32, 32, generator=random), x.shape[-2:], mode="bicubic")
    wash = grey(flat) + 1.3 * (flat - grey(flat))
    return 0.42 + 0.6 * wash + 0.035 * paper - 1.5 * (across.square() + down.square()).sqrt()


def screen(x: Tensor, period: float, degrees: tuple[float, ...]) -> Tensor:
    """A screen of waves in [0, 1]: one direction gives lines, two give dots."""
    at = torch.arange(x.shape[-1], dtype=torch.float32)
    turn = [torch.deg2rad(torch.tensor(d)) for d in degrees]
    waves = [torch.cos(2 * torch.pi / period * (at[None] * t.cos() + at[:, None] * t.sin())) for t in turn]
    return torch.stack(waves).mean(0) / 2 + 0.5


def halftone(x: Tensor, _: torch.Generator) -> Tensor:
    return torch.sigmoid(14 * (x - screen(x, 14, (20.0, 110.0)) * 0.8 - 0.1))


def engraving(x: Tensor, _: torch.Generator) -> Tensor:
    tone = grey(x)
    light = tone + 0.1 * slopes(blurred(tone, 3))[1] * 50
    return torch.sigmoid(16 * (light - screen(x, 11, (62.0,)) * 0.8 - 0.1))


def glass(x: Tensor, random: torch.Generator) -> Tensor:
    """Cells around random points, each of one colour, leaded where they meet."""
    size, count = x.shape[-1], 90
    at = (torch.arange(size) + 0.5) / size
    place = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1).view(-1, 2)
    out = []
    for one in x:
        far = torch.cdist(place, torch.rand(count, 2, generator=random))
        near, cell = far.topk(2, largest=False)
        total = torch.zeros(count, 3).index_add_(0, cell[:, 0], one.flatten(1).T)
        number = torch.zeros(count).index_add_(0, cell[:, 0], torch.ones(len(place))).clamp_min(1)
        colour = (total / number[:, None])[cell[:, 0]]
        colour = colour.mean(1, keepdim=True) + 1.6 * (colour - colour.mean(1, keepdim=True))
        lead = torch.sigmoid(300 * (near[:, 1] - near[:, 0] - 0.018))
        out.append((colour * lead[:, None]).T.view(3, size, size))
    return torch.stack(out)


def negative(x: Tensor, _: torch.Generator) -> Tensor:
    return 1 - x


def grain(x: Tensor, random: torch.Generator) -> Tensor:
    return x + 0.16 * torch.randn(x.shape, generator=random)


STYLES: dict[str, Style] = {
    "photo": Style(("photo", "photograph", "colour photo"), lambda images, seed: images),
    "grey": Style(("black and white photo", "greyscale photo", "monochrome photo"), floats(monochrome), False),
    "pencil": Style(("pencil drawing", "pencil sketch", "graphite drawing"), house("pencil")),
    "oil": Style(("oil painting", "painting in oils", "painted portrait"), house("oil")),
    "palette": Style(("screen print", "print in five inks", "silkscreen print"), house("palette"), False),
    "bulge": Style(("funhouse mirror image", "fisheye photo", "bulging photo"), house("bulge")),
    "watercolour": Style(("watercolour", "watercolor painting", "watercolour painting"), floats(watercolour, 160)),
    "lines": Style(("line drawing", "ink line art", "outline drawing in black ink"), floats(lines, 160)),
    "pixels": Style(("pixelated picture", "pixel mosaic", "blocky low resolution picture"), floats(pixels)),
    "poster": Style(("posterised picture", "poster of flat colours", "picture in a few flat colours"), floats(poster)),
    "blur": Style(("blurry photo", "out of focus photo", "blurred picture"), floats(lambda x, _: blurred(x, 2.6))),
    "neon": Style(("neon outline", "glowing neon sign", "picture of glowing edges on black"), floats(neon)),
    "negative": Style(("photographic negative", "colour negative", "picture with inverted colours"), floats(negative)),
    "relief": Style(("stone relief", "embossed picture", "carving in stone"), floats(relief)),
    "halftone": Style(("halftone print", "comic book print of dots", "newspaper print of dots"), floats(halftone, 192)),
    "engraving": Style(("engraving", "etching of parallel lines", "banknote engraving"), floats(engraving, 192)),
    "glass": Style(("stained glass window", "stained glass picture", "leaded glass mosaic"), floats(glass, 96)),
    "grain": Style(("grainy photo", "noisy photo", "photo full of noise"), floats(grain)),
}  # fmt: skip

PLAIN = "plain"
TINTS: dict[str, tuple[int, int, int]] = {
    "red": (225, 30, 35),
    "orange": (245, 130, 20),
    "yellow": (245, 220, 30),
    "green": (40, 170, 60),
    "cyan": (30, 200, 210),
    "blue": (35, 75, 225),
    "purple": (135, 45, 190),
    "pink": (250, 110, 180),
}
_TINTABLE = [name for name, style in STYLES.items() if style.tinted]
LOOKS = [(style, tint) for style in STYLES for tint in (PLAIN, *(TINTS if STYLES[style].tinted else ()))]
HELD_OUT = [  # two tints of each style but the photograph, four styles of each tint
    (style, tint)
    for i, style in enumerate(_TINTABLE)
    for j, tint in enumerate(TINTS)
    if i and (3 * i + j) % len(TINTS) in (0, 5)
]

SUBJECTS = ("a face", "a person", "a head", "somebody", "a portrait")
# * the style, + the tint, ~ the subject
TRAINED = {
    True: (
        "a + * of ~",
        "a * of ~ in +",
        "a * of ~ with a + tint",
        "a + tinted * of ~",
        "a + *",
        "* of ~, all +",
    ),
    False: ("a * of ~", "* of ~", "a *", "the * of ~"),
}
ASKED = {True: "~ as a * in + colours", False: "~ as a *"}  # never trained on


def caption(style: str, tint: str, pattern: str, word: str, subject: str) -> str:
    """One sentence; the article follows the word behind it."""
    text = pattern.replace("*", word).replace("+", tint).replace("~", subject)
    for vowel in "aeiou":
        text = text.replace(f"a {vowel}", f"an {vowel}")
    return text


def captions(style: str, tint: str, random: torch.Generator, count: int) -> list[str]:
    """Some of the sentences that sprig is trained with."""

    def pick(options: Sequence[str]) -> str:
        return options[int(torch.randint(len(options), (1,), generator=random))]

    patterns = TRAINED[tint != PLAIN]
    return [
        caption(style, tint, pick(patterns), pick(STYLES[style].words), pick(SUBJECTS)) for _ in range(count)
    ]


def asked(style: str, tint: str) -> str:
    """The sentence, of a pattern that is not trained on, which a look is asked for with."""
    return caption(style, tint, ASKED[tint != PLAIN], STYLES[style].words[0], "a face")


def tinted(images: Tensor, colours: Tensor, strength: Tensor) -> Tensor:
    """uint8 [N, 3, R, R] mixed with its duotone of colours [N, 3] in 0..255; strength [N] in 0..1."""
    x, colour = to_float(images) / 2 + 0.5, colours.view(-1, 3, 1, 1).float() / 255
    duotone = torch.lerp(0.25 * colour, 0.3 + 0.7 * colour, grey(x))
    return to_uint8(torch.lerp(x, duotone, strength.view(-1, 1, 1, 1)) * 2 - 1)


def wear(images: Tensor, tints: Sequence[str], strength: Tensor) -> Tensor:
    """Pictures, uint8 [N, 3, R, R], each in its own tint or `plain`; strength [N]."""
    out = images.clone()
    rows = [i for i, tint in enumerate(tints) if tint != PLAIN]
    if rows:
        out[rows] = tinted(images[rows], torch.tensor([TINTS[tints[i]] for i in rows]), strength[rows])
    return out
