"""Record how quality and diversity of a run changed along its steps, and write its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Device
from stylegraft.errors import StylegraftError


@dataclass(frozen=True)
class Options:
    """What `stylegraft trace` takes."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder. A run that was trained with --trace needs no more; another one is trained again, exactly."""
    reference: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="(default: none)")] = None
    """Images of the target beyond the training set (a folder, a zip, a packaged set): for KID, p_target, copies."""
    encoder: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the first here)")] = None
    """What p_target and KID look through: a name of `stylegraft encoders`."""
    trace_every: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 0, 50, 100 ...)")] = (
        None
    )
    """Steps between points; without it 0, 50, 100, 200, 500, 1000, 1500, 2000, 3000, then every 1000, and the last."""
    full_at: Annotated[str | None, arg(metavar="N,N", help_behavior_hint="(default: none)")] = None
    """Steps at which intra-LPIPS is taken in full too: 1,000 images at 256 px, half an hour of a core each."""
    latents: Annotated[int, arg(metavar="N")] = 200
    """Images that a point is measured on."""
    source: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="(default: the shipped one)")] = None
    """The source that the run stands on."""
    device: Device = "cpu"
    """`cpu` or `cuda`."""


def run(options: Options) -> None:
    """Repeat the run where something is missing, and write the report."""
    folder = options.run
    if not (folder / "config.json").is_file():
        raise StylegraftError(
            f"{folder}: not a run: it has no config.json (a run is what `stylegraft adapt` leaves)"
        )
    full_at = steps(options.full_at)
    if options.trace_every is not None and options.trace_every < 1:
        raise StylegraftError(f"--trace-every {options.trace_every}: expected at least 1 step between points")
    if options.latents < 2:
        raise StylegraftError(f"--latents {options.latents}: expected at least 2 images")
    if options.reference:
        from stylegraft.cli.check import check_target

        check_target(options.reference, "off")

    from stylegraft.lab.panel import Settings
    from stylegraft.lab.replay import replay
    from stylegraft.lab.report import write_report

    replay(
        folder,
        Settings(options.encoder, options.latents, reference=options.reference),
        source=options.source,
        every=options.trace_every,
        full_at=full_at,
        device=options.device,
    )
    print(f"report     {write_report(folder)}")


def steps(text: str | None) -> tuple[int, ...]:
    """`500,1500` -> (500, 1500)."""
    try:
        found = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        found = (-1,)
    if any(step < 0 for step in found):
        raise StylegraftError(f"--full-at {text}: expected steps such as 500,1500")
    return found
