"""`stylegraft morph`: films and strips as a user asks for them, and one line for what makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.applications.latents import of_seeds
from stylegraft.checkpoints import Source, describe_base, load
from stylegraft.cli.main import main
from stylegraft.domains import Domain, start

Run = Callable[..., tuple[int, str]]
KEYS = """\
loop = true
seconds = 2
fps = 4
source = "toy.safetensors"

[domains]
pencil = "a.safetensors"

[[keys]]
at = 0
seed = 3
domains = {pencil = 0.0}

[[keys]]
at = 1
domains = {pencil = 1.0}
"""


@pytest.fixture(scope="module")
def home(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy source, domains a and b of styles and f of all, and two codes."""
    folder = tmp_path_factory.mktemp("morph")
    source = load(toy_file)
    for seed, (name, space) in enumerate({"a": "stylespace", "b": "stylespace", "f": "full"}.items()):
        domain_on(source, space, seed).save(folder / f"{name}.safetensors")
    of_seeds(source.generator, [1, 2]).save(folder / "codes.safetensors", source.generator)
    (folder / "toy.safetensors").write_bytes(toy_file.read_bytes())
    return folder


def domain_on(source: Source, space: str, seed: int) -> Domain:
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, source.generator, rng)
    for part in [p for terms in deltas.values() for term in terms for p in term.parts.values()]:
        part.normal_(std=0.2, generator=rng)
    return Domain(deltas, {"space": space}, describe_base(source))


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("a.safetensors", ...) -> the exit status and what was printed: the error's line where it was refused."""
    monkeypatch.chdir(home)

    def call(*args: object) -> tuple[int, str]:
        status = main(["morph", *map(str, args)])
        printed = capsys.readouterr()
        return status, printed.err if status else printed.out

    return call


ON_TOY = ("--source", "toy.safetensors")


def strip(path: Path) -> list[np.ndarray]:
    """The tiles of a strip of 16-px frames, as they were drawn."""
    pixels = np.asarray(Image.open(path))
    return [pixels[::8, x : x + 128 : 8] for x in range(0, pixels.shape[1], 130)]


def test_a_film_has_its_frames_and_says_what_it_shows(run: Run, home: Path):
    read = pytest.importorskip("imageio_ffmpeg").read_frames
    line = ("a.safetensors", "b.safetensors:0.5", *ON_TOY, "--seconds", 1, "--fps", 6, "--out")
    status, said = run(*line, "m.mp4")
    assert status == 0
    assert "source > a > b > source, over seed 0" in said
    assert "7 frames, 1.167 s at 6 a second: m.mp4" in said
    assert "licence: CC0-1.0" in said
    head, *frames = read(str(home / "m.mp4"))
    assert (head["size"], head["fps"], len(frames)) == ((256, 256), 6, 7)
    run(*line, "again.mp4")
    assert (home / "m.mp4").read_bytes() == (home / "again.mp4").read_bytes()


def test_stations_are_what_sample_draws(run: Run, home: Path):
    assert (
        run("a.safetensors", "f.safetensors:0.5", *ON_TOY, "--seeds", 5, "--columns", 4, "--out", "m.png")[0]
        == 0
    )
    morphed = strip(home / "m.png")
    for at, sampled in enumerate((["toy.safetensors"], ["a.safetensors", *ON_TOY])):
        main(["sample", *sampled, "--seeds", "5", "--out", "s.png"])
        assert np.array_equal(morphed[at], strip(home / "s.png")[0])
    main(["sample", "f.safetensors", *ON_TOY, "--strength", "0.5", "--seeds", "5", "--out", "s.png"])
    assert np.abs(morphed[2].astype(int) - strip(home / "s.png")[0]).max() <= 1
    assert np.array_equal(morphed[0], morphed[3])


def test_through_a_target_and_back(run: Run, home: Path):
    line = ("a.safetensors", "b.safetensors", "--through", "f.safetensors", *ON_TOY, "--out", "m.png")
    status, said = run(*line, "--columns", 5)
    assert status == 0
    assert "source > a > f + a > f + b > b, over seed 0" in " ".join(said.split())
    opened = strip(home / "m.png")
    run(*line, "--columns", 5, "--loop")
    looped = strip(home / "m.png")
    for one, other in zip(opened, looped, strict=True):  # five ways of a loop begin at the same five stations
        assert np.array_equal(one, other)


def test_faces_of_a_source_alone_and_of_a_file_of_codes(run: Run, home: Path):
    assert (
        "the source, over seeds 1,2"
        in run("toy.safetensors", "--seeds", "1,2", "--columns", 2, "--out", "m.png")[1]
    )
    seeds = strip(home / "m.png")
    assert run("toy.safetensors", "--codes", "codes.safetensors", "--columns", 2, "--out", "m.png")[0] == 0
    for one, other in zip(seeds, strip(home / "m.png"), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_file_of_keys_makes_a_film(suffix: str, run: Run, home: Path):
    (home / "keys.toml").write_text(KEYS)
    status, said = run("--keys", "keys.toml", "--out", f"m{suffix}", "--scale", 2)
    assert status == 0
    assert f"8 frames, 2 s at 4 a second: m{suffix}" in said
    with Image.open(home / f"m{suffix}") as image:
        assert image.size == (32, 32)
        assert image.n_frames > 4  # those that look alike are joined


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((), "expected a domain, a source or a file of --keys"),
        (
            ("a.safetensors", "--out", "m.avi"),
            "expected a name that ends in .mp4, .gif, .webp (a film); .png (a strip",
        ),
        (("a.safetensors", "--out", "none/m.png"), "the folder none does not exist"),
        (("a.safetensors:nan",), "strength nan is not a finite number"),
        (("a.safetensors", "--fps", "nan"), "--fps nan: expected a number above 0"),
        (("a.safetensors", "--seconds", "-1"), "--seconds -1: expected a number above 0"),
        (("a.safetensors", "--psi", "inf"), "--psi inf: expected a finite number"),
        (("a.safetensors", "--columns", "0", "--out", "m.png"), "--columns 0: expected at least 1"),
        (("a.safetensors", *ON_TOY, "--fps", "60", "--out", "m.gif"), "in a .gif, 50 at most"),
        (("a.safetensors", *ON_TOY, "--seconds", "1e9", "--out", "m.webp"), "expected 1000000 at most"),
        (("a.safetensors", *ON_TOY, "--seconds", "9e3", "--out", "m.webp"), "an .mp4 has no such limit"),
        (("a.safetensors", "--seeds", "x"), "--seeds x: 'x' is not a seed"),
        (("a.safetensors", "--seeds", "1", "--codes", "codes.safetensors"), "give one of them"),
        (("--through", "f.safetensors"), "--through f.safetensors: expected a style to take there"),
        (("--keys", "keys.toml", "--psi", "0"), "--psi 0: --keys keys.toml says all of the morph itself"),
        (("a.safetensors", "--keys", "keys.toml"), "a.safetensors: --keys keys.toml says all"),
        (("a.safetensors", "--psi", "0.7", "--codes", "codes.safetensors"), "--psi 0.7: it truncates seeds"),
        (("a.safetensors", "--columns", "9"), "--columns 9: morph.mp4 is a film"),
        (("a.safetensors", "--fps", "30", "--out", "m.png"), "--fps 30: m.png is a strip"),
        (("--keys", "none.toml"), "none.toml: cannot be read (No such file or directory)"),
    ],
)
def test_what_makes_no_sense_is_one_line(line: tuple[str, ...], said: str, run: Run, home: Path):
    (home / "keys.toml").write_text(KEYS)
    status, error = run(*line)
    assert status == 2
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "instead", "said"),
    [
        (
            "{pencil = 1.0}",
            "{pencl = 1.0}",
            "bad.toml line 16: domains.pencl: unknown (did you mean 'pencil'?)",
        ),
        ('"a.safetensors"', '"a.safetensor"', "bad.toml line 7: domains.pencil: a.safetensor: no such file"),
    ],
)
def test_a_typo_in_a_file_of_keys_names_line_and_key(
    typed: str, instead: str, said: str, run: Run, home: Path
):
    (home / "bad.toml").write_text(KEYS.replace(typed, instead))
    status, error = run("--keys", "bad.toml", "--out", "m.png")
    assert status == 2
    assert said in error


def test_a_bad_line_is_refused_before_anything_heavy_is_loaded(home: Path, stylegraft):
    ran = stylegraft("morph", "a.safetensors", *ON_TOY, "--out", "m.avi", cwd=home)
    assert ran.status == 2
    assert ran.seconds < 1.5
