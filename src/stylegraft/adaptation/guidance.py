"""What one-shot and text-driven terms look at: guides, what these make of the request, the references' own codes.

It is found once, before the first step, and kept with the state (`State.found`), so that a resumed run need not find it
again; by name:

    wanted/i      [N, dim]   of guide i: what is asked for, each sentence's or each picture's
    direction/i   [N, dim]   where that lies from the source, or from each picture's inverse
    tokens/i      [N, T, C]  of each picture
    inverse/i     [N, dim]   of each picture's inverse in the source
    ws            [N, num_ws, w_dim]   the codes of these inverses

Embeddings of images are of unit length; sentences are the mean over templates of such.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.inversion import descent
from stylegraft.adaptation.inversion.encoder import find_encoder, levels, load_encoder
from stylegraft.adaptation.request import Request
from stylegraft.adaptation.sampling import Draws, Keyed, seed_of
from stylegraft.checkpoints import assets, tensorfile
from stylegraft.checkpoints.identity import base_digest
from stylegraft.encoders.guides import Guide, Patchwise, encode_texts, tokens
from stylegraft.encoders.lpips import LPIPS, load_lpips
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator

if TYPE_CHECKING:
    from stylegraft.adaptation.state import Embedded, State

Guides = tuple[tuple[Guide, float], ...]  # each with the weight of its loss
CANDIDATES = descent.CANDIDATES
AT_ONCE = 8  # samples of the source that are embedded together
MEAN, VERSIONS = "stylegraft-source-mean", range(1, 2)


def load_perceptual(recipe: Recipe, device: torch.device | str) -> LPIPS | None:
    """LPIPS, where the recipe inverts its pictures; raises StylegraftError, with the command, where it is missing."""
    if not recipe.inverts:
        return None
    try:
        return load_lpips("vgg", device)
    except StylegraftError as error:
        raise StylegraftError(f"recipe {recipe.name} inverts its pictures by LPIPS: {error}") from error


class Coder(torch.nn.Module):
    """The inversion encoder of a source: images [B, C, R, R] in [-1, 1] to rows of W+ [B, rows, w_dim], from their mean
    in units of w's deviation; differentiable.
    """

    def __init__(self, generator: Generator, path: object, rows: int) -> None:
        super().__init__()
        self.encoder, _ = load_encoder(str(path), generator)
        self.rows = levels(generator)[:rows]

    def forward(self, images: Tensor) -> Tensor:
        """Images to codes."""
        return self.encoder(images)[:, self.rows]


def load_coder(recipe: Recipe, generator: Generator) -> Coder | None:
    """The source's own encoder, where DiFa's consistency asks for one and there is one."""
    path = find_encoder(generator) if recipe.scc else None
    return None if path is None else Coder(generator, path, recipe.scc_rows).to(device_of(generator))


def check_guides(recipe: Recipe, guides: Guides) -> None:
    """Refuse a recipe without the guides that it looks through; raises StylegraftError."""
    if recipe.guided and not guides:
        raise StylegraftError(
            f"recipe {recipe.name} looks through a guide and none is given; expected --guide NAME"
        )
    for guide, _ in guides if recipe.attentive else ():
        if not isinstance(guide, Patchwise):
            raise StylegraftError(
                f"recipe {recipe.name}: {guide.name} tells nothing of places in an image (it has no tokens); expected "
                "another --guide, or --set attentive=0"
            )


def device_of(generator: Generator) -> torch.device:
    """Where a generator is."""
    return generator.get_buffer("mapping.w_avg").device


def reduced(images: Tensor, side: int) -> Tensor:
    """Images as a file would show them, values cut to [-1, 1], and at no more than `side` px, by averaging; 0: at all
    of them. Uncut, a guide is pleased by colours beyond white that nobody sees.
    """
    images = images.clamp(-1, 1)
    return F.interpolate(images, size=side, mode="area") if 0 < side < images.shape[-1] else images


def embed(guide: Guide, images: Tensor, side: int = 0) -> Tensor:
    """Unit embeddings [B, dim] of images [B, C, H, W] in [-1, 1], seen at no more than `side` px."""
    return F.normalize(guide.encode_image(reduced(images, side)), dim=1)


@torch.no_grad()
def embed_once(state: State, keyed: Keyed, images: Callable[[], Tensor]) -> list[Tensor]:
    """What each guide sees in these images of the source, [B, dim]: where runs share it (`State.embedded`), the first
    asks for the images, and the others do not.
    """
    shared = {} if state.embedded is None else state.embedded
    place = (keyed.prefix, keyed.seed, keyed.step, *keyed.indices())
    if place not in shared:
        shared[place] = [embed(guide, images(), state.recipe.loss_resolution) for guide, _ in state.guides]
    return shared[place]


# Before the first step
# ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def prepare(state: State) -> dict[str, Tensor]:
    """What is named at the top, as far as the recipe asks for it."""
    recipe, shots, found = state.recipe, state.images, dict[str, Tensor]()
    inverses = None
    if recipe.inverts:
        found["ws"] = invert(state, recipe.invert_steps, CANDIDATES)
        inverses = drawn(state.generator, found["ws"])
    for i, (guide, _) in enumerate(state.guides):
        if state.request.sentences:
            heard = read(guide, state.request, recipe.templates, state.embedded)
            wanted, start = (one.to(state.device) for one in heard)
            found[f"wanted/{i}"], found[f"direction/{i}"] = wanted, wanted - start
            if recipe.domains:
                found[f"start/{i}"] = start[None]
            continue
        wanted = torch.cat([embed(guide, one, recipe.loss_resolution) for one in shots.split(AT_ONCE)])
        found[f"wanted/{i}"] = wanted
        if inverses is not None:
            found[f"inverse/{i}"] = torch.cat(
                [embed(guide, one, recipe.loss_resolution) for one in inverses.split(AT_ONCE)]
            )
        if recipe.direction and recipe.direction_from == "inverse":
            found[f"direction/{i}"] = wanted - found[f"inverse/{i}"]
        elif recipe.direction:
            found[f"direction/{i}"] = wanted.mean(0, keepdim=True) - source_mean(state, guide)
        if recipe.attentive:
            found[f"tokens/{i}"] = F.normalize(
                torch.cat(
                    [tokens(guide, reduced(one, recipe.loss_resolution)) for one in shots.split(AT_ONCE)]
                ),
                dim=2,
            )
    return found


def read(
    guide: Guide, request: Request, templates: str, shared: Embedded | None = None
) -> tuple[Tensor, Tensor]:
    """What a guide reads in the sentences [N, dim], and in what the source is [dim]; what is shared already is not read
    again.

    One after the other: many at once take memory, and are padded to the longest, which changes the last digits.
    """
    shared, rows = {} if shared is None else shared, list[Tensor]()
    for text in (*request.sentences, request.from_text):
        place = ("words", guide.name, guide.digest, templates, text)
        if place not in shared:
            shared[place] = [encode_texts(guide, [text], templates)[0]]
        rows += shared[place]
    return torch.stack(rows[:-1]), rows[-1]


@torch.no_grad()
def blank(state: State) -> dict[str, Tensor]:
    """The same in size alone, for a plan: of black images, where the device has values."""
    g, recipe, n = state.generator, state.recipe, len(state.request.texts) or max(1, len(state.images))
    images = torch.zeros(n, g.img_channels, g.resolution, g.resolution, device=state.device)
    found = {"ws": torch.zeros(n, g.num_ws, g.w_dim, device=state.device)} if recipe.inverts else {}
    for i, (guide, _) in enumerate(state.guides):
        row = embed(guide, images, recipe.loss_resolution)
        found |= {f"{kind}/{i}": row for kind in ("wanted", "direction", "inverse")}
        found[f"start/{i}"] = row[:1]
        if recipe.attentive:
            found[f"tokens/{i}"] = tokens(guide, reduced(images, recipe.loss_resolution))
    return found


def drawn(generator: Generator, ws: Tensor) -> Tensor:
    """The source's images [N, C, R, R] of codes, with its own noise."""
    return torch.cat([generator(ws=one).image for one in ws.split(AT_ONCE)])


@torch.enable_grad()
def invert(state: State, steps: int, candidates: int) -> Tensor:
    """Codes in W+ [N, num_ws, w_dim] of the training images."""
    assert state.perceptual is not None
    heard = partial(state.between, "inverting the pictures")
    heard(0, len(state.images) * steps)
    return descent.find_codes(
        state.generator,
        state.images,
        state.perceptual,
        space="w+",
        recipe=replace(descent.RECIPES["fast"], steps=steps),
        start=descent.default_start(state.generator, "w+"),
        count=candidates,
        progress=heard,
    ).ws.detach()


def source_mean(state: State, guide: Guide) -> Tensor:
    """Mean unit embedding [dim] of the source's samples, at psi 1 with random noise: the same for every run, and kept
    in the cache from the first one on.
    """
    known = kept_mean(state, guide)
    if known is not None:
        return known
    mean, (path, key) = mean_of_samples(state, guide), place_of_mean(state, guide)
    kept = {"mean": mean.float().cpu()}
    texts = {"key": key, "digest": tensorfile.digest(kept, {})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensorfile.write(path, kept, texts | tensorfile.stamp(MEAN, VERSIONS))
    except (OSError, StylegraftError):
        pass  # a cache that cannot be written costs time, not the run
    return mean


def kept_mean(state: State, guide: Guide) -> Tensor | None:
    """That mean, if it is in the cache and whole."""
    path, key = place_of_mean(state, guide)
    try:
        tensors, texts = tensorfile.read(path)
        if texts.get("key") == key and texts.get("digest") == tensorfile.digest(tensors, {}):
            return tensors["mean"].to(state.device)
    except (OSError, StylegraftError, KeyError):
        pass  # not there yet, or damaged: it is found again
    return None


def place_of_mean(state: State, guide: Guide) -> tuple[Path, str]:
    """Its file, and the key that this holds."""
    key = [
        base_digest(state.generator),
        guide.digest,
        str(state.recipe.source_samples),
        str(state.recipe.loss_resolution),
        "cut",  # as `reduced` shows them; means of before are of uncut images
    ]
    return means_folder() / f"{'-'.join(part[:16] for part in key)}.safetensors", "-".join(key)


def means_folder() -> Path:
    """Where means of sources are kept."""
    return assets.cache_dir() / "source-means"


@torch.no_grad()
def mean_of_samples(state: State, guide: Guide) -> Tensor:
    """That mean, from samples."""
    g, count = state.generator, state.recipe.source_samples
    sizes = [r * r for r in g.noise_shapes.values()]
    total = torch.zeros((), device=state.device)
    for first in range(0, count, AT_ONCE):
        state.between("embedding the source's samples", first, count)
        numbers = range(first, min(first + AT_ONCE, count))
        draws = Draws([seed_of(0, 0, "source mean", i) for i in numbers], state.device)
        z, maps = draws.normal(g.z_dim), draws.normal(sum(sizes)).split(sizes, dim=1)
        noise = {
            layer: flat.reshape(-1, 1, r, r)
            for (layer, r), flat in zip(g.noise_shapes.items(), maps, strict=True)
        }
        total = total + embed(guide, g(z, noise=noise).image, state.recipe.loss_resolution).sum(0)
    return total / count


# What it costs, and how it is said
# ------------------------------------------------------------------------------------------------------------


def seconds(state: State) -> float:
    """Seconds that `prepare` will take, from a few samples and steps of each kind; what is in the cache takes none."""
    recipe, total = state.recipe, 0.0
    if recipe.inverts:
        none, two = (clocked(lambda steps=steps: invert(state, steps, 4)) for steps in (0, 2))
        total += none * CANDIDATES / 4 + max(two - none, 0.0) / 2 * recipe.invert_steps
    if recipe.direction and recipe.direction_from == "samples" and not state.request.sentences:
        few = replace(state, recipe=replace(recipe, source_samples=AT_ONCE))
        unknown = [guide for guide, _ in state.guides if kept_mean(state, guide) is None]
        total += sum(clocked(lambda g=guide: mean_of_samples(few, g)) for guide in unknown) * (
            recipe.source_samples / AT_ONCE
        )
    return total


def clocked(work: Callable[[], object]) -> float:
    """Seconds of a piece of work."""
    started = perf_counter()
    work()
    return perf_counter() - started


def told(state: State) -> list[str]:
    """The guides and what is asked of them, in lines."""
    recipe, lines = state.recipe, []
    if state.guides:
        names = ", ".join(
            f"{guide.name} ({guide.digest[:12]}, weight {weight:g})" for guide, weight in state.guides
        )
        lines.append(f"guided by {names}" + (f" towards {state.request}" if state.request.sentences else ""))
        if state.request.sentences and any(guide.name == "sprig" for guide, _ in state.guides):
            lines.append(
                "note: sprig knows a small vocabulary of faces, filters, tints and emoji (docs/encoders.md)"
            )
    if recipe.inverts:
        way = descent.default_start(state.generator, "w+")
        start = "its encoder's guess" if way == "encoder" else f"the nearest of {CANDIDATES} samples"
        lines.append(
            f"before the first step each picture is inverted into W+, {recipe.invert_steps} steps from {start}"
        )
    if recipe.direction and recipe.direction_from == "samples" and not state.request.sentences:
        lines.append(
            f"the direction begins at the mean of {recipe.source_samples} samples of the source, which is kept in the "
            "cache"
        )
    if recipe.scc:
        whose = (
            "the source's inversion encoder"
            if state.coder
            else "both generators' own maps (it has no encoder)"
        )
        lines.append(f"codes of the consistency are those of {whose}, the first {recipe.scc_rows} rows of W+")
    if recipe.choose_rows:
        often = "every step" if recipe.choose_every == 1 else f"every {recipe.choose_every} steps"
        lines.append(f"{often} the guides choose {recipe.choose_rows} rows of W+; what reads them learns")
    return lines
