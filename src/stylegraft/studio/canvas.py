"""Drawing what the page asks for, by the public API and nothing else, with what was loaded kept for the next slider.

Every slider is an amount of `applications.Mixer`: a domain is cut into its blocks once, so that the strength of a level
is a factor on the amounts of its blocks, and moving it builds nothing anew. Pictures go out as PNG with the least
compression: lossless, so that what is seen is what the library draws, and 0.4 ms a face of 64 px. (WebP without loss
takes 0.2 ms at its fastest and 6 ms as Pillow has it, beside 15 to 30 ms of drawing; with loss it is another picture.)

Several faces are drawn by several threads, each of which draws some by itself (`alone`). PyTorch's own threads share
every layer and wait for each other at its end: beside a training that takes up to ten times as long.
"""

from __future__ import annotations

import io
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegraft.adaptation.sampling import Draws, labels
from stylegraft.applications import Direction, Latents, Mixer, sefa
from stylegraft.applications.latents import draw_codes
from stylegraft.checkpoints import Source
from stylegraft.data.pixels import to_uint8
from stylegraft.domains import Domain
from stylegraft.domains.apply import beside
from stylegraft.domains.directions import load_domain
from stylegraft.domains.domain import LEVELS
from stylegraft.errors import StylegraftError
from stylegraft.networks.generator import Generator, Noise, Output, blend_noise
from stylegraft.sources import load_source
from stylegraft.studio.request import Picture
from stylegraft.studio.workspace import Workspace

T = TypeVar("T")
KEPT = {"source": 3, "domain": 24, "mixer": 4, "directions": 4, "codes": 8, "tiles": 400, "lanes": 3}
DIRECTIONS = 8
LEAST_PSI = 1e-6  # an edit is a step beside the truncated w, which at psi 0 alone could not carry one
STANDARD = 2_000  # samples behind a direction's unit; the command's 10,000 take four seconds

# What of a mix has a strength of its own: a level's name, or the block of so many px.
Place = int


class Canvas:
    """Draws, one request after the other: the networks are shared, and a base must not be called from two threads."""

    def __init__(self, workspace: Workspace, lanes: int | None = None) -> None:
        """lanes: threads that draw beside each other; None: as many as PyTorch would take."""
        self.workspace, self.lanes = workspace, lanes or torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.lanes, "lane", initializer=alone)
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {kind: OrderedDict() for kind in KEPT}
        self.lock = threading.RLock()

    # -- what is loaded

    def _keep(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """The value of this key, made once; the least recently used goes."""
        held = self._kept[kind]
        if key not in held:
            held[key] = make()
        held.move_to_end(key)
        while len(held) > KEPT[kind]:
            held.popitem(last=False)
        return held[key]

    def source(self, name: str) -> Source:
        """A source by its shipped name or its file."""
        text = self.workspace.source(name)
        return self._keep("source", (text, _stamp(Path(text))), lambda: load_source(text))

    def domain(self, name: str, source: str) -> Domain:
        """A domain of the workspace on this source."""
        path = self.workspace.existing(name)
        path = path / "domain.safetensors" if path.is_dir() else path
        key = (str(path), _stamp(path), source)
        return self._keep("domain", key, lambda: load_domain(path, self.source(source)))

    def codes(self, name: str, source: str) -> Latents:
        """A file of codes of this source."""
        path = self.workspace.existing(name)
        key = (str(path), _stamp(path), source)
        return self._keep("codes", key, lambda: Latents.load(path, self.source(source).generator))

    def directions(self, source: str) -> list[Direction]:
        """The first SeFa directions of a source, a step of each one standard deviation."""
        with self.lock:
            generator = self.source(source).generator
            return self._keep("directions", source, lambda: sefa(generator, DIRECTIONS, samples=STANDARD))

    def _mixers(self, source: str, names: tuple[str, ...]) -> tuple[list[Mixer], list[tuple[int, Place]]]:
        """The mixer of the domains' blocks, one a thread, and which domain and block each amount belongs to."""
        self.source(source)
        domains = [self.domain(name, source) for name in names]
        key = (source, *(id(domain) for domain in domains))

        def make() -> tuple[list[Mixer], list[tuple[int, Place]], list[Domain]]:
            parts, places = [], []
            for k, domain in enumerate(domains):
                for place, part in blocks(domain).items():
                    parts.append(part)
                    places.append((k, place))
            first = [Mixer(self.source(source).generator, parts)] if parts else []
            # the domains stay, so that no other one comes to have their id
            return [*first, *(m.beside() for m in first * (self.lanes - 1))], places, domains

        mixers, places, _ = self._keep("mixer", key, make)
        return mixers, places

    def _networks(self, source: str) -> list[Generator]:
        """The generator of a source, one a thread."""
        own = self.source(source).generator
        return self._keep("lanes", id(own), lambda: [own, *(beside(own) for _ in range(self.lanes - 1))])

    # -- drawing

    def draw(self, picture: Picture, first: int = 0, count: int = 64) -> Tensor:
        """Images [N, 3, R, R], uint8, of some of the faces."""
        with self.lock, torch.inference_mode():
            return to_uint8(self._output(picture, first, count).image)

    def taps(self, picture: Picture) -> list[tuple[str, Tensor]]:
        """The network's maps of the first face: [(name, RMS over the channels [r, r])], in forward order."""
        with self.lock, torch.inference_mode():
            names = self.source(picture.source).generator.tap_names
            found = self._output(picture, 0, 1, names).taps
            return [(name, found[name][0].square().mean(0).sqrt()) for name in names if name in found]

    def png(self, picture: Picture, first: int, count: int) -> tuple[bytes, float]:
        """A strip of faces, one beside the other, and the seconds that drawing took, without what was loaded for it."""
        key = (picture, first, count, *(_stamp(self.workspace.path(n)) for n in picture.domains))
        with self.lock:
            if key not in self._kept["tiles"]:
                self._mixers(picture.source, picture.domains)
                _ = picture.edits and self.directions(picture.source)
            began = perf_counter()
            found = self._keep("tiles", key, lambda: strip(self._drawn(picture, first, count)))
            return found, perf_counter() - began

    def piece(self, source: str) -> int:
        """The most faces that are drawn at once: four of 64 px a thread, of which eight would take longer each."""
        return self.lanes * max(1, int(4 * (64 / self.source(source).generator.resolution) ** 2))

    def _drawn(self, picture: Picture, first: int, count: int) -> Tensor:
        """`draw`, each thread some of the faces."""
        with torch.inference_mode():
            networks, amounts, code, noise = self._asked(picture, first, count)
            given = next(iter(code.values()))
            total = len(next(iter(given.values())) if isinstance(given, dict) else given)
            if not total:
                raise StylegraftError("no face was asked for: give a seed, or a file of codes")
            lanes = min(self.lanes, total)
            ends = [total * lane // lanes for lane in range(lanes + 1)]
            parts = [slice(low, high) for low, high in itertools.pairwise(ends)]

            def some(lane: int) -> Tensor:
                with torch.inference_mode():
                    own = {name: cut(value, parts[lane]) for name, value in code.items()}
                    return networks[lane](*amounts, **own, noise=noise).image

            return to_uint8(torch.cat(list(self._pool.map(some, range(lanes)))))

    def _output(self, picture: Picture, first: int, count: int, taps: tuple[str, ...] = ()) -> Output:
        networks, amounts, code, noise = self._asked(picture, first, count)
        return networks[0](*amounts, **code, noise=noise, taps=taps)

    def _asked(
        self, picture: Picture, first: int, count: int
    ) -> tuple[Sequence[Callable[..., Output]], tuple[Tensor, ...], dict[str, Any], Noise]:
        """What draws it, one a thread, and what that is called with: the amounts of a mix, codes and noise."""
        generator = self.source(picture.source).generator
        mixers, places = self._mixers(picture.source, picture.domains)
        strengths = dict(picture.strengths)
        check_strengths(strengths)
        numbers = [picture.amounts[k] * strength(strengths, place) for k, place in places]
        amounts = torch.tensor([numbers]) if any(numbers) else None
        mixer = mixers[0] if mixers and amounts is not None else None
        noise, code = (
            self._noise(picture, generator),
            self._code(picture, generator, mixer, amounts, first, count),
        )
        if mixer is None or amounts is None:
            return self._networks(picture.source), (), code, noise
        return mixers, (amounts,), code, noise

    def _code(
        self,
        picture: Picture,
        generator: Generator,
        mixer: Mixer | None,
        amounts: Tensor | None,
        first: int,
        count: int,
    ) -> dict[str, Any]:
        """What the network is called with: z, or w with the edits beside it, or the codes of a file."""
        steps = [(self.directions(picture.source)[index], step) for index, step in picture.edits]
        moved = sum((step * d.ws[0] for d, step in steps if d.ws is not None), torch.zeros(generator.w_dim))
        if picture.codes:
            found = self.codes(picture.codes, picture.source)[first : first + count]
            ws = found.ws + moved if steps else found.ws
            return (
                {"ws": ws, "styles": found.styles}
                if found.styles and amounts is not None
                else ({"styles": found.styles} if found.styles else {"ws": ws})
            )
        seeds = picture.seeds[first : first + count]
        if not seeds:
            raise StylegraftError("no face was asked for: give a seed, or a file of codes")
        z, c = Draws(seeds).normal(generator.z_dim), labels(generator, list(seeds))
        if not steps:
            return {"z": z, "psi": picture.psi} | ({"c": c} if c is not None else {})
        w = (
            generator.mapping(z, c)
            if mixer is None or amounts is None
            else mixer.mapping(amounts.expand(len(z), -1), z, c)
        )
        psi = picture.psi if abs(picture.psi) > LEAST_PSI else LEAST_PSI
        return {"w": w + moved / psi, "psi": psi}

    def _noise(self, picture: Picture, generator: Generator) -> Noise:
        """The maps of this picture, one set for all faces; on a domain as on its source, whose maps no domain moves."""
        if picture.noise != "random":
            return generator.noise("none" if picture.noise == "none" else "const")
        drawn = generator.noise("random", 1, torch.Generator().manual_seed(picture.noise_seed))
        mode: Any = picture.blend
        return blend_noise(generator.noise("const"), drawn, picture.noise_amount, mode)

    # -- what goes with it

    def mixed(self, picture: Picture) -> Domain:
        """The mix as a domain of its own: sum_k a_k domain_k, at its strengths."""
        with self.lock:
            parts = [
                self.domain(name, picture.source) * amount
                if amount != 1
                else self.domain(name, picture.source)
                for name, amount in zip(picture.domains, picture.amounts, strict=True)
                if amount
            ]
            if not parts:
                raise StylegraftError("nothing is mixed yet: add a domain, or move its slider from 0")
            mix = parts[0]
            for part in parts[1:]:
                mix = mix + part
            strengths = {key: value for key, value in picture.strengths if value != 1}
            mix = mix.shaped(strengths) if strengths else mix
            if not mix.deltas:
                raise StylegraftError("the strengths leave nothing of the mix: it is the source")
            return mix

    def inversion(self, codes: str, source: str) -> Tensor:
        """The source's drawing of codes, uint8 [N, 3, R, R]."""
        with self.lock, torch.inference_mode():
            return to_uint8(draw_codes(self.source(source).generator, self.codes(codes, source)))


def alone() -> None:
    """From now on this thread computes by itself."""
    torch.set_num_threads(1)


def cut(value: Any, part: slice) -> Any:
    """Some of the faces of a tensor, or of a table of styles; what is one for all stays."""
    if isinstance(value, dict):
        return {name: tensor[part] for name, tensor in value.items()}
    return value[part] if isinstance(value, Tensor) else value


def blocks(domain: Domain) -> dict[Place, Domain]:
    """A domain cut into its blocks: {px, 0 for what belongs to none: that part of it}; their sum is the whole."""
    found: dict[Place, dict[str, Any]] = {}
    for name, terms in domain.deltas.items():
        head = name.split(".")[1] if name.startswith("synthesis.b") else ""
        found.setdefault(int(head[1:]) if head[1:].isdecimal() else 0, {})[name] = terms
    return {place: Domain(found[place], domain.config, domain.base) for place in sorted(found)}


def strength(strengths: dict[int | str, float], place: Place) -> float:
    """The strength of a block, by its own number or its level's, as `Domain.shaped` has it."""
    level = next(level for level, (low, high) in LEVELS.items() if low <= place <= high)
    return strengths.get(place, strengths.get(level, 1.0))


def check_strengths(strengths: dict[int | str, float]) -> None:
    """Refuse what `Domain.shaped` refuses, in its words."""
    Domain({}).shaped(strengths)


def strip(images: Tensor) -> bytes:
    """A PNG of images [N, C, R, R], uint8, one beside the other."""
    count, channels, height, width = images.shape
    pixels = images.permute(2, 0, 3, 1).reshape(height, count * width, channels).contiguous().numpy()
    return encode(Image.fromarray(pixels if channels == 3 else pixels[..., 0]))


def shaded(values: Tensor, side: int = 64) -> bytes:
    """A PNG of one map [r, r] from its least (dark) to its largest value (light), enlarged to `side`."""
    low, high = values.min(), values.max()
    grey = ((values - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(grey))
    return encode(image.resize((side, side), Image.Resampling.NEAREST))


def encode(image: Image.Image) -> bytes:
    """PNG with the least compression."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _stamp(path: Path) -> tuple[float, int]:
    """What changes when a file is written anew."""
    path = path / "domain.safetensors" if path.is_dir() else path
    try:
        stat = path.stat()
    except OSError:
        return (0.0, 0)
    return (stat.st_mtime, stat.st_size)
