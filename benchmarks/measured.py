"""Write what the studies measured of each method into its page, and all of it into docs/methods/README.md.

    python benchmarks/measured.py

Reads the kept cells of `benchmarks/results/claims-SOURCE` (docs/claims.md); a method that no study has run says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from heading import RESULTS

from stylegraft.atomic import write_text

STUDIES = ("claims-stylegan2-faces-64", "claims-faces-64")
ROLES = {
    "quality": "p_target",
    "diversity": "intra-LPIPS",
    "kid": "KID",
    "correspondence": "LPIPS to the source",
}
STEPS = 1000  # longer runs are other methods' and no rows here
PAGES = Path(__file__).parents[1] / "docs/methods"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

Key = tuple[str, str, str]  # source, target, method


def runs() -> dict[Key, list[list[float]]]:
    """The numbers of the last look at every run in the whole generator, on ten shots."""
    found = defaultdict[Key, list[list[float]]](list)
    for study in STUDIES:
        for path in sorted((RESULTS / study / "cells").rglob("result.json")):
            told = json.loads(path.read_text())
            method, space, target, shots, *_ = told["key"].split("/")
            last = told["points"][-1]
            if space == "full" and shots == "10" and last["step"] == STEPS:
                source = study.removeprefix("claims-")
                found[source, target, method].append([last[told["metrics"][role]] for role in ROLES])
    return found


def said(rows: list[list[float]]) -> list[str]:
    """Mean and deviation over the runs, a cell a number."""
    columns = zip(*rows, strict=True)
    return [f"{mean(c):.3f} ± {stdev(c):.3f}" if len(rows) > 1 else f"{mean(c):.3f}" for c in columns]


def table(found: dict[Key, list[list[float]]], first: str, keys: dict[str, Key]) -> str:
    """A Markdown table, a row for each of `keys` by what stands in its first cell."""
    head = f"| {first} | runs | " + " | ".join(ROLES.values()) + " |\n" + "|---" * (len(ROLES) + 2) + "|\n"
    rows = (
        f"| {name} | {len(found[key])} | " + " | ".join(said(found[key])) + " |" for name, key in keys.items()
    )
    return head + "\n".join(rows)


def page(found: dict[Key, list[list[float]]], method: str) -> str:
    """The last part of a method's page."""
    keys = {f"{source}, {target}": (source, target, who) for source, target, who in found if who == method}
    if not keys:
        return "Measured here: not yet; no study of [docs/claims.md](../claims.md) has come to it.\n"
    asked = f"Measured after {STEPS:,} steps in `full` on ten images, batch 4 ([all](README.md#measured)):"
    return f"{asked}\n\n{table(found, 'source, target', keys)}\n"


def main() -> None:
    found = runs()
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path.stem != "README":
            text = re.sub(r"^Measured .*\Z", lambda _, m=path.stem: page(found, m), text, flags=re.M | re.S)
        else:
            parts = []
            for source, target in dict.fromkeys(key[:2] for key in found):
                keys = {key[2]: key for key in found if key[:2] == (source, target)}
                parts.append(f"**{source}, {target}**\n\n{table(found, 'method', keys)}")
            inner = "\n\n".join(parts)
            text = re.sub(f"{BEGIN}.*{END}", lambda _, s=inner: f"{BEGIN}\n{s}\n{END}", text, flags=re.S)
        write_text(path, text)


if __name__ == "__main__":
    main()
