"""The table of public entries that `fuzz.py` tries: what a case is made from, and what reads it."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import multiprocessing.process
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import fuzz_seeds as seeds
from fuzz_seeds import ODD, Bench, Rng, h
from hypothesis import strategies as st
from PIL import Image

from stylegraft.adaptation.folder import read_stats
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.rules import parse as parse_rules
from stylegraft.applications.directions import Direction
from stylegraft.applications.keyfile import parse_keys
from stylegraft.applications.latents import Latents
from stylegraft.cli.main import VERBS, main
from stylegraft.cli.sample import parse_seeds
from stylegraft.data.align import frame, read_points
from stylegraft.data.files import decode, read_pictures
from stylegraft.data.images import load_images
from stylegraft.domains import Domain
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import base_tensors
from stylegraft.domains.hypernet import Hypernetwork
from stylegraft.domains.spaces import resolve
from stylegraft.errors import StylegraftError
from stylegraft.lab.report import read_config, write_report
from stylegraft.lab.study import cells
from stylegraft.lab.studyfile import parse as parse_study
from stylegraft.lab.trace import read_trace
from stylegraft.studio.app import ROUTES
from stylegraft.studio.security import Guard, refusal


class Escaped(Exception):
    """Something else came of a case than a result or a refusal."""


class Begun(BaseException):
    """The line was taken: from here on it would be work."""


@dataclass(frozen=True)
class Entry:
    """what: its row; group: the row of the table that it counts for; cases: how many; make: a case from chance, or a
    strategy of hypothesis; call: reads a case, and raises what may be raised; ready: prepares a process for it.
    """

    group: str
    cases: int
    make: Callable[[Bench, Rng], Any] | Callable[[Bench], st.SearchStrategy[Any]]
    call: Callable[[Bench, Any], object]
    ready: Callable[[Bench], None] = lambda bench: None
    hypothesis: bool = False


# Pictures and places of pictures
# ----------------------------------------------------------------------------------------------------------


def a_picture(bench: Bench, rng: Rng) -> bytes:
    """A file with bytes changed; a header that lies; at times a large one of nothing."""
    way = rng.random()
    if way < 0.002:
        mode = rng.choice(("L", "RGB", "RGBA", "LA", "I;16", "1"))
        return seeds.png_of(rng.choice((9_000, 10_000)), rng.choice((9_000, 10_000, 11_000)), mode)
    if way < 0.1:
        size = (0, 1, 15, 16, 40, 10_000, 1 << 20, (1 << 31) - 1, 1 << 31)
        return seeds.png_of(
            rng.choice(size), rng.choice(size), rng.choice(("L", "RGBA", "I;16")), rng.randrange(3000)
        )
    good = rng.choice(bench.images)
    if way < 0.2 and good[:4] == b"\x89PNG":
        kind = rng.choice(
            (b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"gAMA", b"IDAT")
        )
        return (
            good[:33]
            + seeds.chunk(kind, rng.choice((b"", rng.randbytes(20), b"a\0\0" + bytes(90))))
            + good[33:]
        )
    return seeds.spoilt_bytes(rng, good)


def see(bench: Bench, data: bytes) -> None:
    """As RGB, as grey, and small."""
    decode(data, "x.png", "x.png", 3)
    if len(data) < 5000:
        decode(data, "x.png", "x.png", 1)
        decode(data, "x.png", "x.png", 3, coarse=True)


NAMES = ("a.png", "../a.png", "/etc/a.png", "..\\a.png", "C:/a.png", "C:a.png", "a/b.png", "a/../../b.png", "", "/", ".",
         "a.png/", "é.png", "\x00.png", "a\nb.png", "con.png", "__MACOSX/a.png", ".a.png", "a.heic", "x" * 300 + ".png",
         "a.zip", "a.txt", "\\\\host\\a.png", "~/a.png", "-a.png", "a\x1b[2J.png")  # fmt: skip


def a_zip(bench: Bench, rng: Rng) -> bytes:
    """Names that lead out, members that lie, methods of all kinds, bombs, and bytes changed."""
    way = rng.random()
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    if way < 0.003:
        return seeds.zipped([("a.png", bytes(rng.choice((30, 300)) << 20))], rng.choice(methods[1:]))
    if way < 0.005:
        return seeds.zipped([(f"{i}.png", b"") for i in range(20_001)])
    names = (
        NAMES if rng.random() < 0.6 else ("a.png", "b.jpg", "a/b.png", "a/c.png", "x.txt", "__MACOSX/a.png")
    )
    members = [(rng.choice(names), rng.choice(bench.images)) for _ in range(rng.choice((0, 1, 2, 4)))]
    members += [(f"x{i}.png", bench.images[0]) for i in range(rng.randrange(3))]
    data = seeds.zipped(
        members,
        rng.choice((*methods, *[zipfile.ZIP_DEFLATED] * 6)),
        rng.choice((*[0] * 9, 0o120777, 0o40755)),
    )
    if way < 0.35:
        return data
    data = seeds.spoilt_bytes(rng, data)
    return h.reseal(data) if way < 0.8 and data.find(b"PK\x01\x02") >= 0 else data


def unzip(bench: Bench, data: bytes) -> None:
    """Every picture of it."""
    path = bench.folder / "spoilt.zip"
    path.write_bytes(data)
    for picture in read_pictures(path, 3, []):
        assert picture.image.mode == "RGB"


def a_folder(bench: Bench, rng: Rng) -> list[tuple[str, str, bytes]]:
    """(kind, name, content) of what lies in a folder."""
    kinds = (*["file"] * 20, "folder", "link", "loop", "pipe", "run", "bytes")
    names = [
        *(n for n in NAMES if n and "/" not in n and "\0" not in n and n != "."),
        *(f"{i}.png" for i in range(9)),
    ]
    return [
        (
            rng.choice(kinds),
            rng.choice(names)[:200],
            rng.choice((rng.choice(bench.images), b"", a_picture(bench, rng))),
        )
        for _ in range(rng.randrange(5))
    ]


def look_into(bench: Bench, things: list[tuple[str, str, bytes]]) -> None:
    """The folder as a training set."""
    folder = bench.folder / "spoilt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for kind, name, data in things:
        path = folder / name
        if os.path.lexists(path):  # never through a link, or into a pipe
            continue
        with contextlib.suppress(FileExistsError, IsADirectoryError):
            if kind == "file":
                path.write_bytes(data)
            elif kind == "folder":
                path.mkdir()
            elif kind == "link":
                path.symlink_to(bench.folder / "points.csv")
            elif kind == "loop":
                path.symlink_to(path)
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "bytes":
                (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(data)
            elif kind == "run":
                for own in ("config.json", "stats.jsonl"):
                    (folder / own).write_text("")
    load_images(folder, 16)


def some_points(bench: Bench, rng: Rng) -> bytes:
    """A table of eye points, changed."""
    if rng.random() < 0.5:
        return seeds.spoilt_bytes(rng, seeds.POINTS.encode())
    return seeds.spoilt_text(rng, seeds.POINTS).replace("5", rng.choice(ODD)).encode(errors="surrogatepass")


def read_eyes(bench: Bench, data: bytes) -> None:
    """The table, and the frame of a picture that it names."""
    path = bench.folder / "spoilt.csv"
    path.write_bytes(data)
    points = read_points(path)
    picture = Image.new("RGB", (20, 18))
    for name in points:
        frame(picture, 16, points, name)


# Texts: studies, keys
# ----------------------------------------------------------------------------------------------------------


def a_study(bench: Bench, rng: Rng) -> str:
    """A study with lines and values changed."""
    return seeds.spoilt_text(rng, seeds.STUDY)


def plan_study(bench: Bench, text: str) -> None:
    """What it says, and its runs."""
    cells(parse_study(text, bench.folder / "study.toml"), lambda source: 16)


def some_keys(bench: Bench, rng: Rng) -> str:
    """A morph with lines and values changed; at times a very long one."""
    if rng.random() < 0.01:
        return (
            seeds.KEYS
            + "".join(f"[[keys]]\nat = {9 + i}\n" for i in range(3000))
            + rng.choice(("x = 1", "at = 1", ""))
        )
    return seeds.spoilt_text(rng, seeds.KEYS)


def plan_morph(bench: Bench, text: str) -> None:
    """What it says, and how many frames that makes."""
    script = parse_keys(text, bench.folder / "keys.toml")
    script.morph.count(script.fps)


def toml_texts(bench: Bench) -> st.SearchStrategy[str]:
    """TOML of any tables, by hypothesis."""
    words = ("source", "targets", "recipes", "spaces", "shots", "draws", "seeds", "steps", "waves", "trace", "resources",
             "name", "keys", "domains", "at", "seed", "seconds", "loop", "fps", "psi", "noise", "ease", "set", "images")  # fmt: skip
    leaf = st.one_of(st.integers(-5, 10**12), st.floats(), st.booleans(), st.text(max_size=8), st.sampled_from(words),
                     st.sampled_from(("pencil", "dcl", "all", "own", "toy.safetensors", "full", "made:oil")))  # fmt: skip
    tree = st.recursive(
        leaf,
        lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from(words), t, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(st.sampled_from(words), tree, min_size=1, max_size=7).map(toml_of)


def toml_of(told: dict[str, Any]) -> str:
    """A dictionary as TOML."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return "{" + ", ".join(f"{key} = {value(part)}" for key, part in one.items()) + "}"
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return str(one).lower() if isinstance(one, bool | float) else json.dumps(one)

    return "\n".join(f"{key} = {value(one)}" for key, one in told.items()) + "\n"


def both_texts(bench: Bench, text: str) -> None:
    """As a study and as a morph."""
    try:
        plan_study(bench, text)
    except StylegraftError:
        plan_morph(bench, text)


# Files of ours
# ----------------------------------------------------------------------------------------------------------


def a_domain(bench: Bench, rng: Rng) -> bytes:
    """A domain of any form, changed."""
    return seeds.spoilt_ours(rng, rng.choice(bench.domains), ("config", "base"))


def read_domain(bench: Bench, data: bytes) -> None:
    """Read, checked against its base, and worked out on it; and what the command line says of it."""
    path = bench.folder / "spoilt.safetensors"
    path.write_bytes(data)
    inspected = told("inspect", str(path))
    domain = Domain.load(path, bench.generator)
    effective((domain * 0.5 + domain).shaped({"fine": 0.5}).deltas, base_tensors(bench.generator))
    if inspected:
        raise Escaped(f"inspect refuses what loads: {inspected}")


def told(*words: str) -> str:
    """The refusal of a line, empty where it was taken."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        status = main(words)
    if status not in (0, 2) or (status and not one_line(errors.getvalue())):
        raise Escaped(f"status {status}, said {errors.getvalue()[-300:]!r}")
    return errors.getvalue() if status else ""


def one_line(text: str) -> bool:
    """Whether a refusal is its one line; what was said before it are notes and progress."""
    lines = text.splitlines()
    return (
        bool(lines)
        and lines[-1].startswith("error: ")
        and sum(one.startswith("error: ") for one in lines) == 1
    )


def ours(name: str, texts: tuple[str, ...], load: Callable[[Path, Bench], object]) -> tuple[Any, Any]:
    """(make, call) of a kind of file: honest ones in the bench, the texts under their digest, and their reader."""

    def make(bench: Bench, rng: Rng) -> bytes:
        return seeds.spoilt_ours(rng, bench.read(rng.choice(name.split())), texts)

    def call(bench: Bench, data: bytes) -> None:
        path = bench.folder / "spoilt.safetensors"
        path.write_bytes(data)
        told("inspect", str(path))
        load(path, bench)

    return make, call


def read_hypernet(path: Path, bench: Bench) -> None:
    """Read, and one domain of it."""
    told("hypernet", str(path))
    found = Hypernetwork.load(path)
    import torch

    found.domain(torch.ones(4), bench.generator, {"text": "a"})


# A run's folder
# ----------------------------------------------------------------------------------------------------------


def a_state(bench: Bench, rng: Rng) -> tuple[str, bytes]:
    """The state or the images of a run, changed."""
    name, texts = rng.choice((("state", ("config", "numbers")), ("state", ("numbers",)), ("targets", ())))
    return f"{name}.safetensors", seeds.spoilt_ours(rng, bench.read(f"run/{name}.safetensors"), texts)


def resume(bench: Bench, case: tuple[str, bytes]) -> None:
    """The same command again, which would go on from there."""
    from stylegraft.adaptation.run import adapt

    name, data = case
    run = bench.folder / "resumed"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(bench.folder / "run", run)
    (run / name).write_bytes(data)
    adapt(bench.source, bench.folder / "pictures", recipe="tgan", space="affine", steps=2, batch=2, warmup=0, out=run,
          align="off", quiet=True, every=1)  # fmt: skip


TEXTS = ("config.json", "stats.jsonl", "trace.jsonl")


def texts_of_a_run(bench: Bench, rng: Rng) -> tuple[str, bytes]:
    """A text of a run, values or bytes changed."""
    name = rng.choice(TEXTS)
    good = bench.read(f"run/{name}")
    if rng.random() < 0.3:
        return name, seeds.spoilt_bytes(rng, good)
    share = rng.choice((0.03, 0.2))
    lines = [seeds.spoilt_json(rng, json.loads(line), share) for line in good.decode().splitlines()] if name != TEXTS[0] \
        else [seeds.spoilt_json(rng, json.loads(good), share)]  # fmt: skip
    return name, "".join(json.dumps(line) + "\n" for line in lines).encode()


def look_at_run(bench: Bench, case: tuple[str, bytes]) -> None:
    """What inspect, the report and the studio make of it."""
    name, data = case
    client = bench.client
    run = bench.folder / "ws" / "run"
    for each in TEXTS:
        (run / each).write_bytes(data if each == name else bench.read(f"run/{each}"))
    answered(client.get("/api/run", params={"path": "run"}))
    answered(client.get("/api/library"))
    told("inspect", str(run))
    read_stats(run / "stats.jsonl")
    for read in (read_config, read_trace, write_report):
        with contextlib.suppress(StylegraftError):
            read(run)


def a_study_folder(bench: Bench, rng: Rng) -> bytes:
    """The results of a study, changed."""
    if rng.random() < 0.3:
        return seeds.spoilt_bytes(rng, json.dumps(seeds.RESULTS).encode())
    return json.dumps(seeds.spoilt_json(rng, seeds.RESULTS, rng.choice((0.03, 0.2)))).encode()


def look_at_study(bench: Bench, data: bytes) -> None:
    """What the studio makes of it."""
    client = bench.client
    (bench.folder / "ws" / "study" / "results.json").write_bytes(data)
    answered(client.get("/api/study", params={"path": "study"}))
    answered(client.get("/api/library"))


# The command line
# ----------------------------------------------------------------------------------------------------------

HONEST = {
    "adapt": "toy.safetensors pictures --align off --recipe tgan --space affine --steps 2 --out runs/x",
    "hypernet": "hypernet.safetensors a --source toy.safetensors",
    "mix": "domain0.safetensors:0.5 domain1.safetensors:0.5 --source toy.safetensors --out m.png --seeds 0-3",
    "translate": "domain0.safetensors pictures --source toy.safetensors --keep-source 0,1 --out runs/t",
    "edit": "toy.safetensors --direction sefa:0=2 --seeds 0-3 --out e.png",
    "directions": "toy.safetensors sefa --count 2 --out d.png",
    "control": "domain0.safetensors --source toy.safetensors --way layers --out c.png",
    "morph": "--keys keys.toml --source toy.safetensors --out m.gif",
    "transfer": "domain0.safetensors --source toy.safetensors --to faces-64 --out t.png",
    "prune": "domain0.safetensors --source toy.safetensors --keep 0.5 --out p.safetensors",
    "studio": ". --port 0",
    "sample": "domain0.safetensors --source toy.safetensors --seeds 0-3 --psi 0.5 --out g.png",
    "trace": "run --trace-every 1 --latents 4 --source toy.safetensors",
    "evaluate": "domain0.safetensors --source toy.safetensors --reference pictures --out runs/e",
    "compare": "study.toml --dry-run --out runs/s",
    "claims": "study.toml --out runs/s",
    "anatomy": "domain0.safetensors domain1.safetensors --source toy.safetensors",
    "inspect": "domain0.safetensors",
    "convert": "domain0.safetensors x.safetensors --source toy.safetensors",
    "export": "domain0.safetensors x.onnx --source toy.safetensors",
    "push": "domain0.safetensors a/b --dry-run --source toy.safetensors",
    "pull": "hf://a/b@main",
    "assets": "get lpips",
    "spaces": "toy.safetensors",
    "recipes": "dcl",
}


def flags_of(verb: str) -> list[str]:
    """The flags that a verb has."""
    fields = dataclasses.fields(import_module(f"stylegraft.cli.{verb}").Options)
    return [f"--{one.name.replace('_', '-')}" for one in fields]


def files_of(bench: Bench) -> list[str]:
    """Names of what lies there."""
    return sorted(path.name for path in bench.folder.iterdir() if not path.name.startswith(("spoilt", "x")))


def a_line(verb: str, bench: Bench, rng: Rng) -> list[str]:
    """A line with words replaced, left out, doubled, or flags more."""
    words = HONEST.get(verb, "").split()
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = rng.choice(ODD) if rng.random() < 0.7 else rng.choice(files_of(bench))
        at, way = rng.randrange(len(words) + 1), rng.randrange(6)
        if way <= 1 and at < len(words):
            words[at] = value
        elif way == 2:
            del words[at : at + 1]
        elif way == 3:
            words += [rng.choice(flags_of(verb) or ["--x"]), value]
        elif way == 4:
            words += [f"{rng.choice(flags_of(verb) or ['--x'])}={value}"]
        else:
            words.insert(at, value)
    return [verb, *(word.replace("\0", "") for word in words)]


def any_lines(bench: Bench) -> st.SearchStrategy[list[str]]:
    """Lines of any words, by hypothesis."""
    flags = sorted({flag for verb in VERBS for flag in flags_of(verb)})
    plain = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=12)
    words = st.one_of(plain, st.sampled_from(flags), st.sampled_from(files_of(bench)), st.floats().map(str),
                      st.integers().map(str), st.sampled_from([o for o in ODD if "\0" not in o]))  # fmt: skip
    return st.tuples(st.sampled_from([*VERBS, "", "--help", "adpat"]), st.lists(words, max_size=6)).map(
        lambda both: [both[0], *both[1]]
    )


def without_work(bench: Bench) -> None:
    """From here on, in this process, whatever would begin work, a child or a connection says so in its place."""

    def begun(*args: Any, **options: Any) -> Any:
        raise Begun

    from stylegraft import sources

    work = {sources.load_source}
    for verb in VERBS:
        import_module(f"stylegraft.cli.{verb}")
    for module in [m for name, m in sys.modules.items() if name.startswith("stylegraft")]:
        for name, thing in list(vars(module).items()):
            if callable(thing) and any(thing is one for one in work):
                setattr(module, name, begun)
    subprocess.Popen.__init__ = begun  # type: ignore[method-assign]
    multiprocessing.process.BaseProcess.start = begun  # type: ignore[method-assign]
    socket.socket.connect = socket.socket.bind = begun  # type: ignore[method-assign]
    socket.getaddrinfo = begun
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(bench.folder / "hub"), "COLUMNS": "80"}
    os.chdir(bench.folder)


def type_line(bench: Bench, words: list[str]) -> None:
    """The line, to where work would begin."""
    out, errors = io.StringIO(), io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = main(words)
        except Begun:
            return
        except SystemExit as error:  # help, or a page of tyro about words that make no line
            status = 0 if error.code in (0, 2) else f"left with {error.code}"
    if status == 2 and one_line(errors.getvalue()):
        raise StylegraftError(errors.getvalue())
    if status != 0:
        raise Escaped(f"status {status}, said {errors.getvalue()[-300:]!r}")


# The studio
# ----------------------------------------------------------------------------------------------------------

FACE = {"source": "toy.safetensors", "domains": ["domain0.safetensors"], "amounts": [0.5], "seeds": [1, 2], "psi": 0.7,
        "noise": "random", "noise_amount": 0.5, "noise_seed": 3, "blend": "vp", "strengths": {"fine": 0.5, "8": 1},
        "edits": {"0": 1.5}, "page": "p", "number": 1}  # fmt: skip
STATION = {"seed": 3, "domains": {"domain0.safetensors": 0.5}, "ease": "linear"}
FORM = {"verb": "adapt", "source": "toy.safetensors", "target": "pictures/set", "name": "n", "steps": 3, "recipe": "dcl",
        "space": "affine", "seed": 1, "every": 2, "align": "off", "trace": True}  # fmt: skip
FILM = {"stations": [STATION, STATION], "seconds": 2, "fps": 5, "loop": True, "source": "toy.safetensors", "name": "film",
        "kind": ".gif"}  # fmt: skip
FORMS = (FORM, FILM | {"verb": "morph"}, {"verb": "export", "domain": "domain0.safetensors", "name": "e", "kind": ".pt"},
         {"verb": "translate", "domain": "domain0.safetensors", "photos": "pictures/set"},
         {"verb": "prune", "domain": "domain0.safetensors", "keep": 0.5, "name": "pruned"},
         {"verb": "anatomy", "domain": "domain0.safetensors", "domains": ["domain0.safetensors"]},
         {"verb": "push", "domain": "domain0.safetensors", "repo": "a/b"})  # fmt: skip
POSTS: dict[str, tuple[Any, ...]] = {
    "/api/faces": (FACE, FACE | {"codes": "codes.safetensors", "seeds": []}),
    "/api/draw": (FACE | {"first": 0, "count": 2}, FACE | {"codes": "styles.safetensors", "seeds": []}),
    "/api/taps": (FACE,),
    "/api/directions": ({"source": "toy.safetensors"},),
    "/api/preview": ({"path": "domain0.safetensors"}, {"path": "toy.safetensors", "kind": "source"}),
    "/api/translated": ({"domain": "domain0.safetensors", "codes": "codes.safetensors", "degrees": [0, 1], "index": 1},
                        {"domain": "domain0.safetensors", "degrees": [0.5], "seed": 4, "along": "noise"}),
    "/api/moment": (FILM | {"share": 0.3},),
    "/api/target": ({"name": "pencil"},),
    "/api/mix": (FACE | {"name": "mixed"},),
    "/api/plan": (FORM | {"page": "p"},),
    "/api/jobs": FORMS,
    "/api/jobs/stop": ({"id": "1700000000000-adapt"},),
    "/api/jobs/resume": ({"id": "1700000000000-adapt"},),
    "/api/jobs/forget": ({"id": "1700000000000-adapt"},),
    "/api/delete": ({"path": "gone.safetensors"},),
}  # fmt: skip
GETS = tuple(path for method, path, _ in ROUTES if method == "GET")
PATHS = (
    "domain0.safetensors",
    "toy.safetensors",
    "run",
    "study",
    "pictures/set",
    "codes.safetensors",
    "../secret.txt",
    "%2e%2e/secret.txt",
    "..%2fsecret.txt",
    "/etc/passwd",
    "run/../../secret.txt",
    "ws/../secret.txt",
    ".studio",
)


def a_post(bench: Bench, rng: Rng) -> tuple[str, str, bytes]:
    """(method, address, body) of a request of the page, with values changed."""
    path = rng.choice(sorted(POSTS))
    good = rng.choice(POSTS[path])
    if rng.random() < 0.15:
        return "POST", path, seeds.spoilt_bytes(rng, json.dumps(good).encode())
    if rng.random() < 0.02:
        return (
            "POST",
            path,
            rng.choice((b"[" * 50_000, b"{" * 9, b"\xff", b"1" * 9000, b'{"a":' * 3000, b"x" * (1 << 21))),
        )
    return "POST", path, json.dumps(seeds.spoilt_json(rng, good, rng.choice((0.05, 0.15, 0.4)))).encode()


def a_get(bench: Bench, rng: Rng) -> tuple[str, str, bytes]:
    """An address with odd queries and paths."""
    from urllib.parse import quote

    path = rng.choice(PATHS) if rng.random() < 0.6 else quote(rng.choice(ODD)[:900], errors="surrogatepass")
    if rng.random() < 0.4:
        return "GET", f"/file/{path}{rng.choice(('', '?download', '/../../secret.txt'))}", b""
    key = rng.choice(("path", "source", "id", "resolution", "x"))
    return rng.choice(("GET", "GET", "GET", "DELETE", "PUT")), f"{rng.choice(GETS)}?{key}={path}", b""


def any_json(bench: Bench) -> st.SearchStrategy[tuple[str, str, bytes]]:
    """Requests of any JSON under the names that the page uses, by hypothesis."""
    names = sorted({name for goods in POSTS.values() for good in goods for name in good})
    texts = st.text(max_size=9) | st.sampled_from(PATHS)
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | texts
    tree = st.recursive(
        leaf,
        lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from(names) | texts, t, max_size=3),
        max_leaves=9,
    )
    bodies = st.dictionaries(st.sampled_from(names), tree, max_size=8)
    return st.tuples(
        st.just("POST"), st.sampled_from(sorted(POSTS)), bodies.map(lambda told: json.dumps(told).encode())
    )


def no_children(bench: Bench) -> None:
    """From here on, in this process, no job begins: what was asked is refused in words of its own."""

    def refuse(*args: Any, **options: Any) -> None:
        raise StylegraftError("here no process is begun")

    bench.client  # noqa: B018
    subprocess.Popen.__init__ = refuse  # type: ignore[method-assign]


def ask(bench: Bench, case: tuple[str, str, bytes]) -> None:
    """A request, and that its answer is one of the studio's own."""
    method, address, body = case
    gone = bench.folder / "ws" / "gone.safetensors"
    gone.write_bytes(bench.domains[0])
    answered(bench.client.request(method, address, content=body))


def answered(answer: Any) -> None:
    """Raise the refusal of an answer, and anything that no answer should be."""
    if b"a secret beside the workspace" in answer.content or b"root:x:" in answer.content:
        raise Escaped("a file outside the workspace was handed out")
    if answer.status_code in (200, 303, 307, 404, 405, 409):
        return
    if answer.status_code in (400, 403) and isinstance(answer.json().get("error"), str):
        raise StylegraftError(answer.json()["error"])
    raise Escaped(f"status {answer.status_code}: {answer.text[:300]!r}")


def an_upload(bench: Bench, rng: Rng) -> tuple[str, str, bytes]:
    """A picture or a domain file under any name, for any set."""
    from urllib.parse import quote

    def some(good: str) -> str:
        return quote(good if rng.random() < 0.7 else rng.choice((*ODD, *NAMES))[:900], errors="surrogatepass")

    if rng.random() < 0.5:
        data = a_picture(bench, rng)
        return "POST", f"/api/upload?name={some('a.png')}&set={some('set')}", data[: 1 << 20]
    return "POST", f"/api/upload?name={some(f'd{rng.randrange(10**9)}.safetensors')}", a_domain(bench, rng)


def some_headers(bench: Bench) -> st.SearchStrategy[Any]:
    """Headers and tokens of any text, by hypothesis."""
    texts = st.text(st.characters(max_codepoint=255), max_size=20) | st.sampled_from(
        ("127.0.0.1:7860", "[::1]:7860", "http://127.0.0.1:7860", "http://[", "http://[::1", "null", "1" * 5000, "²", "-1",
         "stylegraft-studio=secret", "stylegraft-studio=\xff", "same-origin", "cross-site", "a" * 9000)
    )  # fmt: skip
    names = (
        "host",
        "origin",
        "sec-fetch-site",
        "x-studio",
        "content-length",
        "cookie",
        "range",
        "accept",
        "connection",
    )
    return st.tuples(
        st.sampled_from(("GET", "POST", "PUT", "x")), st.dictionaries(st.sampled_from(names), texts, max_size=6),
        st.none() | st.just("secret"), texts,
    )  # fmt: skip


def at_the_door(bench: Bench, case: Any) -> None:
    """What the guard says, with the address as a server hands it over."""
    import asyncio

    method, headers, token, given = case
    refusal(method, headers, token, given)
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": pairs,
             "query_string": b"token=" + given.encode("latin-1")}  # fmt: skip
    asyncio.run(Guard(inner, token)(scope, None, send))
    if sent[0]["status"] == 403:
        raise StylegraftError("refused")


# Short texts with a grammar
# ----------------------------------------------------------------------------------------------------------


def expressions(bench: Bench, rng: Rng) -> tuple[str, str]:
    """A space, a range of seeds, a rule or a recipe's field, with characters changed."""
    kind = rng.choice(("space", "seeds", "until", "set"))
    good = {
        "space": ("affine-light+", "lowrank:4(affine@8..) + affine@8/bias", "affine+@8", "affine@4..8/conv.bias", "rank-1",
                  "late@8", "scale-shift", "w-offset@res"),
        "seeds": ("0-63", "7,40-43", "4294967295"),
        "until": ("p_target>=0.9", "p_target=0.5"),
        "set": ("cdc=no", "augment=bgc", "lr=0.01", "batch=4", "mixing=0.9", "anchors=4", "warmup=0"),
    }  # fmt: skip
    text = rng.choice(good[kind])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        text = (
            text[:at]
            + rng.choice((*"+*@.:,-=>on 0123456789abcxyz()[]é١\n", *ODD))
            + text[at + rng.randrange(3) :]
        )
    return kind, text[:9000]


def understand(bench: Bench, case: tuple[str, str]) -> None:
    """By the library's own reader of that kind."""
    kind, text = case
    if kind == "space":
        resolve(text, bench.generator)
    elif kind == "seeds":
        parse_seeds(text)
    elif kind == "until":
        parse_rules(text)
    else:
        name, _, value = text.partition("=")
        from stylegraft.cli.settings import parse as parse_settings

        recipe("dcl", **parse_settings((f"{name}={value}",)))


latents_make, latents_call = ours("codes.safetensors styles.safetensors", ("config",),
                                  lambda path, bench: Latents.load(path, bench.generator))  # fmt: skip
direction_make, direction_call = ours("direction.safetensors channel.safetensors", ("config",),
                                      lambda path, bench: Direction.load(path, bench.generator))  # fmt: skip
hypernet_make, hypernet_call = ours("hypernet.safetensors", ("config", "base"), read_hypernet)

ENTRIES: dict[str, Entry] = {
    "pictures": Entry("image files", 2000, a_picture, see),
    "zips": Entry("zips", 1500, a_zip, unzip),
    "folders": Entry("folders of pictures", 600, a_folder, look_into),
    "points": Entry("tables of eye points", 2000, some_points, read_eyes),
    "studies": Entry("study files", 2500, a_study, plan_study),
    "keys": Entry("keyframe files", 1000, some_keys, plan_morph),
    "toml": Entry("study and keyframe files, by hypothesis", 2000, toml_texts, both_texts, hypothesis=True),
    "domains": Entry("domain files", 1000, a_domain, read_domain),
    "codes": Entry("files of codes", 400, latents_make, latents_call),
    "directions": Entry("files of directions", 400, direction_make, direction_call),
    "hypernets": Entry("hypernetworks", 250, hypernet_make, hypernet_call),
    "states": Entry("states of runs", 60, a_state, resume),
    "runs": Entry("config, statistics and trace of runs", 200, texts_of_a_run, look_at_run, no_children),
    "results": Entry("results of studies", 300, a_study_folder, look_at_study, no_children),
    "expressions": Entry("spaces, seeds, rules, settings", 4000, expressions, understand),
    **{
        f"cli {verb}": Entry(f"values of the command line, {len(VERBS)} verbs", 70, partial(a_line, verb), type_line,
                             without_work)
        for verb in VERBS
    },
    "cli words": Entry("words of the command line, by hypothesis", 700, any_lines, type_line, without_work, True),
    "requests": Entry("requests of the studio", 900, a_post, ask, no_children),
    "addresses": Entry("addresses of the studio", 500, a_get, ask, no_children),
    "json": Entry("requests of the studio, by hypothesis", 400, any_json, ask, no_children, True),
    "uploads": Entry("uploads to the studio", 300, an_upload, ask, no_children),
    "headers": Entry("headers and tokens, by hypothesis", 2500, some_headers, at_the_door, hypothesis=True),
}  # fmt: skip
