"""The house keeps its shape: imports go down, modules stay small, nothing forbidden is imported or named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "stylegraft"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Top floor first; a module may import its own floor and those below it. Modules in one set share a floor.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"studio"},
    {"lab", "applications"},
    {"adaptation"},
    {"metrics"},
    {"encoders"},
    {"domains"},
    {"sources"},
    {"checkpoints"},
    {"data"},
    {"networks"},
    {"atomic", "devices", "distributed"},
    {"errors", "lazy", "seeds", "version"},
]
FLOOR = {name: len(FLOORS) - height for height, names in enumerate(FLOORS) for name in names}
MAX_LINES = 400


def part_of(module: Path) -> str:
    """`src/stylegraft/cli/main.py` -> `cli`, `src/stylegraft/errors.py` -> `errors`."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(module: Path) -> list[tuple[int, str]]:
    """(line, absolute name) of every import of a module, also inside functions and type-checking blocks."""
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import; write the full name"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_go_down(module: Path):
    part = part_of(module)
    if part == "__init__":
        return  # the public API names every floor, lazily
    assert part in FLOOR, f"{part}: a new part of the house; give it a floor here and in CONTRIBUTING.md"
    for line, name in imported(module):
        head, _, rest = name.partition(".")
        if head != "stylegraft" or not rest or rest == "__version__":
            continue
        below = rest.split(".")[0]
        allowed = below == part or FLOOR.get(below, 99) < FLOOR[part]
        assert allowed, (
            f"{module.relative_to(ROOT)}:{line}: {part} imports {name}, a floor that is not below it"
        )


def test_contributing_names_every_part_in_the_order_of_the_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    named = [part for row in rows for part in re.findall(r"`(\w+)`", row)]
    assert set(named) == {part_of(module) for module in MODULES} - {"__init__", "__main__"}
    assert named == sorted(named, key=lambda part: -FLOOR[part])


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_module_is_long(module: Path):
    lines = len(module.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, (
        f"{module.relative_to(ROOT)}: {lines} lines; one concept a module, at most {MAX_LINES}"
    )


def test_the_loop_reads_in_one_sitting():
    loop = PACKAGE / "adaptation" / "loop.py"
    assert len(loop.read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_nothing_forbidden_is_imported(module: Path):
    for line, name in imported(module):
        head = name.split(".")[0]
        assert head not in ("torchvision", "timm", "open_clip", "lpips", "cleanfid", "pkg_resources"), (
            f"{module.relative_to(ROOT)}:{line}: imports {name}"
        )


# what runs code that a file or a user could have written, or hands it to a shell
RUNS_CODE = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"),
    *(f"{name}.{how}" for name in ("pickle", "cPickle", "marshal", "dill", "shelve", "joblib", "cloudpickle")
      for how in ("load", "loads", "open", "Unpickler")),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle", "torch.hub.load"),
    *("subprocess.getoutput", "subprocess.getstatusoutput"),
}  # fmt: skip


def dangers(source: str) -> list[str]:
    """`line: call` of each call in a module that RUNS_CODE lists, however it was imported; of `torch.load` and
    `np.load` without the word that makes them safe, `torch.jit.load`, and of any call with shell=True.
    """
    tree = ast.parse(source)
    full = {"np": "numpy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, dot, rest = ast.unparse(node.func).partition(".")
        called = full.get(head, head) + dot + rest
        said = {word.arg: ast.unparse(word.value) for word in node.keywords}
        bad = called.removeprefix("builtins.") in RUNS_CODE or said.get("shell", "False") != "False"
        bad |= called == "torch.load" and said.get("weights_only") != "True"
        bad |= called == "torch.jit.load" or (called == "numpy.load" and said.get("allow_pickle") != "False")
        if bad:
            found.append(f"{node.lineno}: {called}")
    return found


# TorchScript of StyleGAN's Inception, which is a program: run only if its SHA-256 is the published or the given one
# beside it what `export` has just written, to compare what it draws
PROGRAMS = {"encoders/inception.py": 1, "applications/export.py": 1}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_no_file_is_unpickled_and_no_text_is_run(module: Path):
    found = dangers(module.read_text(encoding="utf-8"))
    name = module.relative_to(PACKAGE).as_posix()
    if name in PROGRAMS:
        assert [one.partition(": ")[2] for one in found] == ["torch.jit.load"] * PROGRAMS[name]
    else:
        assert not found, f"{name}: {found}"


@pytest.mark.parametrize(
    "source",
    ["eval(x)", "import pickle as p\np.loads(x)", "from pickle import load as l\nl(x)", "import torch\ntorch.load(x)",
     "import numpy as np\nnp.load(x)", "run(x, shell=True)", "import os\nos.system(x)", "__import__(x)",
     "from yaml import load\nload(x)", "import marshal\nmarshal.loads(x)"],
)  # fmt: skip
def test_the_walk_sees_what_it_looks_for(source: str):
    assert len(dangers(source)) == 1


def test_every_threat_of_the_threat_model_has_a_test_that_exists():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8") + (ROOT / "docs/reliability.md").read_text(
        encoding="utf-8"
    )
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text))
    assert len(named) >= 25
    for file, test in sorted(named):
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_hashes_are_those_of_the_pins():
    def pins(name: str) -> set[str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        found = (re.match(r"([A-Za-z0-9_.-]+==[^\s;\\]+)", line) for line in lines)
        return {
            re.sub(r"[-_.]+", "-", one[1].lower().partition("==")[0]) + one[1][one[1].index("==") :]
            for one in found
            if one
        }

    hashed = pins("requirements-hashes.txt")
    assert hashed == {pin for pin in pins("constraints.txt") if not pin.startswith("torch==")}
    text = (ROOT / "requirements-hashes.txt").read_text(encoding="utf-8")
    assert text.count("==") <= len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text))


def text_files() -> list[Path]:
    """Every text file of the repository that a commit would hold."""
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".cfg", ".yml", ".yaml", ""}
    skipped = {
        ".git",
        ".venv",
        "runs",
        "build",
        "dist",
        "__pycache__",
        ".hypothesis",
        ".ruff_cache",
        ".pytest_cache",
    }
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix in kinds and not skipped & set(path.relative_to(ROOT).parts[:-1])
    ]


def test_no_registry_host_and_no_private_path_is_named():
    """Whoever installs this chooses the registry; a path of one machine means nothing on another."""
    hosts = ["pypi", "pythonhosted", "npmjs", "registry.npmjs", "download.pytorch"]
    forbidden = re.compile(
        "|".join(rf"{re.escape(host)}\.(?:org|com)" for host in hosts) + r"|/work/(?:main|shared|build)\b"
    )
    for path in text_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = forbidden.search(text)
        assert not found, f"{path.relative_to(ROOT)}: names {found[0]!r}"


def test_the_wheel_holds_what_a_user_needs_and_nothing_else():
    from hatchling.builders.wheel import WheelBuilder

    built = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    here = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".tmp")
    }
    assert built == here, "git ignores a file of the package, or the rules in pyproject.toml let in another"
    for name in ("py.typed", "data/blazeface.safetensors", "data/sets/pencil/README.md"):
        assert f"stylegraft/{name}" in built


def test_the_pins_bring_no_cuda_and_no_torchvision():
    names = [
        line.split("==")[0].strip().lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert "torch" in names
    assert not [
        name for name in names if name.startswith(("nvidia", "torchvision", "torchaudio", "triton", "cuda"))
    ]


def test_every_dependency_is_pinned_and_states_a_lower_bound_only():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name, bound = re.fullmatch(r"([A-Za-z0-9_-]+)(>=[0-9.]+)", requirement).groups()
        assert bound
        assert re.search(rf"^{re.escape(name.lower())}==", pinned, re.MULTILINE), (
            f"{name} is not in constraints.txt"
        )
