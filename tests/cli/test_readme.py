"""What the README says works: every command and the Python example run, on few steps.

With a toy under the name of the shipped source; the notebook and tools/release_check.py use the shipped one.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from stylegraft import sources
from stylegraft.adaptation.recipes import PAPER
from stylegraft.checkpoints import assets
from stylegraft.cli.main import main
from stylegraft.data.targets import TARGETS
from stylegraft.domains import SPACES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^    (\S.*)$", README, re.MULTILINE)]
STYLEGRAFT = [re.sub(r"^\S*/stylegraft", "stylegraft", line) for line in COMMANDS if "stylegraft " in line]
FEW = ["--steps", "2", "--batch", "2", "--set", "warmup=0"]
ELSEWHERE = {"export": "tests/applications/test_export.py", "studio": "tests/studio"}
SHORT = {
    "adapt": FEW,
    "morph": ["--seconds", "0.1"],
    "control": ["--steps", "2", "--seeds", "0"],
    "directions": ["--count", "1"],
    "transfer": ["--seeds", "0"],
}


@pytest.fixture(scope="module")
def home(toy_file: Path, toy_images: Path, tmp_path_factory: pytest.TempPathFactory):
    """A folder as the README's reader has it: `my_sketches` beside, `faces-64` installed."""
    from stylegraft.checkpoints import Source, load, save_rosinality, save_source

    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(toy_images, folder / "my_sketches")
    Image.open(next(toy_images.glob("*.png"))).convert("RGB").save(folder / "me.jpg")
    save_rosinality(folder / "ffhq.pt", load(toy_file))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        toy = load(toy_file)
        renamed = Source("faces-64", toy.generator, toy.discriminator, toy.info)
        save_source(folder / "faces-64.safetensors", renamed)
        row = sources.Shipped("a toy", "CC0-1.0", 16, file=str(folder / "faces-64.safetensors"))
        patch.setitem(sources.SOURCES, "faces-64", row)
        yield folder


def test_the_readme_has_commands():
    assert len(STYLEGRAFT) >= 9


@pytest.mark.timeout(600)
def test_every_command_of_the_readme_runs_in_its_order(home: Path, capsys: pytest.CaptureFixture[str]):
    for line in STYLEGRAFT:
        verb, *rest = shlex.split(line)[1:]
        # the demo is what runs/pencil is learnt by
        if "VERB" in line or looks(line) or verb in ELSEWHERE or "runs/demo" in line:
            continue
        status = main([verb, *rest, *SHORT.get(verb, [])])
        assert status == 0, f"{line}\n{capsys.readouterr().err}"
        if "--out" in rest and "--dry-run" not in rest:
            assert Path(rest[rest.index("--out") + 1]).exists(), line


def looks(line: str) -> bool:
    """Whether a command downloads, or looks at images for minutes."""
    verb = shlex.split(line)[1]
    return verb in ("trace", "compare", "evaluate", "translate") or "assets get" in line or "--trace" in line


@pytest.mark.parametrize("line", [line for line in STYLEGRAFT if looks(line) and "assets get" not in line])
def test_a_command_that_looks_at_images_says_what_to_fetch(
    line: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("STYLEGRAFT_CACHE", str(tmp_path))
    monkeypatch.setattr(assets, "_installed", lambda name: None)
    (home / "more_sketches").mkdir(exist_ok=True)
    for picture in (home / "my_sketches").glob("*.png"):
        ImageOps.mirror(Image.open(picture)).save(home / "more_sketches" / picture.name)
    run = next(one for one in STYLEGRAFT if "--out runs/sketches" in one and "--dry-run" not in one)
    assert main([*shlex.split(run)[1:], *FEW]) == 0
    verb, *rest = shlex.split(line)[1:]
    assert main([verb, *rest, *SHORT.get(verb, [])]) == 2
    assert "run: stylegraft assets get" in capsys.readouterr().err


def test_the_python_example_runs(home: Path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    example = example.replace(
        'out="runs/sketches"', 'out="runs/sketches", steps=2, batch=2, warmup=0, align="auto", quiet=True'
    )
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["images"].shape[:2] == (4, 3)


def test_the_two_commands_and_their_form_without_make_agree():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [line for line in COMMANDS if line.startswith("make")] == ["make demo", "make test"]
    assert re.search(r"^\.PHONY: demo test$", makefile, re.MULTILINE)
    recipes = re.findall(r"^(?:demo|test): .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    steps = [
        line.strip().replace("$(BIN)", ".venv/bin") for recipe in recipes for line in recipe.splitlines()
    ]
    assert len(steps) >= 5
    assert [line for line in COMMANDS if line in steps] == steps
    (install,) = [line for line in COMMANDS if "pip install" in line]
    assert "-c constraints.txt" in install
    assert '-e ".[dev]"' in install
    assert "-c constraints.txt" in makefile
    assert "-e '.[dev]'" in makefile


def test_the_tables_of_the_readme_are_complete():
    for name in (*PAPER, *SPACES, *TARGETS, *sources.SOURCES):
        assert f"`{name}`" in README, f"{name} is not in the README"


def test_the_files_that_the_readme_links_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in link and not link.startswith("docs/images/"):
            assert (ROOT / link).exists(), link
    assert (ROOT / "LICENSES" / "LicenseRef-FFHQ-NonCommercial.txt").exists()
