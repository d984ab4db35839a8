"""Toy sources of both architectures: 16 px, 8 channels, every parameter alive; and what each method needs on them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegraft.adaptation import guidance
from stylegraft.adaptation.loop import train
from stylegraft.adaptation.recipes import Recipe, recipe
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.state import State, begin
from stylegraft.checkpoints import Source
from stylegraft.domains import SPACES
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

SIZES = {"resolution": 16, "img_channels": 3, "z_dim": 8, "w_dim": 8, "c_dim": 0, "mapping_layers": 2}
GENERATORS: dict[str, dict[str, Any]] = {
    "stylegan2": {"architecture": "stylegan2", "channel_base": 128, "channel_max": 8, **SIZES},
    "mobile": {"architecture": "mobile", "channels": {"4": 8, "8": 8}, **SIZES},
}
DISCRIMINATOR = {
    "resolution": 16,
    "img_channels": 3,
    "channel_base": 128,
    "channel_max": 8,
    "mbstd_group_size": 4,
}
# One row a method, what it needs on a toy: a lead, a partition and a warm-up that end within six steps, an ADA that is
# on by then, a D policy that freezes something at 16 px, no weights of others.
OWN: dict[str, dict[str, Any]] = {
    "tgan": {},
    "ada": {"ada_kimg": 0.05},
    "diffaugment": {},
    "freezed": {"discriminator": "upto-8"},
    "fixnoise": {"ada_kimg": 0.05},
    "l2sp": {},
    "ewc": {"importance_samples": 2},
    "freezeg": {"ada_kimg": 0.05, "space": "late@8"},
    "bsa": {"bsa_vgg": 0.0},
    "minegan": {"lead": 2},
    "fsgan": {},
    "adam": {"lead": 2, "importance_samples": 2},
    "rick": {"warmup": 2, "partition_every": 2, "importance_samples": 2, "prune_below": 5.0},
    "ui2i": {"swap": 8},
    "dcl": {},
    "cdc": {},
    "rssa": {},
    "maskedd": {},
    "freezesg": {"batch": 4, "ada_kimg": 0.05, "discriminator": "upto-8", "space": "late@8"},
    "weditgan": {"ada_kimg": 0.05, "perp": 1e-4},
    "nada": {},
    "mtg": {"lr_warmup": 0, "invert_steps": 2},
    "jojogan": {"lr_warmup": 0, "invert_steps": 2, "jojo_rows": 2},
    "difa": {"lr_warmup": 0, "batch": 4, "source_samples": 4, "scc_rows": 3, "scc_window": 2, "scc_full": 4},
    "hdn": {},
    "hypernet": {"width": 16},
}
GUIDED = (
    "nada",
    "mtg",
    "jojogan",
    "difa",
    "hdn",
    "hypernet",
)  # they look through a guide, or at a picture's code
guidance.CANDIDATES = 4
guidance.means_folder = lambda: MEANS
MEANS = Path(tempfile.mkdtemp(prefix="stylegraft-means-"))
RECIPES = tuple(OWN)
# For runs of two steps, stopped after the first.
BRIEF: dict[str, Any] = {"r1_gamma": 0.0, "pl_weight": 0.0}
BRIEF_OWN: dict[str, dict[str, Any]] = {"minegan": {"lead": 1}, "rick": {"warmup": 0, "partition_every": 1}}
# What a method goes without on an architecture that lacks it: MobileStyleGAN has no running images.
WITHOUT: dict[str, dict[str, dict[str, Any]]] = {"mobile": {"freezesg": {"structure": 0.0}}}


def but(*allowed: str) -> tuple[str, ...]:
    """All spaces of the table but these."""
    return tuple(name for name in SPACES if name not in allowed)


_BOXED = ("affine+", "affine-light+", "style+", "scale-shift", "singular-values")  # kernels move, but not so
# (architecture, recipe, spaces) that do not go together -> what is said of it, with what is advised at the end, whose
# words `test_what_is_advised_instead_of_a_refused_pair_is_accepted` takes; `*`: any.
REFUSED: dict[tuple[str, str, tuple[str, ...]], str] = {
    ("mobile", "*", ("hdn",)): "nothing for gain; .* use hdn-before",
    (
        "*",
        "minegan",
        ("stylespace-sparse",),
    ): "lead_space 'miner': nothing .* --space 'miner [+] full', or --set lead=0$",
    (
        "*",
        "minegan",
        but("miner", "stylespace-sparse"),
    ): "lead_space 'miner': nothing .* --space 'miner [+] .*', or --set lead=0$",
    (
        "*",
        "adam",
        ("full", "late"),
    ): "lead_space 'rank1': nothing .* --space 'rank1\\(\\*\\) [+] .*', or --set lead=0 --set lead_reset=no$",
    (
        "*",
        "adam",
        ("rank-1",),
    ): "partition 'conv': .* takes dense deltas, .* --space 'conv [+] affine [+] rank-1'",
    (
        "*",
        "adam",
        but("adam", "full", "late", "rank-1"),
    ): "lead_space 'rank1': nothing .* --space 'adam', or --set lead=0 --set lead_reset=no --set partition=$",
    ("*", "rick", _BOXED): "partition 'conv': .* takes dense deltas, .* --space 'full', or --set partition=$",
    ("*", "rick", ("rank-1",)): "partition 'conv': .* takes dense deltas, .* --space 'conv [+] rank-1', or",
    (
        "*",
        "rick",
        ("stylespace-sparse",),
    ): "partition 'conv': nothing .* --space 'full', or --set partition=$",
    (
        "*",
        "rick",
        but(*_BOXED, "rank-1", "stylespace-sparse", "full", "synthesis", "adam", "late"),
    ): "partition 'conv': nothing .* --space 'conv [+] .*', or --set partition=$",
}


@cache
def toy(architecture: str = "stylegan2") -> Source:
    """One source for all tests: nothing may change it, and the contract tests look."""
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[architecture])
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        generator.mapping.w_avg.normal_(std=0.1)
    return Source(
        f"toy-{architecture}",
        generator.eval().requires_grad_(False),
        build_discriminator(DISCRIMINATOR).eval(),
    )


@cache
def pictures(count: int = 10) -> Tensor:
    """Smooth random images [N, 3, 16, 16], uint8."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 4, 4, generator=rng) * 255
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear").round().to(torch.uint8)


def small(name: str, **changes: Any) -> Recipe:
    """A recipe on toys: no warm-up, and what `OWN` says."""
    return recipe(name, **{"warmup": 0, "lr": 0.002, **OWN[name], **changes})


class ToyGuide(torch.nn.Module):
    """A guide of random weights: three colours and their slopes to 16 numbers, letters to as many."""

    name, dim, sees, patches = "toy", 16, "at 8 px", "places"

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.digest = f"{seed:064d}"
        self.look = torch.nn.Parameter(torch.randn(16, 3, 3, 3, generator=rng).to(dtype), requires_grad=False)
        self.head = torch.nn.Parameter(torch.randn(16, 64, generator=rng).to(dtype), requires_grad=False)
        self.seed = seed

    def preprocess(self, images: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(images, size=8, mode="bilinear", antialias=True)

    def encode(self, x: Tensor) -> Tensor:
        found = torch.tanh(torch.nn.functional.conv2d(x, self.look.to(x)))
        return torch.cat(
            (found.mean((2, 3)), found.square().mean((2, 3)), x.mean((2, 3)).repeat(1, 10), x[:, :2, 0, 0]), 1
        ) @ self.head.T.to(x)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.encode(self.preprocess(images))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        seeds = [sum(map(ord, text)) * 7 + len(text) + self.seed for text in texts]
        return torch.stack([torch.randn(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def tokens(self, images: Tensor) -> Tensor:
        x = self.preprocess(images)
        return torch.nn.functional.conv2d(x, self.look.to(x)).flatten(2).transpose(1, 2)


class Pixels(torch.nn.Module):
    """A distance of images that needs no weights."""

    def embed(self, images: Tensor) -> list[Tensor]:
        return [images / images[0].numel() ** 0.5, images.mean((2, 3), keepdim=True)]


GUIDES: Any = ((ToyGuide(0), 1.0), (ToyGuide(1), 0.5))


SENTENCES = ("pencil", "oil painting", "red", "stone in blue", "ink")


def request_of(row: Recipe) -> tuple[Request, Tensor]:
    """A sentence (a hypernetwork: some) and no images for those that read, else no sentence and a picture, or ten."""
    images = pictures().float() / 127.5 - 1
    if row.domains:
        return Request(texts=SENTENCES), images[:0]
    return (
        (Request("pencil"), images[:0])
        if row.reads
        else (Request(), images[: 2 if row.name in GUIDED else 10])
    )


def golden_space(name: str) -> str:
    """Where the golden losses of a recipe are taken: in affine-light+, or its own space where it refuses that."""
    refused = any(name == recipe and "affine-light+" in spaces for _, recipe, spaces in REFUSED)
    return small(name).space if refused else "affine-light+"


def fresh(
    name: str = "tgan", space: str = "affine-light+", architecture: str = "stylegan2", **changes: Any
) -> State:
    """A state before its first step."""
    changes = WITHOUT.get(architecture, {}).get(name, {}) | changes
    row = small(name, **changes)
    request, images = request_of(row)
    if not (row.guided or row.inverts):
        return begin(toy(architecture), images, row, space)
    looks: dict[str, Any] = {
        "guides": GUIDES if row.guided else (),
        "perceptual": Pixels() if row.inverts else None,
    }
    return begin(toy(architecture), images, row, space, request=request, **looks)


def after(steps: int, *args: Any, **changes: Any) -> State:
    """A state after so many steps."""
    state = fresh(*args, **changes)
    for _ in train(state, steps):
        pass
    return state
