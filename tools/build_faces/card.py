"""Write the model card of a source, which travels in the package beside it, from the result file of `measure.py`.

python tools/build_faces/card.py --out runs/build-faces-64 --name faces-64
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import state
from export import SHIPPED
from measure import ROOT, SHEET_PSI
from stylegraft.atomic import write_text
from stylegraft.errors import StylegraftError

BATCH = 8  # of the stages whose notes are older than their recipes

TEXT = """\
# {name}

{kind}, {resolution} px, z and w of 512. The generator is the EMA; {discriminator}.

- **Licence of the weights**: distilled from a generator trained on FFHQ (CC BY-NC-SA 4.0 data), whose own teacher is
  NVIDIA's FFHQ StyleGAN2: **non-commercial research only**. The code is Apache-2.0.
- **Data**: synthetic faces (nobody real) of the MobileStyleGAN FFHQ generator in PyPI's `random-face` 2021.7.21.1
  (package Apache-2.0), {data}.
- **Recipe**: `tools/build_faces`; its README has the commands.
- **Not for**: saying anything about real people. Faces are biased as FFHQ is; truncation narrows them further.

## Training

| stage | steps | batch | images seen | what moved |
|---|---|---|---|---|
{stages}

{recipes}

## Distance to the teacher

Samples against as many teacher images that the build did not see, the same psi on both sides. The floor is the teacher
against itself at the same count. The bar: FID less its floor is at most {bar:g} % of the distance from the teacher to a
far domain (CUFSF sketches). KID x 1000, with the spread over subsets. VGG16 took part in the build (LPIPS, and a judge
on its features), so its figures flatter; EfficientNet did not.

| psi | images | features | noise | FID | floor | far | % of far | bar | KID | KID floor |
|---|---|---|---|---|---|---|---|---|---|---|
{figures}

Measured with torch {torch} on {machine}; every number is in `benchmarks/results/{name}.json`.

## Noise

Strength relative to the RMS of the layer's convolution before noise (maps have unit RMS).

| layer | strength | relative |
|---|---|---|
{layers}

LPIPS-VGG at the same z, box-averaged to {resolution} px:

| | z | two draws | anchor and a draw | RMS of two draws |
|---|---|---|---|---|
{draws}

## Samples

64 random samples each, not chosen: {sheets} (`docs/sources` of the repository).
"""

KINDS = {
    "mobile": "Photographic faces: MobileStyleGAN cut at its {cut} px map (channels {channels}), with a head of {head}",
    "stylegan2": "Photographic faces: a StyleGAN2 ({channels}: px, channel base, most channels) with one toRGB,"
    " on the mapping network of `faces-64`",
}
DATA = {
    "mobile": "pairs of w and the 1024 px image box-averaged; pairs 0..4095 train, 4096..8191 only measure",
    "stylegan2": "the pairs that built `faces-64` (0..4095 train, 4096..8191\n  only measure), images of `faces-64`",
}
MOVED = {
    "distilled": "the generator, by regression at the anchor noise",
    "finished": "discriminator and generator against each other, half of a batch with random noise",
}


def kind(config: dict[str, Any]) -> str:
    """One phrase about the architecture."""
    r = config["resolution"]
    if config["architecture"] == "stylegan2":
        return KINDS["stylegan2"].format(channels=f"{r}/{config['channel_base']}/{config['channel_max']}")
    widths = {int(size): width for size, width in config["channels"].items()}
    cut, listed = max(widths), ", ".join(f"{width} at {size}" for size, width in sorted(widths.items()))
    return KINDS["mobile"].format(cut=cut, channels=listed, head="pixels" if cut == r else "wavelet bands")


def stage_row(stage: str, notes: dict[str, Any]) -> str:
    """Steps, batch and images of one stage of the build."""
    batch = notes.get("recipe", {}).get("batch", BATCH)
    images = notes.get("images") or notes["step"] * batch
    return f"| {stage} | {notes['step']:,} | {batch} | {images:,} | {MOVED[stage]} |"


def figure_rows(result: dict[str, Any]) -> list[str]:
    """FID and KID, a row for each psi, encoder and noise; a stated verdict where a far set was given."""
    rows = []
    for psi, sets in result["psi"].items():
        for encoder, row in sets.items():
            if encoder == "count":
                continue
            floor = row["kid_floor"]
            for mode, shown in (("random", "random"), ("const", "anchor")):
                percent, kid = row.get(f"percent_of_far_{mode}"), row[f"kid_{mode}"]
                far, share, verdict = "-", "-", "not measured"
                if percent is not None:
                    far, share = f"{row['fid_far']:.2f}", f"{percent:.2f}"
                    verdict = "met" if percent <= result["bar_percent"] else "**not met**"
                rows.append(
                    f"| {psi} | {sets['count']} | {encoder} | {shown} | {row[f'fid_{mode}']:.2f} |"
                    f" {row['fid_floor']:.2f} | {far} | {share} | {verdict} |"
                    f" {1e3 * kid['mean']:.2f} ± {1e3 * kid['spread']:.2f} |"
                    f" {1e3 * floor['mean']:.2f} ± {1e3 * floor['spread']:.2f} |"
                )
    return rows


def card(name: str, result: dict[str, Any], stages: dict[str, dict[str, Any]]) -> str:
    """The card's text; stages: {"distilled" | "finished": notes of the build}, in order."""
    config = stages["finished"]["generator"]
    recipes = [
        f"Options of the stage `{stage}`: " + ", ".join(f"{k} {v}" for k, v in notes["recipe"].items()) + "."
        for stage, notes in stages.items()
        if "recipe" in notes
    ]
    layers = result["noise"]["source"]["layers"].items()
    return TEXT.format(
        name=name,
        kind=kind(config),
        resolution=config["resolution"],
        discriminator="the discriminator was trained with it and is in the file",
        data=DATA[config["architecture"]],
        stages="\n".join(stage_row(*item) for item in stages.items()),
        recipes="\n\n".join(recipes)
        or "Options: not recorded by this build; its README says what differed from the defaults.",
        bar=result["bar_percent"],
        figures="\n".join(figure_rows(result)),
        torch=result["torch"],
        machine=result["machine"],
        layers="\n".join(f"| {k} | {v['strength']:.4f} | {v['relative']:.4f} |" for k, v in layers),
        draws="\n".join(
            f"| {who} | {row['z']} | {row['lpips_two_draws']:.4f} | {row['lpips_anchor_draw']:.4f} |"
            f" {row['rms_two_draws']:.4f} |"
            for who, row in result["noise"].items()
        ),
        sheets=" and ".join(f"`{name}-psi{psi}.png`" for psi in SHEET_PSI),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/build-faces-64"), help="folder of the build")
    parser.add_argument("--name", default="faces-64")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    results = args.results / f"{args.name}.json"
    if not results.exists():
        raise SystemExit(f"{results}: not there; run measure.py first")
    stages = {
        stage: build.notes for stage in reversed(state.STAGES) if (build := state.load(args.out, stage))
    }
    if "finished" not in stages:
        raise SystemExit(f"{args.out}: no finished state; run adversarial.py first")
    path = args.to or SHIPPED / f"{args.name}.md"
    try:
        write_text(path, card(args.name, json.loads(results.read_text()), stages))
    except StylegraftError as error:
        raise SystemExit(f"card: {error}") from error
    print(path)


if __name__ == "__main__":
    main()
