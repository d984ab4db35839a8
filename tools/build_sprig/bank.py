"""All pictures that sprig sees, with their sentences: faces in looks, avatars, emoji. Held-out ones are marked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import avatars
import icons
import looks
from stylegraft.adaptation.sampling import seed_of
from stylegraft.data.pixels import to_uint8
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

SIZE = 64
SOURCES = ("faces-64", "stylegan2-faces-64")
PER_STYLE, WEARS = 160, 3  # faces drawn in each style, and how often each is dressed in a tint
PER_AVATAR = 260
TOLD = 3  # sentences a picture


@dataclass
class Item:
    """A picture, uint8 [3, 64, 64]; group: `face`, `avatar` or `emoji`; kind: its style, or the emoji's name; key: what
    it means, the same for pictures that every sentence of one fits; held: not trained on."""

    image: Tensor
    group: str
    kind: str
    key: str
    sentences: list[str]
    held: bool


@cache
def generator_of(source: str) -> Generator:
    return load_source(source).generator


@torch.no_grad()
def faces(source: str, count: int, seed: int) -> Tensor:
    """Samples, uint8 [count, 3, 64, 64], of truncation 0.6 to 1, half of them mirrored."""
    generator = generator_of(source)
    random = torch.Generator().manual_seed(seed)
    out = []
    for few in torch.randn(count, generator.z_dim, generator=random).split(32):
        psi = 0.6 + 0.4 * torch.rand(len(few), 1, generator=random)
        w = torch.lerp(generator.mapping.w_avg, generator.mapping(few), psi)
        image = generator(ws=w[:, None].expand(-1, generator.num_ws, -1)).image
        mirrored = torch.rand(len(few), generator=random) < 0.5
        out.append(to_uint8(torch.where(mirrored[:, None, None, None], image.flip(3), image)))
    return torch.cat(out)


def face_items(seed: int, per_style: int = PER_STYLE, wears: int = WEARS) -> list[Item]:
    """Of both sources in turn; each style's own faces; a third of the wears is plain."""
    out = []
    for number, style in enumerate(looks.STYLES):
        own = seed_of(seed, number, "sprig.faces", 0)
        halves = [faces(name, per_style // len(SOURCES), own + i) for i, name in enumerate(SOURCES)]
        base = looks.STYLES[style].draw(torch.cat(halves), own % 2**31)
        random = torch.Generator().manual_seed(own)
        colours = list(looks.TINTS)
        for _ in range(wears if looks.STYLES[style].tinted else 1):
            pick = torch.randint(len(colours) + 4, (len(base),), generator=random).tolist()
            plain = not looks.STYLES[style].tinted
            tints = [looks.PLAIN if plain or i >= len(colours) else colours[i] for i in pick]
            strength = 0.55 + 0.35 * torch.rand(len(base), generator=random)
            dressed = looks.wear(base, tints, strength)
            for image, tint in zip(dressed, tints, strict=True):
                held = (style, tint) in looks.HELD_OUT
                told = looks.captions(style, tint, random, TOLD)
                out.append(Item(image, "face", style, f"{style} {tint}", told, held))
    return out


def avatar_items(seed: int, count: int = PER_AVATAR) -> list[Item]:
    """One seed in ten is held out."""
    out, random = [], torch.Generator().manual_seed(seed)
    for style in avatars.STYLES:
        for i in range(count):
            ground = list(avatars.GROUNDS)[int(torch.randint(len(avatars.GROUNDS), (1,), generator=random))]
            one = avatars.avatar(style, f"sprig-{seed}-{i}", ground, SIZE)
            told = avatars.captions(one, random, 1)
            out.append(Item(one.image, "avatar", style, told[0], told, i % 10 == 0))
    return out


def emoji_items(folder: Path, seed: int) -> list[Item]:
    """One name in ten is held out, of all hands."""
    out, random = [], torch.Generator().manual_seed(seed)
    for name, hands in icons.names(folder).items():
        held = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0
        for icon in hands.values():
            told = [name] if held else icons.captions(name, random, 2)
            out.append(Item(icons.picture(icon, SIZE), "emoji", name, name, told, held))
    return out


def bank(folder: Path, seed: int) -> list[Item]:
    return [*face_items(seed), *avatar_items(seed), *emoji_items(folder, seed)]
