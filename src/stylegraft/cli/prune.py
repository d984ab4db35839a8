"""Keep the largest numbers of a domain and drop the others, for a smaller file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from stylegraft.cli.flags import Switch, check, check_read
from stylegraft.errors import StylegraftError

if TYPE_CHECKING:
    from stylegraft.cli.resolve import Found


@dataclass(frozen=True)
class Options:
    """What `stylegraft prune` takes."""

    domain: Annotated[Positional[str], arg(metavar="DOMAIN")]
    """A domain file, a run or a direction, of the spaces stylespace or stylespace-conv unless --dense."""
    keep: float = 0.2
    """The share of its numbers that stays, those of the largest magnitudes."""
    out: Path = Path("pruned.safetensors")
    """Where the domain file goes."""
    dense: Switch = False
    """Turn a domain of any space into plain numbers first, one for each weight that it moves, and rank those."""
    source: Annotated[
        str | None,
        arg(metavar="SOURCE", help_behavior_hint="(default: the shipped source that the domain names)"),
    ] = None
    """The base of the domain, where it is not a shipped source: name, file or hf://."""
    half: Switch = False
    """Store fp16: half the size, rounded."""


def run(options: Options) -> None:
    """Prune, write, and say what it saved."""
    from stylegraft.cli.terms import find_terms, load_terms

    check(options, kinds={".safetensors": "a domain file"})
    if not 0 < options.keep <= 1:
        raise StylegraftError(f"--keep {options.keep:g}: expected a share above 0 and at most 1, such as 0.2")
    terms, base_text = find_terms([options.domain], options.source)
    (term,) = terms
    if term.coefficient != 1:
        raise StylegraftError(f"{options.domain}: expected a domain without an amount")
    before = term.found.path
    check_read(f"--out {options.out}", options.out, term.found)
    if not options.dense:
        check_offsets(options.domain, term.found)

    import torch

    from stylegraft.cli.console import file_size, say, share
    from stylegraft.domains.pruning import kept, prune

    source, (domain,) = load_terms(terms, base_text)
    try:
        pruned = prune(domain, options.keep, base=source.generator if options.dense else None)
    except StylegraftError as error:
        raise StylegraftError(f"{options.domain}: {error}") from error
    pruned.save(options.out, torch.float16 if options.half else torch.float32)
    print(
        f"{kept(pruned):,} of {pruned.count:,} numbers kept ({share(kept(pruned), pruned.count)}):"
        f" {options.out} ({file_size(options.out)}, before {file_size(before)})"
    )
    if options.out.stat().st_size >= before.stat().st_size:
        say(
            f"note: the file has not become smaller: {options.domain} holds {domain.count:,} numbers, and a number"
            " that is kept takes its place along"
        )
    say(f"licence: {source.info.get('licence', 'not stated')}")


def check_offsets(text: str, found: Found) -> None:
    """Refuse a domain of more than style offsets by the names in its header."""
    if found.foreign is not None:
        return
    from stylegraft.checkpoints.headers import tensor_names

    for name in tensor_names(found.path):
        parameter, _, form = name.partition("|")
        form = form.partition("|")[0].partition(".")[0]
        if parameter != "sparse" and not (parameter.endswith(".affine.bias") and form == "dense"):
            raise StylegraftError(
                f"{text}: it moves {parameter} ({form}), and only style offsets are ranked as they are, those of the"
                " spaces stylespace and stylespace-conv; --dense makes plain numbers of any domain first"
            )
