"""Morph between domains and faces, and write the film: .mp4, .gif, .webp, or a .png strip of it.

`morph A B` is source, A, B, source, over one face or several.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import FACES, Device, Psi, Rule, Switch, check, psi_of
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.applications.keyfile import Script
    from stylegraft.applications.keyframes import Morph
    from stylegraft.cli.terms import Term

STRIP = ".png"
MOST_FRAMES = 1_000_000
COLUMNS = 9
KINDS = {**dict.fromkeys((".mp4", ".gif", ".webp"), "a film"), STRIP: "a strip of its frames"}
RULES: tuple[Rule, ...] = (
    *FACES,
    ("domains through seeds codes seconds loop ease psi", lambda o: o.keys,
     "--keys {o.keys} says all of the morph itself: leave it out"),
    ("fps", lambda o: o.out.suffix.lower() == STRIP, "{o.out} is a strip of --columns frames, not a film"),
    ("columns", lambda o: o.out.suffix.lower() != STRIP,
     "{o.out} is a film; columns are of a strip, as --out morph.png"),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `stylegraft morph` takes."""

    domains: Annotated[Positional[tuple[str, ...]], arg(metavar="[DOMAIN ...]", help_behavior_hint="")] = ()
    """Run folders or domain files of one source; `runs/a:0.7` takes one at strength 0.7. A source: its faces."""
    through: Annotated[str | None, arg(metavar="DOMAIN", help_behavior_hint="")] = None
    """Cross-domain morph: take on the first style, become this domain, change style there, and come back."""
    seeds: Annotated[str | None, arg(metavar="RANGES", help_behavior_hint="(default: 0)")] = None
    """The faces to walk through: `3`, `0-3`, `7,40-43`."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Faces from a file of codes, as translate leaves one, in place of seeds."""
    keys: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """A morph in a TOML file, with its own domains, faces and times (docs/morph.md)."""
    seconds: Annotated[float | None, arg(metavar="S", help_behavior_hint="(default: 10)")] = None
    """How long it takes."""
    fps: Annotated[
        float | None, arg(metavar="N", help_behavior_hint="(default: 30, or what --keys says)")
    ] = None
    """Frames a second."""
    loop: Switch = False
    """Come back to the beginning, whose frame is not shown twice."""
    ease: Annotated[
        Literal["linear", "smooth", "ease-in", "ease-out"] | None,
        arg(metavar="{linear,smooth,ease-in,ease-out}", help_behavior_hint="(default: smooth)"),
    ] = None
    """How each way is gone: `smooth` rests at every station."""
    psi: Psi = None
    """Truncation of seeds: 1 is the full variety, 0 the mean face."""
    scale: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: what brings a frame to 256 px at least)")
    ] = None
    """Whole factor of enlargement."""
    columns: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 9)")] = None
    """Of a .png strip: how many frames, evenly over the whole."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domains name)"),
    ] = None
    """The base of the domains, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("morph.mp4")
    """Where it goes; the ending says what it is."""


@dataclass(frozen=True)
class Film:
    """What is to be drawn: domains and source, the plan and its faces; drawn: what `morph` takes beside them."""

    terms: list[Term]
    base: str
    plan: Morph
    fps: float
    codes: Path | None
    drawn: dict[str, Any]
    way: str


def run(options: Options) -> None:
    """Draw the frames in batches and write them as they come."""
    from stylegraft.applications.video import check_length, check_video, write_video

    check(options, RULES, KINDS)
    film = from_keys(options) if options.keys is not None else from_flags(options)
    if options.out.suffix.lower() != STRIP:
        check_video(options.out, film.fps)
        if film.plan.seconds * film.fps > MOST_FRAMES:
            raise StylegraftError(f"{film.plan.count(film.fps)} frames; expected {MOST_FRAMES} at most")

    from stylegraft.applications.latents import Latents
    from stylegraft.applications.morph import morph_frames
    from stylegraft.cli.console import bar, file_size, say
    from stylegraft.cli.terms import load_terms
    from stylegraft.data.grids import save_grid
    from stylegraft.devices import check_device
    from stylegraft.sources import load_source

    device = check_device(options.device, "sample")
    source, domains = load_terms(film.terms, film.base) if film.terms else (load_source(film.base), [])
    codes = None if film.codes is None else Latents.load(film.codes, source.generator).to(device)
    strip = options.out.suffix.lower() == STRIP
    times = film.plan.spread(options.columns or COLUMNS) if strip else film.plan.times(film.fps)
    if not strip:
        check_length(options.out, len(times), source.generator.resolution, options.scale)
    with bar() as progress:
        frames = morph_frames(
            source.to(device), domains, film.plan, codes=codes, times=times, progress=progress, **film.drawn
        )
        if strip:
            import torch

            save_grid(torch.cat([*frames]), options.out, options.columns or COLUMNS, scale=options.scale)
        else:
            write_video(options.out, frames, film.fps, scale=options.scale)
    for note in source.info.get("notes", ()):
        say(f"note: {note}")
    say(film.way)
    length = (
        f"{film.plan.seconds:g} s" if strip else f"{len(times) / film.fps:.4g} s at {film.fps:g} a second"
    )
    print(f"{len(times)} frames, {length}: {options.out} ({file_size(options.out)})")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def from_flags(options: Options) -> Film:
    """The morph of the flags: domains one after the other, through a target or not, and faces beside them."""
    from stylegraft.applications.keyframes import along, cross_domain, tour
    from stylegraft.cli.codes import check_codes, chosen_seeds
    from stylegraft.cli.terms import find_terms

    seeds = chosen_seeds(options.seeds)
    if options.through and not options.domains:
        raise StylegraftError(
            f"--through {options.through}: expected a style to take there, as in: morph runs/pencil --through ..."
        )
    if not options.domains:
        raise StylegraftError("morph: expected a domain, a source or a file of --keys")
    terms: list[Term] = []
    base = options.domains[0]
    if options.through or len(options.domains) > 1 or not names_source(base):
        named = [*options.domains, *([options.through] if options.through else [])]
        terms, base = find_terms(named, options.source)
    check_codes(options.codes, base)
    strengths = [term.coefficient for term in terms]
    labels = [term.label for term in terms]
    if options.through:
        stations = cross_domain(strengths[:-1], strengths[-1], options.loop)
        *styles, target = labels
        inside = " > ".join(f"{target} + {style}" for style in styles)
        way = f"source > {styles[0]} > {inside} > {styles[-1]}" + " > source" * options.loop
    else:
        stations = tour(strengths) if terms else [()]
        way = " > ".join(["source", *labels, "source"]) if terms else "the source"
    faces = seeds if seeds is not None else [0]
    plan = along(
        stations,
        10.0 if options.seconds is None else options.seconds,
        faces=count_codes(options.codes) if options.codes else len(faces),
        psi=psi_of(options),
        ease=options.ease or "smooth",
        loop=options.loop,
    )
    who = (
        f"the faces of {options.codes}"
        if options.codes
        else f"seed{'s' * (len(faces) > 1)} {options.seeds or 0}"
    )
    drawn = {"seeds": faces}
    return Film(terms, base, plan, options.fps or 30.0, options.codes, drawn, f"{way}, over {who}")


def from_keys(options: Options) -> Film:
    """The morph of a file."""
    from stylegraft.applications.keyfile import place_in, read_keys
    from stylegraft.cli.codes import check_codes
    from stylegraft.cli.resolve import find
    from stylegraft.cli.terms import DOMAINS, find_terms

    assert options.keys is not None
    script: Script = read_keys(options.keys)
    source = options.source or script.source
    if not script.domains and not source:
        raise StylegraftError(f"{options.keys}: neither domains nor a source; expected [domains] or source =")
    for name, text in script.domains.items():
        try:
            find(text, DOMAINS)
        except StylegraftError as error:
            raise StylegraftError(f"{place_in(options.keys, 'domains', name)}: {error}") from None
    named = list(script.domains.values())
    terms, base = find_terms(named, source) if named else ([], str(source))
    check_codes(script.codes, base)
    drawn = {"blend": script.blend, "noise_seed": script.noise_seed}
    if script.codes is None:
        drawn["seeds"] = script.seeds
    names = ", ".join(script.domains) or "the source"
    way = f"{names} along {options.keys}"
    return Film(terms, base, script.morph, options.fps or script.fps, script.codes, drawn, way)


def names_source(text: str) -> bool:
    """Whether what was named is a source, over whose faces alone one may walk."""
    from stylegraft.cli.resolve import MODELS, find
    from stylegraft.sources import SOURCES

    return text in SOURCES or (Path(text).exists() and find(text, MODELS).kind == "source")


def count_codes(path: Path) -> int:
    """How many codes a file says that it has; what else it is, is seen when it is loaded."""
    from stylegraft.checkpoints.headers import from_json, read_metadata

    names = from_json(read_metadata(path).get("config", "{}"), path, "its config").get("names")
    return len(names) if isinstance(names, list) and names else 1
