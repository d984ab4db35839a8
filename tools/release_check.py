"""Whether a release works for who installs it: builds wheel and sdist, looks inside, runs the demo from the wheel.

    python tools/release_check.py                    # 20 steps of the demo
    python tools/release_check.py --steps 300        # the demo as the README has it
    python tools/release_check.py --out dist         # keep what was built
    python tools/release_check.py --no-site          # without the extra `docs`

Everything happens in a temporary folder, with an empty home and a fresh venv that pip fills from your index by the
pins of constraints.txt: five minutes of one core. Needs `hatchling` (extra `dev`), and for the site `mkdocs` and
`zensical` (extra `docs`).
Ends with status 1 at the first thing that is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "stylegraft"
MUST = (  # a user misses these at once
    "stylegraft/py.typed",
    "stylegraft/data/blazeface.safetensors",
    "stylegraft/data/sets/pencil/README.md",
    "stylegraft/data/sets/lorelei/README.md",
    "stylegraft/sources/data/faces-64.safetensors",
    "stylegraft/sources/data/faces-128.safetensors",
    "stylegraft/sources/data/stylegan2-faces-64.safetensors",
    "stylegraft/studio/static/index.html",
)
LICENCES = ("LICENSE", *(f"LICENSES/{path.name}" for path in sorted((ROOT / "LICENSES").glob("*.txt"))))
PYTHON = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")
DEMO = "adapt faces-64 pencil --recipe dcl --space affine-light+ --out runs/demo"
BUILDERS = ("mkdocs", "zensical")
MOST = 100  # MB of a wheel


def main() -> int:
    """All steps in their order; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20, help="of the demo")
    parser.add_argument("--out", type=Path, help="folder to keep wheel and sdist in")
    parser.add_argument("--no-site", action="store_true", help="do not build the site")
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="release-") as name:
            check(Path(name), options.steps, options.out, () if options.no_site else BUILDERS)
    except (AssertionError, subprocess.CalledProcessError) as error:
        print(f"NOT READY: {getattr(error, 'output', None) or error}")
        return 1
    print(f"ready: {time.monotonic() - begun:.0f} s")
    return 0


def check(folder: Path, steps: int, out: Path | None, builders: tuple[str, ...] = BUILDERS) -> None:
    """Build, look inside, install, run; raises AssertionError or CalledProcessError."""
    programs = {builder: program(builder) for builder in builders}  # what is missing is said at once
    with step("the changelog has this version"):
        changelog()
    with step("wheel and sdist are built"):
        run([sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist")], ROOT)
        (wheel,), (sdist,) = (list((folder / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    with step(
        f"{wheel.name}, {wheel.stat().st_size / 1e6:.0f} MB, holds the package, its licences, and no more"
    ):
        names = inside(wheel)
        assert wheel.stat().st_size < MOST * 1e6, f"{wheel.name} is larger than {MOST} MB"
    with step(f"{sdist.name}, {sdist.stat().st_size / 1e6:.0f} MB, builds the same wheel"):
        again(sdist, folder, names)
    python = folder / "venv" / PYTHON
    with step("the wheel goes into an empty venv"):
        venv.create(folder / "venv", with_pip=True)
        run(
            [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel)],
            folder,
        )
    with step(f"the demo runs there, {steps} steps"):
        demo(python, folder, steps)
    for builder, path in programs.items():
        site(builder, path, folder)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for file in (wheel, sdist):
            shutil.copy(file, out)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what was found to be so, and how long it took."""
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:6.1f} s  {what}", flush=True)


def run(line: list[str], cwd: Path, **env: str) -> str:
    """What a command prints, also where it fails; nothing of this checkout can be imported there."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "STYLEGRAFT_CACHE")}
    done = subprocess.run(
        line,
        cwd=cwd,
        env=clean | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(line)} ended with status {done.returncode}:\n{done.stdout}"
    return done.stdout


def changelog() -> None:
    """The version of the package, without `.dev`, is a heading."""
    (version,) = re.findall(
        r'__version__ = "(\d+\.\d+\.\d+)', (PACKAGE / "version.py").read_text(encoding="utf-8")
    )
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*\b{re.escape(version)}\b", text, re.MULTILINE), (
        f"CHANGELOG.md says nothing of {version}"
    )


def inside(wheel: Path) -> set[str]:
    """The names in a wheel, which are those of the package and its licences."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    told = {name for name in names if ".dist-info/" in name}
    here = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".tmp")
    }
    assert not (missing := here - names), f"not in the wheel: {sorted(missing)}"
    assert not (more := names - told - here), f"in the wheel, and no part of the package: {sorted(more)}"
    assert not (lost := set(MUST) - names), f"not in the wheel: {sorted(lost)}"
    licences = {name.partition("/licenses/")[2] for name in told if "/licenses/" in name}
    assert licences == set(LICENCES), (
        f"licences in the wheel: {sorted(licences)}, expected {sorted(LICENCES)}"
    )
    return names


def again(sdist: Path, folder: Path, names: set[str]) -> None:
    """The sdist builds a wheel of the same files."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (tree,) = (folder / "sdist").iterdir()
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "again")], tree)
    (wheel,) = (folder / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == names, f"{sdist.name} builds another wheel"


def demo(python: Path, folder: Path, steps: int) -> None:
    """The README's demo and what one does next, in an empty folder with an empty home."""
    place = folder / "user"
    place.mkdir()
    home = {"HOME": str(place), "USERPROFILE": str(place)}
    verb = [str(python), "-m", "stylegraft"]
    where = run([str(python), "-c", "import stylegraft; print(stylegraft.__file__)"], place, **home)
    assert Path(where.strip()).is_relative_to(folder), f"imported from {where}"
    run([*verb, *DEMO.split(), "--steps", str(steps), "--set", f"warmup={min(steps, 100)}"], place, **home)
    run([*verb, "sample", "runs/demo", "--seeds", "0-3", "--out", "grid.png"], place, **home)
    told = run([*verb, "inspect", "runs/demo"], place, **home)
    assert "affine-light+" in told, told
    for file in ("grid.png", "runs/demo/grid.png", "runs/demo/domain.safetensors"):
        assert (place / file).stat().st_size > 1000, f"{file} is empty"


def program(builder: str) -> str:
    """Where a builder of sites is: beside this Python, or on the path."""
    found = shutil.which(
        builder, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    assert found, f"{builder} is not here: pip install -e '.[docs]', or leave the site out with --no-site"
    return found


def site(builder: str, path: str, folder: Path) -> None:
    """docs/ becomes a site without a warning."""
    copy = folder / builder  # zensical writes into the folder of its configuration
    shutil.copytree(ROOT / "docs", copy / "docs")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    for name in ("mkdocs.yml", "CHANGELOG.md", "SECURITY.md"):
        shutil.copy(ROOT / name, copy)
    with step(f"{builder} builds the site"):
        run([path, "build", "--strict"], copy)
        assert (copy / "site" / "index.html").is_file(), f"{builder} left no index.html"


if __name__ == "__main__":
    sys.exit(main())
