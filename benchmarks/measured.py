"""Write what the studies measured of each method into its page and all of it into docs/methods/README.md, of each space
into docs/spaces.md, and the verdicts on the claims into docs/claims.md.

    python benchmarks/measured.py

Reads the kept cells of `benchmarks/results/claims-SOURCE` (docs/claims.md), and the verdicts that `stylegraft claims`
wrote from them; a method that no study has run says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from heading import RESULTS

from stylegraft.atomic import write_text

STUDIES = ("claims-stylegan2-faces-64", "claims-faces-64")
ROLES = {
    "quality": "p_target",
    "diversity": "intra-LPIPS",
    "kid": "KID",
    "correspondence": "LPIPS to the source",
}
SPACES = {"freezeg": "late@16"}  # of a recipe that has its own; all others were run in `full`
RECIPE, TARGETS = "ada", ("pencil", "lorelei")  # by which spaces are compared, and on what
ONE_DRAW = "(one draw)"
STEPS = 1000  # longer runs are other methods' and no rows here
DOCS = Path(__file__).parents[1] / "docs"

Key = tuple[str, str, str]  # source, target, method


def runs() -> dict[Key, list[list[float]]]:
    """The numbers of the last look at every run on ten shots in the whole generator, or in the recipe's own space."""
    found = defaultdict[Key, list[list[float]]](list)
    for study in STUDIES:
        for path in sorted((RESULTS / study / "cells").rglob("result.json")):
            told = json.loads(path.read_text())
            method, space, target, shots, *_ = told["key"].split("/")
            last = told["points"][-1]
            if space == SPACES.get(method, "full") and shots == "10" and last["step"] == STEPS:
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
    space = SPACES.get(method, "full")
    asked = f"Measured after {STEPS:,} steps in `{space}` on ten images, batch 4 ([all](README.md#measured)):"
    return f"{asked}\n\n{table(found, 'source, target', keys)}\n"


def every(found: dict[Key, list[list[float]]]) -> str:
    """The tables of all methods."""
    parts = []
    for source, target in dict.fromkeys(key[:2] for key in found):
        keys = {key[2]: key for key in found if key[:2] == (source, target)}
        parts.append(f"**{source}, {target}**\n\n{table(found, 'method', keys)}")
    return "\n\n".join(parts)


def spaces() -> str:
    """A table a source: what each space comes to, of the runs on the first ten images, which all spaces have."""
    parts = []
    for study in STUDIES:
        rows = defaultdict[str, dict[str, list[dict[str, Any]]]](lambda: defaultdict(list))
        for path in sorted((RESULTS / study / "cells" / RECIPE).rglob("10/d0/*/result.json")):
            told = json.loads(path.read_text())
            _, space, target, *_ = told["key"].split("/")
            rows[space][target].append(told)
        kept = {space: one for space, one in rows.items() if set(TARGETS) <= set(one)}
        parts.append(f"**{study.removeprefix('claims-')}**\n\n{space_table(kept)}")
    return "\n\n".join(parts)


def space_table(rows: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Of a source; a row a space, the smallest first: numbers that learn, the file, and three numbers a target."""
    head = "| space | learns | file | " + " | ".join(
        f"{target}: KID taken away | diversity | p_target" for target in TARGETS
    )
    lines = [f"{head} |", "|---" * (3 + 3 * len(TARGETS)) + "|"]
    for space, own in sorted(rows.items(), key=lambda item: item[1][TARGETS[0]][0]["bytes"]):
        one = own[TARGETS[0]][0]
        cells = [f"`{space}`", f"{one['parameters']:,}", f"{one['bytes'] / 1000:,.0f} KB"]
        for target in TARGETS:
            shares, rest = [], []
            for told in own[target]:
                names, first, last = told["metrics"], told["points"][0], told["points"][-1]
                shares.append(1 - last[names["kid"]] / first[names["kid"]])
                rest.append((last[f"{names['diversity']}-without-empty"], last[names["quality"]]))
            cells += [
                f"{mean(shares):.2f}" + (f" ± {stdev(shares):.2f}" if len(shares) > 1 else ""),
                *(f"{mean(c):.2f}" for c in zip(*rest, strict=True)),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts() -> str:
    """A table of all claims, a row a claim and a column a study."""
    told = [json.loads((RESULTS / f"{study}.json").read_text())["claims"] for study in STUDIES]
    head = "| claim | | " + " | ".join(f"`{study.removeprefix('claims-')}`" for study in STUDIES)
    rows = [
        f"| {one[0]['id']} | {one[0]['says']} | " + " | ".join(map(answer, one)) + " |"
        for one in zip(*told, strict=True)
    ]
    return "\n".join([f"{head} |", "|---" * (2 + len(STUDIES)) + "|", *rows])


def answer(claim: dict[str, Any]) -> str:
    """The verdict, with where it holds if it is mixed, and with the runs that there are if some lack."""
    verdict, measured = claim["verdict"], claim["measured"]
    if verdict == "not measured":
        return f"{verdict}: {measured[0]}" if measured[0][0].isdigit() else "not in this study"
    if len(claim["draws"]) == 1 and ONE_DRAW not in verdict:
        verdict = f"{verdict} {ONE_DRAW}"
    if not verdict.startswith("mixed"):
        return f"**{verdict}**"
    judged = [line.split(";")[0] for line in measured if "not judged by" not in line.split(":")[0]]
    return f"**{verdict}**: " + "; ".join(line.replace(", without-empty", "") for line in judged)


def between(text: str, mark: str, inner: str) -> str:
    """The text with what stands between two marks replaced."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{inner}\n{end}", text, flags=re.S)


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that has numbers of the studies, and its text with those of today."""
    found = runs()
    for path in sorted((DOCS / "methods").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path.stem == "README":
            yield path, between(text, "measured", every(found))
        else:
            told = page(found, path.stem)
            yield path, re.sub(r"^Measured .*\Z", lambda _, s=told: s, text, flags=re.M | re.S)
    for name, mark, told in (("spaces", "measured", spaces()), ("claims", "verdicts", verdicts())):
        path = DOCS / f"{name}.md"
        yield path, between(path.read_text(encoding="utf-8"), mark, told)


def main() -> None:
    for path, text in pages():
        write_text(path, text)


if __name__ == "__main__":
    main()
