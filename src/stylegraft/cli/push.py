"""Share a domain on the Hugging Face Hub: the file, a model card and a picture of samples, in one commit."""

from __future__ import annotations

import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Switch
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.cli.model import Model


@dataclass(frozen=True)
class Options:
    """What `stylegraft push` takes."""

    domain: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """A run folder or a domain file."""
    repo: Annotated[Positional[str], arg(metavar="OWNER/NAME")]
    """Where it goes; the repository is made where there is none."""
    private: Switch = False
    """Only you and whom you let in can see it."""
    dry_run: Switch = False
    """Write the folder, show what would go, upload nothing."""
    out: Annotated[
        Path | None,
        arg(metavar="FOLDER", help_behavior_hint="(default: none is kept; of a dry run: NAME-to-push)"),
    ] = None
    """Where the folder with the three files is kept."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""


def run(options: Options) -> None:
    """Write the three files, show them, and upload them."""
    from stylegraft.applications.hub import check_folder, check_login, check_repo
    from stylegraft.cli.model import find_model

    check_repo(options.repo)
    if Path(options.repo).exists() and not Path(options.domain).exists():
        raise StylegraftError(
            f"{options.repo}: expected the domain first, `push {options.repo} {options.domain}`"
        )
    model = find_model(options.domain, options.source)
    check_kind(options.domain, model)
    name = options.repo.partition("/")[2]
    folder = options.out or (Path(f"{name}-to-push") if options.dry_run else None)
    if folder is not None:
        check_folder(folder)
    if not options.dry_run:
        check_login(options.repo)
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
        share(options, model, Path(place), name)


def check_kind(text: str, model: Model) -> None:
    """Refuse what is no domain of ours."""
    if model.found.kind == "direction":
        raise StylegraftError(
            f"{text}: a direction file of others: `stylegraft convert {text} NAME.safetensors --as-domain` first"
        )
    if model.found.kind == "source":
        raise StylegraftError(f"{text}: a source, expected a domain or run: whole generators are not pushed")


def share(options: Options, model: Model, folder: Path, name: str) -> None:
    """Write `folder`, list it, and push it unless this is a dry run."""
    from stylegraft.applications.card import measured
    from stylegraft.applications.hub import FILES, push
    from stylegraft.applications.sharing import write_folder
    from stylegraft.cli.console import file_size, print_facts, say
    from stylegraft.sources import load_source

    source = load_source(model.base_text)
    found = model.found
    numbers = measured(
        found.path.parent if found.kind == "run" else None, found.says(dict, "config").get("steps")
    )
    domain = write_folder(folder, found.path, source, repo=options.repo, name=name, numbers=numbers)
    print_facts((file, file_size(folder / file)) for file in FILES)
    say("That is all that goes: no training pictures, nothing else of the run.")
    say(f"licence: {domain.base['licence'] or 'not stated'}")
    if options.dry_run:
        print(f"nothing was uploaded; look at {folder / 'README.md'} and {folder / 'preview.png'}")
        return
    print(f"pushing to {options.repo}", file=sys.stderr, flush=True)
    pinned = push(folder, options.repo, private=options.private)
    print(f"pushed: {pinned}\ndraw:   stylegraft sample {pinned}")
