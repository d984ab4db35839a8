"""Every verb does what its help says, on a toy."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stylegraft.adaptation.judges import forms_of, split
from stylegraft.adaptation.recipes import FIXED, LEFT_OUT, NOTES, PAPER, recipe
from stylegraft.checkpoints import load
from stylegraft.cli.main import main
from stylegraft.cli.model import render
from stylegraft.cli.recipes import ADDS, COST, field_docs, show, venue
from stylegraft.cli.sample import parse_seeds
from stylegraft.cli.settings import parse
from stylegraft.domains import SPACES, Domain, count
from stylegraft.errors import StylegraftError
from stylegraft.sources import SOURCES


@pytest.fixture(scope="module")
def run_folder(toy_file: Path, toy_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of adaptation through the command line."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    line = ["adapt", str(toy_file), str(toy_images), "--out", str(folder), "--space", "affine+"]
    assert main([*line, "--steps", "3", "--batch", "2", "--align", "off", "--set", "warmup=0"]) == 0
    return folder


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]):
    """Run a line and return what it printed."""

    def call(*line: object) -> str:
        status = main([str(part) for part in line])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return call


def test_adapt_says_what_moves_and_what_to_type_next(
    toy_file: Path, toy_images: Path, tmp_path: Path, stylegraft
):
    out = tmp_path / "run"
    line = ("adapt", toy_file, toy_images, "--space", "stylespace", "--steps", 2, "--batch", 2, "--out", out)
    line += ("--set", "warmup=0")
    ran = stylegraft(*line)
    assert ran.status == 0, ran.err
    told = ran.out + ran.err
    trained = count("stylespace", load(toy_file).generator)
    for part in ("toy", "CC0-1.0", PAPER["dcl"].paper, "10 images", f"{trained:,}", "16x16"):
        assert part in told
    for part in ("grid.png", "domain.safetensors", "previews"):
        assert str(out / part) in ran.out
        assert (out / part).exists()
    assert f"stylegraft sample {out} --source {toy_file} --seeds 0-63" in ran.out
    assert "Traceback" not in told

    again = stylegraft(*line)
    assert again.status == 0, again.err
    assert "already at step 2, of 2 asked for; a larger --steps extends it" in again.err


def test_adapt_takes_a_set_that_ships_and_changes_of_the_recipe(toy_file: Path, tmp_path: Path):
    out = tmp_path / "run"
    line = ["adapt", str(toy_file), "lorelei", "--steps", "1", "--batch", "2", "--out", str(out)]
    line += ["--set", "warmup=0"]
    assert main([*line, "--set", "cdc=no", "--set", "cl1=1"]) == 0
    text = (out / "config.json").read_text()
    assert '"cdc": false' in text
    assert '"cl1": 1.0' in text


def test_dry_run_prints_the_plan_and_writes_nothing(
    toy_file: Path, toy_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert (
        main(["adapt", str(toy_file), str(toy_images), "--batch", "2", "--out", str(out), "--dry-run"]) == 0
    )
    assert "s a step" in capsys.readouterr().err
    assert not out.exists()


def test_sample_draws_a_grid_and_prints_the_licence(toy_file: Path, tmp_path: Path, say):
    path = tmp_path / "grid.png"
    told = say("sample", toy_file, "--seeds", "0-5", "--columns", 3, "--out", path)
    assert "licence: CC0-1.0" in told
    with Image.open(path) as grid:
        assert grid.width > grid.height


def test_a_seed_is_the_same_face_whatever_is_drawn_with_it(toy_file: Path):
    source = load(toy_file)
    together = render(source, range(3, 25))
    alone = render(source, [6])
    torch.testing.assert_close(together[3:4], alone, atol=1e-6, rtol=1e-6)


def test_strength_zero_is_the_source(toy_file: Path, run_folder: Path, tmp_path: Path, say):
    paths = [tmp_path / name for name in ("source.png", "zero.png", "one.png")]
    base = ("--source", toy_file)
    say("sample", toy_file, "--seeds", "0-3", "--out", paths[0])
    say("sample", run_folder, *base, "--seeds", "0-3", "--strength", 0, "--out", paths[1])
    say(
        "sample",
        run_folder / "domain.safetensors",
        *base,
        "--seeds",
        "0-3",
        "--strength",
        30,
        "--out",
        paths[2],
    )
    source, zero, one = (path.read_bytes() for path in paths)
    assert source == zero
    assert source != one


def test_inspect_a_source(toy_file: Path, say):
    told = say("inspect", toy_file)
    generator = load(toy_file).generator
    for part in (
        f"{sum(p.numel() for p in generator.parameters()):,}",
        "CC0-1.0",
        "sha256",
        *generator.groups,
    ):
        assert part in told


def test_inspect_a_run_and_its_domain(run_folder: Path, say):
    domain = Domain.load(run_folder)
    told = say("inspect", run_folder)
    for part in (domain.base["sha256"], "affine+", "dcl", f"{domain.count:,}", "step", "CC0-1.0"):
        assert part in told
    assert say("inspect", run_folder / "domain.safetensors") in told


def test_inspect_a_run_whose_last_line_of_statistics_was_cut(run_folder: Path, tmp_path: Path, say):
    folder = tmp_path / "killed"
    shutil.copytree(run_folder, folder)
    whole = say("inspect", folder)
    with (folder / "stats.jsonl").open("a") as file:
        file.write('{"step": 99, "D/ad')
    assert say("inspect", folder) == whole
    (folder / "stats.jsonl").write_text('{"st')
    assert str(folder) in say("inspect", folder)


def test_sources_lists_all_with_their_licence(say):
    told = " ".join(say("sources").split())
    for name, row in SOURCES.items():
        assert name in told
        assert row.licence.split()[0] in told


def test_spaces_counts_on_a_source(toy_file: Path, say):
    told = say("spaces", toy_file)
    generator = load(toy_file).generator
    for name in SPACES:
        assert name in told
        assert f"{count(name, generator):,}" in told
    assert "100 %" in told
    assert max(map(len, told.splitlines())) <= 80


def test_spaces_says_where_each_comes_from(say):
    told = say("spaces")
    assert max(map(len, told.splitlines())) <= 80
    flat = " ".join(told.split())
    for name, row in SPACES.items():
        assert re.search(rf"^{re.escape(name)} ", told, re.MULTILINE)
        assert row.paper.partition(" ")[0] in flat
    assert "30.3M" in told


def test_spaces_counts_an_expression_by_group(toy_file: Path, say):
    told = say("spaces", toy_file, "affine@8.. + lowrank:2( conv@8 )")
    generator = load(toy_file).generator
    assert "affine@8.. + lowrank:2(conv@8) on" in told
    assert f"{count('affine@8.. + lowrank:2(conv@8)', generator):,} numbers" in told
    rows = [line.split() for line in told.splitlines()]
    assert ["conv@8", "lowrank:2", "2", f"{count('lowrank:2(conv@8)', generator):,}"] in rows
    assert ["affine@8", "dense", "6", f"{count('affine@8', generator):,}"] in rows


def test_recipes_is_one_line_a_method_and_names_what_is_left_out(say):
    told = say("recipes")
    lines = {line.split()[0]: line for line in told.splitlines() if line}
    for name, row in PAPER.items():
        assert row.paper.partition(" (")[0].endswith(venue(row))
        for part in (venue(row), recipe(name).space, f"{COST[name]:.1f}" if name in COST else "-"):
            assert f"  {part}" in lines[name]
        assert lines[name].endswith(ADDS[name])
    for name, why in LEFT_OUT.items():
        assert lines[name].split(maxsplit=1) == [name, why]
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_shows_its_citation_what_differs_its_notes_and_its_page(name: str, say):
    told = say("recipes", name)
    assert say("recipes", "show", name) == told
    assert max(map(len, told.splitlines())) <= 80
    flat = " ".join(told.split())
    assert PAPER[name].paper in flat
    assert NOTES.get(name, "") in flat
    assert f"docs/methods/{name}.md" in told
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line}
    for field in dataclasses.fields(PAPER[name]):
        values = [show(getattr(recipe(name, preset=preset), field.name)) for preset in ("paper", "scaled")]
        if field.name not in FIXED and any(value != show(field.default) for value in values):
            found = " ".join(rows[field.name])
            assert found.startswith(" ".join(values)) or values[0] in flat, field.name
    for part in (recipe(name).space, recipe(name).lead_space, recipe(name).partition):
        assert part in flat


def test_recipes_on_a_source_counts_each_in_its_own_space(toy_file: Path, say):
    source = load(toy_file)
    told = say("recipes", toy_file)
    rows = {line.split()[0]: line.split() for line in told.splitlines() if line}
    for name in PAPER:
        space = recipe(name).space
        try:
            numbers = f"{count(space, source.generator):,}"
        except StylegraftError:
            numbers = "-"
        assert numbers in rows[name], name
        assert (numbers == "-") == (f"{name} is refused here as it is: space {space!r}" in told)
    assert rows["bsa"][-1] == "none" and rows["tgan"][-3:] == rows["dcl"][-3:]
    assert max(map(len, told.splitlines())) <= 80


def test_a_recipe_that_a_source_refuses_is_counted_all_the_same_with_the_short_reason(say):
    why = "this mobile generator has no running images; --set structure=0 goes without"
    assert f"freezesg is refused here as it is: {why}" in " ".join(say("recipes", "faces-64").split())
    told = " ".join(say("recipes", "show", "freezesg", "faces-64").split())
    assert "G moves 2,259,209 numbers in late@16, 28.54 % of its size; D 3,362,689, 95.76 %." in told
    assert f"95.76 %. It is refused as it is: {why}." in told
    assert "freezesg has none: faces-64 has no running images" in " ".join(say("recipes").split())


def test_what_becomes_of_filters_is_said_of_both_networks(say):
    told = {name: " ".join(say("recipes", name).split()) for name in ("adam", "rick")}
    assert "Filters of conv, affine in G and b*.conv*, b*.skip in D" in told["adam"]
    assert (
        "on 1000 | 50 samples: those above the 50th percentile are modulated, the others tuned."
        in told["adam"]
    )
    assert "are frozen, the lowest 0.1 % pruned for good, the others tuned." in told["rick"]


def test_all_fields_of_a_recipe_are_shown_on_request(say):
    told = say("recipes", "dcl", "--all")
    assert max(map(len, told.splitlines())) <= 80
    for field in field_docs(type(PAPER["dcl"])):
        if field not in FIXED:
            assert re.search(rf"^{field}  ", told, re.MULTILINE)


def test_a_recipe_counts_on_a_source(toy_file: Path, say):
    source = load(toy_file)
    assert source.discriminator is not None
    flat = " ".join(say("recipes", "fsgan", toy_file).split())
    assert f"G moves {count('singular-values', source.generator):,} numbers in singular-values" in flat
    learns, _ = split(
        source.discriminator, forms_of(source.discriminator, "singular(all)"), torch.Generator(), "cpu"
    )
    assert f"; D {sum(leaf.numel() for leaf in learns.values()):,}, " in flat


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["recipes", "dlc"], "no recipe 'dlc' (did you mean 'dcl'?)"),
        (["recipes", "--all"], "expected a NAME"),
        (
            ["spaces", "affine+"],
            "a space, whose numbers depend on the source; expected a source first, as in `stylegraft",
        ),
        (["spaces", "affine@32..64 + conv"], 'stylegraft spaces faces-64 "affine@32..64 + conv"`'),
        (["spaces", "affin"], "source 'affin' is unknown"),
        (["recipes", "show"], "expected a NAME"),
        (["recipes", "dcl", "faces-64", "more"], "expected at most a recipe and a source"),
        *((["recipes", name], f"recipe {name!r} is left out: {why}") for name, why in LEFT_OUT.items()),
        (["adapt", "TOY", "pencil", "--recipe", "genda"], LEFT_OUT["genda"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_recipes_refuses_in_one_line(
    line: list[str], told: str, toy_file: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([str(toy_file) if part == "TOY" else part for part in line]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("line", [["recipes"], ["recipes", "adam"], ["spaces"]], ids=" ".join)
def test_tables_without_a_source_answer_without_torch(line: list[str]):
    code = f"""
import sys
from stylegraft.cli.main import main
assert main({line!r}) == 0
heavy = {{"torch", "numpy", "PIL", "safetensors", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["recipes", "spaces"])
def test_tables_answer_in_half_a_second(verb: str, stylegraft):
    assert any(
        stylegraft(verb).seconds < 0.5 for _ in range(5)
    )  # a busy machine doubles a processor's seconds


def test_what_a_step_costs_is_what_was_measured():
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "step-cost-recipes-faces-64.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["recipes"]
    assert {name: round(row["ratio"], 1) for name, row in measured.items()} == COST
    assert COST.keys() <= PAPER.keys()


def test_assets_lists_what_can_be_got(say):
    from stylegraft.checkpoints.assets import ASSETS

    told = say("assets")
    for name in ASSETS:
        assert name in told


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.booleans())
def test_seeds_read_back(seeds: list[int], spaces: bool):
    assert parse_seeds((", " if spaces else ",").join(map(str, seeds))) == seeds


def test_seeds_far_apart_are_different_faces(toy_file: Path):
    images = render(load(toy_file), [0, 1, 2**31, 2**32 - 1])
    assert len({image.numpy().tobytes() for image in images}) == 4


@given(st.integers(0, 10**9), st.integers(0, 300))
def test_ranges_of_seeds_include_both_ends(first: int, more: int):
    assert parse_seeds(f"{first}-{first + more}") == list(range(first, first + more + 1))


@given(st.text(max_size=12))
def test_any_text_is_seeds_or_refused(text: str):
    try:
        assert all(seed >= 0 for seed in parse_seeds(text))
    except StylegraftError as error:
        assert "--seeds" in str(error)


def test_settings_read_back_what_the_table_prints():
    row = PAPER["dcl"]
    fields = [field for field in field_docs(type(row)) if field not in FIXED]
    assert parse([f"{field}={show(getattr(row, field))}" for field in fields]) == {
        field: getattr(row, field) for field in fields
    }
