"""List the licences of what stylegraft runs on: its dependencies, those of its extras, and theirs.

    python tools/licences.py            # writes LICENSES/DEPENDENCIES.md

Reads the metadata of what is installed in this environment; a package that is not installed says so. Tools of
development and of the documentation are left out: nobody who installs the package gets them.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
MISSING = "not installed here"
TOOLS = ("dev", "docs")  # extras for who works on the package
PAGE = ROOT / "LICENSES" / "DEPENDENCIES.md"
HEAD = """\
# Licences of the dependencies

What `pip install stylegraft` and its extras bring, with the licence that each states of itself. Made by
`python tools/licences.py` from the pinned releases of `constraints.txt`; what `[ray]` alone brings is not
pinned, and is listed as it was tried.

| package | release | licence | comes with |
|---|---|---|---|
"""


def name_of(requirement: str) -> str:
    """`Torch-Audio>=2; extra == 'x'` -> `torch-audio`."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9_.-]+", requirement)[0]).lower()


def licence(name: str) -> tuple[str, str, list[str]]:
    """(release, licence, what it needs) of an installed package."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return MISSING, "?", []
    told = found.metadata
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    first = (told.get("License") or "").strip().splitlines()[:1]
    said = told.get("License-Expression") or ", ".join(classified) or (first[0][:60] if first else "?")
    needs = [one for one in found.requires or [] if "extra ==" not in one]
    return re.sub(r"\+.*", "", found.version), said, [name_of(one) for one in needs]


def rows() -> list[tuple[str, str, str, str]]:
    """(package, release, licence, what brings it), by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"stylegraft": project["dependencies"], **project["optional-dependencies"]}
    asked = {name_of(one) for group in groups.values() for one in group}
    found: dict[str, tuple[str, str, str, str]] = {}
    for group, requirements in groups.items():
        todo = [name_of(one) for one in requirements] if group not in TOOLS else []
        while todo:
            name = todo.pop()
            if name not in found:
                release, said, needs = licence(name)
                if release == MISSING and name not in asked:
                    continue  # for other systems or releases of Python
                found[name] = (name, release, said, group if group == "stylegraft" else f"[{group}]")
                todo += needs
    return [found[name] for name in sorted(found)]


if __name__ == "__main__":
    lines = [
        f"| {' | '.join(row)} |\n" for row in rows() if not row[0].startswith(("nvidia-", "cuda-", "triton"))
    ]
    PAGE.write_text(HEAD + "".join(lines), encoding="utf-8")
