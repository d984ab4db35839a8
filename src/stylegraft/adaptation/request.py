"""What a run is asked for beside pictures: a sentence, and guides to read it. Without torch, so that what does not go
together is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stylegraft.adaptation.fields import Recipe
from stylegraft.adaptation.recipes import PAPER, recipe
from stylegraft.errors import StylegraftError

SOURCE = "photo"  # what a source shows, unless said otherwise


@dataclass(frozen=True)
class Request:
    """text: the sentence, empty where pictures say it; from_text: what the source is, in words; texts: in place of one
    sentence those of a hypernetwork.
    """

    text: str = ""
    from_text: str = SOURCE
    texts: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is asked for in words."""
        return self.texts or ((self.text,) if self.text else ())

    @property
    def name(self) -> str:
        """Of a run's folder: `pencil-drawing`."""
        if self.texts:
            return f"{len(self.texts)}-sentences"
        return re.sub(r"[^\w]+", "-", self.text.lower()).strip("-")[:60] or "text"

    def __str__(self) -> str:
        wanted = f"{len(self.texts)} sentences" if self.texts else repr(self.text)
        return f"{wanted}, away from {self.from_text!r}"


def names_of(requests: Sequence[str | Path]) -> list[str]:
    """The folder of each of many requests, sentences or paths of pictures; raises StylegraftError for none, and where
    two would have the same.
    """
    names = [one.stem if isinstance(one, Path) else Request(one).name for one in requests]
    if not names:
        raise StylegraftError("found no request; expected at least one sentence or picture")
    for first, name in enumerate(names):
        if name in names[:first]:
            both = f"{str(requests[names.index(name)])!r} and {str(requests[first])!r}"
            raise StylegraftError(
                f"{both} would both be the domain {name}; expected each once, under other names"
            )
    return names


def default_recipe(text: str | None, image: object) -> str:
    """The method where none is named: `nada` for a sentence, `difa` for one picture, else `dcl`."""
    return "nada" if text is not None else "difa" if image is not None else "dcl"


def ask(
    row: Recipe,
    *,
    text: str | None = None,
    texts: Sequence[str] | None = None,
    from_text: str | None = None,
    pictures: object = None,
    image: object = None,
    guides: object = None,
) -> Request:
    """The request of a run, once all goes together; raises StylegraftError for what does not, in words of the CLI.

    pictures: the target that was given; image: the single picture.
    """
    if row.domains:
        others = {"TARGET": pictures, "--image": image, "--text": text}
        return _ask_many(row, texts, from_text, [name for name, one in others.items() if one is not None])
    if texts is not None:
        raise StylegraftError(
            f"recipe {row.name} learns one domain a run and {len(texts)} texts are given; expected one text, in Python "
            "`adapt_many`, or --recipe hypernet"
        )
    given = [
        name for name, one in (("TARGET", pictures), ("--image", image), ("--text", text)) if one is not None
    ]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "nothing says what to adapt to"
        raise StylegraftError(f"{found}; expected one of TARGET (pictures), --image FILE or --text WORDS")
    if text is None and from_text is not None:
        raise StylegraftError(
            f"--from-text {from_text!r}: says what the source is beside --text, which is not there"
        )
    asked = Request() if text is None else worded(text, from_text)
    if text is not None:
        if not row.reads:
            raise StylegraftError(
                f"recipe {row.name} needs pictures and cannot use --text {text!r}; expected {_readers()}"
            )
    if guides not in (None, ()) and not row.guided:
        raise StylegraftError(
            f"recipe {row.name} looks through no guide; expected no --guide, or {_readers()}"
        )
    return asked


def worded(text: str, from_text: str | None, flag: str = "--text") -> Request:
    """A sentence; raises StylegraftError where it says nothing, or what the source is already. flag: its name."""
    wanted, start = text.strip(), (SOURCE if from_text is None else from_text).strip()
    for name, words in ((flag, wanted), ("--from-text", start)):
        if not any(map(str.isalnum, words)):
            found = f" {words!r}: says nothing" if words else ": is empty"
            raise StylegraftError(f"{name}{found}; expected some words")
    if wanted.lower() == start.lower():
        ways = "other words" + (", or another --from-text" if flag.startswith("--") else "")
        raise StylegraftError(f"{flag} {text!r}: the source is that already; expected {ways}")
    return Request(wanted, start)


def _ask_many(
    row: Recipe, texts: Sequence[str] | None, from_text: str | None, others: Sequence[str]
) -> Request:
    """The sentences of a hypernetwork."""
    if texts is None or others:
        found = " and ".join(others) or "none"
        raise StylegraftError(
            f"recipe {row.name} learns a domain for any sentence, from many; found {found}, expected --texts FILE, "
            "a sentence a line"
        )
    names_of(list(texts))
    asked = [worded(text, from_text) for text in texts]
    if len(asked) < row.domains:
        raise StylegraftError(
            f"recipe {row.name}: found {len(asked)} sentences and domains is {row.domains}; expected at least as many "
            f"sentences, or --set domains={max(len(asked), 2)}"
        )
    return Request("", asked[0].from_text, tuple(one.text for one in asked))


def _readers() -> str:
    names = [name for name in PAPER if recipe(name).reads and not recipe(name).domains]
    return f"--recipe {' or '.join(names)}"
