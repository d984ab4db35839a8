"""Which faces a verb starts from: `--seeds` or a file of codes, as `stylegraft translate` leaves one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.cli.sample import parse_seeds
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.applications.latents import Latents
    from stylegraft.networks.generator import Generator


def check_codes(seeds: str | None, codes: Path | None) -> list[int] | None:
    """The seeds, None where a file or the default is meant; refuses both at once and a missing file."""
    if codes is not None:
        if seeds is not None:
            raise StylegraftError("--seeds and --codes: give one of them")
        if not codes.is_file():
            raise StylegraftError(f"--codes {codes}: no such file")
        return None
    return None if seeds is None else parse_seeds(seeds)


def load_codes(
    generator: Generator, seeds: Sequence[int] | None, codes: Path | None, *, psi: float, default: int
) -> Latents:
    """The codes of a file, or of the seeds (0 .. default - 1 where none are given) truncated by psi."""
    from stylegraft.applications.latents import Latents, of_seeds

    if codes is not None:
        return Latents.load(codes, generator)
    return of_seeds(generator, range(default) if seeds is None else seeds, psi)
