"""A study file is read as it is meant, or refused in one line that names the place and the nearest right word."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from stylegraft.errors import StylegraftError
from stylegraft.lab.cell import Job
from stylegraft.lab.example import EXAMPLE, of_pictures
from stylegraft.lab.study import ALL, Cell, Method, Resources, StudyTarget, Tracing, cells, slug
from stylegraft.lab.studyfile import GRID, SETTINGS, TARGET, parse

STUDY = """
source = "faces-64"
targets = ["pencil", "made:oil"]
recipes = ["dcl", {recipe="dcl", set={cl1=1.0, steps=500}, label="dcl-1"}]
spaces = ["affine-light+", "own"]
shots = [10, "all"]
draws = 2
seeds = [3, 5]
"""


def read(text: str, path: Path = Path("study.toml")):
    return parse(text, path)


def listed(text: str, wave: int | None = None) -> list[Cell]:
    return cells(read(text), lambda source: 64, wave)


def test_a_study_is_the_product_of_what_it_lists():
    found = listed(STUDY)
    assert len(found) == 2 * 2 * 2 * 2 * 2 * 2 == len({cell.key for cell in found})
    first = found[0]
    assert first.key == "dcl/affine-light+/pencil/10/d0/s3"
    assert (first.shots, first.draw, first.seed, first.steps) == (10, 0, 3, None)
    assert {cell.key.split("/")[3] for cell in found} == {"10", ALL}
    assert {cell.space for cell in found} == {"affine-light+", "full"}, "own is the recipe's"
    made = next(cell.target for cell in found if cell.target.filter)
    assert (made.label, made.filter, made.of, made.pool, made.count) == (
        "made-oil",
        "oil",
        "faces-64",
        200,
        2000,
    )
    changed = next(cell.method for cell in found if cell.method.label == "dcl-1")
    assert dict(changed.changes) == {"cl1": 1.0, "steps": 500}


def test_waves_come_in_their_order_and_share_cells():
    text = (
        STUDY
        + '[[waves]]\nrecipes = ["tgan"]\nspaces = ["full"]\n[[waves]]\nrecipes = ["dcl", "tgan"]\nspaces = ["full"]\n'
    )
    both, second = listed(text), listed(text, 2)
    assert [cell.method.label for cell in both[:16]] == ["tgan"] * 16
    assert len(both) == 32 == len(second), "tgan is in both waves, and once in the list"
    assert {cell.key for cell in second} == {cell.key for cell in both}
    with pytest.raises(StylegraftError, match=r"--wave 3: study.toml has 2 waves"):
        listed(text, 3)


def test_one_cell_never_has_two_settings():
    text = STUDY + "[[waves]]\nsteps = 100\n[[waves]]\nsteps = 200\n"
    with pytest.raises(StylegraftError, match=r"waves\[2\]: dcl/.* has other settings .* label="):
        listed(text)


def test_keys_name_the_source_where_it_is_not_the_first():
    keys = [cell.key for cell in listed(STUDY.replace('"faces-64"', '["faces-64", "faces-128"]', 1))]
    assert "dcl/affine-light+/pencil/10/d0/s3" in keys
    assert "faces-128/dcl/affine-light+/pencil/10/d0/s3" in keys


def test_keys_are_folders_on_any_system():
    text = STUDY.replace('"own"', '"affine@32..64 + lowrank:8(conv@64)"')
    keys = [cell.key for cell in listed(text)]
    assert "dcl/affine@32..64-+-lowrank-8-conv@64/pencil/10/d0/s3" in keys
    assert slug("a b/c:d") == "a-b-c-d"


WRONG = {
    'recipies = ["dcl"]': r"study.toml: no key 'recipies' .*did you mean 'recipes'",
    'recipes = ["dlc"]': r"recipes\[1\]: no recipe 'dlc' .*did you mean 'dcl'",
    'recipes = [{recipe="dcl", set={cl3=1}}]': r"recipes\[1\].*cl3.*did you mean 'cl2'",
    'recipes = [{recipe="dcl", sets={cl1=1}}]': r"recipes\[1\]: no key 'sets' .*did you mean 'set'",
    'recipes = [{recipe="dcl", set={cl1="much"}}]': r"recipes\[1\].*cl1.*expected a float",
    "recipes = []": r"recipes is \[\]; expected at least one",
    'spaces = ["afine+"]': r"spaces\[1\]: space 'afine\+' is unknown .*did you mean 'affine\+'",
    'targets = ["pencl"]': r"targets\[1\] is 'pencl' .*did you mean 'pencil'",
    'targets = ["made:oils"]': r"targets\[1\] is 'made:oils' .*did you mean 'oil'",
    'targets = [{images="pencil", pools=3}]': r"targets\[1\]: no key 'pools' .*did you mean 'pool'",
    'targets = [{images="pencil", pool="3"}]': r"targets\[1\].pool is '3'; expected a whole number",
    'targets = [{images="pencil", count=9}]': r"targets\[1\].count is 9; expected none here: it is for made:FILTER",
    'targets = [{images="made:oil", align="auto"}]': r"align is 'auto'; expected none here: .* of your own",
    'source = "face-64"': r"source is 'face-64' .*did you mean 'faces-64'",
    "shots = [0]": r"shots\[1\] is 0; expected a whole number of at least 1",
    'shots = "al"': r"shots is 'al' .*did you mean 'all'",
    "seeds = 0": r"seeds is 0; expected a whole number of at least 1",
    "seeds = [-1]": r"seeds\[1\] is -1; expected a whole number from 0 to 4294967295",
    "draws = [4294967296]": r"draws\[1\] is 4294967296; expected a whole number from 0",
    "trace = {seed = -1}": r"trace.seed is -1; expected a whole number from 0",
    "steps = true": r"steps is True; expected a whole number",
    'preset = "papers"': r"preset is 'papers' .*did you mean 'paper'",
    "trace = {evry = 3}": r"trace: no key 'evry' .*did you mean 'every'",
    'trace = {encoder = "effnet"}': r"trace.encoder is 'effnet' .*did you mean 'effnet-lite0'",
    "resources = {cpus = 3}": r"resources: no key 'cpus' .*did you mean 'cpu'",
    "resources = {gpu = -1}": r"resources.gpu is -1; expected a number of at least 0",
    "waves = [{sed = 1}]": r"waves\[1\]: no key 'sed' .*did you mean 'seeds'",
    "steps = ": r"study.toml: not TOML",
}


@pytest.mark.parametrize(("line", "said"), WRONG.items(), ids=WRONG)
def test_what_is_guessed_wrong_gets_one_line(line: str, said: str):
    key = line.partition(" ")[0]
    kept = "\n".join(one for one in STUDY.splitlines() if not one.startswith(f"{key} "))
    with pytest.raises(StylegraftError, match=said) as caught:
        listed(f"{kept}\n{line}\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["source", "recipes", "targets"])
def test_what_a_study_needs_is_asked_for_by_name(key: str):
    kept = "\n".join(one for one in STUDY.splitlines() if not one.startswith(key))
    with pytest.raises(StylegraftError, match=f"no {key}; expected for example"):
        read(kept)


def test_one_name_means_one_thing(tmp_path: Path):
    (tmp_path / "a" / "mine").mkdir(parents=True)
    (tmp_path / "b" / "mine").mkdir(parents=True)
    text = STUDY.replace('["pencil", "made:oil"]', '["a/mine", "b/mine"]')
    with pytest.raises(
        StylegraftError, match="'mine' is the name of two different things; give one of them a label="
    ):
        read(text, tmp_path / "study.toml")
    read(text.replace('"b/mine"', '{images="b/mine", label="other"}'), tmp_path / "study.toml")


def test_paths_begin_at_the_file(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    study = read(STUDY.replace('"pencil"', '"mine"'), tmp_path / "study.toml")
    assert study.waves[0].targets[0].images == str(tmp_path / "mine")


def test_the_example_is_a_study_and_so_is_a_folder(tmp_path: Path):
    study = read(EXAMPLE)
    assert len(cells(study, lambda source: 64)) == 4 * 2 * 2
    assert study.trace == Tracing(100, (), (("samples", 100),))
    (tmp_path / "my drawings").mkdir()
    own = of_pictures(str(tmp_path / "my drawings"))
    assert own.name == "compare-my-drawings"
    assert own.waves[0].targets[0].images == str(tmp_path / "my drawings")


def test_a_job_crosses_a_process_unchanged():
    target = StudyTarget("t", "made:oil", pool=3, count=4, of="s")
    cell = Cell(
        "k",
        "s",
        Method("m", "dcl", (("cl1", 1.0), ("cdc", False))),
        "full",
        target,
        3,
        0,
        1,
        5,
        None,
        "paper",
    )
    job = Job(cell, "/out", "/target", Tracing(None, (5,), (("samples", 4),)), Resources(1, 0.5, 2))
    assert Job.from_json(job.to_json()) == job


def test_every_key_of_a_study_is_in_its_page():
    page = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    keys = [
        *GRID,
        *TARGET,
        *SETTINGS,
        "every",
        "full_at",
        *(one.name for one in dataclasses.fields(Resources)),
    ]
    for key in keys:
        assert f"`{key}`" in page, key


def test_a_study_is_read_without_torch():
    code = "import sys; from stylegraft.lab.studyfile import parse; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["shots", "filters"])
def test_the_studies_of_the_benchmarks_are_read(name: str):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.toml"
    found = cells(parse(path.read_text(encoding="utf-8"), path), lambda source: 64)
    assert len(found) == {"shots": 3 * 5 * 2 * 3, "filters": 4 * 2 * 3 * 2 * 3}[name]
