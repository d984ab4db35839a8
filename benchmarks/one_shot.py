"""One image or one sentence in each recipe and space, as StyleDomain's Tables 1 and 3 (Alanov et al., ICCV 2023).

    stylegraft assets get effnet && stylegraft assets get minilm && stylegraft assets get lpips
    python benchmarks/one_shot.py                                # hours on two cores
    python benchmarks/one_shot.py --only nada --spaces full      # some rows anew, the others are kept
    python benchmarks/one_shot.py --table                        # docs/one-shot.md alone, from what is kept

Quality and diversity are those of `metrics.similarity` on 500 samples at psi 1, the same for every row, in the guide
whose name they carry; the words stand in the table of templates `TEMPLATES`. Whether only the guide was pleased is
judged by the probe (`style_probe`), which shares nothing with it: the share of samples in which it sees the style, and
the tint, that was asked for. `photo` is the mean cosine to the word that the request leads away from. An image is one
picture under the filters of the same look, of a face that no sample shows. Every row is a process of its own, as the
peak of a process never falls. Writes benchmarks/results/one-shot.json and the table.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, ROOT, heading, write
from style_probe import Probe

from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.request import SOURCE
from stylegraft.adaptation.run import adapt
from stylegraft.atomic import write_text
from stylegraft.checkpoints.source import Source
from stylegraft.data.pixels import to_uint8
from stylegraft.encoders.guides import Guide, encode_texts, guide_in_reach, load_guide
from stylegraft.errors import StylegraftError
from stylegraft.metrics.similarity import similarity
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

sys.path.insert(0, str(ROOT / "tools"))
from build_sprig import looks  # pyright: ignore

REQUESTS = [
    ("lines", "orange"),
    ("relief", "pink"),
    ("pencil", "plain"),
]  # the first two of `looks.HELD_OUT`: sprig was never shown them together
SPACES = [
    "hdn-before", "hdn", "stylespace", "stylespace + lowrank:2(conv)", "affine", "affine-light+", "mapping",
    "synthesis", "full",
]  # fmt: skip
RECIPES = ["nada", "hdn", "difa", "mtg", "jojogan"]
SAMPLES, AT_ONCE, TEMPLATES = 500, 50, "a"
SEED, PICTURE, FIRST = 0, 7, 1000  # of training, of the picture's face, of the first sample
KEY = ["source", "guide", "recipe", "space", "by", "request"]  # what a row is known by
DOC = ROOT / "docs/one-shot.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def words(style: str, tint: str) -> str:
    """`line drawing in orange`, `pencil drawing`."""
    return looks.STYLES[style].words[0] + (f" in {tint}" if tint != looks.PLAIN else "")


@torch.no_grad()
def faces(generator: Generator, first: int, count: int) -> torch.Tensor:
    """Images [count, 3, R, R] of the seeds from `first` on, psi 1, the network's own noise."""
    seeds = range(first, first + count)
    z = torch.cat(
        [torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(i)) for i in seeds]
    )
    return torch.cat([generator(few).image for few in z.split(AT_ONCE)])


def picture(source: Source, style: str, tint: str) -> torch.Tensor:
    """One picture of a look, uint8 [1, 3, R, R]."""
    drawn = looks.STYLES[style].draw(to_uint8(faces(source.generator, PICTURE, 1)), SEED)
    return looks.wear(drawn, [tint], torch.ones(1))


def judged(generator: Generator, guide: Guide, wanted: torch.Tensor, style: str, tint: str) -> dict[str, Any]:
    """Quality and diversity in the guide, and the probe's shares, of `SAMPLES` samples."""
    images = to_uint8(faces(generator, FIRST, SAMPLES)).float() / 127.5 - 1
    with torch.no_grad():
        features = torch.cat([guide.encode_image(few) for few in images.split(AT_ONCE)])
    left = encode_texts(guide, [SOURCE], TEMPLATES)[0]
    pair, probe = similarity(features, wanted, encoder=guide.name), Probe()
    found = probe(images)
    return {
        "guide": guide.name,
        "quality": round(pair.quality, 3),
        SOURCE: round(similarity(features, left, encoder=guide.name).quality, 3),
        "diversity": round(pair.diversity, 3),
        "style": round(probe.share(found, "style", style), 3),
        "tint": round(probe.share(found, "tint", tint), 3),
    }


def one(row: dict[str, Any]) -> dict[str, Any]:
    """Train and judge one row in this process; of the recipe "source", judge the source as it is."""
    source, guide = load_source(row["source"]), load_guide(row["guide"])
    style, tint = row["request"]
    shown = picture(source, style, tint) if row["by"] == "image" else None
    with torch.no_grad():
        wanted = (
            encode_texts(guide, [words(style, tint)], TEMPLATES)[0]
            if shown is None
            else guide.encode_image(shown.float() / 127.5 - 1)
        )
    if row["recipe"] == "source":
        return judged(source.generator, guide, wanted, style, tint)
    asked: dict[str, Any] = {"text": words(style, tint)} if shown is None else {"image": shown}
    if recipe(row["recipe"]).guided:
        asked["guides"] = row["guide"]
    started, cpu = time.perf_counter(), time.process_time()
    done = adapt(
        source, **asked, recipe=row["recipe"], space=row["space"], steps=row["steps"], seed=SEED, quiet=True
    )
    cost = {
        "steps": row["steps"] or recipe(row["recipe"]).steps,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    with tempfile.TemporaryDirectory() as folder:
        done.domain.save(Path(folder) / "domain.safetensors")
        cost["bytes"] = (Path(folder) / "domain.safetensors").stat().st_size
    if "domains" in row:
        name = "-".join([row["recipe"], row["space"], row["by"], style, tint])
        done.domain.save(Path(row["domains"]) / f"{name}.safetensors")
    return judged(done.domain.merge(source.generator), guide, wanted, style, tint) | cost


def tables(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, a table for each source and guide: numbers in two guides cannot be compared."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(f"On {row['source']}, by `{row['guide']}`:", []).append(row)
    return "\n\n".join(f"{title}\n\n{table(part)}" for title, part in parts.items())


def table(rows: list[dict[str, Any]]) -> str:
    """Those of one source and guide."""
    head = ["recipe", "space", "asked for, by", f"quality-{rows[0]['guide']} / diversity-{rows[0]['guide']}"]
    head += [SOURCE, "style", "tint", "steps", "CPU s", "peak MiB", "KiB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["recipe"], row["space"], f"{words(*row['request'])}, {row['by']}"]
        cells += [f"{row['quality']:.3f} / {row['diversity']:.3f}"]
        cells += [f"{row[name]:.2f}" for name in (SOURCE, "style", "tint")]
        if "steps" in row:
            cells += [f"{row['steps']}", f"{row['cpu_seconds']:.0f}", f"{row['peak_mib']}"]
            cells += [f"{row['bytes'] / 1024:,.0f}"]
        lines.append(f"| {' | '.join(cells + [''] * (len(head) - len(cells)))} |")
    return "\n".join(lines)


def asked_for(args: argparse.Namespace, guide: str) -> list[dict[str, Any]]:
    """The rows to measure: what goes together of recipes, spaces, ways of asking and requests."""
    fixed = {"source": args.source, "guide": guide, "steps": args.steps}
    fixed |= {"domains": str(args.domains)} if args.domains else {}
    return [
        fixed | {"recipe": name, "space": space, "by": by, "request": list(request)}
        for by in args.by
        for request in REQUESTS
        if request[0] in args.requests
        for name in args.only
        for space in (args.spaces if name != "source" else ["none"])
        if by == "image" or name == "source" or recipe(name).reads
    ]


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    """Where a row stands: by source, guide, way of asking, request, recipe, space; spaces that are not listed last."""
    request, recipes, spaces = [list(one) for one in REQUESTS], ["source", *RECIPES], ["none", *SPACES]
    by, space = ["text", "image"].index(row["by"]), row["space"]
    at = spaces.index(space) if space in spaces else len(spaces)
    places = by, request.index(row["request"]), recipes.index(row["recipe"]), at, space
    return row["source"], row["guide"], *places


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="faces-64")
    parser.add_argument("--guide", help="default: the first that is here")
    parser.add_argument("--only", nargs="*", default=["source", *RECIPES])
    parser.add_argument("--spaces", nargs="*", default=SPACES)
    parser.add_argument("--by", nargs="*", default=["text", "image"], choices=["text", "image"])
    styles = [style for style, _ in REQUESTS]
    parser.add_argument("--requests", nargs="*", default=styles, choices=styles)
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--domains", type=Path, help="a folder that keeps the domain of each row")
    parser.add_argument(
        "--table", action="store_true", help="write the table of what is kept, and measure nothing"
    )
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.row:
        try:
            print(json.dumps(one(json.loads(args.row))))
        except StylegraftError as error:
            sys.exit(f"{args.row}: {error}")
        return
    path = args.out / "one-shot.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": []}
    guide = args.guide or guide_in_reach()
    for row in [] if args.table else asked_for(args, guide):
        command = [sys.executable, __file__, "--row", json.dumps(row)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:  # it has said why, such as a space that this source does not have
            continue
        found = {key: row[key] for key in KEY} | json.loads(done.stdout.splitlines()[-1])
        print(found, flush=True)
        others = [old for old in kept["rows"] if [old[key] for key in KEY] != [found[key] for key in KEY]]
        about = {"templates": TEMPLATES, "samples": SAMPLES, "seed": SEED}
        kept = heading() | about | {"rows": sorted([*others, found], key=place)}
        write(path, kept)
    doc = DOC.read_text(encoding="utf-8")
    inner = f"{BEGIN}\n{tables(kept['rows'])}\n{END}"
    write_text(DOC, re.sub(f"{BEGIN}.*{END}", lambda _: inner, doc, flags=re.S))


if __name__ == "__main__":
    main()
