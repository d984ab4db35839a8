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
    {"errors", "lazy", "version"},
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


def test_no_file_is_unpickled_by_code():
    """Only the restricted readers may touch pickles, and `torch.load` is always `weights_only=True`."""
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            called = ast.unparse(node.func)
            where = f"{module.relative_to(ROOT)}:{node.lineno}"
            assert called not in ("pickle.load", "pickle.loads", "dill.load", "joblib.load"), where
            if called == "torch.load":
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{where}: torch.load without weights_only=True"


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
