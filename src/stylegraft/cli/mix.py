"""Mix domains of one source: a grid that shows each alone and the mix, or the mix as a domain file of its own."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from stylegraft.cli.flags import FACES, Device, Psi, Rule, Switch, check, check_read, psi_of
from stylegraft.cli.sample import MOST_PIXELS
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from stylegraft.applications.latents import Latents
    from stylegraft.checkpoints import Source
    from stylegraft.cli.terms import Term
    from stylegraft.domains import Domain
    from stylegraft.networks.generator import Generator

LEVELS = ("mapping", "coarse", "middle", "fine")
KINDS = {
    ".png": "a grid",
    ".safetensors": "the mix as a domain file, of which `stylegraft convert` makes an ordinary generator",
}
RULES: tuple[Rule, ...] = (
    *FACES,
    ("seeds codes sweep psi noise", lambda o: o.out.suffix.lower() == ".safetensors",
     "{o.out} is a domain file, faces are for NAME.png"),
    ("half", lambda o: o.out.suffix.lower() == ".png",
     "{o.out} is a picture; only .safetensors is written in fp16"),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What `stylegraft mix` takes."""

    domains: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="DOMAIN[:AMOUNT] [DOMAIN[:AMOUNT] ...]", help_behavior_hint=""),
    ] = ()
    """Domain files or runs of one source, each with its amount: 1 (the default) as learnt, below 0 the opposite."""
    out: Path = Path("mix.png")
    """NAME.png for a grid; NAME.safetensors for the mix as a domain file."""
    sweep: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: no sweep)")] = None
    """Of two domains: N mixes in equal steps from the first alone to the second alone, a row each."""
    mapping: float = 1.0
    """The mix's strength in the mapping network, where a domain moves it."""
    coarse: float = 1.0
    """Its strength in the blocks of 4 and 8 px: pose, shape."""
    middle: float = 1.0
    """Its strength in the blocks of 16 and 32 px: features."""
    fine: float = 1.0
    """Its strength in the blocks from 64 px on: colours, texture. A 64-px source may have none."""
    at: Annotated[tuple[str, ...], arg(metavar="PX=STRENGTH [PX=STRENGTH ...]", help_behavior_hint="")] = ()
    """Its strength in single blocks, as in `--at 32=0.5 4=0`; goes before the three levels."""
    seeds: Annotated[str | None, arg(metavar="RANGES", help_behavior_hint="(default: 0-7)")] = None
    """Faces of the grid, one a column, as `sample` draws them of the source: `0-7`, or `7,40-43`."""
    codes: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: --seeds)")] = None
    """Faces of the grid, of a file of codes, as `translate` leaves it."""
    psi: Psi = None
    """Truncation of the seeds' faces."""
    noise: Annotated[
        Literal["const", "random", "none"] | None,
        arg(metavar="{const,random,none}", help_behavior_hint="(default: const)"),
    ] = None
    """The network's own noise maps, fresh ones (the same in every row), or none."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domains name)"),
    ] = None
    """The base of the domains, where it is not a shipped source: name, file or hf://."""
    device: Device = "cpu"
    """`cpu`, `cuda` or `mps`."""
    half: Switch = False
    """Store a .safetensors in fp16: half the size, rounded."""


def run(options: Options) -> None:
    """Mix, then draw or write."""
    from stylegraft.cli.codes import check_codes, chosen_seeds
    from stylegraft.cli.terms import find_terms, load_terms

    if not options.domains:
        raise StylegraftError("mix: expected domains with their amounts, such as runs/a:0.6 runs/b:0.4")
    check(options, RULES, KINDS)
    if options.sweep is not None and not (len(options.domains) == 2 and 2 <= options.sweep <= 64):
        raise StylegraftError(
            f"--sweep {options.sweep}: expected 2 to 64 steps between two domains, found {len(options.domains)}"
        )
    factors = parse_factors(options)
    seeds = chosen_seeds(options.seeds)
    terms, base_text = find_terms(options.domains, options.source)
    check_read(f"--out {options.out}", options.out, *(term.found for term in terms))
    check_codes(options.codes, base_text)
    check_blocks(factors, base_text)

    from stylegraft.cli.console import counted, file_size, say
    from stylegraft.devices import check_device

    device = check_device(options.device, "sample")
    source, domains = load_terms(terms, base_text)
    if options.out.suffix.lower() == ".safetensors":
        amounts = [term.coefficient for term in terms]
        mix = mixed(domains, amounts, factors)
        write(options, mix)
        print(
            f"{told(terms, amounts, factors)}: {options.out} ({file_size(options.out)}, {mix.count:,} numbers)"
        )
        say(
            f"draw from it: stylegraft sample {options.out}; as an ordinary generator: stylegraft convert"
            f" {options.out} NAME.safetensors"
        )
    else:
        rows = (
            sweep(terms, domains, options.sweep, factors) if options.sweep else grid(terms, domains, factors)
        )
        count = draw(options, source.to(device), seeds, rows)
        print(f"{counted(count, 'face')}, {'; '.join(label for label, _ in rows)}: {options.out}")
    for note in (note for domain in domains if (note := domain.config.get("note"))):
        say(f"note: {note}")
    say(f"licence: {source.info.get('licence', 'not stated')}")


def check_blocks(factors: Mapping[int | str, float], base_text: str) -> None:
    """Refuse blocks that the source does not have, by its header."""
    from stylegraft.cli.model import find_base

    asked = [px for px in factors if isinstance(px, int)]
    blocks = find_base(base_text).blocks if asked else []
    for px in asked:
        if px not in blocks:
            raise StylegraftError(f"--at {px}: {base_text} has the blocks {', '.join(map(str, blocks))}")


def parse_factors(options: Options) -> dict[int | str, float]:
    """The strengths that are not 1, by level and by block."""
    factors: dict[int | str, float] = {
        level: getattr(options, level) for level in LEVELS if getattr(options, level) != 1
    }
    for text in options.at:
        px, equals, number = text.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not equals or not px.isdecimal() or not math.isfinite(factor):
            raise StylegraftError(f"--at {text}: expected a block and its strength, such as 32=0.5")
        factors[int(px)] = factor
    return factors


def mixed(domains: Sequence[Domain], amounts: Sequence[float], factors: Mapping[int | str, float]) -> Domain:
    """sum_k a_k domain_k, at other strengths in some blocks."""
    parts = [d if a == 1 else d * a for d, a in zip(domains, amounts, strict=True)]
    mix = functools.reduce(operator.add, parts)
    return mix.shaped(factors) if factors else mix


def told(terms: Sequence[Term], amounts: Sequence[float], factors: Mapping[int | str, float]) -> str:
    """`0.6 pencil - lorelei, fine 0.5, 32 px 0`: the mix in the words of the command."""
    text = ""
    for term, amount in zip(terms, amounts, strict=True):
        sign = (" - " if text else "-") if amount < 0 else (" + " if text else "")
        size = "" if abs(amount) == 1 else f"{abs(amount):.3g} "
        text += f"{sign}{size}{term.label}" if amount else ""
    levels = [f"{key} px {f:g}" if isinstance(key, int) else f"{key} {f:g}" for key, f in factors.items()]
    return ", ".join([text or "source", *levels])


def grid(
    terms: Sequence[Term], domains: Sequence[Domain], factors: Mapping[int | str, float]
) -> list[tuple[str, Domain | None]]:
    """Rows of the picture: the source, each domain alone as learnt, the mix if it is another thing."""
    amounts = [term.coefficient for term in terms]
    rows = [("source", None), *((term.label, domain) for term, domain in zip(terms, domains, strict=True))]
    if len(terms) > 1 or amounts != [1] or factors:
        rows.append((told(terms, amounts, factors), mixed(domains, amounts, factors)))
    return rows


def sweep(
    terms: Sequence[Term], domains: Sequence[Domain], steps: int, factors: Mapping[int | str, float]
) -> list[tuple[str, Domain | None]]:
    """Rows from the first domain at its amount to the second at its own."""
    rows: list[tuple[str, Domain | None]] = []
    for i in range(steps):
        t = i / (steps - 1)
        amounts = [terms[0].coefficient * (1 - t), terms[1].coefficient * t]
        rows.append((told(terms, amounts, factors), mixed(domains, amounts, factors)))
    return rows


def write(options: Options, mix: Domain) -> None:
    """Write the mix as a domain file."""
    import torch

    if not mix.deltas:
        raise StylegraftError(
            "the strengths leave nothing of the mix: it is the source, there is nothing to save"
        )
    mix.save(options.out, torch.float16 if options.half else torch.float32)


def draw(
    options: Options, source: Source, seeds: Sequence[int] | None, rows: Sequence[tuple[str, Domain | None]]
) -> int:
    """Write the grid, a row for each of `rows`; returns how many faces are in a row."""
    import torch

    from stylegraft.applications.latents import Latents
    from stylegraft.cli.model import render
    from stylegraft.data.grids import save_grid

    seeds, noise = seeds or range(8), options.noise or "const"
    codes = None
    if options.codes is not None:
        codes = Latents.load(options.codes, source.generator).to(options.device)
    count = len(seeds if codes is None else codes)
    most = MOST_PIXELS // max(source.generator.resolution, 128) ** 2
    if count * len(rows) > most:
        raise StylegraftError(f"{len(rows)} rows of {count} faces are too many for a picture; at most {most}")
    shown = []
    for _, domain in rows:
        if codes is None:
            model = source if domain is None else source.with_domain(domain)
            psi = psi_of(options)
            images = render(model, seeds, psi=psi, noise=noise, device=options.device)
        else:
            images = of_codes(source.generator, domain, codes, noise)
        shown.append(images)
    save_grid(torch.cat(shown), options.out, count, labels=[label for label, _ in rows])
    return count


def of_codes(
    generator: Generator, domain: Domain | None, codes: Latents, noise: Literal["const", "random", "none"]
) -> Tensor:
    """Images [N, C, R, R] of codes of the source in the domain, in batches; fresh noise is the same in every row."""
    import torch

    from stylegraft.applications.latents import draw_codes

    network = generator if domain is None else domain.on(generator)
    maps = network.noise(noise, len(codes), torch.Generator().manual_seed(0))
    return draw_codes(network, codes, maps).cpu()
