"""Fetch a domain from the Hugging Face Hub, check it, and say what it is; its name is pinned to a commit."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import check_out


@dataclass(frozen=True)
class Options:
    """What `stylegraft pull` takes."""

    name: Annotated[Positional[str], arg(metavar="HF_NAME")]
    """hf://OWNER/NAME, or hf://OWNER/NAME@REVISION (a branch, tag or commit)."""
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: NAME.safetensors)")] = None
    """Where the domain file goes."""


def run(options: Options) -> None:
    """Fetch, check, copy, and print the facts of the card."""
    from stylegraft.applications.hub import full_name, pull

    repo = full_name(options.name).removeprefix("hf://").split("@")[0].split("/")[1]
    out = options.out or Path(f"{repo}.safetensors")
    check_out(f"--out {out}", out, {".safetensors": "a domain file"})
    print(f"fetching {full_name(options.name)}", file=sys.stderr, flush=True)
    pulled = pull(options.name, out)

    from stylegraft.applications.card import facts
    from stylegraft.cli.console import file_size, print_facts, say

    print(f"{pulled.name}: {out} ({file_size(out)})\n")
    print_facts(facts(pulled.domain))
    print()
    say(stands(out, pulled.domain.base))


def stands(out: Path, base: dict[str, str]) -> str:
    """What the domain needs: a source that ships here, of the same weights, or one that the user has to name."""
    from stylegraft.cli.resolve import find
    from stylegraft.sources import SOURCES

    name = base["name"]
    if name not in SOURCES:
        return f"Its base {name!r} does not ship with stylegraft: stylegraft sample {out} --source THE_BASE"
    found = find(name, ("source",)).metadata.get("base", "")
    if found and found != base["sha256"]:
        return (
            f"warning: it stands on another {name!r} (sha256 {base['sha256'][:12]}) than the one that ships here"
            f" ({found[:12]}): stylegraft sample {out} --source THE_BASE"
        )
    return f"Draw from it: stylegraft sample {out}"
