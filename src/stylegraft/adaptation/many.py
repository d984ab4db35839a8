"""Many domains at once: a run for each sentence or picture, one after the other, which share the source's side.

A loop is enough. Draws are keyed by (seed, step, sample) and not by the request, so all of these runs pair their images
with the same images of the source: the first run keeps what the guides see in those (some KB a step), and the others
draw the source no more where nothing else of it is looked at. Each domain is, bit for bit, that of a run on its own,
and each folder is a run's, which can be continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stylegraft.adaptation import recipes
from stylegraft.adaptation.guidance import Guides, read
from stylegraft.adaptation.inputs import open_guides
from stylegraft.adaptation.joining import join
from stylegraft.adaptation.place import begun
from stylegraft.adaptation.recipes import Recipe
from stylegraft.adaptation.request import default_recipe, names_of, worded
from stylegraft.adaptation.run import Run, adapt
from stylegraft.adaptation.state import Embedded
from stylegraft.checkpoints.source import Source
from stylegraft.sources import load_source


def adapt_many(
    source: Source | str | Path,
    requests: Sequence[str | Path],
    *,
    out: str | Path,
    guides: str | Guides | None = None,
    recipe: str | Recipe | None = None,
    preset: str | None = None,
    device: str = "cpu",
    **settings: Any,
) -> list[Run]:
    """A run in `out`/NAME for each request: a sentence (text), or one picture (a `Path`).

    The rest as `adapt`, the same for all. The same call continues what was stopped. Raises StylegraftError as `adapt`,
    and for requests of one name, and sentences that a guide cannot read, before the first run.
    """
    names = names_of(requests)
    place = join(device).device  # the guides belong on the GPU of this process
    source = source if isinstance(source, Source) else load_source(source)
    sentence, picture = (None, requests[0]) if isinstance(requests[0], Path) else (requests[0], None)
    name = recipe or default_recipe(sentence, picture)
    if isinstance(name, str):
        name = recipes.recipe(name, preset=preset or recipes.preset_of(source.generator.resolution))
    shared: Embedded = {}
    if name.guided:
        guides = open_guides(name, guides, place)
        templates = settings.get("templates", name.templates)
        for one, folder in zip(requests, names, strict=True):
            if not (isinstance(one, Path) or begun(Path(out) / folder)):
                for guide, _ in guides:  # all are read before the first run
                    read(guide, worded(one, settings.get("from_text")), templates, shared)
    told = {"guides": guides, "recipe": name, "device": device, "embedded": shared} | settings
    told_once = replace(source, info=source.info | {"notes": ()})
    return [
        adapt(
            source if folder == names[0] else told_once,
            out=Path(out) / folder,
            **({"image": one} if isinstance(one, Path) else {"text": one}),
            **told,
        )
        for one, folder in zip(requests, names, strict=True)
    ]
