"""What `fuzz.py` begins with: honest files of every kind, made once, and the ways in which they are spoilt."""

# ruff: noqa: E501, E402
from __future__ import annotations

import copy
import io
import json
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "checkpoints")]

import hostile_files as h
import safetensors.torch
import torch
from PIL import Image
from tests.conftest import TOY_DISCRIMINATOR, TOY_GENERATOR
from tests.toys import random_domain

from stylegraft.adaptation.run import adapt
from stylegraft.applications import latents
from stylegraft.applications.directions import channel, sefa
from stylegraft.checkpoints import Source, describe_base, save_source, tensorfile
from stylegraft.domains import Domain
from stylegraft.domains.hypernet import Hypernet, Hypernetwork
from stylegraft.domains.pruning import prune
from stylegraft.domains.spaces import count
from stylegraft.networks.discriminator import build_discriminator
from stylegraft.networks.generator import build_generator

Rng = random.Random
SPACES = ("stylespace", "affine-light+", "hdn", "rank-1", "singular-values", "w-offset")
# texts that no file and no flag should mind
ODD = (
    "", " ", "-", "--", "-1", "0", "1", "nan", "inf", "-inf", "1e400", "1e-400", "0x10", "1_0", "9" * 30, "9" * 5000,
    "a" * 300, "x" * 9000, "\udcff\ud800", "\x1b[2J", "\n", "a\tb", "é", "½", "١", "🙂", "../..", "/", ".", "~", "..",
    "hf://", "hf://a/b/c@d", "hf://../b/c", "file:///etc/passwd", "http://a", "C:\\x", "nul", "a:b", "a=b", "=", "a=",
    "=1", ":", "pencil:", "pencil:0.5", ":0.5", "a:nan", "1,2", "0-3", "5-3", "0-99999999999", ",", "a,b", "[", "{}",
    "%s", "{o}", "{}{}", "${HOME}", "$(id)", "`id`", "pencil", "lorelei", "faces-64", "dcl", "affine-light+", "full",
    "off", "auto", "cpu", "cuda", "mps", "meta", "cuda:99", "clip", "random-tiny", "lpips", "inception:x@y", "1.5",
    "/dev/null", "/dev/zero", "p_target>=0.9", "cdc=no", "batch=999999999999", "augment=bg,colour", "64", "16:fine",
    "made:pencil", "True", "None", "x.png", "x.safetensors", "x.pt", "x.pkl", "x.zip", "no/where.png", "x.mp4", "x.csv",
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 3, 64, 1 << 31, 1 << 40, 10**30, 10**400, 0.5, -0.0, 1e300, float("nan"),
    float("inf"), "", "x", "x" * 2000, "\x00", "\ud800", "\x1b[2J\n", "../../etc", "/etc/passwd", "-h", "toy.safetensors",
    [], [1], ["x"], [[]], [None] * 40, {}, {"x": 1}, {"x": {"x": []}}, [{}], [0.5, "a"],
)  # fmt: skip


def spoilt_text(rng: Rng, text: str) -> str:
    """Characters, lines or values of a text changed."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        way = rng.randrange(9)
        if way == 0:
            lines[at : at + 1] = []
        elif way == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif way == 2 and "=" in lines[at]:
            name, _, _ = lines[at].partition("=")
            lines[at] = f"{name}= {toml_value(rng)}"
        elif way == 3:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        elif way == 4:
            lines[at] += rng.choice(ODD)
        elif way == 5 and lines[at]:
            k = rng.randrange(len(lines[at]))
            lines[at] = lines[at][:k] + rng.choice("[]{}=\"'\\#\x00\x7fé0\ud800") + lines[at][k + 1 :]
        elif way == 6:
            lines.insert(
                at, f"{rng.choice(('x', 'seeds', 'keys', 'name', 'at', 'waves'))} = {toml_value(rng)}"
            )
        elif way == 7:
            lines[at] = lines[at].replace("1", str(rng.choice((10**9, 0, -1, 2**64)))).replace("2", "nan")
        else:
            lines[at] = lines[at].replace('"', rng.choice(("'", "", '"""')))
        lines = lines or [""]
    return "\n".join(lines)


def toml_value(rng: Rng) -> str:
    """A value as TOML has them, of any kind and size."""
    return rng.choice((
        "-1", "0", "1", "1000000000", "9" * 30, "9" * 5000, "1e308", "1e400", "nan", "-inf", "true", '""', '"x"',
        f'"{"y" * 300}"', '"../../.."', '"/dev/zero"', '"\\u0000"', '"\\u001b[2J"', "[]", "[1, 2]", '["a", "a"]', "[[]]",
        "[" * 400 + "]" * 400, "[" * 3000, "{}", "{a = 1}", '{recipe = "dcl", set = {cl1 = [1]}}', "1979-05-27", "07:32:00",
        '{images = "made:pencil", pool = 1000000000}', '{seed = 99999999999}', "[0, 1000000000]", '"all"', '"own"',
    ))  # fmt: skip


def spoilt_json(rng: Rng, value: Any, share: float = 0.1) -> Any:
    """A tree of which some parts are others, left out or added."""
    if rng.random() < share:
        return copy.deepcopy(rng.choice(VALUES)) if rng.random() < 0.8 else rng.choice(ODD)
    if isinstance(value, dict):
        found = {
            rng.choice(ODD) if rng.random() < share / 4 else name: spoilt_json(rng, part, share)
            for name, part in value.items()
            if rng.random() >= share / 2
        }
        return found | ({rng.choice(ODD): rng.choice(VALUES)} if rng.random() < share / 3 else {})
    if isinstance(value, list | tuple):
        parts = [spoilt_json(rng, part, share) for part in value if rng.random() >= share / 2]
        return parts * rng.choice((2, 30)) if rng.random() < share / 3 else parts
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < share:
        return value * rng.choice((-1, 0, 1000, 1e9))
    return value


def spoilt_bytes(rng: Rng, good: bytes) -> bytes:
    """A few bytes, or pieces, of a file changed."""
    return h.changed(good, h.some_steps(rng))


def with_texts(
    data: bytes, change: Callable[[dict[str, Any]], dict[str, Any]], texts: Sequence[str]
) -> bytes:
    """A file of ours whose JSON texts are changed, under a digest that fits."""
    tensors, metadata = parts_of(data)
    for key in texts:
        changed = change(json.loads(metadata[key]))
        metadata[key] = json.dumps(changed)
    return sealed(tensors, metadata, texts)


def parts_of(data: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a file of ours."""
    length = int.from_bytes(data[:8], "little")
    return safetensors.torch.load(data), json.loads(data[8 : 8 + length])["__metadata__"]


def sealed(tensors: dict[str, torch.Tensor], metadata: dict[str, str], texts: Sequence[str]) -> bytes:
    """The file of these, with a digest over them: whoever edits a file can write a new one."""
    told = {key: metadata[key] for key in texts if key in metadata}
    return safetensors.torch.save(tensors, metadata | {"digest": tensorfile.digest(tensors, told)})


def spoilt_ours(rng: Rng, data: bytes, texts: Sequence[str]) -> bytes:
    """One of our files with bytes, header, texts, or tensors changed, mostly under a digest that fits."""
    way = rng.randrange(5)
    if way == 0:
        return spoilt_bytes(rng, data)
    if way == 1:
        length = int.from_bytes(data[:8], "little")
        header = spoilt_bytes(rng, data[8 : 8 + length])
        return struct.pack("<Q", len(header)) + header + data[8 + length :]
    if way in (2, 3):
        share = rng.choice((0.03, 0.1, 0.3))
        try:
            return with_texts(data, lambda told: spoilt_json(rng, told, share), texts)
        except UnicodeEncodeError:
            return spoilt_bytes(rng, data)
    tensors, metadata = parts_of(data)
    names = sorted(tensors)
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2)))):
        tensor = tensors.pop(name)
        kinds = [
            tensor.reshape(-1), tensor[None], tensor.reshape(-1)[:1], tensor.reshape(-1)[:0], tensor.half(), tensor.double(), tensor * torch.nan,
            tensor * 1e38 * 1e38, torch.zeros(()), tensor.expand(2, *tensor.shape), tensor.to(torch.int64), tensor * 1e30,
        ]  # fmt: skip
        other = rng.choice(
            (name, name, name.replace("b4", "b99"), name + "x", "x", name.replace("dense", "lowrank"))
        )
        if rng.random() < 0.9:
            tensors[other] = rng.choice(kinds).contiguous()
    try:
        return sealed(tensors, metadata, texts)
    except KeyError:  # a dtype that our digest has no name for
        return safetensors.torch.save(tensors, metadata)


def png_of(width: int, height: int, mode: str = "L", zeros: int | None = None) -> bytes:
    """A PNG of one colour, of any announced size, with so many bytes of zeros inside."""
    kinds = {
        "L": (0, 8, 1),
        "RGB": (2, 8, 3),
        "LA": (4, 8, 2),
        "RGBA": (6, 8, 4),
        "I;16": (0, 16, 2),
        "1": (0, 1, 0),
    }
    colour, depth, size = kinds[mode]
    packer = zlib.compressobj(1)
    total = height * (1 + (width * size or -(-width // 8))) if zeros is None else zeros
    data = b"".join(packer.compress(bytes(min(1 << 20, total - at))) for at in range(0, total, 1 << 20))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, body)
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
            (b"IDAT", data + packer.flush()),
            (b"IEND", b""),
        )
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def zipped(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> bytes:
    """A zip of these, in order, whatever they are called."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members:
            info = zipfile.ZipInfo(name or "x")
            info.filename, info.external_attr = name, mode << 16
            file.writestr(info, data, compress_type=method)
    return buffer.getvalue()


class Bench:
    """The honest things, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        torch.manual_seed(0)
        self.source = Source("toy", build_generator(TOY_GENERATOR).eval(), build_discriminator(TOY_DISCRIMINATOR),
                             {"licence": "CC0-1.0"})  # fmt: skip
        self.generator = self.source.generator.requires_grad_(False)
        save_source(folder / "toy.safetensors", self.source, torch.float32)
        self.images = self._images()
        pictures = folder / "pictures"
        pictures.mkdir()
        for i, name in enumerate(("a.png", "b.jpg", "c.webp")):
            (pictures / name).write_bytes(self.images[i])
        self.domains = self._domains()
        codes = latents.of_seeds(self.generator, [0, 1, 2])
        codes.save(folder / "codes.safetensors", self.generator)
        layers = self.generator.layers
        styles = {layer.name: torch.zeros(3, layer.channels) for layer in layers}
        latents.Latents(codes.ws, codes.names, styles).save(folder / "styles.safetensors", self.generator)
        sefa(self.generator, 1, samples=64)[0].save(folder / "direction.safetensors", self.generator)
        channel(self.generator, layers[0].name, 1).save(folder / "channel.safetensors", self.generator)
        adapt(self.source, pictures, recipe="tgan", space="affine", steps=2, batch=2, warmup=0, out=folder / "run",
              align="off", quiet=True, every=1)  # fmt: skip
        net = Hypernet(4, count("stylespace", self.generator), 6, 1)
        guide = {"name": "clip", "digest": "0" * 64, "weight": 1.0}
        told = {"space": "stylespace", "seed": 0, "recipe": "hypernet", "preset": "scaled", "steps": 2, "swap": 0,
                "guides": [guide], "texts": ["a", "b"], "from_text": "photo", "templates": 1}  # fmt: skip
        tensors = {name: tensor.detach() for name, tensor in net.named().items()}
        Hypernetwork(tensors, told, describe_base(self.source)).save(folder / "hypernet.safetensors")
        (folder / "study.toml").write_text(STUDY)
        (folder / "keys.toml").write_text(KEYS)
        (folder / "points.csv").write_text(POINTS)
        (folder / "zip.zip").write_bytes(zipped([(f"{i}.png", self.images[0]) for i in range(3)]))
        (folder / "runs").mkdir()
        (folder / "run" / "trace.jsonl").write_text(TRACE)
        (folder / "study").mkdir()
        (folder / "study" / "study.toml").write_text(
            STUDY.replace('"toy.', '"../toy.').replace('"pict', '"../pict')
        )
        (folder / "study" / "results.json").write_text(json.dumps(RESULTS))

    def _images(self) -> list[bytes]:
        """A small picture in every format and mode that is read."""
        plain = Image.effect_noise((20, 18), 60).convert("RGB")
        exif = Image.Exif()
        exif[0x112] = 6
        clear = plain.copy()
        clear.putalpha(Image.linear_gradient("L").resize(plain.size))
        deep = Image.frombytes("I;16", plain.size, bytes(range(240)) * 3)
        kinds = (
            (plain, "PNG", {}), (plain, "JPEG", {"exif": exif}), (plain, "WEBP", {}), (clear, "PNG", {}), (deep, "PNG", {}),
            (plain.convert("P"), "PNG", {"transparency": 3}), (plain.convert("1"), "PNG", {}), (plain.convert("L"), "GIF", {}),
            (plain, "TIFF", {"compression": "tiff_lzw"}), (plain, "TIFF", {}), (plain, "BMP", {}), (plain, "PPM", {}),
            (plain.convert("CMYK"), "JPEG", {}), (plain, "JPEG", {"progressive": True}), (plain, "AVIF", {}),
            (plain, "JPEG2000", {}), (clear, "WEBP", {}), (plain.convert("LA"), "PNG", {}),
        )  # fmt: skip
        found = []
        for image, kind, options in kinds:
            buffer = io.BytesIO()
            try:
                image.save(buffer, kind, **options)
            except (KeyError, OSError, ValueError):  # a Pillow without this codec
                continue
            found.append(buffer.getvalue())
        return found

    def _domains(self) -> list[bytes]:
        """A domain of each form, a mix, a pruned one."""
        single = [random_domain(self.generator, space, i) for i, space in enumerate(SPACES)]
        mixed: Domain = single[0] * 0.5 + single[1] * -0.25
        found = []
        for i, domain in enumerate((*single, mixed, prune(single[0], 0.1))):
            path = self.folder / f"domain{i}.safetensors"
            domain.save(path)
            found.append(path.read_bytes())
        return found

    def read(self, name: str) -> bytes:
        """An honest file."""
        return (self.folder / name).read_bytes()

    @cached_property
    def client(self) -> Any:
        """The studio over a workspace of its own; to be made in the process that uses it."""
        import shutil

        from starlette.testclient import TestClient

        from stylegraft.studio.app import build

        place = self.folder / "ws"
        shutil.copytree(self.folder, place, ignore=lambda _, names: {"ws", "runs"} & set(names))
        (place / "pictures" / "set").mkdir()
        (place / "pictures" / "set" / "a.png").write_bytes(self.images[0])
        (self.folder / "secret.txt").write_text("a secret beside the workspace")
        client = TestClient(build(place), base_url="http://127.0.0.1:7860", headers={"x-studio": "1"})
        client.__enter__()  # never left: the process ends
        return client


STUDY = """\
name = "mine"
source = "toy.safetensors"
targets = ["pencil", {images = "pictures", align = "off", label = "own"}, "made:oil"]
recipes = ["dcl", {recipe = "tgan", set = {lr = 0.01, augment = "bg"}, label = "t"}]
spaces = ["affine-light+", "own"]
shots = ["all", 3]
draws = 1
seeds = [0, 2]
steps = 12
batch = 2

[trace]
every = 4
full_at = [8]
samples = 100

[resources]
cpu = 1
gpu = 0.5

[[waves]]
name = "one"
[[waves]]
recipes = "freezed"
"""

KEYS = """\
loop = true
seconds = 8
fps = 12
blend = "vp"

[domains]
pencil = "domain0.safetensors"
ink = "domain1.safetensors"

[[keys]]
at = 0
seed = 3
psi = 0.7
domains = {pencil = 0.0, ink = 1}

[[keys]]
at = 4
noise = 0.5
seed = 7
domains = {pencil = 1.0}
ease = "ease-out"
"""

POINTS = """\
name,left_eye_x,left_eye_y,right_eye_x,right_eye_y
a.png,5,6,14,6.5
b.jpg,4,8,15,7
"""

POINT = {
    "step": 0,
    "weights": "ema",
    "p_target-effnet-lite0": 0.2,
    "intra-lpips-vgg@64/200": 0.5,
    "clusters": [2, 2],
}
HEADER = {
    "format": "stylegraft-trace", "version": 1, "notes": {}, "source": {"p_target-effnet-lite0": 0.1},
    "run": {key: {} for key in ("source", "discriminator", "target", "recipe", "space", "seed")},
    "metrics": {"quality": "p_target-effnet-lite0", "diversity": "intra-lpips-vgg@64/200"}, "full": "intra-lpips-vgg@256/1000",
    "anchors": {"p_real": 0.9, "p_source": 0.1, "accuracy": 0.9, "calibration": 0.1}, "panel": {"samples": 200},
    "machine": {"device": "cpu"},
}  # fmt: skip
LINES = [{"header": HEADER}, *(POINT | {"step": s, "weights": w} for s in (0, 1, 2) for w in ("ema", "raw"))]
TRACE = "".join(json.dumps(line) + "\n" for line in LINES)
CELL = {"state": "done", "target": "pencil", "source": "toy", "method": "dcl", "space": "full", "points": [POINT, POINT],
        "intra-lpips-vgg@64/200 at 0.5": 0.4}  # fmt: skip
RESULTS = {"study": "mine", "answers": ["a line"], "cells": [CELL, CELL | {"method": "tgan"}]}
