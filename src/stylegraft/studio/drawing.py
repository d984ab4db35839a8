"""The answers that need networks: pictures, maps, directions, previews, and the mix as a domain."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from stylegraft.applications import Latents, morph_frames, of_seeds, translate_codes
from stylegraft.applications.keyfile import parse_keys
from stylegraft.applications.translate import default_along
from stylegraft.data.pixels import to_uint8
from stylegraft.data.targets import load_target
from stylegraft.errors import StylegraftError
from stylegraft.seeds import LAST_SEED
from stylegraft.studio import commands
from stylegraft.studio.canvas import encode, shaded, strip
from stylegraft.studio.request import MOST_FACES, Picture, picture, whole

if TYPE_CHECKING:
    from stylegraft.studio.app import Studio

PREVIEW = 128  # px of a face in the library
FRAME = struct.Struct("<If")  # before each strip of a stream: its bytes, and the milliseconds of drawing it


def draw(studio: Studio, told: dict[str, Any]) -> tuple[bytes, float]:
    """A strip of some faces of a picture, and how long that took."""
    first, count = whole(told, "first", 0, 4096, 0), whole(told, "count", 1, MOST_FACES, MOST_FACES)
    return studio.canvas.png(picture(told), first, count)


def pieces(studio: Studio, told: dict[str, Any]) -> list[Callable[[], bytes]]:
    """What draws all faces of a picture, some at a time, each as a frame: bytes and milliseconds, then a strip.

    One face a thread at first, so that some follow the hand (45 ms at 64 px), then twice as many each time, since
    several are drawn sooner together.
    """
    asked, canvas = picture(told), studio.canvas
    total = len(asked.seeds) or (len(canvas.codes(asked.codes, asked.source)) if asked.codes else 1)

    def piece(first: int, count: int) -> bytes:
        png, seconds = canvas.png(asked, first, count)
        return FRAME.pack(len(png), seconds * 1000) + png

    todo, first, size, most = [], 0, canvas.lanes, canvas.piece(asked.source)
    while first < total:
        todo.append(partial(piece, first, min(size, total - first)))
        first, size = first + size, min(2 * size, most)
    return todo


def taps(studio: Studio, told: dict[str, Any]) -> list[dict[str, Any]]:
    """The maps inside the network for the first face."""
    return [
        {"name": name, "size": values.shape[-1], "image": data_url(shaded(values))}
        for name, values in studio.canvas.taps(picture(told))
    ]


def directions(studio: Studio, told: dict[str, Any]) -> list[dict[str, Any]]:
    """The first SeFa directions: their names, and the share of all that moves styles."""
    found = studio.canvas.directions(str(told.get("source", "")))
    return [{"name": d.name, "share": d.info.get("share")} for d in found]


def preview(studio: Studio, told: dict[str, Any]) -> bytes:
    """Four faces of a domain, or of a source, small."""
    name = str(told.get("path", ""))
    if told.get("kind") == "source":
        asked = Picture(name, seeds=(0, 1, 2, 3))
    else:
        base = studio.workspace.base_of(studio.workspace.existing(name))
        asked = Picture(base, (name,), (1.0,), seeds=(0, 1, 2, 3))
    png, _ = studio.canvas.png(asked, 0, 4)
    image = Image.open(io.BytesIO(png))
    return encode(image.reduce(image.height // PREVIEW)) if image.height > PREVIEW else png


def translated(studio: Studio, told: dict[str, Any]) -> bytes:
    """One face of a file of codes in a domain at several degrees of the source, beside each other."""
    name, codes = str(told.get("domain", "")), str(told.get("codes", ""))
    degrees = told.get("degrees", [])
    if not isinstance(degrees, list) or not 1 <= len(degrees) <= 12:
        raise StylegraftError("degrees: expected 1 to 12 numbers")
    canvas, base = studio.canvas, studio.workspace.base_of(studio.workspace.existing(name))
    generator = canvas.source(base).generator
    seed = whole(told, "seed", 0, LAST_SEED, 0)  # a face of the source, until there is a photo's
    latents: Latents = canvas.codes(codes, base) if codes else of_seeds(generator, [seed])
    index = whole(told, "index", 0, len(latents) - 1, 0)
    domain = canvas.domain(name, base)
    along = told.get("along") or default_along(domain)
    if along not in ("strength", "noise"):
        raise StylegraftError(f"along {along!r}: expected strength or noise")
    with torch.inference_mode():
        images = translate_codes(
            generator,
            domain,
            latents[index : index + 1],
            [commands.number({"degree": one}, "degree", -100, 100, 0.0) or 0.0 for one in degrees],
            how=along,
        )
    return strip(to_uint8(images[0]))


def moment(studio: Studio, told: dict[str, Any]) -> bytes:
    """One frame of a morph, at `share` of its length: the very frame of the film."""
    share = commands.number(told, "share", 0, 1, 0.0) or 0.0
    script, names = commands.toml(studio.workspace, told)
    keys = parse_keys(script, studio.workspace.root / "morph.toml")
    source = commands.text(told, "source")
    domains = [studio.canvas.domain(name, source) for name in names]
    with torch.inference_mode():
        frames = morph_frames(
            studio.canvas.source(source),
            domains,
            keys.morph,
            seeds=keys.seeds,
            times=[min(share, 0.9999) * keys.morph.seconds],
        )
        return strip(next(frames))


def target(studio: Studio, told: dict[str, Any]) -> bytes:
    """The pictures of a set that ships, small."""
    return strip(load_target(str(told.get("name", "")), 64).images)


def save_mix(studio: Studio, told: dict[str, Any]) -> dict[str, str]:
    """The mix as a domain file of the workspace."""
    path = studio.workspace.fresh(str(told.get("name", "")), ".safetensors")
    studio.canvas.mixed(picture(told)).save(path)
    return {"path": studio.workspace.name(path)}


def data_url(png: bytes) -> str:
    """A small picture inside JSON."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
