"""Show how much of the source a domain keeps, by its noise, its layers or its weights: a picture or a film."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import FACES, Device, Psi, Rule, Switch, check, check_read, psi_of
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.applications.control import Blend
    from stylegraft.domains import Domain
    from stylegraft.domains.paths import Draw
    from stylegraft.networks.generator import Generator

MEASURED = 16  # faces
FPS = 30.0
NEARER = 0.9  # of the distance at random noise: an anchor that keeps the source is nearer than this
MOST_STEPS = 1001
MOST_TILES = 4096
KINDS = {".png": "a picture", **dict.fromkeys((".mp4", ".gif", ".webp"), "a film")}
RULES: tuple[Rule, ...] = (
    *FACES,
    ("mode layers at seed", lambda o: o.way in ("layers", "weights"),
     "it acts on the noise; --way {o.way} has none"),
    ("fps", lambda o: not is_film(o.out), "{o.out} is a picture; frames are of a film, as --out control.mp4"),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `stylegraft control` takes."""

    model: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """A run folder or a domain file; `runs/a:0.7` takes it at strength 0.7."""
    seeds: Annotated[
        str | None, arg(metavar="RANGES", help_behavior_hint="(default: 0-3, with one way 0-7)")
    ] = None
    """The faces: `0-7`, or `7,40-43`."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """Faces in a file of codes, as `stylegraft translate` leaves one, in place of seeds."""
    way: Literal["noise", "layers", "weights", "all"] = "all"
    """`noise` of Fix the Noise, swapped `layers` from the finest on, interpolated `weights`."""
    steps: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: one a block and one more, of a film 61)")
    ] = None
    """Places from 0 to 1; a film goes there and back."""
    mode: Annotated[
        Literal["linear", "vp", "slerp"] | None,
        arg(metavar="{linear,vp,slerp}", help_behavior_hint="(default: linear)"),
    ] = None
    """How noise is blended: `linear` is the paper's; `vp` and `slerp` (ours) keep its variance on the way."""
    layers: Annotated[str | None, arg(metavar="PLACES", help_behavior_hint="(default: all)")] = None
    """Blend noise there alone: resolutions and layers such as `32..64`, `64` or `b32.conv0,b64.conv0`."""
    at: Annotated[tuple[str, ...], arg(metavar="PLACE=A ...", help_behavior_hint="")] = ()
    """Hold the noise there, whatever the others do: `64=0.5 ..16=0`."""
    measure: Switch = False
    """Print how evenly each way leads away from the source: LPIPS on 16 faces (of --codes, on these)."""
    psi: Psi = None
    """Truncation of seeds: 1 is the full variety, 0 the mean face."""
    seed: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 0)")] = None
    """Of the random noise: one draw for all faces and all places."""
    fps: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="(default: 30)")] = None
    """Of a film: frames a second."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    out: Path = Path("control.png")
    """A picture (.png) or a film (.mp4, .gif, .webp)."""


def run(options: Options) -> None:
    """Check the line, draw, write, and measure if asked."""
    from stylegraft.cli.codes import check_codes, chosen_seeds
    from stylegraft.cli.model import find_base
    from stylegraft.cli.terms import find_terms

    check(options, RULES, KINDS)
    check_film(options)
    seeds = chosen_seeds(options.seeds)
    (term,), base_text = find_terms([options.model], options.source)
    check_read(f"--out {options.out}", options.out, term.found)
    check_codes(options.codes, base_text)
    if options.layers or options.at:
        check_places(options, find_base(base_text).blocks)

    from stylegraft.applications import control as application
    from stylegraft.cli.console import counted, say
    from stylegraft.cli.terms import load_terms
    from stylegraft.devices import check_device

    check_device(options.device, "sample")
    distance = perceptual(options) if options.measure else None
    base, (learnt,) = load_terms([term], base_text)
    generator = base.to(options.device).generator
    domain = learnt if term.coefficient == 1 else learnt * term.coefficient
    ways = list(application.WAYS) if options.way == "all" else [options.way]
    blend = blending(options, generator)
    draw, count, measured = faces(options, generator, seeds, len(ways))
    write(options, generator, domain, draw, count, ways, blend)
    print(f"{counted(count, 'face')} of {options.model} along {', '.join(ways)}: {options.out}")
    if "noise" in ways and not application.learnt_for_noise(learnt):
        recipe = learnt.config.get("recipe", "unknown")
        say(
            f"note: {options.model} was not learnt with fixnoise (its recipe: {recipe}), which trains the noise to be"
            " a control: expect the noise to start in the domain and hardly to move; use layers or weights"
        )
    if distance is not None:
        from stylegraft.applications.control import control_curve

        print()
        amounts = spread(options, generator)
        found = {
            way: control_curve(way, generator, domain, measured, distance, amounts, blend) for way in ways
        }
        show(found)
    say(f"licence: {base.info.get('licence', 'not stated')}")


def faces(options: Options, generator: Generator, seeds: list[int] | None, ways: int):
    """How the faces are drawn, how many there are, and how those that are measured are drawn."""
    from stylegraft.applications import control as application
    from stylegraft.applications.latents import Latents

    if options.codes:
        latents = Latents.load(options.codes, generator).to(options.device)
        draw = application.codes(latents)
        return draw, len(latents), draw
    seeds = seeds or list(range(8 if ways == 1 else 4))
    psi = psi_of(options)
    measured = seeds if len(seeds) >= MEASURED else range(MEASURED)
    return (
        application.faces(generator, seeds, psi),
        len(seeds),
        application.faces(generator, measured, psi),
    )


def blending(options: Options, generator: Generator) -> Blend:
    """The noise's own options, their places found in the generator."""
    from stylegraft.applications.control import Blend
    from stylegraft.applications.places import layers_at

    layers = layers_at(generator, options.layers, "--layers") if options.layers else None
    fixed = {
        layer: amount
        for place, amount in map(parse_at, options.at)
        for layer in layers_at(generator, place, "--at")
    }
    return Blend(options.mode or "linear", options.seed or 0, layers, fixed)


def write(
    options: Options,
    generator: Generator,
    domain: Domain,
    draw: Draw,
    count: int,
    ways: list[str],
    blend: Blend,
) -> None:
    """The picture, or the film there and back."""
    from stylegraft.applications.control import frames, there_and_back, write_sheet

    if not is_film(options.out):
        amounts = spread(options, generator)
        tiles = count * len(ways) * (len(amounts) + 1)
        if tiles > MOST_TILES:
            raise StylegraftError(
                f"--seeds and --steps: {tiles} tiles are too many for one picture; at most {MOST_TILES}"
            )
        write_sheet(options.out, generator, domain, draw, ways, amounts, blend)
        return
    from stylegraft.applications.video import check_length, enlargement, write_video
    from stylegraft.cli.console import bar

    amounts = there_and_back(options.steps or 61)
    height, width = (1 + len(ways)) * generator.resolution, count * generator.resolution
    check_length(
        options.out, len(amounts), math.isqrt(height * width), scale := enlargement(min(height, width))
    )
    with bar() as progress:

        def watched():
            for i, frame in enumerate(frames(generator, domain, draw, ways, amounts, blend), 1):
                progress("images", i, len(amounts))
                yield frame

        write_video(options.out, watched(), options.fps or FPS, scale=scale)


def spread(options: Options, generator: Generator) -> list[float]:
    """Places from 0 to 1; by default those of swapped layers, so that each column of them differs."""
    from stylegraft.domains.paths import resolutions

    steps = options.steps or len(resolutions(generator)) + 1
    return [i / (steps - 1) for i in range(steps)]


def perceptual(options: Options):
    """LPIPS at 64 px at most; raises StylegraftError with the command that gets it."""
    from stylegraft.encoders.lpips import load_lpips
    from stylegraft.lab.panel import SIZE
    from stylegraft.metrics.diversity import Resized

    return Resized(load_lpips("vgg", options.device), SIZE)


def show(found) -> None:
    """A row a way: how evenly it goes, and the distances along it."""
    from stylegraft.cli.console import print_table, say

    rows = [
        (
            way,
            f"{one.rising:.0%}",
            f"{one.spearman:.2f}",
            "-" if math.isnan(one.smoothness) else f"{one.smoothness:.1f}",
            " ".join(f"{distance:.3f}" for distance in one.distances),
        )
        for way, one in found.items()
    ]
    print_table(("way", ">rising", ">spearman", ">smooth", "distance to the source along a"), rows)
    if "noise" in found and found["noise"].distances[0] > NEARER * found["noise"].distances[-1]:
        say(
            "note: on its anchor this domain is about as far from the source as on random noise, so its noise is no"
            " control of the source; layers and weights are"
        )
    first = next(iter(found.values()))
    say(
        f"{first.name} of {first.count} faces. rising: share of single steps that lead away from the source; spearman:"
        " rank correlation with a, 1 is monotone; smooth: largest step / mean step, 1 is even."
        + (" Layers are measured where they are swapped, one block a step." if "layers" in found else "")
    )


# Refusing early
# --------------------------------------------------------------------------------------------


def is_film(out: Path) -> bool:
    """Whether this name is of a film."""
    return out.suffix.lower() != ".png"


def check_film(options: Options) -> None:
    """Refuse steps that are none, and a film that cannot be written."""
    if options.steps is not None and not 2 <= options.steps <= MOST_STEPS:
        raise StylegraftError(f"--steps {options.steps}: expected 2 to {MOST_STEPS} places")
    for text in options.at:
        parse_at(text)
    if is_film(options.out):
        from stylegraft.applications.video import check_video

        check_video(options.out, options.fps or FPS)


def check_places(options: Options, blocks: list[int]) -> None:
    """Refuse places of noise that are none, and those that the source does not have."""
    from stylegraft.applications.places import check_blocks

    for flag, text in (("--layers", options.layers), *(("--at", parse_at(text)[0]) for text in options.at)):
        if text:
            check_blocks(text, blocks, flag)


def parse_at(text: str) -> tuple[str, float]:
    """`64=0.5` -> ("64", 0.5); raises StylegraftError for anything else."""
    place, equals, number = text.partition("=")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not equals or not 0 <= amount <= 1:
        raise StylegraftError(f"--at {text}: expected PLACE=A with A from 0 to 1, such as 64=0.5")
    return place, amount
