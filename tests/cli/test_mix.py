"""`stylegraft mix` and `stylegraft prune`: what they draw, what they write, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegraft.applications.latents import of_seeds
from stylegraft.checkpoints import describe_base, load, save_source
from stylegraft.checkpoints.source import Source
from stylegraft.cli.main import main
from stylegraft.domains import Domain, start

Run = Callable[..., str]


@pytest.fixture(scope="module")
def home(toy_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy source, domains a, b (styles), c (affine-light+), f (full), and x on another source."""
    folder = tmp_path_factory.mktemp("mix")
    source = load(toy_file)
    other = Source("other", load(toy_file).generator, None, source.info)
    with torch.no_grad():
        other.generator.get_parameter("synthesis.b8.conv0.weight").add_(1.0)
    save_source(folder / "other.safetensors", other)
    spaces = {"a": "stylespace", "b": "stylespace-conv", "c": "affine-light+", "f": "full"}
    for seed, (name, space) in enumerate(spaces.items()):
        domain_on(source, space, seed).save(folder / f"{name}.safetensors")
    domain_on(other, "stylespace", 9).save(folder / "x.safetensors")
    of_seeds(other.generator, [0]).save(folder / "k.safetensors", other.generator)
    (folder / "notes.md").write_text("# A list of domains\n\nand of nothing else: größer\n")
    (folder / "toy.safetensors").write_bytes(toy_file.read_bytes())
    return folder


def domain_on(source: Source, space: str, seed: int) -> Domain:
    rng = torch.Generator().manual_seed(seed)
    deltas = start(space, source.generator, rng)
    for terms in deltas.values():
        for term in terms:
            for part in term.parts.values():
                part.normal_(std=0.3, generator=rng)
    return Domain(deltas, {"space": space, "seed": seed}, describe_base(source))


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("mix", "a.safetensors", ...) -> what it printed, on the toy source; an error's line where it was refused."""
    monkeypatch.chdir(home)

    def call(*args: object) -> str:
        status = main([*map(str, args), "--source", "toy.safetensors"])
        printed = capsys.readouterr()
        return printed.out if status == 0 else printed.err

    return call


def tiles(path: Path, columns: int, rows: int) -> np.ndarray:
    """[rows, columns, 128, 128, 3] of a grid: it ends at the right, captions are on the left."""
    picture = np.asarray(Image.open(path))
    assert picture.shape[0] == rows * 130 - 2
    left = picture.shape[1] - (columns * 130 - 2)
    at = [[(r * 130, left + c * 130) for c in range(columns)] for r in range(rows)]
    return np.array([[picture[y : y + 128, x : x + 128] for y, x in row] for row in at])


def drawn(home: Path, run: Run, model: object, name: str, *flags: object) -> np.ndarray:
    """The same faces from `sample`."""
    if str(model) == "toy.safetensors":
        assert main(["sample", str(model), "--seeds", "0-2", "--columns", "3", "--out", name]) == 0
    else:
        run("sample", model, "--seeds", "0-2", "--columns", "3", "--out", name, *flags)
    return tiles(home / name, 3, 1)[0]


def test_the_grid_shows_source_each_alone_and_the_mix(home: Path, run: Run) -> None:
    said = run("mix", "a.safetensors:0.6", "f.safetensors:-0.4", "--seeds", "0-2", "--out", "g.png")
    assert said.startswith("3 faces, source; a; f; 0.6 a - 0.4 f: g.png\n")
    assert "licence: CC0-1.0" in said
    found = tiles(home / "g.png", 3, 4)
    run("mix", "a.safetensors:0.6", "f.safetensors:-0.4", "--out", "m.safetensors")
    models = ("toy.safetensors", "a.safetensors", "f.safetensors", "m.safetensors")
    expected = [drawn(home, run, model, "s.png") for model in models]
    for row, want in zip(found, expected, strict=True):
        assert np.abs(row.astype(int) - want).max() <= 1
    assert np.abs(found[3].astype(int) - found[0]).max() > 20


def test_a_mix_is_a_domain_file_that_says_what_it_is_made_of(home: Path, run: Run) -> None:
    said = run(
        "mix",
        "a.safetensors:0.6",
        "c.safetensors",
        "--coarse",
        "0.5",
        "--at",
        "16=0",
        "--out",
        "m.safetensors",
    )
    assert said.startswith("0.6 a + c, coarse 0.5, 16 px 0: m.safetensors (")
    assert "stylegraft convert m.safetensors NAME.safetensors" in " ".join(said.split())
    a, c, m = (Domain.load(home / f"{name}.safetensors") for name in "acm")
    mix = {"mix": [{"coefficient": 0.6, "config": a.config}, {"coefficient": 1.0, "config": c.config}]}
    assert m.config == {**mix, "shaped": [{"coarse": 0.5, "16": 0.0}]}
    generator = load(home / "toy.safetensors").generator
    expected = (a * 0.6 + c).shaped({"coarse": 0.5, 16: 0}).effective(generator)
    found = m.effective(generator)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not any(".b16." in name for name in found)
    run("convert", "m.safetensors", "m.pt")
    run("sample", "m.safetensors", "--seeds", "0-2", "--columns", "3", "--out", "s.png")
    assert main(["sample", "m.pt", "--seeds", "0-2", "--columns", "3", "--out", "t.png"]) == 0
    one, two = (tiles(home / name, 3, 1).astype(int) for name in ("s.png", "t.png"))
    assert np.abs(one - two).max() <= 1


def test_a_sweep_goes_from_one_domain_to_the_other(home: Path, run: Run) -> None:
    said = run("mix", "a.safetensors", "b.safetensors:2", "--sweep", "3", "--seeds", "0-2", "--out", "g.png")
    assert said.startswith("3 faces, a; 0.5 a + b; 2 b: g.png")
    found = tiles(home / "g.png", 3, 3)
    first, last = (
        drawn(home, run, f"{name}.safetensors", "s.png", "--strength", s) for name, s in (("a", 1), ("b", 2))
    )
    assert np.abs(found[0].astype(int) - first).max() <= 1
    assert np.abs(found[2].astype(int) - last).max() <= 1


def test_faces_of_a_file_of_codes_are_mixed_too(home: Path, run: Run) -> None:
    generator = load(home / "toy.safetensors").generator
    of_seeds(generator, range(3), psi=0.7).save(home / "codes.safetensors", generator)
    line = ("mix", "a.safetensors:0.6", "c.safetensors:0.4")
    run(*line, "--codes", "codes.safetensors", "--out", "c.png")
    run(*line, "--seeds", "0-2", "--out", "g.png")
    one, two = (tiles(home / name, 3, 4).astype(int) for name in ("c.png", "g.png"))
    assert np.abs(one - two).max() <= 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["mix"], "mix: expected domains with their amounts, such as runs/a:0.6 runs/b:0.4"),
        (["mix", "a.safetensors:nan"], "a.safetensors:nan: strength nan is not a finite number"),
        (["mix", "a.safetensors:o.6"], "'o.6' is not a number"),
        (["mix", "a.safetensors", "x.safetensors"], "different bases cannot be mixed: a.safetensors stands on 'toy'"),
        (["mix", "a.safetensors", "--out", "m.jpg"], "ends in .png (a grid); .safetensors (the mix"),
        (["mix", "a.safetensors", "--out", "no/m.png"], "the folder no does not exist"),
        (["mix", "a.safetensors", "--out", "a.safetensors"], "this would overwrite the domain that is read"),
        (["mix", "a.safetensors", "--sweep", "4"], "--sweep 4: expected 2 to 64 steps between two domains, found 1"),
        (["mix", "a.safetensors", "--fine", "inf"], "--fine inf: expected a finite number"),
        (["mix", "a.safetensors", "--at", "32"], "--at 32: expected a block and its strength, such as 32=0.5"),
        (["mix", "a.safetensors", "--at", "8=much"], "--at 8=much: expected a block and its strength"),
        (["mix", "a.safetensors", "--at", "32=0.5"], "--at 32: toy.safetensors has the blocks 4, 8, 16"),
        (["mix", "a.safetensors", "--seeds", "1", "--out", "m.safetensors"], "--seeds 1: m.safetensors is a domain"),
        (["mix", "a.safetensors", "--psi", "1", "--out", "m.safetensors"], "--psi 1: m.safetensors is a domain file"),
        (["mix", "a.safetensors", "--noise", "none", "--out", "m.safetensors"], "--noise none: m.safetensors is a"),
        (["mix", "a.safetensors", "--psi", "0.7", "--codes", "k.safetensors"], "--psi 0.7: it truncates seeds"),
        (["mix", "a.safetensors", "--codes", "k.safetensor"], "no such file (did you mean 'k.safetensors'?)"),
        (["mix", "a.safetensors", "--codes", "k.safetensors"], "--codes k.safetensors: a file of codes of the source"),
        (["mix", "a.safetensors", "--codes", "b.safetensors"], "b.safetensors: a domain, expected a file of codes"),
        (["mix", "k.safetensors"], "k.safetensors: a file of codes, expected a domain, direction or run"),
        (["mix", "notes.md"], "notes.md: a text file, expected a .safetensors file"),
        (["mix", "no/a.safetensors"], "no/a.safetensors: no such file; the folder no does not exist"),
        (["mix", "toys.safetensors"], "no such file (did you mean 'toy.safetensors'?); expected a domain"),
        (["mix", "a.safetensors", "--half"], "--half: mix.png is a picture"),
        (["mix", "a.safetensors", "b.safetensors", "--seeds", "0-3000"], "4 rows of 3001 faces are too many"),
        (["mix", "a.safetensors", "--coarse", "0", "--middle", "0", "--out", "n.safetensors"], "nothing to save"),
        (["prune", "a.safetensors", "--keep", "1.5"], "--keep 1.5: expected a share above 0 and at most 1"),
        (["prune", "a.safetensors", "--keep", "nan"], "--keep nan: expected a share"),
        (["prune", "a.safetensors", "--out", "p.pt"], "--out p.pt: expected a name that ends in .safetensors"),
        (["prune", "a.safetensors", "--out", "a.safetensors"], "this would overwrite the domain that is read"),
        (["prune", "a.safetensors:0.5"], "expected a domain without an amount"),
        (["prune", "c.safetensors"], "(lowrank), and only style offsets are ranked as they are"),
        (["prune", "toy.safetensors"], "toy.safetensors: a source, expected a domain, direction or run"),
    ],
)  # fmt: skip
def test_what_makes_no_mix_is_refused_in_the_users_words(
    line: list[str], message: str, home: Path, run: Run
) -> None:
    before = set(home.iterdir())
    said = run(*line)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
    assert set(home.iterdir()) == before


def test_domains_of_different_bases_are_refused_before_torch(home: Path, stylegraft) -> None:
    ran = stylegraft("mix", "a.safetensors", "x.safetensors", "--source", "toy.safetensors", cwd=home)
    assert ran.status == 2
    assert "a.safetensors stands on 'toy'" in ran.err
    assert "x.safetensors on 'other'" in ran.err
    assert ran.seconds < 2


def test_pruning_says_what_stays_and_both_sizes(home: Path, run: Run) -> None:
    said = run("prune", "a.safetensors", "--keep", "0.25", "--out", "p.safetensors")
    whole, pruned = (Domain.load(home / f"{name}.safetensors") for name in "ap")
    kept = sum(int((term.parts["D"] != 0).sum()) for terms in pruned.deltas.values() for term in terms)
    assert kept == whole.count // 4
    size, before = ((home / f"{name}.safetensors").stat().st_size for name in "pa")
    assert said.startswith(
        f"{kept} of {whole.count} numbers kept (25.00 %): p.safetensors ({size / 1000:.1f} KB"
    )
    assert f"before {before / 1000:.1f} KB" in said
    assert size < before
    assert "note" not in said


def test_a_domain_of_any_space_is_pruned_once_it_is_dense(home: Path, run: Run) -> None:
    said = run("prune", "c.safetensors", "--dense", "--keep", "0.1", "--out", "p.safetensors")
    generator = load(home / "toy.safetensors").generator
    dense = Domain.load(home / "c.safetensors").to_dense(generator)
    pruned = Domain.load(home / "p.safetensors", generator)
    total = dense.count
    values, found = (
        torch.cat([d.deltas[name][0].parts["D"].flatten() for name in sorted(dense.deltas)])
        for d in (dense, pruned)
    )
    assert said.startswith(f"{int((found != 0).sum()):,} of {total:,} numbers kept (10.")
    assert torch.equal(found[found != 0], values[found != 0])
    assert float(values[found != 0].abs().min()) >= float(values[found == 0].abs().max())
