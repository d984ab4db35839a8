"""The anatomy of domains as a page: heat maps of what moved where, pictures of each group alone, how alike they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stylegraft.adaptation.previews import render
from stylegraft.adaptation.sight import latents
from stylegraft.atomic import write_json, write_text
from stylegraft.data.grids import save_grid
from stylegraft.domains.apply import Adapted
from stylegraft.domains.domain import Domain
from stylegraft.lab import charts, page
from stylegraft.lab.anatomy import MAPS, Anatomy, members_of
from stylegraft.lab.domain_similarity import ALL, DomainSimilarity, Matrix
from stylegraft.lab.study import slug
from stylegraft.networks.generator import Generator

FILES = ("anatomy.json", "anatomy.html")
SHOWN = 8  # latents of the pictures
COLUMNS = ("part", "numbers", "share", "RMS of the delta", "relative", "effect alone", "when left out")


def write(
    found: Mapping[str, Anatomy],
    similarity: DomainSimilarity,
    domains: Mapping[str, Domain],
    generator: Generator,
    folder: Path,
    about: Mapping[str, Any],
) -> None:
    """anatomy.json, anatomy.html and the pictures into an existing folder. about: what was measured with what."""
    told = {
        **about,
        "domains": {name: one.told for name, one in found.items()},
        "similarity": similarity.told,
    }
    write_json(folder / FILES[0], told)
    sections = []
    for (name, one), distance in zip(found.items(), similarity.distances, strict=True):
        lead = (
            f"All of it moves an image by {one.distance} {one.whole:.3f}. Distance to the source: {distance}."
        )
        rows = [
            (p.name, p.numbers, f"{100 * p.share:.1f} %", p.rms, p.size, p.alone, p.without)
            for p in one.parts
        ]
        parts = [
            page.text(lead),
            page.row(*heat_maps(one)),
            page.text(READING),
            pictures(domains[name], generator, folder / f"{slug(name)}.png", about.get("seed", 0)),
            page.folded("All numbers", page.table(COLUMNS, rows)),
        ]
        sections.append(page.Section(name, parts))
    if len(found) > 1:
        sections.append(page.Section("How alike they are", alike(similarity)))
    write_text(folder / FILES[1], page.page("What moved where", sections, data=told))


READING = (
    "Effects are distances between two images of one latent: by the part's deltas alone, from the source's image; when "
    "they are left out, from the domain's. Parts act on each other: neither adds up to the whole. What has no cell "
    "does not move; offsets and gains are zero in the base and have no relative size."
)


def heat_maps(one: Anatomy) -> list[str]:
    """Group by resolution: size, effect alone, effect when left out; the two effects in one scale."""
    top = max(max(part.alone, part.without) for part in one.parts)
    shown = []
    for field, title in MAPS.items():
        effect = field in ("alone", "without")
        groups, columns, values = one.grid(field)
        if not effect:  # per cent, as on the terminal
            values = [[v if v is None else 100 * v for v in row] for row in values]
        named = f"{title}, {one.distance if effect else '%'}"
        shown.append(charts.heat_map(named, groups, columns, values, top=top if effect else None))
    return shown


def pictures(domain: Domain, generator: Generator, path: Path, seed: int) -> str:
    """The same latents by the source, the domain, and each of its groups alone."""
    values = domain.effective(generator)
    groups: dict[str, list[str]] = {}
    for part, names in members_of(domain, generator).items():
        groups.setdefault(part.partition("@")[0], []).extend(names)
    device = generator.get_buffer("mapping.w_avg").device
    z = latents(seed, "anatomy.pictures", SHOWN, device).normal(generator.z_dim)
    rows = {"source": [], "domain": list(values)}
    rows |= {f"{group} alone": names for group, names in groups.items()} if len(groups) > 1 else {}
    images = [render(Adapted(generator, {n: values[n] for n in names}), z) for names in rows.values()]
    save_grid(torch.cat(images), path, SHOWN, labels=list(rows))
    alone = " and with those of one group" if len(groups) > 1 else ""
    return page.picture(path, f"The same latents, psi 0.7, with all deltas{alone}", width=1100)


def alike(found: DomainSimilarity) -> list[str]:
    """Both matrices, then those of the groups, then those of the parts."""

    def chart(title: str, matrix: Matrix) -> str:
        return charts.heat_map(title, found.names, found.names, matrix, top=1.0)

    groups = {label: one for label, one in found.deltas.items() if label != ALL and "@" not in label}
    parts = {label: one for label, one in found.deltas.items() if "@" in label}
    effects = f"effects: cosine of the shift of mean {found.encoder} features"
    return [
        page.row(
            chart("deltas: cosine over all parameters", found.deltas[ALL]), chart(effects, found.effects)
        ),
        page.text(
            "1: the same direction, 0: nothing in common, -1: opposite. Deltas of separate runs may have little in "
            "common where their images do. What all domains share, that they are no photographs, is in the effects."
        ),
        page.folded(
            "Deltas by group", page.row(*(chart(f"deltas of {g}", one) for g, one in groups.items()))
        ),
        page.folded("Deltas by part", page.row(*(chart(f"deltas of {p}", one) for p, one in parts.items()))),
    ]
