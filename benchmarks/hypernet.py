"""A hypernetwork on looks, some combinations of which it is never shown, and what it makes of those.

    stylegraft assets get effnet && stylegraft assets get minilm && stylegraft assets get lpips
    python benchmarks/hypernet.py                # trains runs/hypernet (or goes on with it), judges, writes
    python benchmarks/hypernet.py --table        # docs/methods/hypernet.md alone, from what is kept

Sentences are the combinations of eight styles and eight tints of `tools/build_sprig/looks.py`, less the photograph as
it is and those of `HELD_OUT`, which neither the hypernetwork nor the guide was shown. Each is judged on samples at
psi 1, the same for all: quality and diversity in the guide, and the shares in which the probe (`style_probe`), which
led nothing, sees the style and the tint. `nada` is a run of its own for a sentence. Writes
benchmarks/results/hypernet.json and the table.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from heading import RESULTS, ROOT, heading, write
from one_shot import AT_ONCE, FIRST, TEMPLATES, faces, looks, words  # pyright: ignore
from style_probe import Probe

from stylegraft.adaptation.hypernet import domains_of
from stylegraft.adaptation.recipes import recipe
from stylegraft.adaptation.run import adapt
from stylegraft.atomic import write_text
from stylegraft.data.grids import save_grid
from stylegraft.data.pixels import to_uint8
from stylegraft.encoders.guides import Guide, encode_texts, load_guide
from stylegraft.metrics.similarity import similarity
from stylegraft.networks.generator import Generator
from stylegraft.sources import load_source

STYLES = ("photo", "pencil", "oil", "watercolour", "negative", "poster", "relief", "neon")
HELD_OUT = [look for look in looks.HELD_OUT if look[0] in STYLES]
TRAINED = [
    (style, tint)
    for style in STYLES
    for tint in (looks.PLAIN, *looks.TINTS)
    if (style, tint) not in [*HELD_OUT, ("photo", looks.PLAIN)]
]
SAMPLES, SHOWN, GUIDE = 32, 8, "sprig"
ALONE = [("relief", "pink"), ("oil", "pink"), ("neon", "blue")]  # also learnt by `nada`, each by itself
DOC = ROOT / "docs/methods/hypernet.md"
BEGIN, END = "<!-- held out -->", "<!-- /held out -->"


Seen = tuple[torch.Tensor, dict[str, torch.Tensor]]


@torch.no_grad()
def seen(generator: Generator, guide: Guide, probe: Probe) -> Seen:
    """What the guide and the probe see in the samples of a generator."""
    images = to_uint8(faces(generator, FIRST, SAMPLES)).float() / 127.5 - 1
    return torch.cat([guide.encode_image(few) for few in images.split(AT_ONCE)]), probe(images)


def judged(found: Seen, guide: Guide, probe: Probe, style: str, tint: str) -> dict[str, float]:
    """Quality and diversity in the guide, and the probe's shares."""
    wanted = encode_texts(guide, [words(style, tint)], TEMPLATES)[0]
    pair = similarity(found[0], wanted, encoder=guide.name)
    shares = {head: probe.share(found[1], head, name) for head, name in (("style", style), ("tint", tint))}
    numbers = {"quality": pair.quality, "diversity": pair.diversity} | shares
    return {key: round(value, 3) for key, value in numbers.items()}


def table(result: dict[str, Any]) -> str:
    """The means of each kind, and the single sentences that were held out, in Markdown."""
    columns = ("quality", "diversity", "style", "tint")
    lines = [
        "| sentences | by | quality-sprig / diversity-sprig | style | tint |",
        "|---|---|---|---|---|",
    ]

    def line(name: str, by: str, rows: list[dict[str, Any]]) -> str:
        a, b, c, d = (mean(row[column] for row in rows) for column in columns)
        return f"| {name} | {by} | {a:.3f} / {b:.3f} | {c:.2f} | {d:.2f} |"

    kinds = ("source", "trained", "held out", "nada")
    of = {kind: [row for row in result["rows"] if row["kind"] == kind] for kind in kinds}
    for kind, name, by in (
        ("source", "held out", "the source as it is"),
        ("held out", "held out", "hypernet"),
        ("trained", "trained on", "hypernet"),
    ):
        if of[kind]:
            lines.append(line(f"{len(of[kind])}, {name}", by, of[kind]))
    for row in of["nada"]:
        own = [one for one in of["held out"] if one["look"] == row["look"]]
        lines += [line(words(*row["look"]), "hypernet", own), line(words(*row["look"]), "nada", [row])]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=ROOT / "runs/hypernet")
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument(
        "--trained", type=int, default=8, help="so many of the sentences it was trained on are judged"
    )
    parser.add_argument("--alone", type=int, default=len(ALONE), help="so many by nada, the first")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--table", action="store_true", help="write the table of what is kept, and measure nothing"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = args.out / "hypernet.json"
    if not args.table:
        write(path, measured(args))
    result = json.loads(path.read_text())
    inner = f"{BEGIN}\n{table(result)}\n{END}"
    doc = DOC.read_text(encoding="utf-8")
    write_text(DOC, re.sub(f"{BEGIN}.*{END}", lambda _: inner, doc, flags=re.S))


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Train or go on, then judge; pictures of the held-out sentences go into the run's folder."""
    source, guide, probe = load_source("faces-64"), load_guide(GUIDE), Probe()
    texts = [words(*look) for look in TRAINED]
    cpu = time.process_time()
    run = adapt(
        source, texts=texts, recipe="hypernet", guides=GUIDE, steps=args.steps, out=args.run, quiet=True
    )
    cost = {
        "cpu_seconds": round(time.process_time() - cpu),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "file_bytes": (args.run / "hypernet.safetensors").stat().st_size,
    }
    assert run.hypernet is not None
    rows = list[dict[str, Any]]()

    def note(kind: str, look: tuple[str, str], found: Seen) -> None:
        rows.append({"kind": kind, "look": list(look)} | judged(found, guide, probe, *look))
        print(rows[-1], flush=True)

    pictures, labels = [faces(source.generator, FIRST, SHOWN)], ["source"]
    every = max(1, len(TRAINED) // max(args.trained, 1))
    for kind, chosen in (("held out", HELD_OUT), ("trained", TRAINED[every // 2 :: every][: args.trained])):
        made = domains_of(run.hypernet, source.generator, [words(*look) for look in chosen], guide)
        for look, domain in zip(chosen, made, strict=True):
            merged = domain.merge(source.generator)
            note(kind, look, seen(merged, guide, probe))
            pictures.append(faces(merged, FIRST, SHOWN))
            labels.append(f"{words(*look)}{'' if kind == 'held out' else ' (trained)'}")
    save_grid(torch.cat(pictures), args.run / "held-out.png", SHOWN, labels=labels)
    before = seen(source.generator, guide, probe)
    for look in HELD_OUT:
        note("source", look, before)
    for look in ALONE[: args.alone]:
        out = args.run.with_name(f"{args.run.name}-nada-{'-'.join(look)}")
        alone = adapt(source, text=words(*look), recipe="nada", guides=GUIDE, out=out, quiet=True)
        note("nada", look, seen(alone.domain.merge(source.generator), guide, probe))
    about = {"source": "faces-64", "guide": GUIDE, "samples": SAMPLES, "templates": TEMPLATES}
    about |= {"trained_on": len(TRAINED)}
    own = {"steps": args.steps or recipe("hypernet").steps}
    return heading() | about | own | cost | {"rows": rows}


if __name__ == "__main__":
    main()
