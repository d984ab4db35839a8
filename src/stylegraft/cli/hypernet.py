"""Give sentences their domains by a hypernetwork, one forward pass each; without any, say what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.cli.resolve import Found

FILE = "hypernet.safetensors"  # of a run; domains.hypernet.FILE, without torch


@dataclass(frozen=True)
class Options:
    """What `stylegraft hypernet` takes."""

    hypernet: Annotated[Positional[str], arg(metavar="HYPERNET")]
    """A run of `stylegraft adapt SOURCE --recipe hypernet --texts FILE`, or its hypernet.safetensors."""
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="[WORDS ...]", help_behavior_hint="")] = ()
    """Sentences, such as "oil painting in pink"; none: list those that it was trained on."""
    out: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: WORDS.safetensors)")] = None
    """NAME.safetensors for one sentence, or a folder, made in one that exists; each file is called by its sentence."""
    guide: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: the one it names)")] = None
    """The encoder that it was trained to read through, where that is not here under its name."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that it names)"),
    ] = None
    """The base, where it is not a shipped source: name, file or hf://."""


def run(options: Options) -> None:
    """Check the line, then list what it knows, or read, give and write."""
    from stylegraft.cli.model import base_name, check_base, find_base

    found = find_hypernet(options.hypernet)
    if not options.words:
        show(options, found)
        return
    paths = places(options, found.says(str, "config", "from_text"))
    base_text = base_name(found, options.source)
    check_base(found, find_base(base_text))

    from stylegraft.adaptation.hypernet import domains_of
    from stylegraft.cli.console import file_size
    from stylegraft.domains.hypernet import Hypernetwork
    from stylegraft.encoders.guides import guide_in_reach, load_guide
    from stylegraft.encoders.table import GUIDES
    from stylegraft.sources import load_source

    hypernet = Hypernetwork.load(found.path)
    named = hypernet.config["guides"][0]["name"]
    guide = load_guide(options.guide or (named if named in GUIDES else guide_in_reach()))
    source = load_source(base_text)
    made = domains_of(hypernet, source.generator, options.words, guide)
    paths[0].parent.mkdir(exist_ok=True)
    for path, domain in zip(paths, made, strict=True):
        domain.save(path)
        print(f"{path}     {file_size(path)}, {domain.count:,} numbers: {domain.config['target']['text']}")
    print(f"licence: {source.info.get('licence', 'not stated')}")


def find_hypernet(text: str) -> Found:
    """The file of a hypernetwork, or the one in a run's folder, by its header."""
    from stylegraft.cli.resolve import find

    found = find(text, ("run", "hypernetwork"))
    if found.kind == "hypernetwork":
        return found
    path = found.path.parent / FILE
    if not path.is_file():
        raise StylegraftError(
            f"{text}: a run of {found.says(str, 'config', 'recipe')}, which learns one domain; expected one of `adapt "
            "SOURCE --recipe hypernet --texts FILE`"
        )
    return find(str(path), ("hypernetwork",))


def places(options: Options, from_text: str) -> list[Path]:
    """Where each domain goes; raises StylegraftError for what cannot be one. from_text: what it leads away from."""
    from stylegraft.adaptation.request import names_of, worded

    for text in options.words:
        worded(text, from_text, "sentence")
    names = names_of(list(options.words))
    out = options.out or Path()
    if out.suffix.lower() == ".safetensors":
        if len(names) > 1:
            raise StylegraftError(f"--out {out}: one file, for {len(names)} sentences; expected a folder")
        if not out.parent.is_dir():
            raise StylegraftError(f"--out {out}: the folder {out.parent} does not exist")
        return [out]
    if not out.is_dir() and (out.suffix or out.exists()):
        raise StylegraftError(f"--out {out}: expected NAME.safetensors, or a folder")
    if not out.parent.is_dir():
        raise StylegraftError(f"--out {out}: the folder {out.parent} does not exist")
    return [out / f"{name}.safetensors" for name in names]


def show(options: Options, found: Found) -> None:
    """What it reads through, what it gives, and its sentences."""
    from stylegraft.cli.console import file_size, print_facts, say
    from stylegraft.data.texts import values_of

    for name, value in (("--out", options.out), ("--guide", options.guide), ("--source", options.source)):
        if value is not None:
            raise StylegraftError(f"{name} {value}: is for sentences, and none is there")
    texts = found.says(list, "config", "texts")
    with values_of(found.path):
        guide, sentences = found.says(list, "config", "guides")[0]["name"], "; ".join(texts)
    print_facts(
        [
            ("hypernetwork", f"{found.path}, {file_size(found.path)}"),
            ("base", found.says(str, "base", "name")),
            ("gives", f"domains of {found.says(str, 'config', 'space')}"),
            ("reads through", guide),
            ("away from", found.says(str, "config", "from_text")),
            ("trained", f"{found.says(int, 'config', 'steps'):,} steps on {len(texts)} sentences:"),
        ]
    )
    print()
    say(sentences)
