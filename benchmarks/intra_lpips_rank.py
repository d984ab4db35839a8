"""Whether the cheap intra-LPIPS of traces ranks generators as the full one does.

    python benchmarks/intra_lpips_rank.py runs/pencil runs/lorelei --strengths 0.25 0.5 0.75 1
    python benchmarks/intra_lpips_rank.py --show

For each run's domain at each strength (and for its source, strength 0): the traces' metric, 200 latents at 64 px, with
several seeds of latents and of the draws of members, and the papers', 1,000 latents at 256 px. Then Spearman's
correlation over all domains, over those beside one target and over those of one run; and how often two domains beside
one target stand in the same order by both, by how far apart the cheap metric has them. A full value takes half an hour
of one core, in up to 10 GB (`--memory`: with less, images are embedded again); domains that the result file has are not
measured again. Writes benchmarks/results/intra-lpips-rank.json; `--show` measures nothing and sums up its rows anew.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from math import isnan
from pathlib import Path
from typing import Any

import torch
from heading import RESULTS, heading, write

from stylegraft.adaptation.sight import draw, latents
from stylegraft.domains.apply import Adapted
from stylegraft.domains.deltas import effective
from stylegraft.domains.domain import Domain, base_tensors
from stylegraft.encoders.lpips import load_lpips
from stylegraft.lab.panel import FULL_SAMPLES, FULL_SIZE, SIZE, At, Once
from stylegraft.lab.replay import base_of, images_of
from stylegraft.lab.report import read_config
from stylegraft.metrics.degree import spearman
from stylegraft.metrics.diversity import Distance, Resized, intra_lpips

BANDS = (0.0, 0.05, 0.1)  # of the difference of two cheap values, each up to the next


def measure(
    network, shots: torch.Tensor, distance: Distance, count: int, seed: int, batch: int, memory: int
) -> tuple[float, float | None]:
    """intra-LPIPS of the panel's latents with this seed: the headline, and without empty clusters (None: all are)."""
    device = shots.device
    images = draw(network, latents(seed, "panel", count, device).normal(network.z_dim))
    found = intra_lpips(images, shots, distance, seed=seed, batch=batch, memory=memory)
    return found.mean, None if isnan(found.without_empty) else found.without_empty


def correlation(rows: list[dict], seed: str) -> float | None:
    """Spearman's rank correlation of the cheap metric with the full one."""
    if len(rows) < 3:
        return None
    cheap, full = (
        torch.tensor([value(row) for row in rows])
        for value in (lambda r: r["cheap"][seed], lambda r: r["full"])
    )
    return round(float(spearman(cheap.double()[None], full.double()[None])), 4)


def target_of(row: dict) -> str:
    """The target beside whose images a row was measured, from its name."""
    name = row["domain"]
    return name.split(" beside ")[1] if " beside " in name else name.split(" to ")[1].split(",")[0]


def agreed(rows: list[dict], seeds: list[int]) -> dict[str, list[int]]:
    """By the band of the cheap difference: pairs that both metrics put in one order, and all pairs, over the seeds."""
    found = {f"from {low:g}": [0, 0] for low in BANDS}
    for seed in map(str, seeds):
        for a, b in combinations(rows, 2):
            cheap, full = a["cheap"][seed] - b["cheap"][seed], a["full"] - b["full"]
            band = found[f"from {max(low for low in BANDS if abs(cheap) >= low):g}"]
            band[0] += cheap * full > 0
            band[1] += 1
    return found


def summed(rows: list[dict], seeds: list[int]) -> dict[str, Any]:
    """What the result file says of its rows; by run with the first seed."""
    beside = {one: [r for r in rows if target_of(r) == one] for one in dict.fromkeys(map(target_of, rows))}
    return {
        "spearman": {str(s): correlation(rows, str(s)) for s in seeds},
        "spearman_by_target": {
            one: {str(s): correlation(own, str(s)) for s in seeds} for one, own in beside.items()
        },
        "spearman_by_run": {
            one: correlation([r for r in rows if r["domain"] == one], str(seeds[0]))
            for one in dict.fromkeys(r["domain"] for r in rows)
        },
        "same_order_by_target": {one: agreed(own, seeds) for one, own in beside.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--strengths", nargs="+", type=float, default=[0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--full-samples", type=int, default=FULL_SAMPLES)
    parser.add_argument("--full-size", type=int, default=FULL_SIZE)
    parser.add_argument("--memory", type=float, default=8, help="GiB of embeddings held at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "intra-lpips-rank.json")
    parser.add_argument("--show", action="store_true", help="measure nothing: sum up what the file has")
    args = parser.parse_args()
    if args.show != (not args.runs):
        parser.error("expected runs to measure, or --show")
    if args.show:
        result = json.loads(args.out.read_text(encoding="utf-8"))
        result |= summed(result["rows"], result["seeds"])
        write(args.out, result)
        print(json.dumps(summed(result["rows"], result["seeds"]), indent=1))
        return
    torch.set_num_threads(args.threads)
    lpips = load_lpips("vgg", args.device)
    result = {
        **heading(),
        **({"gpu": torch.cuda.get_device_name()} if args.device.startswith("cuda") else {}),
        "cheap": f"intra-lpips-vgg@{SIZE}/{args.samples}",
        "full": f"intra-lpips-vgg@{args.full_size}/{args.full_samples}",
        "full_seed": 0,
        "seeds": args.seeds,
        "rows": [],
    }
    asked = {name: result[name] for name in ("cheap", "full", "seeds")}
    if args.out.is_file():
        before = json.loads(args.out.read_text(encoding="utf-8"))
        if {name: before[name] for name in asked} != asked:
            parser.error(f"{args.out} was measured otherwise; remove it, or choose another --out")
        result["rows"] = before["rows"]
    done = {(row["domain"], row["strength"]) for row in result["rows"]}
    for folder in args.runs:
        config = read_config(folder)
        source = base_of(folder, config, None).to(args.device)
        shots = images_of(folder, config).images.to(args.device)
        domain, base = Domain.load(folder / "domain.safetensors"), base_tensors(source.generator)
        source_name, target, recipe = (config[part]["name"] for part in ("source", "target", "recipe"))
        if (told := folder / "result.json").is_file():  # of a study, which names its targets
            target = json.loads(told.read_text(encoding="utf-8"))["key"].split("/")[2]
        moved = f"{source_name} to {target}, {recipe} in {config['space']}, seed {config['seed']}, "
        moved += f"step {domain.config['steps']}"
        for strength in [0.0, *args.strengths]:
            name = (
                moved if strength else f"{source_name} as it is, beside {target}"
            )  # one for all of its runs
            if (name, strength) in done:
                continue
            network = Adapted(source.generator, effective((domain * strength).deltas, base))
            once, memory = Once(Resized(lpips, SIZE)), int(args.memory * 2**30)
            cheap = {str(s): measure(network, shots, once, args.samples, s, 16, memory) for s in args.seeds}
            full = measure(network, shots, At(lpips, args.full_size), args.full_samples, 0, 8, memory)
            row = {
                "domain": name,
                "strength": strength,
                "cheap": {s: one[0] for s, one in cheap.items()},
                "full": full[0],
                "cheap without empty": {s: one[1] for s, one in cheap.items()},
                "full without empty": full[1],
            }
            result["rows"].append(row)
            done.add((name, strength))
            result |= summed(result["rows"], args.seeds)
            write(args.out, result)
            print(f"{name}, strength {strength:g}: cheap {row['cheap']}, full {row['full']:.4f}", flush=True)
    print(json.dumps(summed(result["rows"], args.seeds), indent=1))


if __name__ == "__main__":
    main()
