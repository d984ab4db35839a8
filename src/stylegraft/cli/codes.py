"""Which faces a verb starts from: `--seeds` or a file of codes, as `stylegraft translate` leaves one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stylegraft.cli.flags import PSI
from stylegraft.cli.sample import parse_seeds

if TYPE_CHECKING:
    from stylegraft.applications.latents import Latents
    from stylegraft.networks.generator import Generator


def check_codes(codes: Path | None, base_text: str) -> None:
    """Refuse a missing file, another kind of file, and codes of another source, by the headers."""
    if codes is not None:
        from stylegraft.cli.model import check_kept, find_base

        check_kept("--codes", codes, "file of codes", find_base(base_text))


def chosen_seeds(seeds: str | None) -> list[int] | None:
    """The seeds, None where a file or the default is meant."""
    return None if seeds is None else parse_seeds(seeds)


def load_codes(
    generator: Generator,
    seeds: Sequence[int] | None,
    codes: Path | None,
    *,
    psi: float | None,
    default: int,
) -> Latents:
    """The codes of a file, or of the seeds (0 .. default - 1 where none are given) truncated by psi (PSI)."""
    from stylegraft.applications.latents import Latents, of_seeds

    if codes is not None:
        return Latents.load(codes, generator)
    return of_seeds(generator, range(default) if seeds is None else seeds, PSI if psi is None else psi)
