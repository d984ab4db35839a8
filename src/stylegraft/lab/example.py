"""A study to begin with: the one for a folder of one's own pictures, and as a text to change."""

from __future__ import annotations

import json
from pathlib import Path

from stylegraft.data.targets import TARGETS
from stylegraft.errors import StylegraftError
from stylegraft.lab.study import Study, slug
from stylegraft.lab.studyfile import parse

EXAMPLE = """\
# A study: every recipe in every space, so often as there are draws of the shots and seeds.
# stylegraft compare study.toml --dry-run    says what will run and how long it takes
# stylegraft compare study.toml              runs it; again, it goes on
name = "my drawings"
source = "faces-64"

# A folder or zip of your own, "pencil", "lorelei", or "made:pencil" (also oil, palette, bulge), of which as many are
# made as are wanted: 200 to draw shots from, 2,000 to measure by. Of your own: {images="mine/", reference="more/"}.
targets = ["pencil"]

recipes = ["dcl", "cdc", "tgan", "freezed"]   # or a table: {recipe="dcl", set={cl1=1.0}, label="dcl-1"}
spaces = ["affine-light+", "stylespace"]      # "own" is the recipe's
shots = ["all"]                               # or numbers, such as [5, 10]
draws = 1                                     # other choices of the shots
seeds = 2                                     # 2 is 0 and 1; a list is itself
steps = 600
batch = 4

[trace]
every = 100                                   # steps between two looks; left out: 0, 50, 100, 200, 500, 1000, ...
samples = 100                                 # latents that are measured

[resources]
retries = 1                                   # of a run that failed
# cpu = 1                                     # threads of a run
# gpu = 1                                     # runs on cuda; with --ray, GPUs of a task

# Grids of their own, in their order, each a complete answer; what one does not say, the lines above do.
[[waves]]
name = "which method"
spaces = ["affine-light+"]
seeds = 1
[[waves]]
name = "which space"
seeds = 1
[[waves]]
name = "or chance"                            # everything once more, with another seed
"""


def of_pictures(target: str) -> Study:
    """The study above for a folder or zip of pictures, or for a packaged set; its file is what the study's folder
    keeps. Raises StylegraftError as `studyfile.parse`.
    """
    place = target if target in TARGETS else str(Path(target).resolve())
    name = slug(Path(place).name.removesuffix(".zip"))
    if not name.strip("-."):
        raise StylegraftError(f"{target}: expected a folder with a name")
    text = EXAMPLE.replace('name = "my drawings"', f"name = {json.dumps('compare-' + name)}")
    text = text.replace('targets = ["pencil"]', f"targets = [{json.dumps(place)}]")
    return parse(text, Path(f"{name}.toml"))
